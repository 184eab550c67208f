package fit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// requests of a pod. One of which nothing is known counts as a pod all the
// same.
func requests(p *model.Pod) model.Resources {
	r := model.Resources{Pods: 1}
	if p.Traits != nil {
		r = p.Traits.Requests
		r.Pods = 1
	}
	return r
}

// enough tells whether what is free covers a request. What is not asked for is
// not looked at: a node may be overcommitted in it.
func enough(free, r model.Resources) bool { return lack(free, r) == "" }

// lack names the first resource that is too little; empty: none.
func lack(free, r model.Resources) string {
	switch {
	case r.MilliCPU > 0 && r.MilliCPU > free.MilliCPU:
		return "cpu"
	case r.Memory > 0 && r.Memory > free.Memory:
		return "memory"
	case r.Pods > free.Pods:
		return "pods"
	case r.EphemeralStorage > 0 && r.EphemeralStorage > free.EphemeralStorage:
		return "ephemeral-storage"
	}
	for _, k := range slices.Sorted(maps.Keys(r.Extended)) {
		if r.Extended[k] > free.Extended[k] {
			return k
		}
	}
	return ""
}

func plus(a, b model.Resources) model.Resources  { return combine(a, b, 1) }
func minus(a, b model.Resources) model.Resources { return combine(a, b, -1) }

func combine(a, b model.Resources, sign int64) model.Resources {
	a.MilliCPU += sign * b.MilliCPU
	a.Memory += sign * b.Memory
	a.EphemeralStorage += sign * b.EphemeralStorage
	a.Pods += sign * b.Pods
	if len(b.Extended) > 0 {
		sum := make(map[string]int64, len(a.Extended)) // a's map is shared
		maps.Copy(sum, a.Extended)
		for k, v := range b.Extended {
			sum[k] += sign * v
		}
		a.Extended = sum
	}
	return a
}

// Most is the larger of each resource.
func Most(a, b model.Resources) model.Resources {
	a.MilliCPU, a.Memory = max(a.MilliCPU, b.MilliCPU), max(a.Memory, b.Memory)
	a.EphemeralStorage, a.Pods = max(a.EphemeralStorage, b.EphemeralStorage), max(a.Pods, b.Pods)
	if len(b.Extended) > 0 {
		larger := make(map[string]int64, len(a.Extended)) // a's map is shared
		maps.Copy(larger, a.Extended)
		for k, v := range b.Extended {
			larger[k] = max(larger[k], v)
		}
		a.Extended = larger
	}
	return a
}

// times is n of them.
func times(a model.Resources, n int) model.Resources {
	if n == 1 {
		return a
	}
	many := int64(n)
	a.MilliCPU, a.Memory, a.EphemeralStorage, a.Pods = a.MilliCPU*many, a.Memory*many, a.EphemeralStorage*many, a.Pods*many
	if len(a.Extended) > 0 {
		extended := make(map[string]int64, len(a.Extended))
		for k, v := range a.Extended {
			extended[k] = v * many
		}
		a.Extended = extended
	}
	return a
}

// positive drops what is overcommitted: it is nobody's to give.
func positive(r model.Resources) model.Resources {
	r.MilliCPU, r.Memory = max(r.MilliCPU, 0), max(r.Memory, 0)
	r.EphemeralStorage, r.Pods = max(r.EphemeralStorage, 0), max(r.Pods, 0)
	for _, v := range r.Extended {
		if v < 0 {
			extended := maps.Clone(r.Extended)
			maps.DeleteFunc(extended, func(_ string, v int64) bool { return v < 0 })
			r.Extended = extended
			break
		}
	}
	return r
}

// total is what all bins that take pods have free.
func (s *state) total() model.Resources {
	var sum model.Resources
	for _, b := range s.bins {
		if b.open {
			sum = plus(sum, positive(b.free))
		}
	}
	return sum
}

// weight of a pod: the larger of its shares of what is free, so that what is
// hard to place goes first.
func weight(p *model.Pod, total model.Resources) float64 {
	r := requests(p)
	share := func(n, of int64) float64 { return float64(n) / float64(max(of, 1)) }
	return max(share(r.MilliCPU, total.MilliCPU), share(r.Memory, total.Memory), share(r.Pods, total.Pods))
}

// byWeight sorts pods: the heaviest first, then by name.
func byWeight(pods []*model.Pod, total model.Resources) {
	type weighed struct {
		pod    *model.Pod
		weight float64
	}
	list := make([]weighed, len(pods))
	for i, p := range pods {
		list[i] = weighed{p, weight(p, total)}
	}
	slices.SortFunc(list, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), strings.Compare(a.pod.Namespace, b.pod.Namespace), strings.Compare(a.pod.Name, b.pod.Name))
	})
	for i, w := range list {
		pods[i] = w.pod
	}
}

// shortage says what the pods ask for more of, together, than all bins have
// free; empty: the sums suffice.
func shortage(pods []*model.Pod, bins []*bin) string {
	var asked, free model.Resources
	for _, p := range pods {
		asked = plus(asked, requests(p))
	}
	for _, b := range bins {
		if b.open {
			free = plus(free, positive(b.free))
		}
	}
	name := lack(free, asked)
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s: %s asked for, %s free", name, amount(name, asked), amount(name, free))
}

// amount of one resource as a person writes it.
func amount(name string, r model.Resources) string {
	switch name {
	case "cpu":
		return strconv.FormatFloat(float64(r.MilliCPU)/1000, 'f', -1, 64)
	case "memory":
		return binary(r.Memory)
	case "ephemeral-storage":
		return binary(r.EphemeralStorage)
	case "pods":
		return strconv.FormatInt(r.Pods, 10)
	}
	return strconv.FormatInt(r.Extended[name], 10)
}

func binary(n int64) string {
	const mi, gi = 1 << 20, 1 << 30
	if n >= 10*gi {
		return fmt.Sprintf("%.1fGi", float64(n)/gi)
	}
	return fmt.Sprintf("%dMi", n/mi)
}
