package fit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// maxReasons bounds how many kinds of reasons are named for one pod.
const maxReasons = 4

// why says for a pod what each node has against it, counted, as the scheduler
// words it: "none of 12 nodes: 8 lack cpu (asks 2, at most 1.5 free), 4
// tainted dedicated".
func (s *state) why(p *model.Pod) string {
	c, zone, r := s.class(p), s.zone(p), requests(p)
	count := map[string]int{}
	best := map[string]model.Resources{} // of the nodes that lack a resource, the one that has most of it
	open := 0
	for _, b := range s.bins {
		if !b.open {
			continue
		}
		open++
		reason := cmp.Or(b.objection(p, zone), s.terms.objection(c, b))
		if reason == "" && b.taken(p) {
			reason = "its host port is taken"
		}
		if reason == "" {
			name := lack(b.free, r)
			if name == "" {
				continue // one like it was tried, and would fit by now
			}
			reason = "lack " + name
			if had, ok := best[reason]; !ok || of(name, b.free) > of(name, had) {
				best[reason] = b.free
			}
		}
		count[reason]++
	}
	if open == 0 {
		return "no other node takes pods"
	}
	reasons := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(cmp.Compare(count[b], count[a]), strings.Compare(a, b)) })
	var parts []string
	for _, reason := range reasons[:min(len(reasons), maxReasons)] {
		text := fmt.Sprintf("%d %s", count[reason], reason)
		if free, ok := best[reason]; ok {
			name := strings.TrimPrefix(reason, "lack ")
			text += fmt.Sprintf(" (asks %s, at most %s free)", amount(name, r), amount(name, positive(free)))
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("none of %d nodes: %s", open, strings.Join(parts, ", "))
}

func of(name string, r model.Resources) int64 {
	switch name {
	case "cpu":
		return r.MilliCPU
	case "memory":
		return r.Memory
	case "ephemeral-storage":
		return r.EphemeralStorage
	case "pods":
		return r.Pods
	}
	return r.Extended[name]
}
