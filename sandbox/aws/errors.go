package aws

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rotatord/rotator/sandbox/aws/wire"
)

// Error is an answer of AWS that is not a success: its code and message are AWS's own.
type Error struct {
	Code    string
	Message string
	// Status is the HTTP status; 0 means 400.
	Status int
	// About are further members of an error of REST-JSON, for instance clusterName.
	About map[string]string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// validationError is Auto Scaling's answer to nearly every mistake.
func validationError(format string, args ...any) *Error {
	return failf("ValidationError", format, args...)
}

// asError makes an Error of what a handler returned, in the words of the service.
func asError(service, action string, err error) *Error {
	var (
		e       *Error
		unknown *wire.UnknownParameterError
		bad     *wire.BadValueError
	)
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &unknown):
		// EC2 has a code of its own for it; for the other services the sandbox speaks up where AWS would ignore it.
		code := "ValidationError"
		if service == serviceEC2 {
			code = "UnknownParameter"
		}
		return failf(code, "The parameter %s is not recognized: the simulated AWS does not know it for %s", unknown.Name, action)
	case errors.As(err, &bad):
		code := "ValidationError"
		if service == serviceEC2 {
			code = "InvalidParameterValue"
		}
		return failf(code, "Value (%s) for parameter %s is invalid. Expected %s.", bad.Value, bad.Name, bad.Want)
	}
	return &Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}
