package kube

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A clock of the API server's that is not ours is warned of, and what it writes about
// the end of a pod is brought to our time: a pod has its grace period, no less and
// hardly more.
func TestClockSkew(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ahead time.Duration
		want  string // in the warning; empty: none
	}{
		{"the same", 0, ""},
		{"within what is tolerable", 3 * time.Second, ""},
		{"ahead", 10 * time.Minute, "ahead of this machine's"},
		{"behind", -10 * time.Minute, "behind this machine's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bare(t)
			f := newFakeAPI(t)
			f.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				w.Header().Set("Date", time.Now().Add(tc.ahead).UTC().Format(http.TimeFormat))
				return false
			}
			const grace = 30 * time.Second
			asked := time.Now()
			ends := metav1.NewTime(asked.Add(tc.ahead + grace))
			f.put(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u1", DeletionTimestamp: &ends},
				Spec: corev1.PodSpec{NodeName: "n1"}})
			var log bytes.Buffer
			c, err := Connect(t.Context(), Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": f.url}, "token: t"),
				Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			warned := strings.Contains(log.String(), "the API server's clock is")
			if warned != (tc.want != "") || !strings.Contains(log.String(), tc.want) {
				t.Errorf("it logs %q, want %q", log.String(), tc.want)
			}
			pods := c.Inventory().Pods
			if len(pods) != 1 {
				t.Fatalf("%d pods", len(pods))
			}
			if off := pods[0].Details().EndsBy.Sub(asked.Add(grace)).Abs(); off > 5*time.Second {
				t.Errorf("by our clock the pod ends %s too early or too late", off)
			}
		})
	}
}
