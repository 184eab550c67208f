package fit

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/model"
)

// tiny makes a cluster so small that all rotations of it can be tried, and groups
// to rotate.
func tiny(r *rand.Rand) (*cluster, []Group) {
	c := &cluster{}
	nodes := 2 + r.IntN(3)
	var groups []Group
	names := make([]string, nodes)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	for rest := names; len(rest) > 0; {
		size := 1 + r.IntN(len(rest))
		like := model.Node{Labels: map[string]string{}}
		like.Allocatable.MilliCPU = int64(3000 + 1000*r.IntN(2))
		if r.IntN(3) == 0 {
			like.Labels["disk"] = "ssd"
		}
		if r.IntN(8) == 0 {
			like.Taints = []model.Taint{{Key: "dedicated", Effect: "NoSchedule"}}
		}
		for _, name := range rest[:size] { // the nodes of a group are alike
			n := c.node(name)
			n.Zone = string(rune('a' + r.IntN(2)))
			n.Labels["zone"] = n.Zone
			maps.Copy(n.Labels, like.Labels)
			n.Allocatable.MilliCPU = like.Allocatable.MilliCPU
			n.Taints = slices.Clone(like.Taints)
			n.Unschedulable = r.IntN(12) == 0
			if r.IntN(10) == 0 { // it passes
				n.Taints = append(n.Taints, model.Taint{Key: "node.kubernetes.io/disk-pressure", Effect: "NoSchedule"})
			}
		}
		g := Group{Name: fmt.Sprint("g", len(groups)), Nodes: rest[:size], Surge: r.IntN(2), Unavailable: r.IntN(3), Canary: r.IntN(2) == 0}
		if g.Surge+g.Unavailable == 0 {
			g.Unavailable = 1
		}
		if r.IntN(4) == 0 {
			g.Offer = model.Resources{MilliCPU: int64(2000 + 1000*r.IntN(4)), Memory: 8 << 30, Pods: 10}
		}
		if len(groups) < 2 && r.IntN(5) > 0 {
			groups = append(groups, g)
		}
		rest = rest[size:]
	}
	free := make([]int64, nodes)
	for i := range free {
		free[i] = c.nodes[i].Allocatable.MilliCPU
	}
	for i := range 2 + r.IntN(5) {
		at := r.IntN(nodes)
		cpu := min(int64(500*(1+r.IntN(6))), free[at]+int64(1000*r.IntN(2)*r.IntN(2)*r.IntN(2))) // seldom more than there is
		if cpu <= 0 {
			continue
		}
		n := c.nodes[at]
		c.pod(fmt.Sprintf("app%c-%d", 'a'+r.IntN(3), i), n.Name, cpu, func(p *model.Pod) {
			switch r.IntN(10) {
			case 0:
				apart(labelHostname)(p)
			case 1:
				apart("zone")(p)
			case 2:
				p.Traits.HostPorts = []string{"TCP/80"}
			case 3:
				p.Traits.Volumes = true
			case 4:
				p.Priority = 100
			case 5:
				p.Priority = -10
			case 6:
				daemon(p)
				p.Labels = map[string]string{"app": "agent"}
			case 7:
				p.Owner.Kind = "Job"
			}
			if _, ssd := n.Labels["disk"]; ssd && r.IntN(2) == 0 {
				p.Traits.NodeSelector = map[string]string{"disk": "ssd"}
			}
			if slices.ContainsFunc(n.Taints, func(t model.Taint) bool { return t.Key == "dedicated" }) {
				p.Traits.Tolerations = []model.Toleration{{Key: "dedicated", Exists: true}}
			}
		})
		if len(c.pods) > 1 && clashes(c) { // it could not have come there
			c.pods = c.pods[:len(c.pods)-1]
			continue
		}
		free[at] -= cpu
	}
	return c, groups
}

// clashes tells whether the last pod could not be where it is for what others are.
func clashes(c *cluster) bool {
	node := func(p *model.Pod) *model.Node {
		return &c.nodes[slices.IndexFunc(c.nodes, func(n model.Node) bool { return n.Name == p.Node })]
	}
	p := &c.pods[len(c.pods)-1]
	for i := range c.pods[:len(c.pods)-1] {
		q := &c.pods[i]
		if p.Node == q.Node && len(p.Traits.HostPorts) > 0 && len(q.Traits.HostPorts) > 0 {
			return true
		}
		for _, pair := range [][2]*model.Pod{{p, q}, {q, p}} {
			for _, t := range pair[0].Traits.AntiAffinity {
				if t.Matches(pair[1].Labels) && node(p).Labels[t.TopologyKey] == node(q).Labels[t.TopologyKey] {
					return true
				}
			}
		}
	}
	return false
}

// trial tries all rotations of a cluster: every order of the nodes, as many at a
// time as the window allows or fewer, and every place of every pod. It shares
// nothing with the code under test.
type trial struct {
	groups []Group
	all    []*spot               // at the start
	pods   []*model.Pod          // that last and are moved
	home   map[*model.Pod]string // zones at the start
	seen   map[string]bool
	steps  int
}

type spot struct {
	name, zone string
	group      int // -1: of none
	node       *model.Node
	cpu        int64
	open       bool
	fixed      []*model.Pod // daemons
	taints     []string
}

func (tr *trial) possible(c *cluster) bool {
	var spots []*spot
	at := map[*model.Pod]*spot{}
	tr.home, tr.seen = map[*model.Pod]string{}, map[string]bool{}
	for i := range c.nodes {
		n := &c.nodes[i]
		s := &spot{name: n.Name, zone: n.Zone, group: -1, node: n, cpu: n.Allocatable.MilliCPU, open: !n.Unschedulable}
		for g := range tr.groups {
			if slices.Contains(tr.groups[g].Nodes, n.Name) {
				s.group = g
			}
		}
		for _, t := range n.Taints {
			if t.Key == "dedicated" { // the other passes
				s.taints = append(s.taints, t.Key)
			}
		}
		for j := range c.pods {
			p := &c.pods[j]
			switch {
			case p.Node != n.Name || p.Owner.Kind == "Job" || p.Priority < 0:
			case p.Owner.Kind == "DaemonSet":
				s.fixed = append(s.fixed, p)
			default:
				tr.pods = append(tr.pods, p)
				at[p], tr.home[p] = s, s.zone
			}
		}
		spots = append(spots, s)
	}
	tr.all = spots
	return tr.group(0, spots, at)
}

// heir is a new node like an old one of the group.
func (tr *trial) heir(g int, like *spot, i int) *spot {
	h := *like
	h.name, h.group, h.open = fmt.Sprintf("new-%d-%d-%s", g, i, like.zone), -1, true
	if offer := tr.groups[g].Offer.MilliCPU; offer > 0 {
		h.cpu = offer
	}
	return &h
}

// group rotates one group after the other.
func (tr *trial) group(g int, spots []*spot, at map[*model.Pod]*spot) bool {
	if g == len(tr.groups) {
		return true
	}
	return tr.refill(g, tr.groups[g].Surge, 0, spots, at)
}

// next takes some nodes of the group.
func (tr *trial) next(g, came int, spots []*spot, at map[*model.Pod]*spot) bool {
	var old []*spot
	key := fmt.Sprint(g, came)
	for _, s := range spots {
		key += " " + s.name
		if s.group == g {
			old = append(old, s)
		}
	}
	for _, p := range tr.pods {
		key += " " + at[p].name
	}
	if tr.seen[key] {
		return false
	}
	tr.seen[key] = true
	if len(old) == 0 {
		return tr.group(g+1, spots, at)
	}
	for mask := 1; mask < 1<<len(old); mask++ {
		var going, stay []*spot
		for i, s := range old {
			if mask>>i&1 == 1 {
				going = append(going, s)
			}
		}
		if len(going) > tr.groups[g].Surge+tr.groups[g].Unavailable {
			continue
		}
		for _, s := range spots {
			if !slices.Contains(going, s) {
				stay = append(stay, s)
			}
		}
		var moving []*model.Pod
		left := map[*model.Pod]*spot{}
		for _, p := range tr.pods {
			if slices.Contains(going, at[p]) {
				moving = append(moving, p)
			} else {
				left[p] = at[p]
			}
		}
		after := func(now map[*model.Pod]*spot) bool {
			return tr.refill(g, min(len(going), len(tr.groups[g].Nodes)-came), came, stay, now)
		}
		if tr.place(moving, stay, left, after) {
			return true
		}
	}
	return false
}

// refill has n nodes come, in any of the group's zones.
func (tr *trial) refill(g, n, came int, spots []*spot, at map[*model.Pod]*spot) bool {
	if n <= 0 {
		return tr.next(g, came, spots, at)
	}
	zones := map[string]bool{}
	for _, like := range tr.all {
		if like.group == g && !zones[like.zone] {
			zones[like.zone] = true
			if tr.refill(g, n-1, came+1, append(slices.Clone(spots), tr.heir(g, like, came)), at) {
				return true
			}
		}
	}
	return false
}

// place tries all places for the pods, also those of less important ones.
func (tr *trial) place(moving []*model.Pod, spots []*spot, at map[*model.Pod]*spot, after func(map[*model.Pod]*spot) bool) bool {
	if tr.steps++; tr.steps > 200_000 {
		return true
	}
	if len(moving) == 0 {
		return after(at)
	}
	p, rest := moving[0], moving[1:]
	crowded := !slices.ContainsFunc(spots, func(s *spot) bool { return tr.may(p, s, at) })
	for _, s := range spots {
		for _, displace := range []bool{false, true} {
			if displace && !crowded {
				continue // the scheduler displaces where there is no other way
			}
			now, todo := map[*model.Pod]*spot{}, slices.Clone(rest)
			for q, on := range at {
				if displace && on == s && q.Priority < p.Priority {
					todo = append(todo, q)
				} else {
					now[q] = on
				}
			}
			if displace && len(todo) == len(rest) || !tr.may(p, s, now) {
				continue
			}
			now[p] = s
			if tr.place(todo, spots, now, after) {
				return true
			}
		}
	}
	return false
}

// may tells whether the rules let a pod onto a node.
func (tr *trial) may(p *model.Pod, s *spot, at map[*model.Pod]*spot) bool {
	if !s.open || len(s.taints) > 0 && len(p.Traits.Tolerations) == 0 {
		return false
	}
	if want := p.Traits.NodeSelector["disk"]; want != "" && s.node.Labels["disk"] != want {
		return false
	}
	if p.Traits.Volumes && tr.home[p] != s.zone {
		return false
	}
	cpu := p.Traits.Requests.MilliCPU
	here := slices.Clone(s.fixed)
	for q, on := range at {
		if on == s {
			here = append(here, q)
		}
		for _, pair := range [][2]*model.Pod{{p, q}, {q, p}} {
			for _, t := range pair[0].Traits.AntiAffinity {
				if t.Matches(pair[1].Labels) && (on == s || t.TopologyKey == "zone" && on.zone == s.zone) {
					return false
				}
			}
		}
	}
	for _, q := range here {
		cpu += q.Traits.Requests.MilliCPU
		if len(p.Traits.HostPorts) > 0 && len(q.Traits.HostPorts) > 0 && q.Owner.Kind != "DaemonSet" {
			return false
		}
	}
	return cpu <= s.cpu
}

// A rotation that can be made is never refused, and one that cannot nearly always:
// all rotations of small clusters are tried.
func TestCertainIsProven(t *testing.T) {
	possible, impossible, refused := 0, 0, 0
	for seed := range uint64(10_000) {
		r := rand.New(rand.NewPCG(seed, 4))
		c, groups := tiny(r)
		verdicts := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves, Groups: groups})
		certain := slices.ContainsFunc(verdicts, func(v Verdict) bool { return v.Certain })
		fits := !slices.ContainsFunc(verdicts, func(v Verdict) bool { return !v.Fits() })
		if fits && !certain {
			continue // nothing is said
		}
		tr := &trial{groups: groups}
		can := tr.possible(c)
		switch {
		case can && certain:
			t.Fatalf("seed %d: refused, and it can be done: %s", seed, describe(c, groups))
		case can:
			possible++
		case certain:
			impossible++
			refused++
		default:
			if impossible++; testing.Verbose() && impossible-refused < 3 {
				t.Logf("seed %d: cannot be done, and is not refused: %s", seed, describe(c, groups))
			}
		}
	}
	if possible < 1500 || impossible < 1500 {
		t.Error("the clusters are too easy or too hard")
	}
	if refused*100 < impossible*90 {
		t.Error("too many rotations that cannot be made are not refused")
	}
	t.Logf("of those without room at first sight: %d can be done and none of them is refused; %d cannot, and %d of these are", possible, impossible, refused)
}

func describe(c *cluster, groups []Group) string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "\n%s zone %s, %d, labels %v, taints %v, cordoned %v", n.Name, n.Zone, n.Allocatable.MilliCPU, n.Labels, n.Taints, n.Unschedulable)
	}
	for _, p := range c.pods {
		fmt.Fprintf(&b, "\n%s on %s asks %d, %s, priority %d, selector %v, tolerations %v, apart %d, ports %v, volumes %v", p.Name, p.Node, p.Traits.Requests.MilliCPU,
			p.Owner.Kind, p.Priority, p.Traits.NodeSelector, p.Traits.Tolerations, len(p.Traits.AntiAffinity), p.Traits.HostPorts, p.Traits.Volumes)
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%+v", g)
	}
	return b.String()
}
