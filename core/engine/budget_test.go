package engine

import (
	"testing"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// What a budget allows after evictions of ours, whatever its watch tells when.
func TestBudgetAllows(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	type status struct {
		ms, allowed int
		counted     []string
	}
	for name, c := range map[string]struct {
		answered int // 0: never
		statuses []status
		ms       int
		allowed  int
		more     int // 0: not without news
	}{
		"not answered":                             {ms: 9000, allowed: 2},
		"answered, and no status since":            {answered: 10, ms: 5009, allowed: 2, more: 5010},
		"as long as a status can take":             {answered: 10, ms: 5010, allowed: 3},
		"the status names it":                      {answered: 10, statuses: []status{{20, 2, []string{"web-1"}}}, ms: 20, allowed: 2},
		"the status names it before the answer":    {answered: 10, statuses: []status{{5, 2, []string{"web-1"}}}, ms: 11, allowed: 2},
		"a status of before the eviction":          {answered: 10, statuses: []status{{20, 4, []string{"web-0"}}}, ms: 1009, allowed: 3, more: 1010},
		"a status that names nobody, a second old": {answered: 10, statuses: []status{{20, 4, nil}}, ms: 1010, allowed: 4},
		"one of before, then one that names it":    {answered: 10, statuses: []status{{20, 4, nil}, {30, 3, []string{"web-1"}}}, ms: 30, allowed: 3},
		"a status a second after the answer":       {answered: 10, statuses: []status{{1010, 4, nil}}, ms: 1010, allowed: 4},
	} {
		w := newWorld()
		b := model.Budget{BudgetKey: model.BudgetKey{Namespace: "shop", Name: "web"}, Allowed: 3}
		w.setBudget(b)
		got := w.budgets["shop"]["web"]
		got.ask(&model.Pod{PodKey: model.PodKey{Namespace: "shop", Name: "web-1"}, UID: "uid-1"})
		answer := func(until int) {
			if a := got.asked["uid-1"]; c.answered > 0 && c.answered <= until && a.answered.IsZero() {
				got.answer("uid-1", at(c.answered))
			}
		}
		for _, s := range c.statuses {
			answer(s.ms)
			w.now, b.Allowed, b.Counted = at(s.ms), s.allowed, s.counted
			w.setBudget(b)
		}
		answer(c.ms)
		allowed, more := got.allowed(at(c.ms))
		var want time.Time
		if c.more > 0 {
			want = at(c.more)
		}
		if allowed != c.allowed || !more.Equal(want) {
			t.Errorf("%s: %d allowed, more at %v; want %d, %v", name, allowed, more, c.allowed, want)
		}
	}
}
