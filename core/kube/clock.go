package kube

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// tolerableSkew is how far our clock and the API server's may be apart without a
// word: a Date header counts whole seconds, and an answer takes its time.
const tolerableSkew = 5 * time.Second

// clock compares ours with the API server's, by the Date header of the answer to
// the first call. Times that the API server writes and that are compared with our own
// clock (when a pod is to have ended, until when it asks not to be disrupted) are
// brought to ours first: else a pod on a node that does not answer, or one that is
// forced out, would not have its grace period, and another would be waited for too long.
type clock struct {
	next http.RoundTripper

	mu    sync.Mutex
	known bool
	ahead time.Duration // how far the API server's clock is ahead of ours, at least
}

// RoundTrip passes the request on.
func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	answer, err := c.next.RoundTrip(r)
	if err == nil {
		c.see(answer.Header.Get("Date"), sent, time.Now())
	}
	return answer, err
}

// see takes note of an answer, unless there was one before. The header was written
// between sent and received, and its second had begun up to one second before.
func (c *clock) see(header string, sent, received time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		return
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return // a proxy may leave it out
	}
	c.known = true
	switch {
	case date.After(received):
		c.ahead = date.Sub(received)
	case date.Add(time.Second).Before(sent):
		c.ahead = -sent.Sub(date.Add(time.Second))
	}
}

// ours is a time of the API server's by our clock, in UTC, to within a second or two.
func (c *clock) ours(at time.Time) time.Time {
	if c == nil {
		return at.UTC()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return at.Add(-c.ahead).UTC()
}

// checkClock warns where our clock and the API server's are far apart.
func (c *Cluster) checkClock(ctx context.Context) {
	c.clock.mu.Lock()
	ahead := c.clock.ahead
	c.clock.mu.Unlock()
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	if off := ahead.Abs(); off > tolerableSkew {
		c.log.WarnContext(ctx, "the API server's clock is "+off.Round(time.Second).String()+" "+way+" this machine's: when pods are to have ended is reckoned by both; set the clocks right",
			"server", c.server)
	}
}
