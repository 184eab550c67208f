package sdk

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errorf makes an error with a gRPC status code, which tells the host what to
// do: NOT_FOUND, ABORTED (held by another rotation), PERMISSION_DENIED,
// RESOURCE_EXHAUSTED (throttled) and UNAVAILABLE (both: try again later),
// FAILED_PRECONDITION (a person must act). The header of driver.proto lists
// them. The message names the object and the cause. Unlike fmt.Errorf's, its
// %w does not wrap (an error ends at the wire): format causes with %v.
func Errorf(code codes.Code, format string, args ...any) error {
	return status.Errorf(code, format, args...)
}

// wireError gives an error of a driver its status: one made by Errorf keeps
// its code wherever it is in the chain, with the text of the whole chain; an
// ended context answers for itself; the rest is UNKNOWN.
func wireError(err error) error {
	if err == nil {
		return nil
	}
	// status.FromError follows the chain: a wrapped status keeps its code and
	// details and gets the text of the whole chain.
	if st, ok := status.FromError(err); ok {
		if st.Code() == codes.OK { // an error is never success
			return status.Error(codes.Internal, err.Error())
		}
		return st.Err()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}
