package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

// Exit codes: documented, and the same for all commands.
const (
	exitDone    = 0 // done, or nothing to do
	exitFailed  = 1 // failed for another reason
	exitUsage   = 2 // bad usage or configuration
	exitRefused = 3 // refused at plan time: nothing was changed
	exitStopped = 4 // stopped before the end: can be resumed
	exitGate    = 5 // a health gate failed
	exitLocked  = 6 // another rotation holds the lock
	exitBehind  = 7 // `release check`, `plan --exit-code`: there is something to do
)

const exitCodesHelp = `Exit codes:
  0  done, or nothing to do
  1  failed for another reason
  2  bad usage or configuration, a driver that cannot be used included
  3  refused at plan time: nothing was changed
  4  stopped before the end: the same command resumes it
  5  a health gate failed
  6  another rotation holds the lock
  7  'release check' and 'plan --exit-code' only: there is something to do`

// failure is an error with its exit code and what to do about it.
type failure struct {
	code    int
	message string
	fix     string // empty: the message says it
	err     error  // the cause, where there is one
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.err }

// usage is a failure of the command line.
func usage(fix, format string, args ...any) *failure {
	return &failure{code: exitUsage, message: fmt.Sprintf(format, args...), fix: fix}
}

// report prints an error, once, and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	var ce *config.Error
	if errors.As(err, &ce) {
		for _, p := range ce.Problems {
			fmt.Fprintf(a.stderr, "error: %s\n", report.Clean(p.String()))
		}
		fmt.Fprintln(a.stderr, "fix: `rotatord config init` prints every key with its default, `rotatord config validate` checks a file")
		return exitUsage
	}
	f := a.explain(err)
	fmt.Fprintf(a.stderr, "error: %s\n", lines(f.message))
	if f.fix != "" {
		fmt.Fprintf(a.stderr, "fix: %s\n", lines(f.fix))
	}
	return f.code
}

// lines makes a text safe for a terminal. A driver's last words come in lines
// of their own, which stay, indented.
func lines(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		out = append(out, report.Clean(l))
	}
	return strings.Join(out, "\n  ")
}

// exitCode is what the process ends with after err; nil: it is done.
func (a *app) exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	return a.explain(err).code
}

func (a *app) explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var se *plan.SelectionError
	if errors.As(err, &se) {
		return &failure{code: exitUsage, message: se.Message, fix: se.Fix}
	}
	if f := a.backend.Explain(err); f != nil {
		return f
	}
	return &failure{code: exitFailed, message: err.Error()}
}

// resultFailure is the failure that a rotation's end amounts to; nil: done.
func resultFailure(r *engine.Result) error {
	const again = "; then run the same command again: it goes on where this one ended"
	switch r.Status {
	case engine.StatusDone:
		return nil
	case engine.StatusStopped:
		return &failure{code: exitStopped, message: "stopped before the end: " + r.Message, fix: "run the same command again: it goes on where this one ended"}
	case engine.StatusGateFailed:
		return &failure{code: exitGate, message: "a health gate failed: " + r.Message, fix: "look at what the message names" + again}
	case engine.StatusFailed:
		return &failure{code: exitFailed, message: "the rotation failed: " + r.Message, fix: "look at what the message names" + again}
	}
	return &failure{code: exitFailed, message: fmt.Sprintf("the rotation ended with status %q, which is unknown: %s", r.Status, r.Message)}
}
