package kops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/aws/smithy-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

// class is what an error of a call means for the caller.
type class struct {
	code  string     // of the diagnostic
	grpc  codes.Code // of the status, where the call has no diagnostics
	retry sdk.Retry
	hint  string
}

// Words of AWS's error codes. kops wraps the errors of every cloud in prose;
// only AWS's keep a code that can be read.
var (
	throttleWords = []string{"Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown"}
	deniedWords   = []string{
		"AccessDenied", "Unauthorized", "AuthFailure", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch",
		"InvalidSignature", "MissingAuthenticationToken", "OptInRequired", "ExpiredToken", "RequestExpired", "InvalidAccessKeyId",
	}
	busyWords = []string{"ScalingActivityInProgress", "ResourceContention", "ResourceInUse", "ServiceUnavailable", "InternalError", "InternalFailure"}
)

func classify(err error) class {
	if code := status.Code(err); code != codes.Unknown && code != codes.OK {
		return class{"kops-call", code, retryOf(code), ""}
	}
	api := smithy.APIError(nil)
	answered := errors.As(err, &api)
	has := func(words []string) bool {
		for _, w := range words {
			if answered && strings.Contains(api.ErrorCode(), w) {
				return true
			}
		}
		return false
	}
	switch {
	case has(throttleWords):
		return class{"cloud-throttled", codes.ResourceExhausted, sdk.RetryLater, "The cloud limits this account's rate of calls; a rotation tries the call again."}
	case has(deniedWords):
		return class{"cloud-denied", codes.PermissionDenied, sdk.RetryNever, "Use the credentials with which kops works on this cluster, in its account and region."}
	case has(busyWords):
		return class{"cloud-busy", codes.Unavailable, sdk.RetryLater, "A rotation tries the call again."}
	case answered:
		return class{"cloud-refused", codes.FailedPrecondition, sdk.RetryNever, "The cloud refuses the call; its answer says why."}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return class{"cloud-timeout", codes.DeadlineExceeded, sdk.RetryLater, "The cloud did not answer in time; a rotation tries the call again."}
	case errors.Is(err, fs.ErrPermission):
		return class{"state-store-denied", codes.PermissionDenied, sdk.RetryNever, "Let this user read and write the state store."}
	}
	return class{"cloud-failed", codes.Unavailable, sdk.RetryLater, "Check the network, the proxy and the cluster's region."}
}

func retryOf(code codes.Code) sdk.Retry {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled:
		return sdk.RetryLater
	default:
		return sdk.RetryNever
	}
}

// diagnose turns the error of a call into a finding. What names the call, and
// object what was acted on.
func diagnose(what, object string, err error) sdk.Diagnostic {
	c := classify(err)
	return sdk.Diagnostic{
		Severity: sdk.SeverityError, Code: c.code, Object: object, Retry: c.retry,
		Summary: fmt.Sprintf("%s failed for %s: %s", what, object, cause(err)),
		Detail:  c.hint,
	}
}

// statusOf is diagnose for a call that answers with an error alone. An error
// that has a status keeps it.
func statusOf(what, object string, err error) error {
	if code := status.Code(err); code != codes.Unknown {
		return err
	}
	c := classify(err)
	return sdk.Errorf(c.grpc, "%s: %s failed for %s: %s. %s", c.code, what, object, cause(err), c.hint)
}

// cause is an error in one line. AWS's answer stands for the several hundred
// characters that its SDK wraps around it.
func cause(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	if st, ok := status.FromError(err); ok {
		return st.Message()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// isStatus tells whether an error is one for the host, as of a deadline, and
// none of the library or the cloud.
func isStatus(err error) bool { return status.Code(err) != codes.Unknown }

// failed makes an operation that did not reach its goal.
func failed(diags ...sdk.Diagnostic) *sdk.Operation {
	return &sdk.Operation{State: sdk.OperationFailed, Diagnostics: diags}
}

// finding makes a diagnostic.
func finding(sev sdk.Severity, code, object, detail, summary string, args ...any) sdk.Diagnostic {
	return sdk.Diagnostic{Severity: sev, Code: code, Object: object, Detail: detail, Summary: fmt.Sprintf(summary, args...)}
}
