//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// attempts are the evictions that rotatord asked for, by pod, as the proxy saw them.
type attempts struct {
	mu sync.Mutex
	at map[string][]time.Time
}

// add counts one, and tells the how many-th of the pod's it is.
func (a *attempts) add(pod string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = make(map[string][]time.Time)
	}
	a.at[pod] = append(a.at[pod], time.Now())
	return len(a.at[pod])
}

// evictByHand evicts a pod as a person would, and waits until holds.
func (c *podCase) evictByHand(pod, what string, holds func() bool) {
	// Not on the test's goroutine: errors are told, and the wait ends by itself.
	if err := c.kube.CoreV1().Pods(c.namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: c.namespace}}); err != nil {
		c.tb.Errorf("evict pod %s: %v", pod, err)
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			c.tb.Errorf("pod %s: waited 20 s for %s", pod, what)
			return
		}
	}
}

// testRefused: somebody takes the budget's room between rotatord's look and its
// eviction, which is refused, to be tried again after half a minute. It is tried
// again as soon as the budget opens. Where no budget shows anything, Retry-After is
// waited for.
func testRefused(t *testing.T, c *podCase) {
	const long, short = 30 * time.Second, 3 * time.Second
	c.deployment("web", 2, nil)
	c.budget("web", policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1))})
	c.deployment("busy", 1, nil)
	c.ready("web", 2)
	c.ready("busy", 1)
	c.counted("web", 2)
	web, busy := c.readyOn("web", c.node), c.readyOn("busy", c.node)[0]

	var asked attempts
	var once sync.Once
	r := apiProxy{evict: func(w http.ResponseWriter, r *http.Request, pod string, pass http.Handler) {
		nth := asked.add(pod)
		if pod == busy && nth == 1 {
			refuse(w, metav1.Status{Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, Message: "too many requests",
				Details: &metav1.StatusDetails{RetryAfterSeconds: int32(short.Seconds())}})
			return
		}
		if slices.Contains(web, pod) {
			once.Do(func() {
				other := web[(slices.Index(web, pod)+1)%2]
				c.evictByHand(other, "its eviction", func() bool { return true })
			})
		}
		pass.ServeHTTP(w, r)
	}, answer: func(a *http.Response) error { // the API server gives a time only where it lags behind the budget
		if a.StatusCode != http.StatusTooManyRequests {
			return nil
		}
		return later(a, long)
	}, json: true}.rotatord(t, c.s)
	c.open()
	res := r.Run(t, "drain", c.node)
	res.MustExit(t, exitDone)

	refusals := r.Events(t, "eviction-refused")
	codes := map[string]string{}
	for _, e := range refusals {
		codes[e.Pod] = e.Code
	}
	var held string
	for _, pod := range web {
		if codes[c.namespace+"/"+pod] != "" {
			held = pod
		}
	}
	if len(refusals) != 2 || codes[c.namespace+"/"+held] != "blocked" || codes[c.namespace+"/"+busy] != "transient" {
		t.Fatalf("refused are %+v, want one pod of web by its budget, and %s", refusals, busy)
	}
	if at := asked.at[held]; len(at) != 2 || at[1].Sub(at[0]) >= long {
		t.Errorf("the eviction of %s was asked for at %v, want twice, the second as soon as its budget opened", held, at)
	}
	if at := asked.at[busy]; len(at) != 2 || at[1].Sub(at[0]) < short {
		t.Errorf("the eviction of %s was asked for at %v, want twice, with %s between", busy, at, short)
	}
}

// refuse answers with a status of the API's.
func refuse(w http.ResponseWriter, s metav1.Status) {
	s.TypeMeta, s.Status = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, metav1.StatusFailure
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	w.WriteHeader(int(s.Code))
	_ = json.NewEncoder(w).Encode(s) // rotatord reports what is cut off
}

// later has an answer ask for patience.
func later(a *http.Response, after time.Duration) error {
	var s metav1.Status
	err := json.NewDecoder(a.Body).Decode(&s)
	a.Body.Close()
	if err != nil {
		return err
	}
	if s.Details == nil {
		s.Details = &metav1.StatusDetails{}
	}
	s.Details.RetryAfterSeconds = int32(after.Seconds())
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	a.Header.Set("Content-Length", strconv.Itoa(len(body)))
	a.Header.Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	return nil
}

// testGone: a pod that has left between rotatord's look and its eviction needs none,
// be it that nobody has its name (404) or that another pod has (409), which stays.
func testGone(t *testing.T, c *podCase) {
	c.deployment("web", 1, nil)
	_, err := c.kube.AppsV1().StatefulSets(c.namespace).Create(context.Background(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{Replicas: new(int32(1)), Selector: appLabel("db"), ServiceName: "db", Template: podTemplate("db", nil)}}, metav1.CreateOptions{})
	c.must(err)
	c.ready("web", 1)
	c.ready("db", 1)
	pods := c.kube.CoreV1().Pods(c.namespace)
	old, err := pods.Get(context.Background(), "db-0", metav1.GetOptions{})
	c.must(err)
	web := c.readyOn("web", c.node)[0]

	var asked attempts
	var mu sync.Mutex
	answers := map[string]int{}
	r := apiProxy{evict: func(w http.ResponseWriter, r *http.Request, pod string, pass http.Handler) {
		if asked.add(pod) == 1 {
			c.evictByHand(pod, "its end, and that of its successor's start", func() bool {
				p, err := pods.Get(context.Background(), pod, metav1.GetOptions{})
				return pod == web && err != nil || pod == old.Name && err == nil && p.UID != old.UID
			})
		}
		pass.ServeHTTP(w, r)
	}, answer: func(a *http.Response) error {
		if pod, ok := strings.CutSuffix(a.Request.URL.Path, "/eviction"); ok {
			mu.Lock()
			defer mu.Unlock()
			answers[pod[strings.LastIndex(pod, "/")+1:]] = a.StatusCode
		}
		return nil
	}}.rotatord(t, c.s)
	c.open()
	r.Run(t, "drain", c.node).MustExit(t, exitDone)

	if answers[web] != http.StatusNotFound || answers[old.Name] != http.StatusConflict {
		t.Errorf("the API server answered with %v, want 404 for %s and 409 for %s", answers, web, old.Name)
	}
	for _, pod := range []string{web, old.Name} {
		if n := len(asked.at[pod]); n != 1 {
			t.Errorf("the eviction of %s, which was gone, was asked for %d times", pod, n)
		}
	}
	if e := r.Events(t, "eviction-refused", "pod-evicted"); len(e) > 0 {
		t.Errorf("events of pods that were gone: %+v", e)
	}
	if p, err := pods.Get(context.Background(), old.Name, metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil || p.Spec.NodeName == c.node {
		t.Errorf("the pod that has the name of the one before it was touched: %v, %v", p, err)
	}
}
