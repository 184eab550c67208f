package engine

import "time"

// rhythm learns how long a round of evictions under a budget takes: from an
// eviction until the budget allows another in its place. It only decides which
// of several nodes goes first.
type rhythm struct {
	// closed: the budget allows nothing, and that is not for evictions of ours.
	closed bool
	mean   time.Duration // of the last few; 0: none yet
	out    []time.Time   // evictions that the budget has not made up for, oldest first
}

const (
	// roundGuess is a round's length before one was seen: a pod's start, image and all.
	roundGuess = 30 * time.Second
	// maxOut bounds the evictions that are followed; the others are not learned from.
	maxOut = 64
	// maxRound: what takes longer was not for want of a pod's start.
	maxRound = 10 * time.Minute
)

// round is how long one takes; 0: not known.
func (r *rhythm) round() time.Duration { return r.mean }

// took takes note of an eviction.
func (r *rhythm) took(now time.Time) {
	if len(r.out) < maxOut {
		r.out = append(r.out, now)
	}
}

// opened takes note that a budget allows so many more than before. It answers
// how long the last of those that it made up for took; 0: none.
func (r *rhythm) opened(now time.Time, more int) time.Duration {
	n := min(more, len(r.out))
	if n <= 0 {
		return 0
	}
	took := min(now.Sub(r.out[n-1]), maxRound)
	r.out = r.out[n:]
	r.learn(took)
	return took
}

// learn takes a round into the mean.
func (r *rhythm) learn(took time.Duration) {
	if r.mean == 0 {
		r.mean = took
		return
	}
	r.mean += (took - r.mean) / 4
}
