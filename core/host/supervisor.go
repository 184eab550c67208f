package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// maxFailures within failureWindow, and the driver is lost: a crash at every
	// call is not cured by more of them, while one in an hour should not end a
	// rotation of a thousand nodes.
	maxFailures   = 5
	failureWindow = 10 * time.Minute
	// The pause before a restart doubles with each failure within the window.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// supervisor keeps one driver running: it starts a new process when the old one
// has died and somebody needs it, and gives up on one that keeps dying.
type supervisor struct {
	c      Candidate
	o      Options
	config []byte
	env    []string
	mask   masker
	log    hclog.Logger
	verbs  []string // as of Info; set before the first call

	closing context.Context // ends with close
	stop    context.CancelFunc

	// lock guards what follows. It is a channel, because a caller gives up
	// waiting for it when its own context ends.
	lock     chan struct{}
	life     *process // nil: none
	failures []time.Time
	lost     *engine.Error
}

func newSupervisor(c Candidate, o Options, config []byte, env []string) *supervisor {
	s := &supervisor{
		c: c, o: o, config: config,
		env:  append(env, sdk.EnvLogLevel+"="+o.Log.GetLevel().String()),
		mask: newMasker(secrets(env, o.Config)),
		log:  o.Log.Named("driver." + c.Name),
		lock: make(chan struct{}, 1),
	}
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// current returns a process that runs and is configured. It starts one when the
// last has died. The error is an *engine.Error.
func (s *supervisor) current(ctx context.Context) (*process, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, s.gaveUp(ctx)
	}
	if s.closing.Err() != nil {
		return nil, &engine.Error{Code: engine.ErrDriverLost, Message: fmt.Sprintf("driver %s has been closed", s.c.Name)}
	}
	if s.lost != nil {
		return nil, s.lost
	}
	if s.life != nil {
		if s.life.exe.alive() {
			return s.life, nil
		}
		err := &Error{Code: CodeStart, Message: fmt.Sprintf("driver %s crashed: %s", s.c.Name, s.life.exe.end())}
		if lines := s.life.exe.lastWords(); len(lines) > 0 {
			err.Message += "; the last it said:" + indent(lines)
		}
		s.life.close()
		s.life = nil
		if err := s.failed(err); err != nil {
			return nil, err
		}
	}
	if err := s.pause(ctx); err != nil {
		return nil, err
	}
	p, err := s.restart(ctx)
	if err != nil {
		if ctx.Err() != nil { // not the driver's fault
			return nil, s.gaveUp(ctx)
		}
		if err := s.failed(err); err != nil {
			return nil, err
		}
		return nil, &engine.Error{Code: engine.ErrTransient, Message: "restart: " + err.Error()}
	}
	s.log.Info("restarted", "path", s.c.Path)
	s.life = p
	return p, nil
}

// restart starts and configures a new life. The executable is verified again.
func (s *supervisor) restart(ctx context.Context) (*process, error) {
	p, err := startProcess(ctx, s.c, s.o, s.env, s.mask, s.log)
	if err != nil {
		return nil, err
	}
	if _, err := s.configure(ctx, p, false); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// failed counts a crash or a failed start. It returns an error once there were
// too many; then the driver is lost for good.
func (s *supervisor) failed(cause error) error {
	now := time.Now()
	recent := s.failures[:0]
	for _, t := range s.failures {
		if now.Sub(t) < failureWindow {
			recent = append(recent, t)
		}
	}
	s.failures = append(recent, now)
	s.log.Error("driver failed", "failures", len(s.failures), "within", failureWindow, "error", cause)
	if len(s.failures) < maxFailures {
		return nil
	}
	lost := &Error{
		Code:    CodeLost,
		Message: fmt.Sprintf("driver %s failed %d times within %v and is not started again; last: %v", s.c.Name, len(s.failures), failureWindow, cause),
	}
	s.lost = &engine.Error{Code: engine.ErrDriverLost, Message: lost.Error()}
	return s.lost
}

// pause waits before a restart: the longer, the more failures there were, with
// jitter, so that drivers of many rotations that lost one provider at once do
// not come back at once.
func (s *supervisor) pause(ctx context.Context) error {
	d := backoff(len(s.failures), rand.Float64())
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return s.gaveUp(ctx)
	case <-s.closing.Done():
		return &engine.Error{Code: engine.ErrDriverLost, Message: fmt.Sprintf("driver %s has been closed", s.c.Name)}
	}
}

// backoff is the pause after n failures; chance is in [0, 1). It lies between
// half and the whole of a value that doubles with each failure.
func backoff(n int, chance float64) time.Duration {
	d := firstBackoff
	for i := 1; i < n && d < maxBackoff; i++ {
		d *= 2
	}
	d = min(d, maxBackoff)
	return d/2 + time.Duration(chance*float64(d/2))
}

func (s *supervisor) gaveUp(ctx context.Context) error {
	return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("driver %s: %v while it was waited for", s.c.Name, context.Cause(ctx))}
}

// close ends the driver for good.
func (s *supervisor) close() {
	s.stop()
	s.lock <- struct{}{}
	defer func() { <-s.lock }()
	if s.life != nil {
		s.life.close()
		s.life = nil
	}
}
