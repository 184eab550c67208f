//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// BenchmarkBudgetOpens drains a node whose pods may leave only one at a time, and
// measures how long after the budget allows the next one its eviction has reached
// the API server. Both are seen by watches of the benchmark's own.
func BenchmarkBudgetOpens(b *testing.B) {
	s := pods(b)
	const replicas = 30
	var all []time.Duration
	for b.Loop() {
		c := newPodCase(b, s, "opens")
		c.deployment("web", replicas, nil)
		c.budget("web", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))})
		c.ready("web", replicas)
		c.counted("web", replicas)
		c.open()
		seen := c.watchOpenings()
		s.rotatord(b).Run(b, "drain", c.node, "--max-evictions", "50").MustExit(b, exitDone)
		all = append(all, seen()...)
		c.end()
	}
	slices.Sort(all)
	if len(all) < replicas/2 {
		b.Fatalf("only %d openings were seen", len(all))
	}
	at := func(p int) string { return all[min(len(all)*p/100, len(all)-1)].Round(time.Millisecond).String() }
	b.ReportMetric(float64(all[len(all)*95/100])/1e6, "p95-ms")
	figure(fmt.Sprintf("budget opens to eviction, %d times: p50", len(all)), at(50), "")
	figure("budget opens to eviction: p95", at(95), "goal: within 250 ms")
	figure("budget opens to eviction: slowest", at(100), "")
}

// watchOpenings follows the case's budget. What it returns ends the
// watches and answers the time from each opening to the next eviction.
func (c *podCase) watchOpenings() func() []time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	kube := c.s.Kube(c.tb)
	budgets, err := kube.PolicyV1().PodDisruptionBudgets(c.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		c.tb.Fatal(err)
	}
	var took []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		var opened time.Time
		for {
			select {
			case e, ok := <-budgets.ResultChan():
				if !ok {
					return
				}
				pdb, ok := e.Object.(*policyv1.PodDisruptionBudget)
				switch {
				case !ok:
				case pdb.Status.DisruptionsAllowed == 0 || pdb.Status.ObservedGeneration < pdb.Generation:
					// The API server takes the allowed one before it deletes the pod.
					if !opened.IsZero() && len(pdb.Status.DisruptedPods) > 0 {
						took = append(took, time.Since(opened))
					}
					opened = time.Time{}
				case opened.IsZero():
					opened = time.Now()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return func() []time.Duration {
		cancel()
		budgets.Stop()
		wg.Wait()
		if len(took) > 0 {
			took = took[1:] // the first waited for the drain, not for its budget
		}
		return took
	}
}
