package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

const (
	// stageTries bounds how often one group's call is sent while its error may pass,
	// stagePause is the pause between two, doubled each time.
	stageTries = 5
	stagePause = time.Second
	// stageLook is how often a call that the provider works on is sent again to see
	// how far it is, stageWithin how long that may take: kops writes a whole cluster
	// anew for a changed image.
	stageLook   = 2 * time.Second
	stageWithin = 15 * time.Minute
	// journalTries bounds how often records are written while the journal's error
	// may pass; the pauses add up to half a minute.
	journalTries = 6
)

// stage is one group that gets another release.
type stage struct {
	op             string // of an earlier run that was cut off; empty: none
	groupID, group string
	from, to       model.Release
	downgrade      bool
}

func (s stage) event(k event.Kind) event.Event {
	return event.Event{Kind: k, Op: s.op, Verb: event.VerbStage, Group: s.group, Data: map[string]string{
		"group-id": s.groupID, "from": s.from.ID, "from-name": s.from.Name, "to": s.to.ID, "to-name": s.to.Name,
		"downgrade": strconv.FormatBool(s.downgrade)}} // the same call again must be the same to the letter
}

// stageOf is the stage that an intent or its outcome tells of.
func stageOf(e event.Event) stage {
	return stage{op: e.Op, groupID: e.Data["group-id"], group: e.Group, downgrade: e.Data["downgrade"] == "true",
		from: model.Release{ID: e.Data["from"], Name: e.Data["from-name"]}, to: model.Release{ID: e.Data["to"], Name: e.Data["to-name"]}}
}

// StageError says that a group did not get its release. Groups before it have
// theirs; what they had is in the journal.
type StageError struct {
	Rotation string // whose journal it is in; empty: nothing was changed
	Group    string
	Err      error
	// Others, by name, did not get theirs either: they were staged together with it.
	// The journal says why.
	Others []string
}

func (e *StageError) Error() string {
	text := fmt.Sprintf("group %s: the release could not be staged: %v", e.Group, e.Err)
	if len(e.Others) > 0 {
		text += fmt.Sprintf(" (nor could it for %d more: %s)", len(e.Others), strings.Join(e.Others, ", "))
	}
	return text
}

func (e *StageError) Unwrap() error { return e.Err }

// errStopped says that Options.Stop came while releases were staged.
var errStopped = errors.New("stopped by a signal while releases were staged: the same command goes on with it")

// stager stages releases under the lock, with a journal.
type stager struct {
	r       *Rotator
	port    runtime.Stager
	lock    runtime.Lock
	log     journal.Log
	seq     uint64
	prefix  string                    // of operation ids: of this run alone
	release string                    // as asked for
	spec    string                    // fingerprint of what was asked for
	staged  map[string]*model.Release // by the group's name: what it has now
}

// try has the provider check every stage. Nothing is changed.
func (s *stager) try(ctx context.Context, list []stage) error {
	list = slices.Clone(list)
	for i := range list {
		list[i].op = fmt.Sprintf("%s-dry-%d", s.prefix, i+1)
	}
	for _, turn := range s.turns(list) {
		errs := make([]error, len(turn))
		for a := range s.sendAll(ctx, turn, true) {
			if errors.Is(a.err, errStopped) {
				return &EndError{Result: &engine.Result{Status: engine.StatusStopped, Message: "stopped by a signal while the release was checked: nothing was changed"}}
			}
			errs[a.i] = a.err
		}
		if err := stageError("", turn, errs); err != nil {
			return err
		}
	}
	return nil
}

// run stages the list. All intents are durable BEFORE the first call, so that
// who finds the journal knows what every group had.
func (s *stager) run(ctx context.Context, list []stage) error {
	what := "release " + s.release
	if s.release == "" {
		what = "the releases before"
	}
	records := []event.Event{{Kind: event.ReleaseStaging, Message: fmt.Sprintf("%s for %d group(s) of cluster %s", what, len(list), s.r.opts.Spec.Cluster),
		Data: map[string]string{"cluster": s.r.opts.Spec.Cluster, "spec": s.spec, "release": s.release}}}
	for i := range list {
		if list[i].op == "" {
			list[i].op = fmt.Sprintf("%s-stage-%d", s.prefix, i+1)
			records = append(records, list[i].event(event.OpIntended))
		}
	}
	if err := s.record(ctx, records...); err != nil {
		return err
	}
	for _, turn := range s.turns(list) {
		if err := s.runTurn(ctx, turn); err != nil {
			return err
		}
	}
	return nil
}

// runTurn stages groups at the same time, and records what becomes of each.
func (s *stager) runTurn(ctx context.Context, turn []stage) error {
	var ended error
	errs := make([]error, len(turn))
	for a := range s.sendAll(ctx, turn, false) {
		x := turn[a.i]
		var e event.Event
		switch {
		case a.err == nil:
			x.to = a.release
			e = x.event(event.OpSucceeded)
			e.Message = fmt.Sprintf("release %s, was %s", x.to, x.from)
		case ctx.Err() != nil || errors.Is(a.err, runtime.ErrLockLost):
			return a.err // the intents stay open: the same command goes on with them
		case errors.Is(a.err, errStopped):
			ended = a.err // as above, but others of the turn have begun
			continue
		default:
			errs[a.i] = a.err
			e = x.event(event.OpFailed)
			e.Message = a.err.Error()
		}
		if err := s.record(ctx, e); err != nil {
			return errors.Join(stageError(s.r.journalID, turn, errs), err)
		}
		if a.err == nil {
			if s.staged == nil {
				s.staged = map[string]*model.Release{}
			}
			s.staged[x.group] = &x.to
		}
	}
	return cmp.Or(stageError(s.r.journalID, turn, errs), ended)
}

// stageError is the error of a turn, given those of its stages; nil: there is none.
func stageError(rotation string, turn []stage, errs []error) error {
	var out *StageError
	for i, err := range errs {
		switch {
		case err == nil:
		case out == nil:
			out = &StageError{Rotation: rotation, Group: turn[i].group, Err: err}
		default:
			out.Others = append(out.Others, turn[i].group)
		}
	}
	if out == nil {
		return nil // and not an interface that holds it
	}
	return out
}

// send makes one group's call until it is done or fails for good. Options.Stop ends
// it between two tries with errStopped.
func (s *stager) send(ctx context.Context, x stage, dry bool) (model.Release, error) {
	tries, pause, began := 1, stagePause, time.Now()
	for {
		if err := s.held(); err != nil {
			return model.Release{}, err
		}
		if s.stopped() {
			return model.Release{}, errStopped
		}
		_, staged, done, err := s.port.Stage(ctx, cmp.Or(s.r.id, s.prefix), runtime.StageRequest{Op: x.op, GroupID: x.groupID, Release: x.to.ID, AllowDowngrade: x.downgrade, DryRun: dry})
		wait := stageLook
		switch {
		case err == nil && (done || dry):
			return staged, nil
		case err == nil && time.Since(began) > stageWithin:
			return model.Release{}, fmt.Errorf("the provider still works on it after %s", stageWithin)
		case err != nil && (code(err) != engine.ErrTransient || tries == stageTries):
			return model.Release{}, err
		case err != nil:
			wait = pause
			tries, pause = tries+1, 2*pause
		}
		if err := s.sleep(ctx, wait, s.r.opts.Stop); err != nil {
			return model.Release{}, err
		}
	}
}

// stopped tells whether nothing new is to be begun.
func (s *stager) stopped() bool {
	select {
	case <-s.r.opts.Stop: // nil without one: never
		return true
	default:
		return false
	}
}

// held tells whether the lock is lost: nothing may be changed then.
func (s *stager) held() error {
	if s.lock == nil {
		return nil
	}
	select {
	case <-s.lock.Lost():
		return fmt.Errorf("%w: %w", runtime.ErrLockLost, s.lock.Err())
	default:
		return nil
	}
}

// sleep waits; stop, nil for never, ends it early and without an error.
func (s *stager) sleep(ctx context.Context, d time.Duration, stop <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-stop:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// record makes events durable, then publishes them.
func (s *stager) record(ctx context.Context, events ...event.Event) error {
	seq := s.seq
	for i := range events {
		seq++
		events[i].Seq, events[i].Time, events[i].Rotation = seq, time.Now().UTC(), s.r.id
	}
	pause := stagePause
	for try := 1; ; try++ {
		err := s.log.Append(ctx, events)
		if err == nil {
			break
		}
		if try == journalTries || !journal.Transient(err) {
			return fmt.Errorf("%w: %w", runtime.ErrJournal, err)
		}
		if err := s.sleep(ctx, pause, nil); err != nil { // a stop waits for it: without its records nothing ends in order
			return fmt.Errorf("%w: %w", runtime.ErrJournal, err)
		}
		if err := s.held(); err != nil {
			return err
		}
		pause *= 2
	}
	s.seq = seq
	for _, sink := range s.r.opts.Sinks {
		sink.Publish(events)
	}
	return nil
}

// open opens the journal, once the rotation has its name.
func (s *stager) open(ctx context.Context) (engine.Memory, error) {
	log, err := s.r.openLog(ctx, s.r.journalID, s.lock)
	if err != nil {
		return engine.Memory{}, err
	}
	s.log = log
	s.r.recall(log.Past())
	m := engine.Restore(log.Past())
	s.seq = m.LastSeq
	return m, nil
}

func (s *stager) close(ctx context.Context) error { return s.log.Close(context.WithoutCancel(ctx)) }

func code(err error) engine.ErrorCode {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// stagePlanned stages what the plan says, and what an earlier run began, in the
// journal of the rotation that follows. A result: it ends here.
func (r *Rotator) stagePlanned(ctx context.Context, lock runtime.Lock) (*engine.Result, error) {
	port, err := r.stager()
	if err != nil {
		return nil, err
	}
	s := &stager{r: r, port: port, lock: lock, prefix: freshID(), release: r.opts.Spec.Release, spec: fingerprint(r.opts.Spec)}
	r.name(s.prefix)
	list := stagesOf(r.past.memory.OpenStages())
	for _, g := range r.plan.Groups {
		if g.Staging != nil && !slices.ContainsFunc(list, func(x stage) bool { return x.group == g.Name }) {
			list = append(list, stage{groupID: g.ID, group: g.Name, from: g.Staging.From, to: g.Staging.To, downgrade: r.opts.Spec.AllowDowngrade})
		}
	}
	err = s.try(ctx, list)
	if end, ok := errors.AsType[*EndError](err); ok {
		return end.Result, nil
	}
	if err != nil {
		return nil, r.cannotStage(err)
	}
	if _, err := s.open(ctx); err != nil {
		return nil, err
	}
	err = s.run(ctx, list)
	result := stageResult(err)
	if result != nil {
		err = s.record(context.WithoutCancel(ctx), event.Event{Kind: event.RotationFinished, Code: string(result.Status), Message: result.Message})
	}
	return result, errors.Join(err, s.close(ctx))
}

// cannotStage makes a refusal of what the provider says to a trial.
func (r *Rotator) cannotStage(err error) error {
	var se *StageError
	if c := code(err); !errors.As(err, &se) || c == "" || c == engine.ErrTransient || c == engine.ErrDriverLost {
		return err
	}
	c := "cannot-stage"
	if code(err) == engine.ErrHeld {
		c = "release-held"
	}
	p := r.plan
	if p == nil {
		p = &plan.Plan{Cluster: r.opts.Spec.Cluster}
	}
	p.Refusals = append(p.Refusals, plan.Finding{Code: c, Object: se.Group, Message: se.Error(), Fix: "put right what it names, or leave the group out with --exclude-group, then run the same command again"})
	return &RefusedError{Plan: p}
}

func stagesOf(events []event.Event) []stage {
	var list []stage
	for _, e := range events {
		list = append(list, stageOf(e))
	}
	return list
}

// stageResult is the end that an error of staging means for a rotation; nil:
// none, or not an end of its own.
func stageResult(err error) *engine.Result {
	var se *StageError
	switch {
	case errors.As(err, &se):
		return &engine.Result{Status: engine.StatusFailed, Message: se.Error() + "; no node was touched"}
	case errors.Is(err, errStopped):
		return &engine.Result{Status: engine.StatusStopped, Message: err.Error()}
	}
	return nil
}

// afterStaging is the end of a rotation whose releases are staged and that then
// has nothing to go on with: a refusal must not say that nothing was changed.
func afterStaging(res *engine.Result, err error) (*engine.Result, error) {
	var re *RefusedError
	if errors.As(err, &re) {
		return &engine.Result{Status: engine.StatusFailed, Message: "the groups have their release and no node was touched: " + re.Error()}, nil
	}
	return res, err
}
