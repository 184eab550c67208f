package estimate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/model"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// world is a group of nodes whose instances boot in 60 s, and pods that are
// Ready after 10 s and end in 5 s.
func world(nodes int) Input {
	in := Input{}
	g := Group{ID: "g", Name: "workers", Surge: 1}
	for i := range nodes {
		id := fmt.Sprintf("i-%d", i)
		in.Instances = append(in.Instances, model.Instance{ID: id, GroupID: "g", ProviderID: id, LaunchedAt: start})
		in.Nodes = append(in.Nodes, model.Node{Name: id, ProviderID: id, CreatedAt: start.Add(40 * time.Second), ReadySince: start.Add(time.Minute)})
		g.Nodes = append(g.Nodes, Node{})
	}
	in.Groups = []Group{g}
	return in
}

// pods puts one pod of the app on each of the first so many nodes.
func (in *Input) pods(app string, nodes int, b *model.Budget) {
	for i := range nodes {
		p := &model.Pod{PodKey: model.PodKey{Namespace: "shop", Name: fmt.Sprintf("%s-%d", app, i)}, StartTook: 10 * time.Second, GracePeriodSeconds: 30,
			Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "shop", Name: app}}
		in.Pods = append(in.Pods, *p)
		in.Groups[0].Nodes[i].Pods = append(in.Groups[0].Nodes[i].Pods, Pod{Pod: p, Budget: b})
	}
}

func budget(expected, desired int) *model.Budget {
	return &model.Budget{BudgetKey: model.BudgetKey{Namespace: "shop", Name: "cart"}, Expected: expected, DesiredHealthy: desired}
}

func TestMake(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func() Input
		takes time.Duration
		lower time.Duration
		by    string
		waves int
	}{
		// 3 s until the group notices, 1 s of calls and 60 s of boot, then each of the ten: 5 s until it
		// is empty, 64 s until its replacement is Ready; the last needs none, and is gone
		// after 30 s.
		{name: "one at a time", make: func() Input { in := world(10); in.pods("web", 10, nil); return in },
			takes: 64*time.Second + 9*69*time.Second + 35*time.Second, lower: 10 * 65 * time.Second, by: "group workers: 10 nodes, one at a time, 1m5s each: 10m50s"},
		{name: "nothing on the nodes", make: func() Input { return world(3) }, takes: 64*time.Second + 2*65*time.Second + 31*time.Second, lower: 3 * time.Minute, by: "group workers"},
		{name: "five at once", make: func() Input { in := world(10); in.pods("web", 10, nil); in.Groups[0].Surge = 5; return in },
			takes: 64*time.Second + 69*time.Second + 35*time.Second, lower: 2 * 65 * time.Second, by: "10 nodes, 5 at a time"},
		{name: "missing rather than extra", make: func() Input {
			in := world(2)
			in.pods("web", 2, nil)
			in.Groups[0].Surge, in.Groups[0].Unavailable = 0, 1
			return in
		}, takes: 2 * 69 * time.Second, lower: 2 * 65 * time.Second, by: "group workers"},
		{name: "a budget is the limit", make: func() Input {
			in := world(30)
			in.pods("cart", 30, budget(30, 29))
			in.Groups[0].Surge = 30
			return in
		}, takes: 64*time.Second + 29*10*time.Second + 35*time.Second, lower: time.Minute + 30*10*time.Second, by: "budget shop/cart: 30 pods, one at a time, 10s each: 6m0s"},
		{name: "two pods of a budget at once", make: func() Input {
			in := world(30)
			in.pods("cart", 30, budget(30, 28))
			in.Groups[0].Surge = 30
			return in
		}, takes: 64*time.Second + 14*10*time.Second + 35*time.Second, lower: time.Minute + 15*10*time.Second, by: "2 at a time"},
		{name: "a StatefulSet's pod comes back once it is gone", make: func() Input {
			in := world(30)
			in.pods("cart", 30, budget(30, 29))
			for i := range in.Groups[0].Nodes {
				in.Groups[0].Nodes[i].Pods[0].Owner.Kind = "StatefulSet"
			}
			in.Groups[0].Surge = 30
			return in
		}, takes: 64*time.Second + 29*15*time.Second + 35*time.Second, lower: time.Minute + 30*15*time.Second, by: "15s each"},
		{name: "nodes of one budget do not wait in slots that others can use", make: func() Input {
			in := world(20)
			in.pods("cart", 4, budget(30, 29))
			in.pods("web", 20, nil)
			for i := range in.Pods[:4] {
				in.Pods[i].StartTook = 68 * time.Second
			}
			in.Groups[0].Surge = 4
			return in
		}, takes: 64*time.Second + 74*time.Second + 3*69*time.Second + 35*time.Second, lower: time.Minute + 4*68*time.Second},
		{name: "two groups at once share a budget", make: func() Input {
			in := world(4)
			in.Groups = append(in.Groups, in.Groups[0])
			in.Groups[0].Nodes, in.Groups[1].Nodes = in.Groups[0].Nodes[:2:2], slices.Clone(in.Groups[0].Nodes[2:])
			in.pods("cart", 2, budget(30, 29))
			in.Groups[1].Nodes[0].Pods, in.Groups[1].Nodes[1].Pods = in.Groups[0].Nodes[0].Pods, in.Groups[0].Nodes[1].Pods
			in.Groups[1].Name, in.GroupsAtOnce = "spot", 2
			return in
		}, takes: 64*time.Second + (10+69)*time.Second + 35*time.Second, lower: 2 * 65 * time.Second},
		{name: "critical pods go last", make: func() Input {
			in := world(1)
			in.pods("web", 1, nil)
			in.pods("dns", 1, nil)
			in.Groups[0].Nodes[0].Pods[1].Last = true
			return in
		}, takes: 64*time.Second + 2*5*time.Second + 30*time.Second, lower: 65 * time.Second, by: "group workers"},
		{name: "the canary holds the others back", make: func() Input {
			in := world(5)
			in.pods("web", 5, nil)
			in.Groups[0].Surge, in.Canary, in.Bake = 5, true, 5*time.Minute
			return in
		}, takes: 64*time.Second + 10*time.Second + 5*time.Minute + 35*time.Second, lower: 65 * time.Second, by: "group workers"},
		{name: "waves", make: func() Input {
			in := world(5)
			in.pods("web", 5, nil)
			in.Groups[0].Surge, in.Groups[0].Wave, in.Pause = 2, 2, 10*time.Second
			return in
		}, waves: 3, takes: 64*time.Second + 2*(69+10)*time.Second + 35*time.Second, lower: 3 * 65 * time.Second, by: "group workers"},
		{name: "drains one after the other", make: func() Input {
			in := world(4)
			in.pods("web", 4, nil)
			in.Groups[0].Surge, in.Gap = 4, 100*time.Second
			return in
		}, takes: 64*time.Second + 3*105*time.Second + 35*time.Second, lower: 65 * time.Second, by: "group workers"},
		{name: "two groups at once", make: func() Input {
			in := world(3)
			in.Groups = append(in.Groups, in.Groups[0])
			in.Groups[1].Name, in.GroupsAtOnce = "spot", 2
			return in
		}, takes: 225 * time.Second, lower: 3 * time.Minute},
		{name: "two groups, one after the other", make: func() Input {
			in := world(3)
			in.Groups = append(in.Groups, in.Groups[0])
			return in
		}, takes: 450 * time.Second, lower: 6 * time.Minute},
		{name: "a group that was refused has no pace", make: func() Input {
			in := world(3)
			in.Groups = append(in.Groups, in.Groups[0])
			in.Groups[1].Surge = 0
			return in
		}, takes: 225 * time.Second, lower: 3 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := Make(tc.make())
			if e.Seconds != tc.takes.Seconds() {
				t.Errorf("takes %v s, want %v", e.Seconds, tc.takes.Seconds())
			}
			if want := min(tc.lower, tc.takes).Seconds(); e.LowerBoundSeconds != want || !strings.Contains(e.LimitedBy, tc.by) {
				t.Errorf("at least %v s by %s, want %v by %s", e.LowerBoundSeconds, e.LimitedBy, want, tc.by)
			}
			if e.SecondsLong < e.Seconds {
				t.Errorf("the long case %v is shorter than the usual one", e.SecondsLong)
			}
			if e.Groups[0].Waves != tc.waves {
				t.Errorf("%d waves, want %d", e.Groups[0].Waves, tc.waves)
			}
		})
	}
	if e := Make(Input{Groups: []Group{{Name: "empty", Surge: 1}}}); e != nil {
		t.Errorf("an estimate of nothing: %+v", e)
	}
}

func TestHistory(t *testing.T) {
	in := world(9)
	in.Nodes[0].ReadySince = start.Add(24 * time.Hour)               // it was away: it registered after 40 s
	in.Nodes[1].ReadySince = time.Time{}                             // it is away: the same
	in.Nodes[2].CreatedAt = start.Add(5 * time.Hour)                 // no boot of a machine
	in.Nodes[3].CreatedAt = start.Add(-time.Second)                  // by a clock that is behind
	in.Nodes[3].ReadySince = in.Nodes[3].CreatedAt                   //
	in.Instances[4].LaunchedAt = time.Time{}                         // not known
	in.Nodes = in.Nodes[:8]                                          // the ninth never joined
	in.pods("web", 3, nil)                                           // 10 s
	in.pods("slow", 2, nil)                                          //
	in.Pods[3].StartTook, in.Pods[4].StartTook = time.Minute, 0      // one of them is not known
	in.Pods = append(in.Pods, in.Pods[0], in.Pods[0])                //
	in.Pods[5].Owner.Kind, in.Pods[5].StartTook = "DaemonSet", 3600  // a node's own
	in.Pods[6].Mirror, in.Pods[6].StartTook = true, 30*time.Minute   //
	in.Pods = append(in.Pods, in.Pods[0])                            //
	in.Pods[7].Owner.Name, in.Pods[7].StartTook = "odd", 2*time.Hour // stuck for other reasons
	h := learn(&in)
	if want := (Stat{N: 5, Median: time.Minute, P90: time.Minute}); h.bootOf("g") != want {
		t.Errorf("boot %+v, want %+v", h.bootOf("g"), want)
	}
	if h.bootOf("another") != h.boot || h.boot.N != 5 {
		t.Errorf("a group without history: %+v", h.bootOf("another"))
	}
	if want := (Stat{N: 4, Median: 10 * time.Second, P90: time.Minute}); h.start != want {
		t.Errorf("start %+v, want %+v", h.start, want)
	}
	if got := h.startOf(&in.Pods[4]); got.N != 1 || got.Median != time.Minute {
		t.Errorf("a pod whose owner has history: %+v", got)
	}
	if got := h.startOf(&in.Pods[7]); got != h.start {
		t.Errorf("a pod whose owner has none: %+v", got)
	}
	if got := h.slowest(); got != "; those of ReplicaSet shop/slow take 1m" {
		t.Errorf("slowest: %q", got)
	}

	none := learn(&Input{})
	if none.boot.N != 0 || none.boot.Median != assumedBoot || none.start.Median != assumedStart {
		t.Errorf("no history: %+v", none)
	}
}

// What was launched last says most of what will be.
func TestRecentBootsCount(t *testing.T) {
	in := world(3 * recentBoots)
	for i := range in.Nodes {
		if i >= recentBoots {
			continue // a minute each, and long ago
		}
		launched := start.AddDate(0, 1, 0)
		in.Instances[i].LaunchedAt, in.Nodes[i].CreatedAt, in.Nodes[i].ReadySince = launched, launched.Add(20*time.Second), launched.Add(30*time.Second)
	}
	if want, got := (Stat{N: recentBoots, Median: 30 * time.Second, P90: 30 * time.Second}), learn(&in).bootOf("g"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Whose boots say how long the next one of the group takes.
func TestBootsOfOthers(t *testing.T) {
	minutes := func(n int) Stat {
		return Stat{N: 1, Median: time.Duration(n) * time.Minute, P90: time.Duration(n) * time.Minute}
	}
	type boot struct {
		group    string
		launched int // minutes after the start
		took     int // minutes
	}
	roles := map[string]model.Role{"workers": model.RoleNode, "spot": model.RoleNode, "masters": model.RoleControlPlane, "jump": model.RoleBastion}
	for name, tc := range map[string]struct {
		boots []boot
		want  Stat
	}{
		"its own":                               {[]boot{{"spot", 0, 1}, {"workers", 60, 3}}, minutes(3)},
		"of another group of its role":          {[]boot{{"jump", 60, 1}, {"spot", 60, 2}}, minutes(2)},
		"of another role only":                  {[]boot{{"jump", 60, 1}, {"masters", 60, 5}}, Stat{Median: assumedBoot, P90: 2 * assumedBoot}},
		"with the first nodes":                  {[]boot{{"workers", 0, 4}}, minutes(4)},
		"with the first nodes, and another":     {[]boot{{"workers", 0, 4}, {"workers", 60, 2}}, minutes(2)},
		"beside the control plane":              {[]boot{{"masters", 0, 5}, {"workers", 0, 6}}, Stat{Median: assumedBoot, P90: 2 * assumedBoot}},
		"beside the control plane, and another": {[]boot{{"masters", 0, 5}, {"workers", 0, 6}, {"workers", 60, 2}}, minutes(2)},
		"long after the control plane":          {[]boot{{"masters", 0, 5}, {"workers", 6, 2}}, minutes(2)},
	} {
		in := Input{Roles: roles, Groups: []Group{{ID: "workers"}}}
		for i, b := range tc.boots {
			id, launched := fmt.Sprintf("i-%d", i), start.Add(time.Duration(b.launched)*time.Minute)
			in.Instances = append(in.Instances, model.Instance{ID: id, GroupID: b.group, ProviderID: id, LaunchedAt: launched})
			at := launched.Add(time.Duration(b.took) * time.Minute)
			in.Nodes = append(in.Nodes, model.Node{Name: id, ProviderID: id, CreatedAt: at, ReadySince: at})
		}
		if h := learn(&in); h.bootOf("workers") != tc.want || h.boot != tc.want {
			t.Errorf("%s: %+v, and for the text %+v; want %+v", name, h.bootOf("workers"), h.boot, tc.want)
		}
	}
}

func TestLines(t *testing.T) {
	in := world(2)
	in.pods("web", 2, nil)
	got := strings.Join(Make(in).Lines(), "\n")
	want := `about 2m48s; 3m38s if boots, starts and ends of pods are slow
at least 2m10s, limited by group workers: 2 nodes, one at a time, 1m5s each: 2m10s
a new node is Ready after 1m (median of 2 instances)
a pod is Ready after 10s (median of 2 pods)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	in.Nodes, in.Pods = nil, nil
	e := Make(in)
	if got := strings.Join(e.Lines(), "\n"); !e.Assumed || !strings.Contains(got, "1m30s (assumed: the cluster has no history of it)") {
		t.Errorf("without history:\n%s", got)
	}
	for d, want := range map[time.Duration]string{1500 * time.Millisecond: "1.5s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 65*time.Minute + 40*time.Second: "1h6m"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
