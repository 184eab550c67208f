package sim

import "time"

// queue is virtual time: a heap of what happens when. What happens at the same
// moment keeps the order of its making.
type queue struct {
	now  time.Duration // since the world began
	heap []timed
	made uint64
}

type timed struct {
	at    time.Duration
	order uint64
	f     func()
}

func (t timed) before(o timed) bool { return t.at < o.at || t.at == o.at && t.order < o.order }

// after lets f happen once d has passed.
func (q *queue) after(d time.Duration, f func()) {
	q.made++
	q.heap = append(q.heap, timed{q.now + max(d, 0), q.made, f})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

// next is when something happens; false: nothing will.
func (q *queue) next() (time.Duration, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// turn lets the next thing happen; there must be one.
func (q *queue) turn() {
	t, last := q.heap[0], len(q.heap)-1
	q.heap[0], q.heap[last] = q.heap[last], timed{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && q.heap[down+1].before(q.heap[down]) {
			down++
		}
		if !q.heap[down].before(q.heap[i]) {
			break
		}
		q.heap[i], q.heap[down] = q.heap[down], q.heap[i]
		i = down
	}
	q.now = t.at
	t.f()
}
