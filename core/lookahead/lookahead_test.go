package lookahead

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// random is a problem of a few nodes, most of which share budgets.
func random(r *rand.Rand) *Problem {
	p := &Problem{Boot: 20 * time.Second, Canary: r.IntN(2) == 0}
	for range 1 + r.IntN(4) {
		b := Budget{Round: time.Duration(2+r.IntN(20)) * time.Second}
		for range 1 + r.IntN(2) {
			b.Opens = append(b.Opens, time.Duration(r.Int64N(int64(b.Round))))
		}
		slices.Sort(b.Opens)
		p.Budgets = append(p.Budgets, b)
	}
	zones := 1 + r.IntN(3)
	p.Spare = make([]int, zones)
	node := func() Node {
		n := Node{Zone: r.IntN(zones), Settle: time.Duration(r.IntN(10)) * time.Second}
		for b := range p.Budgets {
			if r.IntN(2) == 0 {
				n.Loads = append(n.Loads, Load{Budget: b, Pods: 1 + r.IntN(2)})
			}
		}
		return n
	}
	for range 2 + r.IntN(5) {
		n := node()
		p.Spare[n.Zone]++
		p.Waiting = append(p.Waiting, n)
	}
	p.Spare[0] -= r.IntN(3)
	if r.IntN(3) == 0 {
		p.Draining = append(p.Draining, node())
	}
	for range 1 + r.IntN(3) {
		p.Slots = append(p.Slots, time.Duration(r.IntN(2)*r.IntN(30))*time.Second)
	}
	return p
}

// best is the end of the best of all orders that begin with each node, by plays alone.
func best(p *Problem) []time.Duration {
	ends := make([]time.Duration, len(p.Waiting))
	for i := range ends {
		ends[i] = math.MaxInt64
	}
	s := newSearch(p)
	may := s.mayGoFirst()
	order := make([]int, len(p.Waiting))
	for i := range order {
		order[i] = i
	}
	var visit func(int)
	visit = func(k int) {
		if k == len(order) {
			if slices.Contains(may, order[0]) {
				ends[order[0]] = min(ends[order[0]], s.play(order).end)
			}
			return
		}
		for i := k; i < len(order); i++ {
			order[k], order[i] = order[i], order[k]
			visit(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	visit(0)
	return ends
}

// TestAgainstAllOrders: no end is better than the best of all orders, and the search
// names a node with which the best can be had nearly always.
func TestAgainstAllOrders(t *testing.T) {
	const problems = 500
	found := 0
	for seed := range uint64(problems) {
		p := random(rand.New(rand.NewPCG(seed, 1)))
		ends, all := p.Ends(200), best(p)
		first := 0
		for i, end := range ends {
			if (end == math.MaxInt64) != (all[i] == math.MaxInt64) || end < all[i] {
				t.Fatalf("problem %d: node %d first ends after %s, and the best order after %s", seed, i, end, all[i])
			}
			if end < ends[first] {
				first = i
			}
		}
		if all[first] == slices.Min(all) {
			found++
		}
	}
	if found < problems*98/100 {
		t.Errorf("of %d problems, %d began as the best order does", problems, found)
	}
	t.Logf("%d of %d began as the best order does", found, problems)
}

// path is four nodes of which the first and the third, the third and the last, and the
// last and the second are in each other's way.
func path() *Problem {
	tight := Budget{Round: 10 * time.Second, Opens: []time.Duration{0}}
	return &Problem{Budgets: []Budget{tight, tight, tight}, Boot: time.Minute, Slots: []time.Duration{0, 0}, Spare: []int{4},
		Waiting: []Node{{Loads: []Load{{0, 1}}}, {Loads: []Load{{2, 1}}}, {Loads: []Load{{0, 1}, {1, 1}}}, {Loads: []Load{{1, 1}, {2, 1}}}}}
}

func TestEnds(t *testing.T) {
	const never = time.Duration(math.MaxInt64)
	for _, c := range []struct {
		name   string
		change func(*Problem)
		want   []time.Duration
	}{
		{"nobody needs to wait", func(*Problem) {}, []time.Duration{70e9, 70e9, 70e9, 70e9}},
		{"a rank that goes first", func(p *Problem) {
			p.Waiting[0].Rank, p.Waiting[1].Rank, p.Waiting[2].Rank, p.Waiting[3].Rank = 1, 1, 2, 2
		},
			[]time.Duration{80e9, 80e9, never, never}},
		{"a zone that must end last", func(p *Problem) {
			p.Spare = []int{2, 0}
			p.Waiting[2].Zone, p.Waiting[3].Zone = 1, 1
		}, []time.Duration{80e9, 80e9, never, never}},
		{"a canary, whose pods come back late", func(p *Problem) {
			p.Canary = true
			p.Waiting[0].Settle = 30 * time.Second
		}, []time.Duration{100e9, 80e9, 80e9, 80e9}},
		{"one that drains, and holds the last budget", func(p *Problem) { p.Draining = []Node{{Loads: []Load{{2, 3}}}} },
			[]time.Duration{80e9, 90e9, 80e9, 90e9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := path()
			c.change(p)
			if got := p.Ends(100); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// BenchmarkEnds plays as the engine does at most: 24 nodes with 30 pods each.
func BenchmarkEnds(b *testing.B) {
	p := &Problem{Boot: time.Minute, Slots: make([]time.Duration, 4), Spare: []int{24}}
	for range 240 {
		p.Budgets = append(p.Budgets, Budget{Round: 10 * time.Second, Opens: make([]time.Duration, 2)})
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 24 {
		var n Node
		for _, i := range r.Perm(240)[:30] {
			n.Loads = append(n.Loads, Load{i, 1})
		}
		p.Waiting = append(p.Waiting, n)
	}
	for b.Loop() {
		p.Ends(500)
	}
}
