package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// Stepper decides: the engine, or a script in tests. Run calls Step from one
// goroutine only.
type Stepper interface {
	Step(now time.Time, in engine.Input) engine.Ready
}

var _ Stepper = (*engine.Engine)(nil)

// Options of a run. All fields without a stated default are required.
type Options struct {
	// Rotation is the rotation's id; it goes with every call of the driver.
	Rotation string
	Engine   Stepper
	Provider Provider
	// Cluster must have been started.
	Cluster Cluster
	Journal Journal
	// Lock is held by the caller, who gives it back afterwards. Nil: the caller
	// has other means to keep the rotation the only one.
	Lock Lock
	// Sinks receive all events; none is fine.
	Sinks []Sink
	// Initial is what the first Step gets: the cluster's inventory, from which
	// on Cluster.Changes delivers, and the driver's snapshot.
	Initial engine.Input
	// Stop, once closed, asks the engine to end early and tidily. Nil: never.
	Stop <-chan struct{}
	// Abort, once closed, asks the engine to take everything back and to end,
	// however long that takes. Nil: never.
	Abort <-chan struct{}
	// ProviderTimeout bounds one call of the driver from outside, restarts of
	// the driver included; the Provider's own deadlines are shorter. Default 15m.
	ProviderTimeout time.Duration
	Log             *slog.Logger // default: none
}

const (
	defaultProviderTimeout = 15 * time.Minute
	// clusterTimeout bounds a call to the API server from outside. Adapters use
	// shorter ones (30 s).
	clusterTimeout = time.Minute
	// grace is how long effects in flight get to end once nothing new is to be
	// started: CI runners kill soon after their first signal.
	grace = 5 * time.Second
	// cancelled is how long effects get to notice that they were cut off.
	cancelled = time.Second
	// journalPause is how long a journal that cannot be written is left before the
	// next try, doubled each time up to journalPauseMost.
	journalPause     = 250 * time.Millisecond
	journalPauseMost = 5 * time.Second
	// journalPatience bounds those tries where there is no lock whose end does: an
	// API server that restarts is back within a minute or two.
	journalPatience = 5 * time.Minute
	// minWake keeps an engine that asks to be woken in the past from spinning.
	minWake = time.Millisecond
)

// ErrJournal says that records could not be made durable. Nothing that they
// were to precede was started.
var ErrJournal = errors.New("the journal cannot be written")

// ErrLockLost says that the lock was lost. Nothing was started since; what was
// in flight was cut off, and may land late without harm: calls state goals.
var ErrLockLost = errors.New("the lock was lost")

// Run runs the engine to its end and returns its result. For each Step it
// makes the durable records durable, publishes all records, and only THEN
// starts the effects; their outcomes, the driver's snapshots, changes of the
// cluster, the time that the engine asked for and Options.Stop are the inputs
// of the next Step.
//
// While the journal cannot be written for a reason that may pass (its error is
// transient), Run waits: nothing new starts, and the same records are tried
// again as long as the lock is valid.
//
// An error means that the rotation did not reach an end of its own: the
// journal failed (ErrJournal), the lock was lost (ErrLockLost), or ctx ended
// (its error). Effects in flight get a few seconds to end and are then cut off,
// with the lock lost at once; calls state goals, so that the same rotation can
// be taken up again.
func Run(ctx context.Context, o Options) (*engine.Result, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ProviderTimeout <= 0 {
		o.ProviderTimeout = defaultProviderTimeout
	}
	first := o.Initial
	o.Initial = engine.Input{} // the pods of a whole cluster, which nobody needs again
	r := &runner{
		Options: o,
		stop:    o.Stop,
		abort:   o.Abort,
		fan:     newFanOut(o.Sinks, o.Log),
		fx:      newExecutor(context.WithoutCancel(ctx), o),
	}
	defer r.fan.close()
	defer r.fx.close()
	return r.loop(ctx, first)
}

type runner struct {
	Options
	stop  <-chan struct{} // nil once delivered
	abort <-chan struct{} // nil once delivered
	fan   *fanOut
	fx    *executor
	said  map[finding]bool
}

func (r *runner) loop(ctx context.Context, in engine.Input) (*engine.Result, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	r.takeStop(&in)
	for {
		// A context that ended wins over whatever else is ready.
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("rotation %s was cut off: %w", r.Rotation, err)
		}
		if err := r.lockLost(); err != nil {
			return nil, err
		}
		ready := r.Engine.Step(time.Now(), in)
		if err := r.keep(ctx, ready.Records); err != nil {
			return nil, err
		}
		r.fan.publish(ready.Records)
		if ready.Done != nil {
			return ready.Done, nil
		}
		r.fx.start(ready.Effects)
		var err error
		if in, err = r.wait(ctx, ready.WakeAt, timer); err != nil {
			if errors.Is(err, ErrLockLost) {
				return nil, err
			}
			return nil, fmt.Errorf("rotation %s was cut off: %w", r.Rotation, err)
		}
	}
}

// lost is closed when the lock is lost; nil, which never is, without a lock.
func (r *runner) lost() <-chan struct{} {
	if r.Lock == nil {
		return nil
	}
	return r.Lock.Lost()
}

// lockLost cuts off what is in flight once the lock is lost.
func (r *runner) lockLost() error {
	select {
	case <-r.lost():
		r.fx.cut()
		return fmt.Errorf("rotation %s stopped and nothing new was started: %w: %w", r.Rotation, ErrLockLost, r.Lock.Err())
	default:
		return nil
	}
}

// keep makes the durable ones of the records durable. It MUST return before
// any effect of their Step is started.
func (r *runner) keep(ctx context.Context, records []event.Event) error {
	var durable []event.Event
	for _, e := range records {
		if e.Kind.Durable() {
			durable = append(durable, e)
		}
	}
	if len(durable) == 0 {
		return nil
	}
	var began time.Time // of the tries; zero: this is the first
	stop, patience := r.stop, journalPatience
	if r.Lock != nil {
		patience = 0 // the lock's end bounds them
	}
	for pause := journalPause; ; pause = min(2*pause, journalPauseMost) {
		err := r.Journal.Append(ctx, durable)
		if err == nil {
			if !began.IsZero() {
				r.Log.Warn("the journal can be written again", "after", time.Since(began).Round(time.Millisecond))
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("rotation %s was cut off: %w", r.Rotation, ctx.Err())
		}
		if began.IsZero() {
			began = time.Now()
		}
		if !transient(err) || patience > 0 && time.Since(began) >= patience {
			return fmt.Errorf("rotation %s stopped and nothing new was started: %w: %w", r.Rotation, ErrJournal, err)
		}
		r.Log.Warn("the journal cannot be written: nothing new starts until it can", "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-r.lost():
		case <-stop:
			// Nothing can be put back without a record; a CI runner waits for seconds.
			stop, patience = nil, time.Since(began)+grace
		}
		timer.Stop()
		if err := r.lockLost(); err != nil {
			return err
		}
	}
}

// transient tells whether the error says of itself that it may pass.
func transient(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Transient() bool
	}](err)
	return ok && t.Transient()
}

// wait blocks until there is an input, or until wake has come, and returns all
// that is there at that moment.
func (r *runner) wait(ctx context.Context, wake time.Time, timer *time.Timer) (engine.Input, error) {
	timer.Stop()
	if !wake.IsZero() {
		timer.Reset(max(time.Until(wake), minWake))
	}
	var in engine.Input
	changes := r.Cluster.Changes()
	select {
	case <-ctx.Done():
		return in, ctx.Err()
	case <-r.lost():
		return in, r.lockLost()
	case <-r.stop:
		r.takeStop(&in)
	case <-r.abort:
		in.Undo, r.abort = true, nil
	case <-timer.C:
	case c := <-changes:
		takeChanges(&in, c)
		changes = nil // one value of it for each Step: the cluster merges the rest
	case res := <-r.fx.results:
		r.takeResult(&in, res)
	}
	// What else is there goes along: a Step for each of a hundred evictions
	// would decide on stale counts. Each of the turns takes something away.
	for {
		select {
		case <-r.stop:
			r.takeStop(&in)
		case <-r.abort:
			in.Undo, r.abort = true, nil
		case c := <-changes:
			takeChanges(&in, c)
			changes = nil
		case res := <-r.fx.results:
			r.takeResult(&in, res)
		default:
			return in, nil
		}
	}
}

// takeStop sets in.Stop if a stop was asked for and was not delivered yet.
func (r *runner) takeStop(in *engine.Input) {
	select {
	case <-r.stop:
		in.Stop, r.stop = true, nil
	default:
	}
}

func takeChanges(in *engine.Input, c engine.Input) {
	in.Nodes, in.NodesGone = c.Nodes, c.NodesGone
	in.Pods, in.PodsGone = c.Pods, c.PodsGone
	in.Workloads, in.WorkloadsGone = c.Workloads, c.WorkloadsGone
	in.Budgets, in.BudgetsGone = c.Budgets, c.BudgetsGone
	in.Deployments, in.DeploymentsGone = c.Deployments, c.DeploymentsGone
	in.Autoscalers, in.AutoscalersGone = c.Autoscalers, c.AutoscalersGone
	in.Attachments, in.AttachmentsGone = c.Attachments, c.AttachmentsGone
	in.Claims, in.ClaimsGone = c.Claims, c.ClaimsGone
}

func (r *runner) takeResult(in *engine.Input, res result) {
	r.fx.ended(res)
	in.Outcomes = append(in.Outcomes, res.outcome)
	if res.snapshot != nil {
		in.Snapshot = res.snapshot // of two, the one that came last
	}
	r.say(res.found)
}

// finding is what tells two diagnostics apart.
type finding struct{ code, object string }

// maxFindings bounds what say remembers; a driver that finds more repeats
// itself in the log, which is all that happens.
const maxFindings = 1000

// say logs each diagnostic of the driver once: Observe repeats them.
func (r *runner) say(found []model.Diagnostic) {
	for _, d := range found {
		f := finding{d.Code, d.Object}
		if r.said[f] {
			continue
		}
		if r.said == nil || len(r.said) >= maxFindings {
			r.said = map[finding]bool{}
		}
		r.said[f] = true
		level := slog.LevelInfo
		switch d.Severity {
		case model.SeverityError:
			level = slog.LevelError
		case model.SeverityWarning:
			level = slog.LevelWarn
		case model.SeverityInfo:
		}
		r.Log.Log(context.Background(), level, d.Summary, "code", d.Code, "object", d.Object, "detail", d.Detail)
	}
}
