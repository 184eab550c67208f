package engine

import (
	"fmt"
	"slices"
)

// Audit counts the members of all groups anew, and answers where the census
// says otherwise: something changed a member without become or recount.
func (e *Engine) Audit() (problems []string) {
	for _, g := range e.groups {
		var fresh census
		for _, z := range g.census.zones {
			fresh.zone(z.zone)
		}
		started := 0
		for _, m := range g.members {
			now := m.stands()
			if now != m.counted || m.zone != g.census.zone(now.zone) {
				problems = append(problems, fmt.Sprintf("%s is %+v and counted as %+v", m.label(), now, m.counted))
			}
			fresh.add(m, now, 1)
			started += bit(now.started)
			if now.busy {
				fresh.busy = append(fresh.busy, m)
			}
		}
		was := g.census
		same := fresh.in == was.in && fresh.old == was.old && fresh.usable == was.usable && fresh.light == was.light &&
			was.started >= started && slices.Equal(fresh.busy, was.busy) &&
			slices.EqualFunc(fresh.zones, was.zones, func(a, b *zoneCensus) bool { return a.zone == b.zone && a.zoneSums == b.zoneSums })
		if !same {
			problems = append(problems, fmt.Sprintf("the census of group %s is %+v and should be %+v", g.Name, was, fresh))
		}
	}
	return problems
}
