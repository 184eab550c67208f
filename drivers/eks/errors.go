package eks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// AWS's codes for a caller that is unknown or may not. They differ by service.
var deniedCodes = []string{
	"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure",
	"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
	"MissingAuthenticationToken", "MissingAuthenticationTokenException", "OptInRequired",
	"ExpiredToken", "ExpiredTokenException", "RequestExpired",
}

// Codes for a group that is busy with another change: the same call works later.
var busyCodes = []string{"ScalingActivityInProgress", "ScalingActivityInProgressFault", "ResourceContention", "ResourceContentionFault", "ResourceInUse", "ResourceInUseException"}

// errCode returns AWS's code of an error; empty: AWS did not answer.
func errCode(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// class is what an error of a call means for the caller.
type class struct {
	code  string     // of the diagnostic
	grpc  codes.Code // of the status, where the call has no diagnostics
	retry sdk.Retry
	hint  string
}

func classify(err error) class {
	code := errCode(err)
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	var answered *awshttp.ResponseError
	switch {
	case throttled:
		return class{"aws-throttled", codes.ResourceExhausted, sdk.RetryLater, "AWS limits this account's rate of calls; the call will be tried again."}
	case slices.Contains(busyCodes, code):
		return class{"aws-busy", codes.Unavailable, sdk.RetryLater, "The group is busy with another change; the call will be tried again."}
	case slices.Contains(deniedCodes, code):
		return class{"aws-denied", codes.PermissionDenied, sdk.RetryNever, "Give these credentials the driver's IAM policies (deploy/aws), and check that they are of the cluster's account and region."}
	case code != "" && errors.As(err, &answered) && answered.HTTPStatusCode() >= http.StatusInternalServerError:
		return class{"aws-unavailable", codes.Unavailable, sdk.RetryLater, "AWS answers with an error of its own; the call will be tried again."}
	case code != "":
		return class{"aws-refused", codes.FailedPrecondition, sdk.RetryNever, "AWS refuses the call; its answer says why."}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return class{"aws-timeout", codes.DeadlineExceeded, sdk.RetryLater, "AWS did not answer in time; the call will be tried again."}
	}
	return class{"aws-unreachable", codes.Unavailable, sdk.RetryLater, "AWS cannot be reached: check the network, the proxy and the region."}
}

// diagnose turns the error of an AWS call into a finding. Action is as IAM
// names it, SERVICE:ACTION; object is what was acted on.
func diagnose(action, object string, err error) sdk.Diagnostic {
	c := classify(err)
	return sdk.Diagnostic{
		Severity: sdk.SeverityError, Code: c.code, Object: object, Retry: c.retry,
		Summary: fmt.Sprintf("%s failed for %s: %s", action, object, cause(err)),
		Detail:  c.hint,
	}
}

// statusOf is diagnose for a call that answers with an error alone.
func statusOf(action, object string, err error) error {
	c := classify(err)
	return sdk.Errorf(c.grpc, "%s: %s failed for %s: %s. %s", c.code, action, object, cause(err), c.hint)
}

// cause is the innermost useful text: the SDK wraps AWS's answer in the names
// of its own layers and the request id, over several hundred characters.
func cause(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	if op := (*smithy.OperationError)(nil); errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// failed makes an operation that did not reach its goal.
func failed(diags ...sdk.Diagnostic) *sdk.Operation {
	return &sdk.Operation{State: sdk.OperationFailed, Diagnostics: diags}
}

// finding makes a diagnostic.
func finding(sev sdk.Severity, code, object, detail, summary string, args ...any) sdk.Diagnostic {
	return sdk.Diagnostic{Severity: sev, Code: code, Object: object, Detail: detail, Summary: fmt.Sprintf(summary, args...)}
}
