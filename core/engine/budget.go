package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// budget is a PodDisruptionBudget with the evictions that were asked for and
// that its status may not show yet.
type budget struct {
	model.Budget
	// asked is by pod UID. Only the methods of the budget change it.
	asked map[string]asking
	// room and more are what allowed has answered at roomAt, while counted.
	room         int
	roomAt, more time.Time
	counted      bool
	// rhythm lives as long as the budget does, whatever its status.
	rhythm *rhythm
	// version counts the budget's changes.
	version uint64
	// opened is when it last allowed a disruption again; zero: it never was closed.
	opened time.Time
}

// asking is an eviction that no status is known to count.
type asking struct {
	pod string
	// answered is when the API server allowed it; zero: not yet.
	answered time.Time
	// told: a status has come since that does not name it, as old as it may be.
	told bool
}

// How long after the answer to an eviction the budget's status counts as behind
// it. The API server names the pod in the status before it answers, and a watch
// that is not interrupted shows it; else these hold: a status that comes later
// than settles counts it, and after shows the status does that was there before.
const (
	settles = time.Second
	shows   = 5 * time.Second
)

// until is when the budget's status counts the eviction in any case.
func (a asking) until() time.Time {
	if a.told {
		return a.answered.Add(settles)
	}
	return a.answered.Add(shows)
}

// allowed is how many evictions may still be asked for, and when there may be
// more without a new status; zero: not before an answer.
func (b *budget) allowed(now time.Time) (n int, more time.Time) {
	if len(b.asked) == 0 {
		return b.Allowed, time.Time{}
	}
	// Many pods ask for it at one moment.
	if !b.counted || !b.roomAt.Equal(now) {
		b.room, b.more = b.count(now)
		b.roomAt, b.counted = now, true
	}
	return b.room, b.more
}

func (b *budget) count(now time.Time) (n int, more time.Time) {
	n = b.Allowed
	for _, a := range b.asked {
		until := a.until()
		if !a.answered.IsZero() && !until.After(now) {
			continue
		}
		n--
		if !a.answered.IsZero() && (more.IsZero() || until.Before(more)) {
			more = until
		}
	}
	return n, more
}

// ask takes note of an eviction that is asked for.
func (b *budget) ask(p *model.Pod) {
	b.asked[p.UID] = asking{pod: p.Name}
	b.counted = false
}

// answer takes note that the API server allowed it, unless a status has come that
// counts it.
func (b *budget) answer(uid string, now time.Time) {
	if a, ok := b.asked[uid]; ok {
		a.answered = now
		b.asked[uid] = a
		b.counted = false
	}
}

// unask forgets an eviction that took none of the budget's disruptions.
func (b *budget) unask(uid string) {
	delete(b.asked, uid)
	b.counted = false
}

// follow takes a new status, and drops the evictions that it counts.
func (b *budget) follow(now time.Time, status model.Budget) {
	b.Budget, b.counted = status, false
	counted := status.Counted
	maps.DeleteFunc(b.asked, func(_ string, a asking) bool {
		return slices.Contains(counted, a.pod) || !a.answered.IsZero() && !a.answered.Add(settles).After(now)
	})
	for uid, a := range b.asked {
		a.told = !a.answered.IsZero()
		b.asked[uid] = a
	}
}

// setBudget takes a budget's new status.
func (w *world) setBudget(b model.Budget) {
	in := w.budgets[b.Namespace]
	if in == nil {
		in = make(map[string]*budget)
		w.budgets[b.Namespace] = in
	}
	old := in[b.Name]
	if old == nil {
		w.budgetsVersion++
		old = &budget{asked: make(map[string]asking), rhythm: &rhythm{}}
		in[b.Name] = old
	} else {
		if b.Selector == "" || b.Selector != old.Selector {
			w.budgetsVersion++
		}
		old.version++
		if old.Allowed <= 0 && b.Allowed > 0 {
			old.opened = w.now
		}
		if took := old.rhythm.opened(w.now, b.Allowed-old.Allowed); took > 0 {
			w.rhythm.learn(took)
		}
	}
	old.follow(w.now, b)
	old.rhythm.closed = b.Allowed <= 0 && len(old.asked)+len(old.rhythm.out) == 0
}
