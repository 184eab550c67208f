package kube

import "fmt"

// Code of an Error. Codes are stable.
type Code string

// Codes.
const (
	CodeKubeconfigMissing Code = "kubeconfig-missing" // none found, or the named file does not exist
	CodeKubeconfigInvalid Code = "kubeconfig-invalid" // found, but it cannot be used
	CodeContextUnknown    Code = "context-unknown"
	CodeAccess            Code = "access-unusable" // what the driver says about the way to the API server
	CodeUnreachable       Code = "unreachable"     // the API server does not answer
	CodeUnauthorized      Code = "unauthorized"    // it does not accept the credentials
	CodeForbidden         Code = "forbidden"       // it does, but a permission is missing
)

// Error says why the cluster cannot be worked with, and what to do.
type Error struct {
	Code    Code
	Message string // names the object and the cause
	Fix     string // what to do about it
	Err     error  // the cause; may be nil
}

func (e *Error) Error() string { return e.Message + "; " + e.Fix }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fault(code Code, err error, fix, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Fix: fix, Err: err}
}
