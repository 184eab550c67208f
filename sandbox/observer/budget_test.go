package observer

import (
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestDesiredHealthy(t *testing.T) {
	n := func(n int32) *intstr.IntOrString { return new(intstr.FromInt32(n)) }
	s := func(s string) *intstr.IntOrString { return new(intstr.FromString(s)) }
	for _, c := range []struct {
		name     string
		spec     policyv1.PodDisruptionBudgetSpec
		expected int
		want     int
		wantErr  bool
	}{
		{name: "max unavailable one", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: n(1)}, expected: 3, want: 2},
		{name: "max unavailable none", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: n(0)}, expected: 3, want: 3},
		{name: "max unavailable above the replicas", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: n(5)}, expected: 3, want: 0},
		{name: "max unavailable a quarter of 4", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: s("25%")}, expected: 4, want: 3},
		{name: "max unavailable a quarter of 5 rounds up", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: s("25%")}, expected: 5, want: 3},
		{name: "max unavailable a percent of 1 rounds up", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: s("1%")}, expected: 1, want: 0},
		{name: "max unavailable nothing expected", spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: n(1)}, expected: 0, want: 0},
		{name: "min available two", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: n(2)}, expected: 3, want: 2},
		{name: "min available above the replicas", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: n(4)}, expected: 3, want: 4},
		{name: "min available does not need the scale", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: n(2)}, expected: 0, want: 2},
		{name: "min available half of 4", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: s("50%")}, expected: 4, want: 2},
		{name: "min available half of 5 rounds up", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: s("50%")}, expected: 5, want: 3},
		{name: "min available all", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: s("100%")}, expected: 5, want: 5},
		{name: "no bound", wantErr: true},
		{name: "no percentage", spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: s("half")}, wantErr: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := desiredHealthy(c.spec, c.expected)
			if (err != nil) != c.wantErr {
				t.Fatalf("error = %v, want one: %v", err, c.wantErr)
			}
			if got != c.want {
				t.Errorf("desiredHealthy = %d, want %d", got, c.want)
			}
		})
	}
}
