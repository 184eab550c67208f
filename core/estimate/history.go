package estimate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// What is assumed where a cluster has no history to learn from.
const (
	// assumedBoot is what a machine of a public cloud takes until its node is Ready.
	assumedBoot = 90 * time.Second
	// assumedStart is what a pod takes whose image is not on the node.
	assumedStart = 15 * time.Second

	// Nothing keeps how long pods take to end, instances to go, and a group to notice
	// that one is missing. They are taken as parts of what is known, which is as well as
	// can be told of a fast cluster and of a slow one: a pod takes half as long to end as
	// to start, and no longer than longestStop unless it is slow, when it uses all of
	// its grace period; an instance takes half as long to go as to come; a group
	// takes a twentieth of a boot to notice.
	stopShare   = 2
	longestStop = 10 * time.Second
	endShare    = 2
	noticeShare = 20
	// shortestDrain is what the engine gives pods to show that were bound just before
	// the cordon, callsTake what the calls for one node and the looks at what came of
	// them take: it matters where machines boot within seconds.
	shortestDrain = time.Second
	callsTake     = time.Second
)

// Bounds beyond which a history is not one of a start.
const (
	// longestBoot: a node that became Ready later than this after its launch has
	// been away meanwhile, or was started by hand.
	longestBoot = time.Hour
	// settling is how long after it registered a node may become Ready for the
	// first time: a later change is another story.
	settling = 10 * time.Minute
	// recentBoots of a group count: what an image took a year ago says less.
	recentBoots = 50
	// longestStart of a pod: the API server's default for a progress deadline,
	// twice over.
	longestStart = 20 * time.Minute
)

// Stat is what is known of a duration.
type Stat struct {
	N int // how often it was seen; 0: assumed
	// Median, and what nine in ten stay under.
	Median, P90 time.Duration
}

// statOf sorts the list.
func statOf(list []time.Duration) Stat {
	if len(list) == 0 {
		return Stat{}
	}
	slices.Sort(list)
	return Stat{N: len(list), Median: list[len(list)/2], P90: list[(len(list)*9)/10]}
}

// text says where the figure comes from.
func (s Stat) text(noun string) string {
	if s.N == 0 {
		return fmt.Sprintf("%s (assumed: the cluster has no history of it)", short(s.Median))
	}
	if s.P90 == s.Median {
		return fmt.Sprintf("%s (median of %d %s)", short(s.Median), s.N, noun)
	}
	return fmt.Sprintf("%s, nine in ten under %s (median of %d %s)", short(s.Median), short(s.P90), s.N, noun)
}

// short is a duration as a person writes it: 40s, 2m30s, 1h5m.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		s := d.Round(time.Second)
		if s%time.Minute == 0 {
			return fmt.Sprintf("%dm", s/time.Minute)
		}
		return s.String()
	}
	m := d.Round(time.Minute)
	return fmt.Sprintf("%dh%dm", m/time.Hour, m%time.Hour/time.Minute)
}

// history is what the cluster tells of its own past.
type history struct {
	groups map[string]Stat     // boots, by group id
	roles  map[model.Role]Stat // boots of all groups of a role
	role   map[string]model.Role
	boot   Stat // of those that are rotated
	starts map[model.WorkloadKey]Stat
	start  Stat // of all pods
}

// learn reads boot times from instances that joined, and start times from pods
// that run.
func learn(in *Input) *history {
	h := &history{groups: map[string]Stat{}, roles: map[model.Role]Stat{}, role: in.Roles, starts: map[model.WorkloadKey]Stat{}}
	h.learnBoots(in)
	starts := map[model.WorkloadKey][]time.Duration{}
	var all []time.Duration
	for i := range in.Pods {
		p := &in.Pods[i]
		// What every node has of its own starts with the node.
		if p.StartTook <= 0 || p.StartTook > longestStart || p.Mirror || p.Owner.Kind == "DaemonSet" {
			continue
		}
		starts[p.Owner] = append(starts[p.Owner], p.StartTook)
		all = append(all, p.StartTook)
	}
	for owner, list := range starts {
		h.starts[owner] = statOf(list)
	}
	if h.start = statOf(all); h.start.N == 0 {
		h.start.Median, h.start.P90 = assumedStart, 4*assumedStart
	}
	return h
}

// learnBoots reads how long instances took to become Ready nodes.
func (h *history) learnBoots(in *Input) {
	nodes := make(map[string]*model.Node, len(in.Nodes))
	var first time.Time
	for i := range in.Nodes {
		n := &in.Nodes[i]
		if n.ProviderID != "" {
			nodes[n.ProviderID] = n
		}
		if !n.CreatedAt.IsZero() && (first.IsZero() || n.CreatedAt.Before(first)) {
			first = n.CreatedAt
		}
	}
	boots, early := map[string][]time.Duration{}, map[string][]time.Duration{}
	ownControlPlane := false
	// The most recent launches first; the id breaks ties.
	instances := make([]*model.Instance, len(in.Instances))
	for i := range in.Instances {
		instances[i] = &in.Instances[i]
	}
	slices.SortFunc(instances, func(a, b *model.Instance) int {
		return cmp.Or(b.LaunchedAt.Compare(a.LaunchedAt), cmp.Compare(a.ID, b.ID))
	})
	for _, inst := range instances {
		ownControlPlane = ownControlPlane || in.Roles[inst.GroupID] == model.RoleControlPlane
		of := boots
		if inst.LaunchedAt.Before(first) {
			of = early
		}
		if len(of[inst.GroupID]) == recentBoots {
			continue
		}
		if took, ok := bootTook(inst, nodes[inst.ProviderID]); ok {
			of[inst.GroupID] = append(of[inst.GroupID], took)
		}
	}
	// Instances that were launched before any node had registered may have waited for
	// the cluster itself: they say less than later ones, and nothing where the
	// control plane was launched beside them.
	for id, list := range early {
		if len(boots[id]) == 0 && !ownControlPlane {
			boots[id] = list
		}
	}
	roles := map[model.Role][]time.Duration{}
	for id, list := range boots {
		h.groups[id] = statOf(list)
		roles[in.Roles[id]] = append(roles[in.Roles[id]], list...)
	}
	for role, list := range roles {
		h.roles[role] = statOf(list)
	}
	var all []time.Duration
	counted := map[string]bool{}
	for _, g := range in.Groups {
		if !counted[g.ID] {
			all = append(all, boots[g.ID]...)
		}
		counted[g.ID] = true
	}
	if h.boot = statOf(all); h.boot.N > 0 {
		return
	}
	h.boot.Median, h.boot.P90 = assumedBoot, 2*assumedBoot
	if len(in.Groups) > 0 {
		h.boot = h.bootOf(in.Groups[0].ID)
	}
}

// bootTook is from an instance's launch until its node was Ready for the first
// time, as far as that is still to be seen: else until it registered.
func bootTook(inst *model.Instance, n *model.Node) (time.Duration, bool) {
	if n == nil || inst.LaunchedAt.IsZero() || n.CreatedAt.IsZero() {
		return 0, false
	}
	at := n.CreatedAt
	if after := n.ReadySince.Sub(n.CreatedAt); !n.ReadySince.IsZero() && after >= 0 && after <= settling {
		at = n.ReadySince
	}
	took := at.Sub(inst.LaunchedAt)
	return took, took > 0 && took <= longestBoot
}

// bootOf a group; where it has no history of its own that of the groups of its
// role: a node of the control plane boots in another way than a worker.
func (h *history) bootOf(group string) Stat {
	if s := h.groups[group]; s.N > 0 {
		return s
	}
	if s := h.roles[h.role[group]]; s.N > 0 {
		return s
	}
	return Stat{Median: assumedBoot, P90: 2 * assumedBoot}
}

// startOf a pod: of its owner's pods, or else of all.
func (h *history) startOf(p *model.Pod) Stat {
	if s := h.starts[p.Owner]; s.N > 0 && p.Owner != (model.WorkloadKey{}) {
		return s
	}
	return h.start
}

// slowest names the owner whose pods take the longest to start, where it stands
// out; empty: none does.
func (h *history) slowest() string {
	var worst model.WorkloadKey
	for owner, s := range h.starts {
		w := h.starts[worst]
		if s.Median > w.Median || s.Median == w.Median && cmp.Compare(owner.String(), worst.String()) < 0 {
			worst = owner
		}
	}
	if s := h.starts[worst]; s.Median > 2*h.start.Median {
		return fmt.Sprintf("; those of %s take %s", worst, short(s.Median))
	}
	return ""
}
