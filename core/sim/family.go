package sim

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/bound"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Case is a cluster of the family that scheduling is measured on.
type Case struct {
	Name  string
	About string // what is hard about it, for a person
	// Choice: the budgets leave one, so that the order of nodes matters.
	Choice bool
	Shape  *Shape
}

// The pace of the family: what a cloud and a cluster of middling speed take.
var familyPace = Pace{React: 4 * time.Second, Boot: 60 * time.Second, End: 30 * time.Second,
	Cloud: 150 * time.Millisecond, API: 5 * time.Millisecond, Control: 50 * time.Millisecond, Watch: 20 * time.Millisecond}

// Pods of the family end within familyStop, and are Ready within familyStart
// where nothing else is said.
const (
	familyStop  = 10 * time.Second
	familyStart = 20 * time.Second
)

// Family are twelve clusters of 100 to 5,000 nodes.
func Family() []Case {
	return []Case{
		{"plain-100", "no budgets at all", true, family(100).pods(1000, 20, "").shape},
		{"plain-2000", "no budgets, surge 5%", true, family(2000).surge("5%").pods(20000, 100, "").shape},
		{"many-small", "100 services of 6 pods, of which one may be down", true, family(300).surge("5%").each(100, 6, "1").pods(1200, 20, "").shape},
		{"few-huge", "4 services of 1,000 pods, of which 5% may be down", true, family(400).surge("5%").each(4, 1000, "5%").shape},
		{"one-each", "a service with a pod on each node, of which 10% may be down", true, family(200).each(1, 200, "10%").pods(1000, 20, "").shape},
		{"one-chain", "50 pods of one service, one at a time: nothing else matters", false, family(100).each(1, 50, "1").pods(500, 10, "").shape},
		{"hot-nodes", "a service with one pod on each of 60 of 200 nodes, one at a time", true, family(200).surge("5%").each(1, 60, "1").pods(1000, 20, "").shape},
		{"zonal", "60 services that live in one zone each, 5 pods, of which one may be down", true, family(300).surge("5%").zonal(60, 5, "1").pods(1200, 20, "").shape},
		{"stateful", "80 StatefulSets of 5 pods, of which one may be down", true, family(200).stateful(80, 5, "1").pods(600, 20, "").shape},
		{"unavailable", "no surge: 10% of the nodes may be missing", true, family(200).unavailable("10%").each(20, 20, "25%").pods(600, 20, "").shape},
		{"groups", "8 groups of 60 nodes, 4 at a time, and services over all of them", true, family(60).groups(8, 4).each(60, 20, "10%").pods(3000, 20, "").shape},
		{"mix-5000", "150,000 pods: huge, middling and small services, zonal ones and free pods", true, family(5000).surge("5%").
			each(5, 6000, "10%").each(100, 300, "5%").each(500, 20, "2").each(1000, 5, "1").zonal(1000, 5, "1").pods(70000, 100, "").shape},
	}
}

// builder adds workloads to a shape.
type builder struct{ shape *Shape }

var familyZones = []string{"a", "b", "c"}

// family begins with one group of outdated nodes and a surge of a tenth.
func family(nodes int) *builder {
	s := &Shape{Spec: Spec(), Pace: familyPace}
	s.Spec.Strategy.MaxSurge, s.Spec.Strategy.Attract = "10%", plan.AttractCordon
	s.Groups = []GroupShape{{Name: "workers", Role: model.RoleNode, Size: nodes, Old: nodes, Zones: familyZones, Room: 60, Traits: surges(10 * nodes)}}
	return &builder{s}
}

func (b *builder) surge(amount string) *builder {
	b.shape.Spec.Strategy.MaxSurge = amount
	return b
}

func (b *builder) unavailable(amount string) *builder {
	b.shape.Spec.Strategy.MaxSurge, b.shape.Spec.Strategy.MaxUnavailable = "0", amount
	return b
}

// groups has the first group so many times.
func (b *builder) groups(n, atOnce int) *builder {
	first := b.shape.Groups[0]
	b.shape.Groups = nil
	for i := range n {
		g := first
		g.Name = fmt.Sprintf("workers-%d", i)
		b.shape.Groups = append(b.shape.Groups, g)
	}
	b.shape.Spec.Strategy.GroupsAtOnce = atOnce
	return b
}

// pods adds pods without a budget, in so many workloads.
func (b *builder) pods(count, workloads int, zone string) *builder {
	for range workloads {
		b.add("ReplicaSet", count/workloads, "", zone)
	}
	return b
}

// each adds services with a budget each.
func (b *builder) each(services, pods int, maxUnavailable string) *builder {
	for range services {
		b.add("ReplicaSet", pods, maxUnavailable, "")
	}
	return b
}

func (b *builder) zonal(services, pods int, maxUnavailable string) *builder {
	for i := range services {
		b.add("ReplicaSet", pods, maxUnavailable, familyZones[i%len(familyZones)])
	}
	return b
}

func (b *builder) stateful(services, pods int, maxUnavailable string) *builder {
	for range services {
		b.add("StatefulSet", pods, maxUnavailable, "")
	}
	return b
}

func (b *builder) add(kind string, pods int, maxUnavailable, zone string) {
	name := fmt.Sprintf("w%d", len(b.shape.Workloads))
	b.shape.Workloads = append(b.shape.Workloads, WorkloadShape{Kind: kind, Name: name, Pods: pods, Request: 1, Start: familyStart, Stop: familyStop, Zone: zone})
	if maxUnavailable != "" {
		b.shape.Budgets = append(b.shape.Budgets, BudgetShape{Name: name, Workloads: []string{name}, MaxUnavailable: maxUnavailable})
	}
}

// Limits is what limits a rotation of the shape, for a lower bound. The shape
// must be paced, all its nodes outdated, and its budgets over one workload each.
func (s *Shape) Limits() bound.Shape {
	b := bound.Shape{GroupsAtOnce: s.Spec.Strategy.GroupsAtOnce}
	workloads := make(map[string]WorkloadShape)
	stop := time.Duration(-1)
	for _, w := range s.Workloads {
		workloads[w.Name] = w
		if w.Kind != "DaemonSet" && (stop < 0 || w.Stop < stop) {
			stop = w.Stop
		}
	}
	for _, g := range s.Groups {
		unavailable, err := plan.Resolve(s.Spec.Strategy.MaxUnavailable, g.Size, false)
		if err != nil {
			panic(err) // the family is written by hand
		}
		l := bound.Group{Name: g.Name, Nodes: g.Old, Slots: resolve(s.Spec.Strategy.MaxSurge, g.Size) + unavailable,
			Boot: s.Pace.React + s.Pace.Boot, Drain: max(stop, 0), BootFirst: unavailable == 0}
		if len(s.Groups) == 1 { // else nobody can say how many pods of a budget a group has
			for _, bs := range s.Budgets {
				w := workloads[bs.Workloads[0]]
				each := w.Start
				if w.Kind == "StatefulSet" { // one name, one pod: the old one must be gone
					each += w.Stop
				}
				l.Budgets = append(l.Budgets, bound.Budget{Name: bs.Name, Pods: w.Pods, AtOnce: resolve(bs.MaxUnavailable, w.Pods), Each: each})
			}
		}
		b.Groups = append(b.Groups, l)
	}
	return b
}
