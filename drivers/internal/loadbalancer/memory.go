package loadbalancer

import (
	"context"
	"slices"
	"sync"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Memory remembers which load balancers may have instances on their way out, so
// that a look asks about no other: one call for each that has, whatever its
// size. It is a cache: a new life of the driver asks about all of them once. The
// zero value is ready to use.
type Memory struct {
	mu sync.Mutex
	// quiet load balancers had no instance on its way out when they were last
	// asked, and nothing was deregistered since.
	quiet map[string]bool
	// leaving are the instances, by load balancer, that were deregistered and that
	// AWS may show as before for a moment.
	leaving map[string]map[string]bool
	// asked counts the deregistrations of each: an answer from before one is old.
	asked map[string]int
}

// Reset forgets everything.
func (m *Memory) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quiet, m.leaving, m.asked = nil, nil, nil
}

// leave takes note that an instance is about to be deregistered.
func (m *Memory) leave(id, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leaving == nil {
		m.leaving, m.asked = map[string]map[string]bool{}, map[string]int{}
	}
	if m.leaving[id] == nil {
		m.leaving[id] = map[string]bool{}
	}
	m.leaving[id][instance] = true
	m.asked[id]++
	delete(m.quiet, id)
}

// back takes note that an instance is registered again.
func (m *Memory) back(id, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.leaving[id], instance)
}

// due tells whether a load balancer has to be asked, and how many
// deregistrations there have been.
func (m *Memory) due(id string) (bool, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.quiet[id], m.asked[id]
}

// learn takes an answer: the states of all instances of a load balancer. It
// returns those that are on their way out.
func (m *Memory) learn(id string, states map[string]State, asked int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for instance := range m.leaving[id] {
		if _, listed := states[instance]; !listed && asked == m.asked[id] {
			delete(m.leaving[id], instance)
		}
	}
	var out []string
	for instance, state := range states {
		if state == Leaving || m.leaving[id][instance] {
			out = append(out, instance)
		}
	}
	if len(out) == 0 && len(m.leaving[id]) == 0 {
		if m.quiet == nil {
			m.quiet = map[string]bool{}
		}
		m.quiet[id] = true
	}
	return out
}

// stir makes the next look ask about a load balancer that somebody else has
// begun to take an instance out of.
func (m *Memory) stir(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.quiet, id)
}

// Leaving reads which instances of the groups are on their way out of which load
// balancers. Groups may share one.
func (c *Client) Leaving(ctx context.Context, groups []Group) (map[string][]string, *Failure) {
	members, ids := map[string][]string{}, []string{}
	for _, g := range groups {
		for _, id := range g.Balancers {
			members[id] = append(members[id], g.Members...)
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	from := map[string][]string{}
	for _, id := range slices.Compact(ids) {
		due, asked := c.Memory.due(id)
		if !due {
			continue
		}
		states, failure := c.kind(id).States(ctx, id, members[id])
		if failure != nil {
			return nil, failure
		}
		for _, instance := range c.Memory.learn(id, states, asked) {
			from[instance] = append(from[instance], id)
		}
	}
	return from, nil
}

// Show adds to instances what Leaving found, where no other work is shown.
func Show(list []sdk.Instance, from map[string][]string) {
	for i := range list {
		if ids := from[list[i].ID]; len(ids) > 0 && list[i].Work == nil {
			list[i].Work = &sdk.Work{Verb: "quiesce", Phase: phase(ids)}
		}
	}
}
