package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// Staging says what staging a release did to each selected group, or would do.
type Staging struct {
	ID      string // of its journal; empty: nothing was recorded, for there was nothing to do
	Release string // as asked for; empty: what the groups had before
	Groups  []StagedGroup
	// Diagnostics are the driver's findings about the whole.
	Diagnostics []model.Diagnostic
}

// StagedGroup is one group of a Staging.
type StagedGroup struct {
	Group string        `json:"group"`
	From  model.Release `json:"from"`
	To    model.Release `json:"to"`
	// Status is what became of it.
	Status StagedStatus `json:"status"`
	Note   string       `json:"note,omitempty"` // for a person
}

// StagedStatus is what became of a group.
type StagedStatus string

// What becomes of groups.
const (
	GroupCurrent StagedStatus = "current" // it has the release
	GroupPlanned StagedStatus = "planned" // it would get it
	GroupStaged  StagedStatus = "staged"
	GroupLeft    StagedStatus = "left alone" // Note says why
)

// Changes counts the groups that get another release.
func (s *Staging) Changes() int {
	n := 0
	for _, g := range s.Groups {
		if g.Status == GroupPlanned || g.Status == GroupStaged {
			n++
		}
	}
	return n
}

// StageRelease makes o.Spec.Release (empty: the latest) the desired revision of
// the groups that o.Spec selects, and replaces nothing. It takes the lock and
// keeps what the groups had in a journal of its own, for RollbackRelease; a run
// that was cut off is finished by the same call. With dryRun everything is
// checked and nothing changed. An *EndError says that it began and is not done;
// the answer then tells how far it came. The other errors are those of Run.
func StageRelease(ctx context.Context, o Options, dryRun bool) (*Staging, error) {
	if o.Spec.Release == "" {
		o.Spec.Release = latest
	}
	return stageWith(ctx, o, dryRun, "stage", func(ctx context.Context, r *Rotator, _ map[string]bool) ([]stage, *Staging, error) {
		return r.wanted(ctx)
	})
}

// RollbackRelease stages what the selected groups had before the newest staging
// that gave them what they have; asked for again, it goes back and forth between
// the two. With to, the id of a release, groups that had it by the journal get
// it. Groups about which the journal says nothing are left alone. Otherwise it
// is as StageRelease.
func RollbackRelease(ctx context.Context, o Options, to string, dryRun bool) (*Staging, error) {
	o.Spec.Release = ""
	return stageWith(ctx, o, dryRun, "rollback "+to, func(ctx context.Context, r *Rotator, done map[string]bool) ([]stage, *Staging, error) {
		return r.earlier(ctx, to, done)
	})
}

// decide says which groups get which release, and what becomes of the others.
// done are those, by name, that an earlier run of the same call has staged.
type decide func(ctx context.Context, r *Rotator, done map[string]bool) ([]stage, *Staging, error)

func stageWith(ctx context.Context, o Options, dryRun bool, what string, decide decide) (*Staging, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Rotator{opts: o}
	defer r.Close()
	if err := r.openProvider(ctx); err != nil {
		return nil, err
	}
	port, err := r.stager()
	if err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	s := &stager{r: r, port: port, prefix: freshID(), release: o.Spec.Release, spec: stagingSpec(o.Spec, what)}
	look := func() ([]stage, *Staging, error) {
		if err := s.find(ctx); err != nil {
			return nil, nil, err
		}
		list, out, err := decide(ctx, r, r.past.memory.Staged)
		if err != nil {
			return nil, nil, err
		}
		list, out.Groups = takeOpen(r.past.memory.OpenStages(), list, out.Groups)
		return list, out, nil
	}
	// Once without the lock: who only looks, or has nothing to do, needs none.
	list, out, err := look()
	if err == nil {
		if err = s.try(ctx, list); err != nil {
			return nil, r.cannotStage(err)
		}
	}
	if err != nil || dryRun || len(list) == 0 && !r.past.cutOff() {
		return out, err
	}
	res, err := r.locked(ctx, func(lock runtime.Lock) (*engine.Result, error) {
		var err error
		s.lock = lock
		if list, out, err = look(); err != nil {
			return nil, err
		}
		return s.alone(ctx, list)
	})
	if out != nil && s.seq > 0 { // something is recorded
		out.ID = r.journalID
		s.fill(out)
	}
	if err == nil && res != nil && res.Status != engine.StatusDone {
		err = &EndError{Result: res}
	}
	return out, err
}

// EndError is the end of a staging that is not done: it was stopped, or failed.
type EndError struct{ Result *engine.Result }

func (e *EndError) Error() string { return e.Result.Message }

// alone stages the list in a journal of its own.
func (s *stager) alone(ctx context.Context, list []stage) (*engine.Result, error) {
	s.r.name(s.prefix)
	if _, err := s.open(ctx); err != nil {
		return nil, err
	}
	err := s.run(ctx, list)
	result := stageResult(err)
	if err == nil {
		result = &engine.Result{Status: engine.StatusDone, Message: fmt.Sprintf("%d group(s) have another release", len(list))}
	}
	if result != nil {
		err = s.record(context.WithoutCancel(ctx), event.Event{Kind: event.RotationFinished, Code: string(result.Status), Message: result.Message})
	}
	return result, errors.Join(err, s.close(ctx))
}

// fill says what became of the groups.
func (s *stager) fill(out *Staging) {
	for i := range out.Groups {
		if g := &out.Groups[i]; s.staged[g.Group] != nil {
			g.Status, g.To = GroupStaged, *s.staged[g.Group]
		}
	}
}

// find looks for the journal of the same call that was cut off.
func (s *stager) find(ctx context.Context) error {
	s.r.past = past{}
	store, err := s.r.store(s.lock)
	if err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrJournal, err)
	}
	entries, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("%w: listing the rotations of cluster %s: %w", runtime.ErrJournal, s.r.opts.Spec.Cluster, err)
	}
	for _, e := range entries {
		if e.Spec != s.spec {
			continue
		}
		if e.Status != journal.Unfinished && e.Status != string(engine.StatusStopped) || time.Since(e.Modified) > takeUpWithin {
			return nil // the newest has ended, or is history
		}
		events, err := store.Read(ctx, e.Rotation)
		if err != nil {
			return fmt.Errorf("reading the journal of rotation %s: %w", e.Rotation, err)
		}
		s.r.past = past{rotation: e.Rotation, memory: engine.Restore(events)}
		return nil
	}
	return nil
}

// takeOpen puts what an earlier run began, under its own ids, before what was
// decided for other groups.
func takeOpen(open []event.Event, list []stage, groups []StagedGroup) ([]stage, []StagedGroup) {
	begun := stagesOf(open)
	for _, x := range begun {
		list = slices.DeleteFunc(list, func(y stage) bool { return y.group == x.group })
		g := StagedGroup{Group: x.group, From: x.from, To: x.to, Status: GroupPlanned, Note: "an earlier run began it"}
		if i := slices.IndexFunc(groups, func(g StagedGroup) bool { return g.Group == x.group }); i >= 0 {
			groups[i] = g
		} else {
			groups = append(groups, g)
		}
	}
	return append(begun, list...), groups
}

// stagingSpec tells whether two calls want the same.
func stagingSpec(spec plan.Spec, what string) string {
	sum := sha256.Sum256([]byte(what + " " + fingerprint(spec)))
	return "stage-" + hex.EncodeToString(sum[:8])
}

// selected observes all groups, and returns the selected ones and their releases.
func (r *Rotator) selected(ctx context.Context) ([]model.NodeGroup, *Releases, error) {
	s, diagnostics, err := r.provider.Observe(ctx, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("looking at cluster %s through driver %s: %w", r.opts.Spec.Cluster, r.opts.Spec.Driver.Name, err)
	}
	r.inventory.Groups = s.Groups
	groups, err := plan.Selected(r.opts.Spec, s.Groups)
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	for _, g := range groups {
		if g.Traits.Stage {
			ids = append(ids, g.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil, &RefusedError{Plan: &plan.Plan{Cluster: r.opts.Spec.Cluster, Refusals: []plan.Finding{{Code: "cannot-stage", Object: groups[0].Name,
			Message: fmt.Sprintf("the driver can give none of the %d selected group(s) another release", len(groups)),
			Fix:     "change their image by the means that made them"}}}}
	}
	rel, err := r.releases(ctx, ids)
	if err == nil {
		rel.Diagnostics = append(diagnostics, rel.Diagnostics...)
	}
	return groups, rel, err
}

// wanted are the groups that lack the release.
func (r *Rotator) wanted(ctx context.Context) ([]stage, *Staging, error) {
	groups, rel, err := r.selected(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := &Staging{Release: rel.Release, Diagnostics: rel.Diagnostics}
	var list []stage
	var refusals []plan.Finding
	for _, g := range groups {
		i := slices.IndexFunc(rel.Groups, func(x model.GroupRelease) bool { return x.GroupID == g.ID })
		if i < 0 {
			out.Groups = append(out.Groups, StagedGroup{Group: g.Name, From: model.Release{ID: g.Revision}, To: model.Release{ID: g.Revision},
				Status: GroupLeft, Note: "the driver cannot give it another release"})
			continue
		}
		x := &rel.Groups[i]
		refusals = append(refusals, plan.CheckRelease(x, g.HeldBy, r.opts.Spec.AllowDowngrade)...)
		switch {
		case x.Target == nil: // refused
		case x.Order == model.ReleaseSame:
			out.Groups = append(out.Groups, StagedGroup{Group: g.Name, From: x.Current, To: *x.Target, Status: GroupCurrent})
		default:
			out.Groups = append(out.Groups, StagedGroup{Group: g.Name, From: x.Current, To: *x.Target, Status: GroupPlanned, Note: string(x.Order)})
			list = append(list, stage{groupID: g.ID, group: g.Name, from: x.Current, to: *x.Target, downgrade: r.opts.Spec.AllowDowngrade})
		}
	}
	if len(refusals) > 0 {
		return nil, nil, &RefusedError{Plan: &plan.Plan{Cluster: r.opts.Spec.Cluster, Refusals: refusals}}
	}
	return list, out, nil
}

// earlier are the groups that had another release before, by the journal.
func (r *Rotator) earlier(ctx context.Context, to string, done map[string]bool) ([]stage, *Staging, error) {
	groups, rel, err := r.selected(ctx)
	if err != nil {
		return nil, nil, err
	}
	history, unread, err := r.history(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := &Staging{Diagnostics: append(rel.Diagnostics, unread...)}
	var list []stage
	var refusals []plan.Finding
	for _, x := range rel.Groups {
		g := groups[slices.IndexFunc(groups, func(g model.NodeGroup) bool { return g.ID == x.GroupID })]
		i := slices.IndexFunc(history, func(h stage) bool {
			return h.group == g.Name && h.from.ID != h.to.ID && (to == "" && h.to.ID == x.Current.ID || to != "" && h.from.ID == to)
		})
		left := StagedGroup{Group: g.Name, From: x.Current, To: x.Current, Status: GroupLeft}
		switch {
		case done[g.Name] || to != "" && x.Current.ID == to:
			left.Status = GroupCurrent
			out.Groups = append(out.Groups, left)
			continue
		case i < 0 && to != "":
			left.Note = "by the journal it never had release " + to
			out.Groups = append(out.Groups, left)
			continue
		case i < 0:
			left.Note = "the journal does not know what it had before"
			out.Groups = append(out.Groups, left)
			continue
		case g.HeldBy != "":
			refusals = append(refusals, plan.CheckRelease(&model.GroupRelease{Group: g.Name, Current: x.Current, Target: &history[i].from, Order: model.ReleaseUnknown}, g.HeldBy, true)...)
		}
		out.Groups = append(out.Groups, StagedGroup{Group: g.Name, From: x.Current, To: history[i].from, Status: GroupPlanned})
		list = append(list, stage{groupID: g.ID, group: g.Name, from: x.Current, to: history[i].from, downgrade: true})
	}
	if !slices.ContainsFunc(out.Groups, func(g StagedGroup) bool { return g.Status != GroupLeft }) {
		refusals = append(refusals, r.nothingBefore(to, out))
	}
	if len(refusals) > 0 {
		return nil, nil, &RefusedError{Plan: &plan.Plan{Cluster: r.opts.Spec.Cluster, Refusals: refusals}}
	}
	return list, out, nil
}

// nothingBefore refuses a rollback of which no group knows what to go back to: who
// asks for one must not take its end for success.
func (r *Rotator) nothingBefore(to string, out *Staging) plan.Finding {
	f := plan.Finding{Code: "nothing-before", Object: r.opts.Spec.Cluster, Message: "the journal knows of none of the selected groups what it had before",
		Fix: "stage the release that you mean: rotatord release apply --release RELEASE --allow-downgrade"}
	if to != "" {
		f.Message = fmt.Sprintf("by the journal none of the selected groups ever had release %s", to)
		f.Fix = "check its id; what is not in the journal can be staged all the same: rotatord release apply --release RELEASE --allow-downgrade"
	}
	for _, d := range out.Diagnostics {
		if d.Code == "journal-unreadable" {
			f.Message += "; " + d.Summary + ": " + d.Detail
		}
	}
	return f
}

// history is what the journals of the cluster say about staged releases, the
// newest first. A journal that cannot be read is passed over, and a warning.
func (r *Rotator) history(ctx context.Context) ([]stage, []model.Diagnostic, error) {
	store, err := r.store(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", runtime.ErrJournal, err)
	}
	entries, err := store.List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: listing the rotations of cluster %s: %w", runtime.ErrJournal, r.opts.Spec.Cluster, err)
	}
	var out []stage
	var unread []model.Diagnostic
	for _, e := range entries {
		if e.Cluster != "" && e.Cluster != r.opts.Spec.Cluster {
			continue
		}
		events, err := store.Read(ctx, e.Rotation)
		if err != nil {
			unread = append(unread, model.Diagnostic{Severity: model.SeverityWarning, Code: "journal-unreadable", Object: e.Rotation,
				Summary: fmt.Sprintf("the journal of rotation %s cannot be read: what it says about releases is not known", e.Rotation), Detail: err.Error()})
			continue
		}
		for _, ev := range slices.Backward(events) {
			// The intent counts too: the provider may have got it, and the answer lost.
			if ev.Verb == event.VerbStage && (ev.Kind == event.OpIntended || ev.Kind == event.OpSucceeded) {
				out = append(out, stageOf(ev))
			}
		}
	}
	return out, unread, nil
}
