package fit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/model"
)

// cluster is an inventory that a test fills.
type cluster struct {
	nodes []model.Node
	pods  []model.Pod
}

// node adds one of 4 cores and 10 pods, in zone a.
func (c *cluster) node(name string) *model.Node {
	c.nodes = append(c.nodes, model.Node{Name: name, Zone: "a", Ready: true, Labels: map[string]string{"zone": "a", labelHostname: name},
		Allocatable: model.Resources{MilliCPU: 4000, Memory: 8 << 30, Pods: 10}})
	return &c.nodes[len(c.nodes)-1]
}

// pod adds one that asks for so many thousandths of a core.
func (c *cluster) pod(name, node string, cpu int64, edits ...func(*model.Pod)) {
	app := strings.TrimRight(name, "0123456789-")
	p := model.Pod{PodKey: model.PodKey{Namespace: "shop", Name: name}, Node: node, Phase: "Running", Labels: map[string]string{"app": app},
		Owner:  model.WorkloadKey{Kind: "ReplicaSet", Namespace: "shop", Name: app},
		Traits: &model.PodTraits{Requests: model.Resources{MilliCPU: cpu, Pods: 1}}}
	for _, edit := range edits {
		edit(&p)
	}
	c.pods = append(c.pods, p)
}

func traits(edit func(*model.PodTraits)) func(*model.Pod) {
	return func(p *model.Pod) { edit(p.Traits) }
}

// apart keeps pods of one app on different values of a label.
func apart(key string) func(*model.Pod) {
	return func(p *model.Pod) {
		app := p.Labels["app"]
		p.Traits.AntiAffinity = []model.PodTerm{{TopologyKey: key, Namespaces: []string{p.Namespace}, Text: "app=" + app,
			Matches: func(l map[string]string) bool { return l["app"] == app }}}
	}
}

func together(key, app string) func(*model.Pod) {
	return func(p *model.Pod) {
		p.Traits.Affinity = []model.PodTerm{{TopologyKey: key, AnyNamespace: true, Text: "app=" + app,
			Matches: func(l map[string]string) bool { return l["app"] == app }}}
	}
}

func leaves(p *model.Pod) bool { return p.Owner.Kind != "DaemonSet" && !p.Terminating }

func daemon(p *model.Pod) { p.Owner.Kind = "DaemonSet" }

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name        string
		make        func(*cluster)
		surge       int
		unavailable int
		offer       model.Resources
		unplaced    int
		certain     bool
		want        string // in the reasons, the shortage or what is unknown
	}{
		{name: "room elsewhere", make: func(c *cluster) {
			c.pod("web-1", "n1", 2000)
		}, unavailable: 1},
		{name: "a full cluster with nothing extra", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-"+n, n, 3000)
			}
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 lack cpu (asks 3, at most 1 free)"},
		{name: "the same, with one extra node", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-"+n, n, 3000)
			}
		}, surge: 1},
		{name: "the sum is more than what is free", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-1"+n, n, 1500)
				c.pod("web-2"+n, n, 1500)
			}
		}, unavailable: 1, unplaced: 2, certain: true, want: "cpu: 3 asked for, 2 free"},
		{name: "no arrangement exists, though the sums suffice", make: func(c *cluster) {
			// Each of the five fits somewhere, and so would any three or four of them.
			for i := range 5 {
				c.pod(fmt.Sprint("web-", i), "n1", 700)
			}
			c.pod("big-2", "n2", 2100)
			c.pod("big-3", "n3", 2200)
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 lack cpu"},
		{name: "no arrangement was found, and one exists", make: func(c *cluster) {
			// The first goes to n3, where the two others have to be.
			c.pod("big-1", "n1", 2000)
			c.pod("web-1", "n1", 1250)
			c.pod("web-2", "n1", 1250)
			c.pod("x", "n2", 2000)
			c.pod("y", "n3", 1500)
		}, unavailable: 1, unplaced: 1, certain: false, want: "2 lack cpu"},
		{name: "new nodes are smaller", make: func(c *cluster) { c.pod("web-1", "n1", 3000); c.pod("x", "n2", 2000); c.pod("y", "n3", 2000) },
			surge: 1, offer: model.Resources{MilliCPU: 2000, Pods: 10}, unplaced: 1, certain: true, want: "3 lack cpu (asks 3, at most 2 free)"},
		{name: "too many pods", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				for i := range 10 {
					c.pod(fmt.Sprintf("web-%s-%d", n, i), n, 1)
				}
			}
		}, unavailable: 1, unplaced: 10, certain: true, want: "pods: 10 asked for, 0 free"},
		{name: "daemons take their share of a new node", make: func(c *cluster) {
			c.pod("log-1", "n1", 3000, daemon)
			c.pod("web-1", "n1", 1000)
			for i, n := range []string{"n2", "n3"} {
				c.pod(fmt.Sprint("other-", i), n, 3500)
			}
		}, surge: 1, offer: model.Resources{MilliCPU: 3500, Pods: 10}, unplaced: 1, certain: true, want: "lack cpu (asks 1, at most 0.5 free)"},
		{name: "what ends already needs no room", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-"+n, n, 3000, func(p *model.Pod) { p.Terminating = n == "n1" })
			}
		}, unavailable: 1}, // n2's pod goes where n1 was
		{name: "taints", make: func(c *cluster) {
			c.nodes[1].Taints = []model.Taint{{Key: "gpu", Effect: "NoSchedule"}, {Key: "soft", Effect: "PreferNoSchedule"}}
			c.nodes[2].Taints = []model.Taint{{Key: "gpu", Effect: "NoSchedule"}}
			c.pod("web-1", "n1", 1)
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 tainted gpu"},
		{name: "tolerated taints", make: func(c *cluster) {
			c.nodes[1].Taints = []model.Taint{{Key: "gpu", Value: "yes", Effect: "NoSchedule"}}
			c.nodes[2].Unschedulable = true
			c.pod("web-1", "n1", 1, traits(func(t *model.PodTraits) {
				t.Tolerations = []model.Toleration{{Key: "gpu", Value: "no"}, {Key: "gpu", Value: "yes", Effect: "NoSchedule"}}
			}))
		}, unavailable: 1},
		{name: "node selector", make: func(c *cluster) {
			c.nodes[0].Labels["disk"] = "ssd"
			c.pod("web-1", "n1", 1, traits(func(t *model.PodTraits) { t.NodeSelector = map[string]string{"disk": "ssd"} }))
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 not of its node selector"},
		{name: "the replacement has the group's labels", make: func(c *cluster) {
			c.nodes[0].Labels["disk"] = "ssd"
			c.pod("web-1", "n1", 1, traits(func(t *model.PodTraits) { t.NodeSelector = map[string]string{"disk": "ssd"} }))
		}, surge: 1},
		{name: "but not its name", make: func(c *cluster) {
			c.pod("web-1", "n1", 1, traits(func(t *model.PodTraits) { t.NodeSelector = map[string]string{labelHostname: "n1"} }))
		}, surge: 1, unplaced: 1, certain: true, want: "3 not of its node selector"},
		{name: "node affinity", make: func(c *cluster) {
			c.pod("web-1", "n1", 1, traits(func(t *model.PodTraits) {
				t.NodeAffinity = []model.NodeTerm{{Matches: func(name string, _ map[string]string) bool { return name == "n1" }}}
			}))
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 not of its node affinity"},
		{name: "anti-affinity by host", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-"+n[1:], n, 1, apart(labelHostname))
			}
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 its anti-affinity to app=web"},
		{name: "anti-affinity by host with one extra node", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("web-"+n[1:], n, 1, apart(labelHostname))
			}
		}, surge: 1},
		{name: "anti-affinity of the others", make: func(c *cluster) {
			c.pod("web-1", "n1", 1)
			for _, n := range []string{"n2", "n3"} {
				c.pod("shy-"+n[1:], n, 1, together("none", "x"), apart(labelHostname), func(p *model.Pod) {
					p.Traits.Affinity = nil
					p.Traits.AntiAffinity[0].Matches = func(l map[string]string) bool { return l["app"] == "web" }
					p.Traits.AntiAffinity[0].Text = "app=web"
				})
			}
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 the anti-affinity of pods there"},
		{name: "anti-affinity by zone", make: func(c *cluster) {
			c.nodes[2].Labels["zone"] = "b"
			c.pod("web-1", "n1", 1, apart("zone"))
			c.pod("web-2", "n3", 1, apart("zone"))
		}, unavailable: 1}, // n2 is in zone a, n1's clone is where web-2 goes
		{name: "affinity", make: func(c *cluster) {
			c.pod("db-1", "n2", 1)
			c.nodes[2].Labels["zone"] = "b"
			c.nodes[1].Unschedulable = true
			c.pod("web-1", "n1", 1, together("zone", "db"))
		}, unavailable: 1, unplaced: 1, certain: false, want: "its affinity to app=db"},
		{name: "the first of those that want to be together", make: func(c *cluster) {
			c.pod("web-1", "n1", 1, together(labelHostname, "web"))
			c.pod("web-2", "n1", 1, together(labelHostname, "web"))
		}, unavailable: 1},
		{name: "zone of volumes", make: func(c *cluster) {
			c.nodes[1].Zone, c.nodes[2].Zone = "b", "b"
			c.pod("db-1", "n1", 1, traits(func(t *model.PodTraits) { t.Volumes = true }))
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 not in zone a, where its volumes are"},
		{name: "host ports", make: func(c *cluster) {
			for _, n := range []string{"n1", "n2", "n3"} {
				c.pod("proxy-"+n[1:], n, 1, traits(func(t *model.PodTraits) { t.HostPorts = []string{"TCP/80"} }))
			}
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 its host port is taken"},
		{name: "extended resources", make: func(c *cluster) {
			c.nodes[0].Allocatable.Extended = map[string]int64{"gpu": 1}
			c.pod("train-1", "n1", 1, traits(func(t *model.PodTraits) { t.Requests.Extended = map[string]int64{"gpu": 1} }))
		}, unavailable: 1, unplaced: 1, certain: true, want: "2 lack gpu (asks 1, at most 0 free)"},
		{name: "pods of which nothing is known count as pods", make: func(c *cluster) {
			c.pod("web-1", "n1", 1, func(p *model.Pod) { p.Traits = nil })
			c.nodes[1].Allocatable.Pods, c.nodes[2].Allocatable.Pods = 0, 0
		}, unavailable: 1, unplaced: 1, certain: true, want: "lack pods"},
		{name: "nodes that are not Ready have no room", make: func(c *cluster) {
			c.pod("web-1", "n1", 1)
			c.nodes[1].Ready, c.nodes[2].Allocatable = false, model.Resources{}
		}, unavailable: 1, unplaced: 1, certain: true, want: "no other node takes pods"},
		{name: "nothing is known of the group's nodes", make: func(c *cluster) {
			c.nodes[0].Allocatable = model.Resources{}
		}, surge: 1, want: "node n1 has not reported what it offers"},
		{name: "a node that is overcommitted already takes no more, and what asks for nothing goes anywhere", make: func(c *cluster) {
			c.pod("web-1", "n1", 0)
			c.pod("huge-1", "n2", 9000)
			c.pod("huge-2", "n3", 9000)
			c.nodes = c.nodes[:3]
		}, unavailable: 1, unplaced: 2, certain: true, want: "lack cpu"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &cluster{}
			for _, n := range []string{"n1", "n2", "n3"} {
				c.node(n)
			}
			tc.make(c)
			nodes := []string{"n1", "n2", "n3"}
			one := !strings.HasPrefix(tc.name, "what ends") && !strings.HasPrefix(tc.name, "a node that is over")
			if one {
				nodes = nodes[:1] // n1 goes, the others stay
			}
			v := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves,
				Groups: []Group{{Name: "g", Nodes: nodes, Offer: tc.offer, Surge: tc.surge, Unavailable: tc.unavailable}}})[0]
			text := v.Unknown + "; " + v.Short
			for _, u := range v.Named {
				text += "; " + u.Pod.String() + " on " + u.Node + ": " + u.Why
			}
			if v.Unplaced != tc.unplaced || v.Certain != tc.certain || !strings.Contains(text, tc.want) || v.Fits() != (tc.unplaced == 0 && v.Unknown == "") {
				t.Errorf("%+v\n%s\nwant %d without a place, certain %v, %q", v, text, tc.unplaced, tc.certain, tc.want)
			}
		})
	}
}

// What each node has of its own needs no room elsewhere, also where a drain evicts it.
func TestDaemonsAreNotPlaced(t *testing.T) {
	c := &cluster{}
	for _, n := range []string{"n1", "n2"} {
		c.node(n)
		c.pod("agent-"+n, n, 3000, daemon)
	}
	v := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: func(*model.Pod) bool { return true },
		Groups: []Group{{Nodes: []string{"n1", "n2"}, Unavailable: 1}}})[0]
	if v.Pods != 0 || !v.Fits() {
		t.Errorf("%+v", v)
	}
}

// random makes a cluster with every rule in it.
func random(r *rand.Rand) *cluster {
	c := &cluster{}
	nodes := 3 + r.IntN(6)
	for i := range nodes {
		n := c.node(fmt.Sprint("n", i))
		n.Zone = string(rune('a' + i%3))
		n.Labels["zone"] = n.Zone
		n.Allocatable.MilliCPU = int64(2000 + 1000*r.IntN(3))
		n.Ready = r.IntN(12) > 0
		if r.IntN(5) == 0 {
			n.Taints = []model.Taint{{Key: "dedicated", Effect: "NoSchedule"}}
		}
	}
	for i := range r.IntN(6 * nodes) {
		before := len(c.pods)
		app := fmt.Sprintf("app%c", 'a'+rune(r.IntN(5)))
		c.pod(fmt.Sprintf("%s-%d", app, i), "", int64(100*r.IntN(15)), func(p *model.Pod) {
			p.Traits.Volumes = app == "appa" && r.IntN(2) == 0
			if app == "appb" {
				apart(labelHostname)(p)
			}
			if app == "appc" {
				apart("zone")(p)
			}
			if app == "appd" && r.IntN(2) == 0 {
				together("zone", "appd")(p)
			}
			if r.IntN(3) == 0 {
				p.Traits.Tolerations = []model.Toleration{{Exists: true}}
			}
			if r.IntN(8) == 0 {
				p.Traits.HostPorts = []string{"TCP/80"}
			}
			if r.IntN(10) == 0 {
				daemon(p)
			}
		})
		// It is where it may be: a valid start, found without the code under test.
		p := &c.pods[before]
		for _, at := range r.Perm(nodes) {
			p.Node = c.nodes[at].Name
			if c.nodes[at].Ready && faults(c.nodes, refs(c.pods), nil) == "" {
				break
			}
			p.Node = ""
		}
		if p.Node == "" {
			c.pods = c.pods[:before]
		}
	}
	return c
}

func refs[T any](list []T) []*T {
	var out []*T
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// faults checks a placement by the rules' own words, pod by pod and pair by
// pair. home is where pods with volumes came from; nil: where they are.
func faults(nodes []model.Node, pods []*model.Pod, at map[*model.Pod]*model.Node) string {
	where := func(p *model.Pod) *model.Node {
		if at != nil {
			return at[p]
		}
		i := slices.IndexFunc(nodes, func(n model.Node) bool { return n.Name == p.Node })
		return &nodes[i]
	}
	used := map[string]model.Resources{}
	for i, p := range pods {
		n := where(p)
		u := used[n.Name]
		u.MilliCPU += p.Traits.Requests.MilliCPU
		u.Pods++
		used[n.Name] = u
		if u.MilliCPU > n.Allocatable.MilliCPU && p.Traits.Requests.MilliCPU > 0 || u.Pods > n.Allocatable.Pods {
			return n.Name + " is overcommitted"
		}
		for _, taint := range n.Taints {
			if len(p.Traits.Tolerations) == 0 {
				return p.Name + " does not tolerate " + taint.Key
			}
		}
		if len(p.Traits.Affinity) > 0 && !slices.ContainsFunc(pods, func(o *model.Pod) bool {
			return o.Labels["app"] == "appd" && where(o).Labels["zone"] == n.Labels["zone"]
		}) {
			return p.Name + " is lonely"
		}
		for _, o := range pods[:i] {
			m := where(o)
			if m.Name == n.Name && len(p.Traits.HostPorts)+len(o.Traits.HostPorts) == 2 {
				return p.Name + " wants a port of " + o.Name
			}
			for _, term := range p.Traits.AntiAffinity {
				if o.Labels["app"] == p.Labels["app"] && m.Labels[term.TopologyKey] == n.Labels[term.TopologyKey] {
					return p.Name + " is with " + o.Name
				}
			}
		}
	}
	return ""
}

// By the verdict every pod that is not named as unplaced has a place: it must
// hold on its own.
func TestEveryPlacementIsValid(t *testing.T) {
	moved, unplaced := 0, 0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 7))
		c := random(r)
		var names []string
		for _, i := range r.Perm(len(c.nodes))[:1+r.IntN(len(c.nodes))] {
			names = append(names, c.nodes[i].Name)
		}
		s := newState(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves})
		v := s.group(Group{Nodes: names, Surge: r.IntN(3), Unavailable: 1 + r.IntN(2)})
		moved, unplaced = moved+v.Pods, unplaced+v.Unplaced
		at := map[*model.Pod]*model.Node{}
		var pods []*model.Pod
		var nodes []model.Node
		for _, b := range s.bins {
			labels := map[string]string{"zone": b.zone, labelHostname: b.name}
			n := &model.Node{Name: b.name, Zone: b.zone, Labels: labels, Taints: b.taints, Allocatable: b.offer}
			nodes = append(nodes, *n)
			for _, p := range b.pods {
				if leaves(p) && p.Traits.Volumes && s.byBin[p.Node].zone != b.zone {
					t.Fatalf("seed %d: %s left the zone of its volume", seed, p.Name)
				}
				if slices.Contains(names, p.Node) && leaves(p) && b.name == p.Node {
					t.Fatalf("seed %d: %s is still on %s", seed, p.Name, b.name)
				}
				copied := *p // daemons are on several nodes in thought
				pods = append(pods, &copied)
				at[&copied] = n
			}
		}
		// The affinity of pods that stay is not enforced once they run.
		for _, p := range pods {
			if !slices.Contains(names, p.Node) {
				traits := *p.Traits
				traits.Affinity = nil
				p.Traits = &traits
			}
		}
		if f := faults(nodes, daemonsAside(pods), at); f != "" {
			t.Fatalf("seed %d: %s", seed, f)
		}
	}
	t.Logf("%d pods moved, %d found no place", moved, unplaced)
	if moved < 3000 || unplaced < 300 {
		t.Error("the clusters are too easy or too hard")
	}
}

// daemonsAside takes the anti-affinity from daemons: a node's own comes with it
// whatever is there.
func daemonsAside(pods []*model.Pod) []*model.Pod {
	for _, p := range pods {
		if p.Owner.Kind == "DaemonSet" {
			traits := *p.Traits
			traits.AntiAffinity, traits.Affinity = nil, nil
			p.Traits = &traits
		}
	}
	return pods
}

// What is called certain must be so: no arrangement of the first window exists,
// by trying them all.
func TestCertainMeansThatNoArrangementExists(t *testing.T) {
	certain := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 11))
		c := random(r)
		gone := c.nodes[r.IntN(len(c.nodes))].Name
		var moving, rest []*model.Pod
		for i := range c.pods {
			p := &c.pods[i]
			switch {
			case p.Node != gone:
				rest = append(rest, p)
			case leaves(p):
				moving = append(moving, p)
			}
		}
		if len(moving) == 0 || len(moving) > 4 {
			continue
		}
		v := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves, Groups: []Group{{Nodes: []string{gone}, Unavailable: 1}}})[0]
		if !v.Certain {
			continue
		}
		certain++
		at := map[*model.Pod]*model.Node{}
		for _, p := range rest {
			i := slices.IndexFunc(c.nodes, func(n model.Node) bool { return n.Name == p.Node })
			at[p] = &c.nodes[i]
			traits := *p.Traits
			traits.Affinity = nil // not enforced once a pod runs
			p.Traits = &traits
		}
		var try func(i int) bool
		try = func(i int) bool {
			if i == len(moving) {
				return faults(c.nodes, append(slices.Clone(rest), moving...), at) == ""
			}
			p := moving[i]
			for j := range c.nodes {
				n := &c.nodes[j]
				if n.Name == gone || !n.Ready || p.Traits.Volumes && n.Zone != zoneOf(c, gone) {
					continue
				}
				at[p] = n
				if try(i + 1) {
					return true
				}
			}
			return false
		}
		if try(0) {
			t.Fatalf("seed %d: an arrangement exists; the verdict was %+v", seed, v)
		}
	}
	t.Logf("%d certain verdicts", certain)
	if certain < 100 {
		t.Error("too few certain verdicts to mean anything")
	}
}

func zoneOf(c *cluster, node string) string {
	return c.nodes[slices.IndexFunc(c.nodes, func(n model.Node) bool { return n.Name == node })].Zone
}
