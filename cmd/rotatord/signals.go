package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// stopSignals delivers what asks this process to end: SIGINT, SIGTERM, and SIGHUP,
// which comes when the terminal is closed. Who began us under nohup does not mean
// the last.
func stopSignals() <-chan os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	c := make(chan os.Signal, 2)
	signal.Notify(c, list...)
	return c
}

// listening is who is told of the signals that come. The zero value: nobody.
type listening struct {
	mu sync.Mutex
	to chan<- os.Signal // nil: nobody
}

// listen has the signals come from the channel until release is called. More than
// two that nobody takes are lost: the second ends the process.
func (a *app) listen() (signals <-chan os.Signal, release func()) {
	c := make(chan os.Signal, 2)
	a.tell(c)
	return c, func() { a.tell(nil) }
}

func (a *app) tell(c chan<- os.Signal) {
	a.listening.mu.Lock()
	defer a.listening.mu.Unlock()
	a.listening.to = c
}

// passSignals hands on what comes until done is closed. While nobody listens,
// nothing has begun or all has ended, and a signal ends the process at once: a
// rotation file that is a pipe into which nobody writes holds nobody up.
func (a *app) passSignals(done <-chan struct{}) {
	for {
		select {
		case sig := <-a.signals:
			a.listening.mu.Lock()
			to := a.listening.to
			a.listening.mu.Unlock()
			if to == nil {
				fmt.Fprintf(a.stderr, "%s: exiting at once: nothing is under way\n", signalName(sig))
				a.exit(exitStopped)
				return
			}
			select {
			case to <- sig:
			default:
			}
		case <-done:
			return
		}
	}
}

// outliveReaders lets writes fail where nobody reads our output any more, which by
// default ends the process: a tee that gets the same Ctrl-C ends before a rotation
// has been stopped in order.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// errInterrupted is the cause of the end of stopper.opening.
var errInterrupted = errors.New("interrupted by a signal")

// stopper turns signals into what a rotation understands. The first one, before
// the rotation has begun, ends its opening; later, it asks the rotation to
// start nothing new. The second one ends the process at once: whatever is under
// way at the provider and in the cluster is found again by the next run.
type stopper struct {
	// opening ends at a signal before begin.
	opening context.Context
	// stop is closed at a signal after begin.
	stop chan struct{}

	mu        sync.Mutex
	begun     bool
	signalled bool
	cancel    context.CancelCauseFunc
	done      chan struct{}
	release   func()
}

func (a *app) newStopper(ctx context.Context) *stopper {
	s := &stopper{stop: make(chan struct{}), done: make(chan struct{})}
	s.opening, s.cancel = context.WithCancelCause(ctx)
	var signals <-chan os.Signal
	signals, s.release = a.listen()
	go func() {
		for n := 1; ; n++ {
			select {
			case sig := <-signals:
				if n > 1 {
					fmt.Fprintf(a.stderr, "%s again: exiting at once; run the same command again to go on\n", signalName(sig))
					a.exit(exitStopped)
					return
				}
				if s.first() {
					fmt.Fprintf(a.stderr, "%s: stopping: nothing new starts; what is under way is brought to an end (a second signal exits at once)\n", signalName(sig))
				} else {
					fmt.Fprintf(a.stderr, "%s: stopping: nothing has begun\n", signalName(sig))
				}
			case <-s.done:
				return
			}
		}
	}()
	return s
}

// first acts on the first signal. It tells whether the rotation has begun.
func (s *stopper) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signalled = true
	if s.begun {
		close(s.stop)
		return true
	}
	s.cancel(errInterrupted)
	return false
}

// begin says that the rotation begins. It returns false when a signal came
// first.
func (s *stopper) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = !s.signalled
	return s.begun
}

// interrupted replaces an error that came of a signal before begin.
func (s *stopper) interrupted(err error) error {
	if err != nil && errors.Is(context.Cause(s.opening), errInterrupted) {
		return &failure{code: exitStopped, message: "interrupted before the start: nothing was changed", err: err}
	}
	return err
}

func (s *stopper) close() {
	s.release()
	close(s.done)
	s.cancel(nil)
}

func signalName(s os.Signal) string {
	switch s {
	case os.Interrupt:
		return "SIGINT"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return "SIGTERM"
}
