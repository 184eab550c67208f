//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/report"
	"github.com/rotatord/rotator/core/runtime"
)

// What a provisioner does that embeds the core: the same rotation in its own
// process, stopped after the first node, gone on with by the same call, and
// found done by the next.
func TestLibrary(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	s.MustSettle(t)
	before := s.State(t)
	s.PublishImage(t, group)
	useEnvironment(t, s)
	s.Verify(t)

	dir := t.TempDir()
	spec := config.Default()
	spec.Cluster = s.Name
	spec.Driver.Name, spec.Driver.Path = "eks", executable("rotatord-driver-eks")
	spec.Select.Groups = []string{group}
	spec.Journal.Dir = filepath.Join(dir, "journal")
	if err := config.Validate(spec); err != nil {
		t.Fatal(err)
	}

	// rotate is one call of the provisioner. It is told to stop at the first event of
	// the kind, if one is given.
	rotate := func(stopAt event.Kind) (*engine.Result, []event.Event) {
		t.Helper()
		files, err := report.OpenFiles(filepath.Join(dir, "report"))
		if err != nil {
			t.Fatal(err)
		}
		l := &listener{stopAt: stopAt, stop: make(chan struct{})}
		r, err := core.Open(t.Context(), core.Options{Spec: spec, Sinks: []runtime.Sink{l, files}, Stop: l.stop})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := r.Plan()
		if err != nil || len(p.Refusals) > 0 {
			t.Fatalf("the plan: %v %v", err, p)
		}
		res, err := r.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return res, l.events
	}
	replaced := func(events []event.Event) (n int) {
		for _, e := range events {
			if e.Kind == event.NodeReplaced {
				n++
			}
		}
		return n
	}

	nodes := len(before.Groups[group].Instances)
	res, first := rotate(event.NodeReplaced)
	if n := replaced(first); res.Status != engine.StatusStopped || n == 0 || n == nodes {
		t.Fatalf("told to stop it ended %s (%s) with %d of %d nodes replaced", res.Status, res.Message, n, nodes)
	}
	res, second := rotate("")
	if n := replaced(first) + replaced(second); res.Status != engine.StatusDone || n != nodes {
		t.Fatalf("it ended %s (%s) with %d of %d nodes replaced", res.Status, res.Message, n, nodes)
	}
	if first[0].Rotation != second[0].Rotation {
		t.Errorf("the second call is rotation %s, and did not go on with %s", second[0].Rotation, first[0].Rotation)
	}
	if res, third := rotate(""); res.Status != engine.StatusDone || len(third) > 0 {
		t.Errorf("with nothing to do it ended %s with %d events", res.Status, len(third))
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
}

// useEnvironment gives this process what rotatord gets in one of its own.
func useEnvironment(t *testing.T, s *Sandbox) {
	t.Helper()
	for _, kv := range append(cleanEnviron(), s.environ...) {
		name, value, _ := strings.Cut(kv, "=")
		if os.Getenv(name) != value {
			t.Setenv(name, value)
		}
	}
}

// listener keeps what it hears, and closes stop at the first event of a kind.
type listener struct {
	stopAt event.Kind
	stop   chan struct{}
	once   sync.Once
	events []event.Event
}

func (l *listener) Publish(events []event.Event) {
	for _, e := range events {
		if e.Kind == l.stopAt {
			l.once.Do(func() { close(l.stop) })
		}
	}
	l.events = append(l.events, events...)
}
