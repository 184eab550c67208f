package observer

import (
	"errors"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// errNoBound is what a budget's demand is when its spec bounds nothing.
var errNoBound = errors.New("neither minAvailable nor maxUnavailable is set")

// desiredHealthy computes how many healthy pods a budget demands, with expected
// the sum of the replicas that the controllers of its pods want. Percentages
// round up, in both kinds of bound, as the disruption controller rounds them.
func desiredHealthy(spec policyv1.PodDisruptionBudgetSpec, expected int) (int, error) {
	switch {
	case spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, expected, true)
		if err != nil {
			return 0, fmt.Errorf("maxUnavailable: %w", err)
		}
		return max(0, expected-n), nil
	case spec.MinAvailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, expected, true)
		if err != nil {
			return 0, fmt.Errorf("minAvailable: %w", err)
		}
		return n, nil
	}
	return 0, errNoBound
}
