package core

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/plan"
)

func TestCloses(t *testing.T) {
	now := time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC)
	if at, shut, err := closes(plan.Spec{}, now); !at.IsZero() || shut != nil || err != nil {
		t.Errorf("without a window: %v, %v, %v", at, shut, err)
	}
	spec := plan.Spec{Window: plan.Window{Start: "0 22 * * *", Duration: 2 * time.Hour}}
	if at, shut, err := closes(spec, now); !at.Equal(now.Add(time.Hour)) || shut != nil || err != nil {
		t.Errorf("open: %v, %v, %v", at, shut, err)
	}
	_, shut, err := closes(spec, now.Add(time.Hour))
	if err != nil || shut == nil || shut.Status != engine.StatusStopped || !strings.Contains(shut.Message, "opens at 2026-11-24T22:00:00Z; nothing was changed") {
		t.Errorf("shut: %+v, %v", shut, err)
	}
	if _, _, err := closes(plan.Spec{Window: plan.Window{Start: "nonsense", Duration: time.Hour}}, now); err == nil {
		t.Error("a window that cannot be read is no error")
	}
}
