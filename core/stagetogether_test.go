package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
)

// crowd is a provider whose groups t1, t2 and t3 get their release when the calls
// for all three are there, and not before.
type crowd struct {
	mu      sync.Mutex
	present map[string]bool
	all     chan struct{}
	fail    map[string]error // by group
	calls   []string         // in the order of their coming; those together as "t"
	before  func()           // each call
}

func (c *crowd) Releases(context.Context, []string, string) ([]model.GroupRelease, []model.Diagnostic, error) {
	return nil, nil, nil
}

func (c *crowd) Stage(_ context.Context, _ string, r runtime.StageRequest) (previous, staged model.Release, done bool, err error) {
	c.before()
	c.mu.Lock()
	name := r.GroupID
	if name[0] == 't' {
		name = "t"
		c.present[r.GroupID] = true
		if len(c.present) == 3 {
			close(c.all)
		}
	}
	c.calls = append(c.calls, name)
	c.mu.Unlock()
	if name == "t" {
		<-c.all
	}
	if err := c.fail[r.GroupID]; err != nil {
		return model.Release{}, model.Release{}, false, err
	}
	return model.Release{ID: "1"}, model.Release{ID: r.Release}, true, nil
}

// page is a journal that keeps what it is given.
type page struct{ events []event.Event }

func (p *page) Append(_ context.Context, events []event.Event) error {
	p.events = append(p.events, events...)
	return nil
}
func (p *page) Past() []event.Event         { return nil }
func (p *page) Close(context.Context) error { return nil }

func newCrowd() (*stager, *crowd, *page, []stage) {
	port, log := &crowd{}, &page{}
	s := &stager{r: &Rotator{id: "r-1", journalID: "r-1"}, port: port, log: log, prefix: "r-1"}
	port.before = func() {}
	var list []stage
	for _, name := range []string{"a", "t1", "b", "t2", "t3"} {
		s.r.inventory.Groups = append(s.r.inventory.Groups, model.NodeGroup{ID: name, Name: name, Traits: model.Traits{Stage: true, StageTogether: name[0] == 't'}})
		list = append(list, stage{groupID: name, group: name, from: model.Release{ID: "1"}, to: model.Release{ID: "2"}})
	}
	return s, port, log, list
}

// open makes the crowd ready for another round. Its channel is of the bubble.
func (c *crowd) open() { c.present, c.all, c.calls = map[string]bool{}, make(chan struct{}), nil }

// What a driver stages together is sent at once, the rest one after the other, in
// order, and each intent is durable before the first call.
func TestStageTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, port, log, list := newCrowd()
		port.open()
		if err := s.try(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if want := []string{"a", "t", "t", "t", "b"}; !slices.Equal(port.calls, want) || len(log.events) > 0 {
			t.Errorf("the trial: calls %v, want %v; %d events", port.calls, want, len(log.events))
		}
		port.open()
		port.before = func() {
			if n := count(log.events, event.OpIntended); n != 5 {
				t.Errorf("a call is made with %d intents recorded", n)
			}
		}
		if err := s.run(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if want := []string{"a", "t", "t", "t", "b"}; !slices.Equal(port.calls, want) {
			t.Errorf("calls %v, want %v", port.calls, want)
		}
		if n := count(log.events, event.OpSucceeded); n != 5 || len(s.staged) != 5 {
			t.Errorf("%d outcomes, %d groups staged", n, len(s.staged))
		}
	})
}

// One group that cannot be staged does not keep those that were sent with it from
// it; what follows is not begun.
func TestStageTogetherFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, port, log, list := newCrowd()
		refused := &engine.Error{Code: engine.ErrPermanent, Message: "no"}
		port.fail = map[string]error{"t1": refused, "t3": refused}
		port.open()
		var se *StageError
		if err := s.try(t.Context(), list); !errors.As(err, &se) || se.Group != "t1" || se.Rotation != "" || !slices.Equal(se.Others, []string{"t3"}) {
			t.Errorf("the trial: %v", err)
		}
		port.open()
		if err := s.run(t.Context(), list); !errors.As(err, &se) || se.Group != "t1" || se.Rotation != "r-1" || !slices.Equal(se.Others, []string{"t3"}) {
			t.Errorf("%v", err)
		}
		var got []string
		for _, e := range log.events {
			if e.Kind == event.OpSucceeded || e.Kind == event.OpFailed {
				got = append(got, string(e.Kind)+" "+e.Group)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"op-failed t1", "op-failed t3", "op-succeeded a", "op-succeeded t2"}, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if slices.Contains(port.calls, "b") {
			t.Errorf("calls %v: group b was not to be staged", port.calls)
		}
	})
}

// A stop before the turn begins leaves its intents open.
func TestStageTogetherStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, port, log, list := newCrowd()
		stop := make(chan struct{})
		s.r.opts.Stop = stop
		port.open()
		port.before = func() { close(stop) } // in the call for a
		if err := s.run(t.Context(), list); !errors.Is(err, errStopped) {
			t.Errorf("%v", err)
		}
		if n := count(log.events, event.OpSucceeded); n != 1 || len(port.calls) != 1 {
			t.Errorf("%d outcomes, calls %v; want those of group a", n, port.calls)
		}
	})
}

func count(events []event.Event, kind event.Kind) int {
	n := 0
	for _, e := range events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
