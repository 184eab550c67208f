package host

import (
	"fmt"
	"strings"
)

// Code classifies why a driver cannot be used.
type Code string

// Codes. They are stable; the command's exit codes follow from them.
const (
	// CodeMissing: no executable of that name was found.
	CodeMissing Code = "driver-missing"
	// CodeRejected: the executable was found and is not trusted.
	CodeRejected Code = "driver-rejected"
	// CodeProtocol: it is no driver, or one of another protocol version.
	CodeProtocol Code = "driver-protocol"
	// CodeStart: it cannot be run, or ended before it was ready.
	CodeStart Code = "driver-start"
	// CodeConfig: the driver refused its configuration.
	CodeConfig Code = "driver-config"
	// CodeDenied: the provider refused the driver's credentials.
	CodeDenied Code = "driver-denied"
	// CodeUnavailable: the provider could not be asked just now. The configuration
	// may be right: the same may work later.
	CodeUnavailable Code = "driver-unavailable"
	// CodeLost: the driver keeps crashing and is not started again.
	CodeLost Code = "driver-lost"
)

// Error says why a driver cannot be used.
type Error struct {
	Code    Code
	Message string // names the driver and the cause
	Fix     string // what to do next
	Err     error  // the cause, where there is one
}

func (e *Error) Error() string {
	s := e.Message
	if e.Fix != "" {
		s += ": " + e.Fix
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// indent puts lines of another program's output under a message.
func indent(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "\n    %s", l)
	}
	return b.String()
}
