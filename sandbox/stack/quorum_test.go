package stack

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

func TestQuorum(t *testing.T) {
	const boot = 5 * time.Second
	plane := func(id string) aws.Machine {
		return aws.Machine{ID: id, BootDelay: boot, Tags: map[string]string{"k8s.io/role/control-plane": "1"}}
	}
	// inQuorum begins with three machines of control plane that have booted.
	inQuorum := func(t *testing.T, f func(t *testing.T, s *faults, h aws.Hooks, open func(want bool))) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			p := &parts{silent: map[string]bool{}}
			provider := &kopsProvider{}
			q := newQuorum(p, 3, provider.controlPlane)
			s := newFaults(p, q, p, p)
			defer s.close()
			h := q.hooks(aws.Hooks{Running: func(aws.Machine) {}, Stopping: func(aws.Machine) {}})
			open := func(want bool) {
				t.Helper()
				synctest.Wait()
				if p.refused == want {
					t.Errorf("the way is open: %t, want %t", !p.refused, want)
				}
			}
			for _, id := range []string{"a", "b", "c"} {
				h.Running(plane(id))
			}
			open(true) // nobody is there yet to be cut off
			time.Sleep(boot)
			synctest.Wait()
			if err := q.begin(); err != nil {
				t.Fatal(err)
			}
			open(true)
			f(t, s, h, open)
		})
	}
	t.Run("one goes", func(t *testing.T) {
		inQuorum(t, func(_ *testing.T, _ *faults, h aws.Hooks, open func(bool)) {
			h.Stopping(plane("a"))
			open(false)
			time.Sleep(controlPlaneCut)
			open(true)
		})
	})
	t.Run("two go", func(t *testing.T) {
		inQuorum(t, func(_ *testing.T, _ *faults, h aws.Hooks, open func(bool)) {
			h.Stopping(plane("a"))
			h.Stopping(plane("b"))
			time.Sleep(time.Minute)
			open(false)
			h.Running(plane("d"))
			open(false)
			time.Sleep(boot)
			open(true)
		})
	})
	t.Run("a replacement goes while it boots", func(t *testing.T) {
		inQuorum(t, func(_ *testing.T, _ *faults, h aws.Hooks, open func(bool)) {
			h.Running(plane("d"))
			h.Stopping(plane("d"))
			open(true)
			h.Stopping(plane("a"))
			h.Stopping(plane("b"))
			time.Sleep(time.Minute)
			open(false) // it did not boot all the same
		})
	})
	t.Run("workers do not matter", func(t *testing.T) {
		inQuorum(t, func(_ *testing.T, _ *faults, h aws.Hooks, open func(bool)) {
			h.Stopping(aws.Machine{ID: "worker"})
			open(true)
		})
	})
	t.Run("a fault outlasts the cut, and the other way round", func(t *testing.T) {
		inQuorum(t, func(t *testing.T, s *faults, h aws.Hooks, open func(bool)) {
			fault, err := s.AddFault(control.Fault{Kind: control.APICut})
			if err != nil {
				t.Fatal(err)
			}
			h.Stopping(plane("a"))
			time.Sleep(controlPlaneCut)
			open(false)
			h.Stopping(plane("b"))
			if err := s.ClearFaults(fault.ID); err != nil {
				t.Fatal(err)
			}
			open(false)
		})
	})
}
