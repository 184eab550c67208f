package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
	"github.com/rotatord/rotator/core/runtime"
)

var _ runtime.Recaller = (*session)(nil)

// session is one opened rotation with what its events are folded into.
type session struct {
	spec     plan.Spec
	request  request
	stopper  *stopper
	outlive  func() // as app's
	fold     *report.Fold
	rotation rotation // nil for a drain

	progress *report.Progress
	files    *report.Files // nil: no report folder, or not begun
}

// Publish passes events on to what they are folded into.
func (s *session) Publish(events []event.Event) {
	s.fold.Publish(events)
	s.progress.Publish(events)
	if s.files != nil {
		s.files.Publish(events)
	}
}

// Recall counts what earlier runs of the rotation did; the progress and the
// report's events are this run's own.
func (s *session) Recall(past []event.Event) {
	s.fold.Publish(past)
	if s.files != nil {
		s.files.Recall(past)
	}
}

// newSession reads the configuration and makes everything that a rotation is
// given. close must be called.
func (a *app) newSession(cmd *cobra.Command, noProvider bool) (*session, error) {
	spec, err := load(cmd, "", noProvider)
	if err != nil {
		return nil, err
	}
	log, driverLog, err := a.loggers(cmd)
	if err != nil {
		return nil, err
	}
	s := &session{spec: spec, fold: &report.Fold{}, progress: report.NewProgress(a.stderr), stopper: a.newStopper(cmd.Context()), outlive: a.outlive}
	s.request = request{Spec: spec, Log: log, DriverLog: driverLog, Stop: s.stopper.stop, Sinks: []runtime.Sink{s}}
	return s, nil
}

// start is what commands begin with that change something: their session, ready to
// be stopped in order, and whether stdout gets JSON. close must be called on success.
func (a *app) start(cmd *cobra.Command, noProvider bool) (s *session, asJSON bool, err error) {
	if asJSON, err = jsonWanted(cmd); err != nil {
		return nil, false, err
	}
	if s, err = a.newSession(cmd, noProvider); err != nil {
		return nil, false, err
	}
	if err = s.begin(); err != nil {
		s.close()
		return nil, false, err
	}
	return s, asJSON, nil
}

// open opens the session's rotation.
func (a *app) open(s *session, fromCluster bool) error {
	s.request.FromCluster = fromCluster
	r, err := a.backend.Open(s.stopper.opening, s.request)
	if err != nil {
		return s.interrupted(err)
	}
	s.rotation = r
	return nil
}

// begin opens the report's files and lets signals stop the rotation in order
// from now on, which nobody's going away cuts short. It must come before the
// rotation runs.
func (s *session) begin() error {
	if dir := s.spec.Report.Dir; dir != "" {
		f, err := report.OpenFiles(dir)
		if err != nil {
			return &failure{code: exitUsage, message: err.Error() + "; nothing was changed", fix: "choose another folder with --report-dir", err: err}
		}
		s.files = f
	}
	if !s.stopper.begin() {
		return s.interrupted(errInterrupted)
	}
	if s.outlive != nil {
		s.outlive()
	}
	return nil
}

// interrupted replaces an error that a signal caused before anything was
// changed.
func (s *session) interrupted(err error) error { return s.stopper.interrupted(err) }

// summary says what happened, and how the command ended: as the result says, or
// else the error.
func (s *session) summary(r *engine.Result, err error) report.Summary {
	sum := s.fold.Summary()
	sum.Cluster = s.spec.Cluster
	switch {
	case r != nil:
		sum.Status, sum.Message = string(r.Status), r.Message
	case err != nil:
		sum.Status, sum.Message = string(engine.StatusFailed), err.Error()
	}
	return sum
}

// finish writes the report's files and prints the summary on stdout. The error
// is the rotation's own, or else that of a file.
func (a *app) finish(s *session, r *engine.Result, runErr error, asJSON bool) error {
	sum := s.summary(r, runErr)
	err := runErr
	if err == nil {
		err = resultFailure(r)
	}
	err = a.closeReport(s, sum, err)
	if asJSON {
		return errors.Join(err, writeJSON(a.stdout, sum))
	}
	if sum.Started.IsZero() { // nothing happened
		if r != nil && r.Status == engine.StatusDone {
			fmt.Fprintln(a.stdout, r.Message)
		}
		return err
	}
	if werr := sum.WriteText(a.stdout); err == nil {
		err = werr
	}
	return err
}

// closeReport writes the report's files, where there are any. It returns err, how
// the command ended; where that is well, what went wrong with the files counts.
func (a *app) closeReport(s *session, sum report.Summary, err error) error {
	if s.files == nil {
		return err
	}
	fileErr := s.files.Close(sum, a.exitCode(err))
	switch {
	case fileErr == nil:
		return err
	case err == nil:
		return &failure{code: exitFailed, message: "all is done, but the report could not be written: " + fileErr.Error(),
			fix: "check the folder of --report-dir", err: fileErr}
	}
	fmt.Fprintf(a.stderr, "warning: the report could not be written: %s\n", fileErr)
	return err
}

func (s *session) close() {
	if s.rotation != nil {
		s.rotation.Close()
	}
	s.stopper.close()
}
