package drain

import "github.com/rotatord/rotator/core/model"

// Permits tells whether the eviction API would allow the pod to be evicted
// under the budget as it was last seen, by the API server's own rules
// (pkg/registry/core/pod/storage/eviction.go): a pending pod is always allowed;
// a pod that is not Ready is allowed under AlwaysAllow, or while enough others
// are healthy; any other pod takes one of the allowed disruptions.
//
// spends tells whether the eviction would use up an allowed disruption.
func Permits(b *model.Budget, p *model.Pod, allowed int) (ok, spends bool) {
	if p.Phase == "Pending" {
		return true, false
	}
	if !b.Observed {
		return false, false
	}
	if !p.Ready {
		if b.AlwaysEvictUnhealthy || b.CurrentHealthy >= b.DesiredHealthy && b.DesiredHealthy > 0 {
			return true, false
		}
	}
	return allowed > 0, true
}

// NeverAllows tells whether the budget can never allow an eviction while its
// workload keeps its size: all of its pods must be healthy at all times.
func NeverAllows(b *model.Budget) bool {
	return b.Observed && b.Expected > 0 && b.DesiredHealthy >= b.Expected
}
