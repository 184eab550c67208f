package eks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// AWS's codes for a caller that may not. They differ by service.
var deniedCodes = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired"}

// Codes for a caller that AWS does not know.
var unknownCodes = []string{
	"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
	"MissingAuthenticationToken", "MissingAuthenticationTokenException",
}

// Codes for credentials that were good until a moment ago.
var expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "RequestExpired"}

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

// templateDenied tells that the caller may not launch from a launch template,
// which AWS asks for when a group is pointed to one. Only the text says so: EKS'
// code is that of any bad request.
func templateDenied(err error) bool {
	api := smithy.APIError(nil)
	return errors.As(err, &api) && strings.HasPrefix(api.ErrorMessage(), "You are not authorized to ") && strings.Contains(api.ErrorMessage(), "launch template")
}

func classify(err error) class {
	code := errCode(err)
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	var answered *awshttp.ResponseError
	switch {
	case throttled:
		return class{"aws-throttled", codes.ResourceExhausted, sdk.RetryLater, "AWS limits this account's rate of calls; a rotation tries the call again."}
	case slices.Contains(busyCodes, code):
		return class{"aws-busy", codes.Unavailable, sdk.RetryLater, "The group is busy with another change; a rotation tries the call again."}
	case templateDenied(err):
		return class{"aws-denied", codes.PermissionDenied, sdk.RetryNever, "Whoever has a group launch from a template must be allowed what the template does: ec2:RunInstances, and ec2:CreateTags and iam:PassRole where it has tags and a role (deploy/aws/rotatord-eks-launch-template-iam.json)."}
	case slices.Contains(deniedCodes, code):
		return class{"aws-denied", codes.PermissionDenied, sdk.RetryNever, "Give these credentials the driver's IAM policies (deploy/aws), and check that they are of the cluster's account and region."}
	case slices.Contains(unknownCodes, code):
		return class{"aws-credentials-refused", codes.Unauthenticated, sdk.RetryNever, "AWS does not know these credentials: check the key, the secret and the region, and this machine's clock."}
	case slices.Contains(expiredCodes, code):
		return class{"aws-credentials-expired", codes.Unauthenticated, sdk.RetryNever, "The credentials have ended: renew them (aws sso login, or a role with a longer session), and run again. If they should be good still, check this machine's clock."}
	case code != "" && errors.As(err, &answered) && answered.HTTPStatusCode() >= http.StatusInternalServerError:
		return class{"aws-unavailable", codes.Unavailable, sdk.RetryLater, "AWS answers with an error of its own; a rotation tries the call again."}
	case code != "":
		return class{"aws-refused", codes.FailedPrecondition, sdk.RetryNever, "AWS refuses the call; its answer says why."}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return class{"aws-timeout", codes.DeadlineExceeded, sdk.RetryLater, "AWS did not answer in time; a rotation tries the call again."}
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
