package report

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// Fold makes a Summary from events. It implements the runtime's Sink. The zero
// value is ready to use; it is safe for concurrent use.
type Fold struct {
	mu   sync.Mutex
	s    Summary
	seq  uint64
	last time.Time
	// begun is when the newest run began, spent the time of those before it.
	begun time.Time
	spent time.Duration

	groups     map[string]*Group
	order      []*Group
	operations map[string]*Operations
	budgets    map[string]int
	blocked    map[string]*Blocked // by node
	blockOrder []*Blocked
	nodeGroup  map[string]string    // node to group: evictions name the node only
	evicted    map[string]int       // node to evictions counted so far
	launched   map[string]time.Time // instance to launch
	draining   map[string]time.Time // instance to start of the drain
	// quarantined instances, of which none was tried once more.
	quarantined map[string]bool
}

// Publish folds events in. Events that were folded already, by their sequence
// number, are skipped, so that a replay may overlap.
func (f *Fold) Publish(events []event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if e.Seq != 0 && e.Seq <= f.seq {
			continue
		}
		f.seq = max(f.seq, e.Seq)
		f.apply(e)
	}
}

// Summary returns a copy of what the events so far amount to.
func (f *Fold) Summary() Summary {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.s
	s.Status = cmp.Or(s.Status, "running")
	end := f.last
	if !s.Finished.IsZero() {
		end = s.Finished
	}
	if !s.Started.IsZero() {
		s.Seconds = (f.spent + end.Sub(cmp.Or(f.begun, s.Started))).Seconds()
	}
	// Lists are never nil, so that their JSON is [] and not null.
	s.Groups, s.Blocked = []Group{}, []Blocked{}
	for _, g := range f.order {
		c := *g
		if c.Status == "running" {
			c.Seconds = c.seconds(end)
		}
		s.Groups = append(s.Groups, c)
	}
	for _, b := range f.blockOrder {
		c := *b
		if f.blocked[c.Node] == b {
			c.Seconds = end.Sub(c.since).Seconds()
		}
		s.Blocked = append(s.Blocked, c)
	}
	s.Releases = slices.Clone(s.Releases)
	s.Quarantines = append([]Trouble{}, s.Quarantines...)
	s.Failures = append([]Trouble{}, s.Failures...)
	s.Operations, s.Budgets = []Operations{}, []Budget{}
	for _, o := range f.operations {
		s.Operations = append(s.Operations, *o)
	}
	slices.SortFunc(s.Operations, func(a, b Operations) int { return cmp.Compare(a.Verb, b.Verb) })
	for b, n := range f.budgets {
		s.Budgets = append(s.Budgets, Budget{b, n})
	}
	slices.SortFunc(s.Budgets, func(a, b Budget) int {
		return cmp.Or(cmp.Compare(b.Refused, a.Refused), cmp.Compare(a.Budget, b.Budget))
	})
	s.Budgets = s.Budgets[:min(len(s.Budgets), maxListed)]
	return s
}

// group returns the fold of a group. Events without a group are counted for
// the rotation only.
func (f *Fold) group(name string) *Group {
	if name == "" {
		return &Group{}
	}
	if f.groups == nil {
		f.groups = map[string]*Group{}
	}
	g := f.groups[name]
	if g == nil {
		g = &Group{Name: name, Status: "running"}
		f.groups[name] = g
		f.order = append(f.order, g)
	}
	return g
}

func (f *Fold) apply(e event.Event) {
	if e.Kind == event.RotationStarted {
		f.begin(e)
	}
	f.last = e.Time
	if f.s.Rotation == "" {
		f.s.Rotation = e.Rotation
	}
	if f.s.Started.IsZero() {
		f.s.Started = e.Time
	}
	name := e.Group
	if e.Verb == event.VerbStage {
		name = "" // a group that gets a release is not yet one that is rotated
	}
	g := f.group(name)
	switch e.Kind {
	case event.RotationStarted:
		f.s.Cluster, f.s.Mode = e.Data["cluster"], e.Data["mode"]
	case event.RotationFinished:
		f.s.Status, f.s.Message, f.s.Finished = e.Code, e.Message, e.Time
	case event.RotationStopping:
		f.s.Message = e.Message
	case event.GroupStarted:
		g.started, g.Status, g.Message = e.Time, "running", ""
		g.Planned = g.Replaced + number(e, "nodes")
	case event.GroupHalted:
		g.Status, g.Message = "halted", e.Message
		g.Seconds = g.seconds(e.Time)
		f.trouble(&f.s.Failures, e)
	case event.GroupFinished:
		if g.Status != "halted" {
			g.Status = "done"
		}
		g.Seconds = g.seconds(e.Time)
	case event.GroupResized:
		g.Resized++
	case event.OpIntended, event.OpSucceeded, event.OpFailed, event.OpRetried:
		f.operation(e)
	case event.ReplacementLaunched:
		g.Launched++
		f.s.Launched++
		keep(&f.launched, e.Instance, e.Time)
	case event.ReplacementReady:
		d := seconds(e, "boot-seconds", f.launched[e.Instance])
		g.Boot.add(d)
		f.s.Boot.add(d)
	case event.ReplacementBad:
		g.Bad++
		f.s.Bad++
		f.trouble(&f.s.Failures, e)
	case event.NodeDraining:
		f.releases(g, e) // tried once more
		keep(&f.draining, e.Instance, e.Time)
		keep(&f.nodeGroup, e.Node, e.Group)
	case event.NodeDrained:
		d := seconds(e, "seconds", f.draining[e.Instance])
		f.s.Drained++
		// Evictions have no durable events: a journal has their number only here.
		if missed := number(e, "evicted") - f.evicted[e.Node]; missed > 0 {
			f.s.Evicted += missed
			g.Evicted += missed
		}
		delete(f.evicted, e.Node)
		g.Drain.add(d)
		f.s.Drain.add(d)
		f.unblock(e, true)
	case event.NodeBlocked, event.DeadlinePassed:
		f.block(e)
	case event.NodeQuarantined:
		f.releases(g, e)
		keep(&f.quarantined, e.Instance, true)
		g.Quarantined++
		f.s.Quarantined++
		f.trouble(&f.s.Quarantines, e)
		f.unblock(e, false)
	case event.NodeReplaced:
		f.releases(g, e)
		g.Replaced++
		f.s.Replaced++
		switch e.Code {
		case "by-others":
			f.s.ByOthers++
		case "rolled", "unwatched": // nobody saw the node's drain
		default:
			f.s.Replace.add(seconds(e, "seconds", f.draining[e.Instance]))
		}
		f.unblock(e, true)
	case event.PodEvicted:
		f.s.Evicted++
		keep(&f.evicted, e.Node, f.evicted[e.Node]+1)
		f.group(cmp.Or(e.Group, f.nodeGroup[e.Node])).Evicted++
	case event.EvictionRefused:
		f.s.Refused++
		f.group(cmp.Or(e.Group, f.nodeGroup[e.Node])).Refused++
		if e.Budget != "" {
			if f.budgets == nil {
				f.budgets = map[string]int{}
			}
			f.budgets[e.Budget]++
		}
	case event.GateFailed:
		f.trouble(&f.s.Failures, e)
	case event.ReleaseStaging:
		f.s.Cluster = e.Data["cluster"]
	case event.PlanWarned, event.WindowClosed, event.GroupRolling, event.GroupRolled, event.GroupPlanned, event.CanaryPassed, event.NodeQuiesced, event.Waiting, event.DrainWaits, event.GroupWaits, event.StillDraining, event.DrainPostponed, event.PodOverridden,
		event.WorkloadMoving, event.WorkloadMoved:
		// Nothing to count: progress lines tell them.
	}
}

// begin takes the start of a run. One that goes on with the rotation plans what
// is left of it, the nodes that an earlier run gave up included.
func (f *Fold) begin(e event.Event) {
	if !f.begun.IsZero() {
		f.spent += f.last.Sub(f.begun)
	}
	f.begun = e.Time
	f.s.Planned = f.s.Replaced + number(e, "nodes")
	f.s.Status, f.s.Message, f.s.Finished = "", "", time.Time{}
	f.s.Quarantined, f.s.Quarantines, f.quarantined = 0, nil, nil
	for _, g := range f.order {
		g.spent = g.seconds(f.last)
		g.started, g.Quarantined = time.Time{}, 0
	}
}

func (f *Fold) operation(e event.Event) {
	if f.operations == nil {
		f.operations = map[string]*Operations{}
	}
	o := f.operations[e.Verb]
	if o == nil {
		o = &Operations{Verb: e.Verb}
		f.operations[e.Verb] = o
	}
	switch e.Kind {
	case event.OpIntended:
		o.Intended++
	case event.OpSucceeded:
		o.Succeeded++
		if e.Verb == event.VerbStage {
			f.s.Releases = append(f.s.Releases, Release{e.Group, e.Data["from"], e.Data["from-name"], e.Data["to"], e.Data["to-name"]})
		}
	case event.OpRetried:
		o.Retried++
	case event.OpFailed:
		o.Failed++
		f.trouble(&f.s.Failures, e)
	default: // no other kind comes here
	}
}

func (f *Fold) trouble(list *[]Trouble, e event.Event) {
	if n := len(*list); n > 0 && (*list)[n-1].Group == e.Group && (*list)[n-1].Message == e.Message {
		return // a failed gate halts its group with the same words
	}
	if len(*list) < maxListed {
		*list = append(*list, Trouble{string(e.Kind), e.Time, e.Group, e.Node, e.Instance, e.Code, e.Message})
	}
}

// releases counts a node as quarantined no more: it is drained once more, or gone.
func (f *Fold) releases(g *Group, e event.Event) {
	if !f.quarantined[e.Instance] {
		return
	}
	delete(f.quarantined, e.Instance)
	g.Quarantined--
	f.s.Quarantined--
	f.s.Quarantines = slices.DeleteFunc(f.s.Quarantines, func(t Trouble) bool { return t.Instance == e.Instance })
}

func (f *Fold) block(e event.Event) {
	b := f.blocked[e.Node]
	if b == nil {
		if len(f.blockOrder) == maxListed {
			return
		}
		b = &Blocked{Group: e.Group, Node: e.Node, since: e.Time}
		keep(&f.blocked, e.Node, b)
		f.blockOrder = append(f.blockOrder, b)
	}
	b.Message = e.Message
}

// unblock stops the clock of a node that waited: its drain has ended, or was
// given up.
func (f *Fold) unblock(e event.Event, ended bool) {
	if b := f.blocked[e.Node]; b != nil {
		b.Ended = ended
		b.Seconds = e.Time.Sub(b.since).Seconds()
		delete(f.blocked, e.Node)
	}
}

// keep puts a value into a map that may not exist yet.
func keep[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

// number reads a count from an event's data; 0 when it is not there.
func number(e event.Event, key string) int {
	n, err := strconv.Atoi(e.Data[key])
	if err != nil {
		return 0
	}
	return n
}

// seconds reads a duration from an event's data, or takes the time since.
func seconds(e event.Event, key string, since time.Time) float64 {
	if s, err := strconv.ParseFloat(e.Data[key], 64); err == nil {
		return s
	}
	if since.IsZero() {
		return 0
	}
	return e.Time.Sub(since).Seconds()
}
