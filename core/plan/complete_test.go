package plan

import (
	"strings"
	"testing"
	"time"
)

func TestComplete(t *testing.T) {
	whole := Spec{Drain: Drain{Deadline: time.Minute}, Gates: Gates{NodeReady: NodeReadyGate{Timeout: time.Minute}}}
	if err := whole.Complete(); err != nil {
		t.Errorf("a whole spec: %v", err)
	}
	gated := whole
	gated.Gates.Workloads.Enabled = true
	for want, s := range map[string]Spec{
		"Drain.Deadline":          {Gates: whole.Gates},
		"Gates.NodeReady.Timeout": {Drain: whole.Drain},
		"Gates.Workloads.Timeout": gated,
	} {
		if err := s.Complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}
