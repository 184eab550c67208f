package kops

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/smithy-go"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// That there is no such image is told from a cloud that cannot be asked, which
// may pass. The errors are as kops wraps them.
func TestNotFound(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		code  string
		retry sdk.Retry
	}{
		{"a name", errors.New(`could not find Image for "x"`), "image-not-found", sdk.RetryNever},
		{"an id", errors.New("error listing images: api error InvalidAMIID.NotFound: gone"), "image-not-found", sdk.RetryNever},
		{"a parameter", fmt.Errorf("failed to get value for SSM parameter: %w", &smithy.GenericAPIError{Code: "ParameterNotFound"}), "image-not-found", sdk.RetryNever},
		{"a parameter that may not be read", fmt.Errorf("failed to get value for SSM parameter: %w", &smithy.GenericAPIError{Code: "AccessDeniedException"}), "cloud-denied", sdk.RetryNever},
		{"throttled", fmt.Errorf("failed to get value for SSM parameter: %w", &smithy.GenericAPIError{Code: "ThrottlingException"}), "cloud-throttled", sdk.RetryLater},
		{"no answer", errors.New("error listing images: dial tcp: connection refused"), "cloud-failed", sdk.RetryLater},
		{"the caller's deadline", sdk.Errorf(codes.DeadlineExceeded, "looking for image x"), "kops-call", sdk.RetryLater},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diag := notFound("x", "web", tc.err); diag.Code != tc.code || diag.Retry != tc.retry {
				t.Errorf("%s, retry %v; want %s, %v (%s)", diag.Code, diag.Retry, tc.code, tc.retry, diag.Summary)
			}
		})
	}
}
