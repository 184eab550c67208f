package kops

import (
	"strconv"

	"k8s.io/apimachinery/pkg/util/intstr"
	kopsapi "k8s.io/kops/pkg/apis/kops"

	"github.com/rotatord/rotator/drivers/sdk"
)

// defaultsOf resolves the rollingUpdate settings of an instance group as `kops
// rolling-update cluster` does: the group's, then the cluster's, then kops' own
// defaults (maxSurge 1 on AWS, else 0; maxUnavailable 0 with a surge, else 1).
// Percentages are of members, as in kops: a surge rounds up, what may be
// unavailable rounds down and is at least one.
//
// The library does not export its own resolveSettings.
func defaultsOf(cluster *kopsapi.Cluster, ig *kopsapi.InstanceGroup, traits sdk.Traits, members int) sdk.Defaults {
	own, shared := ig.Spec.RollingUpdate, cluster.Spec.RollingUpdate
	pick := func(of func(*kopsapi.RollingUpdate) *intstr.IntOrString) (*intstr.IntOrString, string) {
		if own != nil && of(own) != nil {
			return of(own), "the instance group's rollingUpdate"
		}
		if shared != nil && of(shared) != nil {
			return of(shared), "the cluster's rollingUpdate"
		}
		return nil, "kops' default"
	}
	surge, surgeFrom := pick(func(r *kopsapi.RollingUpdate) *intstr.IntOrString { return r.MaxSurge })
	unavailable, unavailableFrom := pick(func(r *kopsapi.RollingUpdate) *intstr.IntOrString { return r.MaxUnavailable })
	if surge == nil {
		value := intstr.FromInt32(0)
		if cluster.GetCloudProvider() == kopsapi.CloudProviderAWS && ig.Spec.Manager != kopsapi.InstanceManagerKarpenter {
			value = intstr.FromInt32(1)
		}
		surge = &value
	}
	n := resolve(surge, members, true)
	if n > 0 && traits.MaxSurge == 0 {
		n, surgeFrom = 0, surgeFrom+", and it cannot surge"
	}
	m := 0
	switch {
	case unavailable != nil:
		m = resolve(unavailable, members, false)
	case n == 0:
		m = 1
	}
	if n == 0 && m == 0 {
		// kops would detach nothing and end one at a time.
		m, unavailableFrom = 1, "one at a time, for want of a surge"
	}
	source := "maxSurge: " + surgeFrom + "; maxUnavailable: " + unavailableFrom
	if surgeFrom == unavailableFrom {
		source = surgeFrom
	}
	d := sdk.Defaults{MaxSurge: strconv.Itoa(n), MaxUnavailable: strconv.Itoa(m), Source: source}
	drains := pickBool(own, shared)
	if drains != nil && !*drains {
		d.Disabled = true
		d.Source += "; drainAndTerminate: false"
	}
	return d
}

// pickBool is drainAndTerminate of the group, else of the cluster; nil: of neither.
func pickBool(own, shared *kopsapi.RollingUpdate) *bool {
	if own != nil && own.DrainAndTerminate != nil {
		return own.DrainAndTerminate
	}
	if shared != nil {
		return shared.DrainAndTerminate
	}
	return nil
}

// resolve turns a count or a percentage into a count, as kops rounds.
func resolve(v *intstr.IntOrString, members int, up bool) int {
	if v.Type == intstr.Int {
		return max(v.IntValue(), 0)
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, members, up)
	if err != nil {
		n = 0 // as kops: what is no percentage counts as none
	}
	if !up {
		n = max(n, 1)
	}
	return max(n, 0)
}
