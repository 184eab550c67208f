package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

var binDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "core-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var buildExample = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "rotatord-driver-example")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./rotatord-driver-example")
	cmd.Dir = "../plugins/example"
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, os.Chmod(path, 0o755)
})

// bed is a cloud of the example driver, and where the journals are.
type bed struct {
	*testing.T
	file, journals string
	options        core.Options
	told           *told
}

// told keeps what a sink is told.
type told struct {
	mu     sync.Mutex
	events []event.Event
}

func (t *told) Publish(events []event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, events...)
}

// newBed has groups a and b of two machines each, of template 1, and the images 1
// and 2. Nothing of it is a cluster of Kubernetes: rotations are cloudOnly.
func newBed(t *testing.T) *bed {
	t.Helper()
	driver, err := buildExample()
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{T: t, file: filepath.Join(t.TempDir(), "cloud.json"), journals: t.TempDir(), told: &told{}}
	old := time.Now().Add(-time.Hour)
	group := func(name string, first int) map[string]any {
		return map[string]any{"id": "g-" + name, "name": name, "max": 4, "desired": 2, "template": 1, "instances": []any{
			map[string]any{"id": fmt.Sprintf("m-%06d", first), "zone": "a", "template": 1, "launched": old},
			map[string]any{"id": fmt.Sprintf("m-%06d", first+1), "zone": "b", "template": 1, "launched": old}}}
	}
	b.write(map[string]any{"cluster": "prod", "lastID": 9, "groups": []any{group("a", 1), group("b", 3)},
		"images": []any{map[string]any{"template": 1, "name": "image-1", "published": old}, map[string]any{"template": 2, "name": "image-2", "published": old.Add(time.Minute)}}})
	spec := config.Default()
	spec.Cluster, spec.CloudOnly = "prod", true
	spec.Driver.Name, spec.Driver.Path, spec.Driver.Config = "example", driver, map[string]any{"file": b.file}
	spec.Journal.Store, spec.Journal.Dir = plan.StoreFolder, b.journals
	b.options = core.Options{Spec: spec, Sinks: []runtime.Sink{b.told}}
	return b
}

func (b *bed) write(v any) {
	b.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.file, raw, 0o600); err != nil {
		b.Fatal(err)
	}
}

// publish adds an image.
func (b *bed) publish(template int) {
	b.Helper()
	raw, err := os.ReadFile(b.file)
	if err != nil {
		b.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(raw, &state); err != nil {
		b.Fatal(err)
	}
	state["images"] = append(state["images"].([]any), map[string]any{"template": template, "name": fmt.Sprint("image-", template), "published": time.Now()})
	b.write(state)
}

// cloud is the state of the cloud, and a change of it that somebody else makes.
func (b *bed) cloud(change func(groups []any)) (templates map[string]int, instances map[string][]int) {
	b.Helper()
	raw, err := os.ReadFile(b.file)
	if err != nil {
		b.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(raw, &state); err != nil {
		b.Fatal(err)
	}
	groups := state["groups"].([]any)
	if change != nil {
		change(groups)
		b.write(state)
		return b.cloud(nil)
	}
	templates, instances = map[string]int{}, map[string][]int{}
	for _, g := range groups {
		g := g.(map[string]any)
		name := g["name"].(string)
		templates[name] = int(g["template"].(float64))
		list, _ := g["instances"].([]any)
		for _, i := range list {
			instances[name] = append(instances[name], int(i.(map[string]any)["template"].(float64)))
		}
	}
	return templates, instances
}

func (b *bed) templates() map[string]int {
	b.Helper()
	templates, _ := b.cloud(nil)
	return templates
}

// journal are the events of one rotation.
func (b *bed) journal(id string) []event.Event {
	b.Helper()
	events, err := journal.Folder{Path: b.journals}.Read(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	return events
}

func rows(s *core.Staging) string {
	var out []string
	for _, g := range s.Groups {
		out = append(out, fmt.Sprintf("%s %s>%s %s", g.Group, g.From.ID, g.To.ID, g.Status))
	}
	return strings.Join(out, "\n")
}

func (b *bed) stage(dryRun bool) *core.Staging {
	b.Helper()
	s, err := core.StageRelease(b.Context(), b.options, dryRun)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func TestCheckReleases(t *testing.T) {
	b := newBed(t)
	for name, tt := range map[string]struct {
		release string
		groups  []string
		want    string
		err     string
	}{
		"latest":           {want: "a 1>2 newer (image-2)\nb 1>2 newer (image-2)"},
		"the same":         {release: "1", want: "a 1>1 same (image-1)\nb 1>1 same (image-1)"},
		"of one group":     {release: "2", groups: []string{"b*"}, want: "b 1>2 newer (image-2)"},
		"unknown release":  {release: "7", want: "a 1>- release-unknown\nb 1>- release-unknown"},
		"unknown group":    {groups: []string{"c"}, err: `no node group is named "c"`},
		"no such group id": {groups: []string{"g-a"}, err: `no node group is named "g-a"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.options
			o.Spec.Release, o.Spec.Select.Groups = tt.release, tt.groups
			r, err := core.CheckReleases(t.Context(), o)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range r.Groups {
				if g.Target == nil {
					got = append(got, fmt.Sprintf("%s %s>- %s", g.Group, g.Current.ID, g.Error().Code))
					continue
				}
				got = append(got, fmt.Sprintf("%s %s>%s %s (%s)", g.Group, g.Current.ID, g.Target.ID, g.Order, g.Target.Name))
			}
			if d := cmp.Diff(tt.want, strings.Join(got, "\n")); d != "" {
				t.Error(d)
			}
		})
	}
	if got := b.templates(); got["a"] != 1 || got["b"] != 1 {
		t.Errorf("a check changed templates: %v", got)
	}
}

func TestStageAndRollBack(t *testing.T) {
	b := newBed(t)
	if got, want := rows(b.stage(true)), "a 1>2 planned\nb 1>2 planned"; got != want {
		t.Errorf("dry run:\n%s\nwant\n%s", got, want)
	}
	if got := b.templates(); got["a"] != 1 || got["b"] != 1 {
		t.Fatalf("a dry run changed templates: %v", got)
	}
	if entries, err := os.ReadDir(b.journals); err != nil || len(entries) > 0 {
		t.Fatalf("a dry run left a journal: %v, %v", entries, err)
	}

	s := b.stage(false)
	if got, want := rows(s), "a 1>2 staged\nb 1>2 staged"; got != want {
		t.Errorf("apply:\n%s\nwant\n%s", got, want)
	}
	if got := b.templates(); got["a"] != 2 || got["b"] != 2 {
		t.Errorf("templates %v", got)
	}
	// All intents come before any outcome, so that what was is known of each group.
	var kinds []string
	for _, e := range b.journal(s.ID) {
		kinds = append(kinds, string(e.Kind)+" "+e.Group)
	}
	if d := cmp.Diff([]string{"release-staging ", "op-intended a", "op-intended b", "op-succeeded a", "op-succeeded b", "rotation-finished "}, kinds); d != "" {
		t.Error(d)
	}
	if again := b.stage(false); again.ID != "" || rows(again) != "a 2>2 current\nb 2>2 current" {
		t.Errorf("applied again: journal %q\n%s", again.ID, rows(again))
	}

	// Somebody else changes one of them.
	b.cloud(func(groups []any) { groups[1].(map[string]any)["template"] = 3 })
	back, err := core.RollbackRelease(t.Context(), b.options, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(back), "a 2>1 staged\nb 3>3 left alone"; got != want {
		t.Errorf("rollback:\n%s\nwant\n%s", got, want)
	}
	to, err := core.RollbackRelease(t.Context(), b.options, "1", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(to), "a 1>1 current\nb 3>1 staged"; got != want {
		t.Errorf("rollback --to 1:\n%s\nwant\n%s", got, want)
	}
	b.publish(3)
	forth, err := core.RollbackRelease(t.Context(), b.options, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(forth), "a 1>2 staged\nb 1>3 staged"; got != want {
		t.Errorf("rolled back again:\n%s\nwant\n%s", got, want)
	}
}

func TestStageRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		release string
		change  func(groups []any)
		spec    func(*plan.Spec)
		code    string
	}{
		"a downgrade":        {release: "1", change: func(g []any) { g[1].(map[string]any)["template"] = 2 }, code: "release-older"},
		"an unknown release": {release: "seven", code: "release-unknown"},
		"a held group": {release: "2", change: func(g []any) {
			g[1].(map[string]any)["tags"] = map[string]any{"rotator/held-by": "r-other", "rotator/rebalance": "true"}
		}, code: "release-held"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			if tt.change != nil {
				b.cloud(tt.change)
			}
			before := b.templates()
			b.options.Spec.Release = tt.release
			_, err := core.StageRelease(t.Context(), b.options, false)
			var refused *core.RefusedError
			if !errors.As(err, &refused) || refused.Plan.Refusals[0].Code != tt.code {
				t.Fatalf("error %v, want a refusal %s", err, tt.code)
			}
			if d := cmp.Diff(before, b.templates()); d != "" {
				t.Error(d)
			}
		})
	}
	b := newBed(t)
	b.cloud(func(g []any) { g[1].(map[string]any)["template"] = 2 })
	b.options.Spec.Release, b.options.Spec.AllowDowngrade = "1", true
	if got, want := rows(b.stage(false)), "a 1>1 current\nb 2>1 staged"; got != want {
		t.Errorf("an allowed downgrade:\n%s\nwant\n%s", got, want)
	}
}

// cutting is a port whose process "dies" at one Stage: the call reaches the
// provider or not, and nothing comes after it.
type cutting struct {
	*host.Driver
	at, n   int
	reaches bool
	ops     []string
	kill    context.CancelFunc
}

func (c *cutting) Stage(ctx context.Context, rotation string, r runtime.StageRequest) (model.Release, model.Release, bool, error) {
	if r.DryRun {
		return c.Driver.Stage(ctx, rotation, r)
	}
	c.ops = append(c.ops, r.GroupID+" "+r.Op)
	if c.n++; c.n == c.at {
		if c.reaches {
			if _, _, _, err := c.Driver.Stage(ctx, rotation, r); err != nil {
				return model.Release{}, model.Release{}, false, err
			}
		}
		c.kill()
		return model.Release{}, model.Release{}, false, &engine.Error{Code: engine.ErrTransient, Message: "cut off"}
	}
	return c.Driver.Stage(ctx, rotation, r)
}

func (b *bed) launch() *host.Driver {
	b.Helper()
	s := b.options.Spec
	d, err := host.Launch(b.Context(), host.Options{Name: "example", Path: s.Driver.Path, Config: s.Driver.Config, Cluster: s.Cluster})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.Close)
	return d
}

func TestKilledStagingIsFinishedUnderTheSameIDs(t *testing.T) {
	for _, what := range []string{"apply", "rollback"} {
		for at := 1; at <= 2; at++ {
			for _, reaches := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, call %d, reaches %v", what, at, reaches), func(t *testing.T) {
					b := newBed(t)
					do := core.StageRelease
					want := map[string]int{"a": 2, "b": 2}
					if what == "rollback" {
						b.stage(false)
						do = func(ctx context.Context, o core.Options, dryRun bool) (*core.Staging, error) {
							return core.RollbackRelease(ctx, o, "", dryRun)
						}
						want = map[string]int{"a": 1, "b": 1}
					}
					c := &cutting{Driver: b.launch(), at: at, reaches: reaches}
					b.options.Provider = c
					ctx, kill := context.WithCancel(t.Context())
					c.kill = kill
					if _, err := do(ctx, b.options, false); err == nil {
						t.Fatal("a call that was cut off succeeded")
					}
					first := slices.Clone(c.ops)
					c.at, c.ops = 0, nil
					s, err := do(t.Context(), b.options, false)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(want, b.templates()); d != "" {
						t.Error(d)
					}
					if !slices.Contains(c.ops, first[len(first)-1]) {
						t.Errorf("the calls were %q, then %q: the one that was cut off was not sent again", first, c.ops)
					}
					open := engine.Restore(b.journal(s.ID))
					if open.Ended != engine.StatusDone || len(open.OpenStages()) > 0 {
						t.Errorf("the journal ended %q with %d open", open.Ended, len(open.OpenStages()))
					}
				})
			}
		}
	}
}

func (b *bed) rotate(ctx context.Context) (*engine.Result, *plan.Plan, error) {
	b.Helper()
	r, err := core.Open(ctx, b.options)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	p, err := r.Plan()
	if err != nil {
		b.Fatal(err)
	}
	res, err := r.Run(ctx)
	return res, p, err
}

func TestRunStagesAndRotates(t *testing.T) {
	b := newBed(t)
	b.options.Spec.Release = "latest"
	res, p, err := b.rotate(t.Context())
	if err != nil || res.Status != engine.StatusDone {
		t.Fatalf("%+v, %v", res, err)
	}
	if p.Stagings() != 2 || p.Nodes() != 4 || p.Groups[0].Nodes[0].Reasons[0].Code != "release" {
		t.Errorf("the plan has %d stagings and %d nodes: %+v", p.Stagings(), p.Nodes(), p.Groups)
	}
	templates, instances := b.cloud(nil)
	if d := cmp.Diff(map[string]int{"a": 2, "b": 2}, templates); d != "" {
		t.Error(d)
	}
	for name, list := range instances {
		if slices.Contains(list, 1) {
			t.Errorf("group %s still has machines of template 1: %v", name, list)
		}
	}
	rotations := map[string]bool{}
	for i, e := range b.told.events {
		rotations[e.Rotation] = true
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has the number %d", i+1, e.Seq)
		}
	}
	if len(rotations) != 1 {
		t.Errorf("staging and rotation have journals of their own: %v", rotations)
	}
	if res, p, err := b.rotate(t.Context()); err != nil || res.Status != engine.StatusDone || p.Nodes()+p.Stagings() > 0 {
		t.Errorf("run again: %+v, %v, %d nodes", res, err, p.Nodes())
	}
}

func TestRunGoesOnWithoutStagingAgain(t *testing.T) {
	for at := 1; at <= 2; at++ {
		t.Run(fmt.Sprint("cut at call ", at), func(t *testing.T) {
			b := newBed(t)
			b.options.Spec.Release = "latest"
			c := &cutting{Driver: b.launch(), at: at, reaches: true}
			b.options.Provider = c
			ctx, kill := context.WithCancel(t.Context())
			c.kill = kill
			if _, _, err := b.rotate(ctx); err == nil {
				t.Fatal("a run that was cut off succeeded")
			}
			first := slices.Clone(c.ops)
			c.at, c.ops = 0, nil
			res, _, err := b.rotate(t.Context())
			if err != nil || res.Status != engine.StatusDone {
				t.Fatalf("%+v, %v", res, err)
			}
			want := []string{first[len(first)-1]}
			if at == 1 {
				want = append(want, strings.Replace(first[0], "g-a", "g-b", 1)[:len("g-b ")])
			}
			for i, w := range want {
				if i >= len(c.ops) || !strings.HasPrefix(c.ops[i], w) {
					t.Errorf("calls %q after %q", c.ops, first)
				}
			}
			if len(c.ops) != len(want) {
				t.Errorf("calls %q after %q", c.ops, first)
			}
			for name, list := range func() map[string][]int { _, i := b.cloud(nil); return i }() {
				if slices.Contains(list, 1) {
					t.Errorf("group %s still has machines of template 1: %v", name, list)
				}
			}
		})
	}
}

// talkative is a driver that answers about all groups whatever it is asked for.
type talkative struct{ *host.Driver }

func (d talkative) Releases(ctx context.Context, _ []string, release string) ([]model.GroupRelease, []model.Diagnostic, error) {
	return d.Driver.Releases(ctx, nil, release)
}

func TestStagingLeavesOtherGroupsAlone(t *testing.T) {
	b := newBed(t)
	b.options.Provider = talkative{b.launch()}
	b.options.Spec.Select.Groups = []string{"a"}
	if got, want := rows(b.stage(false)), "a 1>2 staged"; got != want {
		t.Errorf("apply:\n%s\nwant\n%s", got, want)
	}
	back, err := core.RollbackRelease(t.Context(), b.options, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(back), "a 2>1 staged"; got != want {
		t.Errorf("rollback:\n%s\nwant\n%s", got, want)
	}
	if d := cmp.Diff(map[string]int{"a": 1, "b": 1}, b.templates()); d != "" {
		t.Error(d)
	}
}

// working is a provider that needs a while for each release. It is told to stop in
// the call of that number.
type working struct {
	*host.Driver
	stopAt, calls int
	stop          chan struct{}
	done          bool
}

func (w *working) Stage(ctx context.Context, rotation string, r runtime.StageRequest) (previous, staged model.Release, done bool, err error) {
	if w.calls++; w.calls == w.stopAt {
		close(w.stop)
	}
	if previous, staged, done, err = w.Driver.Stage(ctx, rotation, r); r.DryRun {
		return previous, staged, done, err
	}
	return previous, staged, done && w.done, err
}

// A stop does not wait for what the provider works on: the same call goes on with it.
func TestStagingIsStopped(t *testing.T) {
	for _, tt := range []struct {
		name        string
		at          int
		message     string
		left, again string
	}{
		{"while it is checked", 1, "stopped by a signal while the release was checked: nothing was changed", "", "a 1>2 staged\nb 1>2 staged"},
		{"while the provider works on the first", 3, "stopped by a signal while releases were staged: the same command goes on with it", "a 1>2 planned\nb 1>2 planned", "a 1>2 staged\nb 1>2 staged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			w := &working{Driver: b.launch(), stopAt: tt.at, stop: make(chan struct{})}
			b.options.Provider, b.options.Stop = w, w.stop
			s, err := core.StageRelease(t.Context(), b.options, false)
			var end *core.EndError
			if !errors.As(err, &end) || end.Result.Status != engine.StatusStopped || end.Result.Message != tt.message {
				t.Fatalf("error %v", err)
			}
			if s == nil {
				s = &core.Staging{}
			}
			if got := rows(s); got != tt.left {
				t.Errorf("stopped:\n%s\nwant\n%s", got, tt.left)
			}
			w.stopAt, w.done, b.options.Stop = 0, true, nil
			if got := rows(b.stage(false)); got != tt.again {
				t.Errorf("again:\n%s\nwant\n%s", got, tt.again)
			}
		})
	}
}

// A rollback that finds nothing to go back to is no success, and a journal that it
// cannot read is not passed over in silence.
func TestRollbackWithoutAPast(t *testing.T) {
	b := newBed(t)
	refused := func(to, want string) {
		t.Helper()
		_, err := core.RollbackRelease(t.Context(), b.options, to, false)
		var r *core.RefusedError
		if !errors.As(err, &r) || r.Plan.Refusals[0].Code != "nothing-before" || !strings.Contains(r.Plan.Refusals[0].Message, want) {
			t.Errorf("error %v, want a refusal that says %q", err, want)
		}
	}
	refused("", "the journal knows of none of the selected groups what it had before")
	s := b.stage(false)
	refused("7", "none of the selected groups ever had release 7")
	file := filepath.Join(b.journals, s.ID+".jsonl")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/3] ^= 0x40
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("", "the journal of rotation "+s.ID+" cannot be read")
	b.publish(3)
	b.stage(false)
	back, err := core.RollbackRelease(t.Context(), b.options, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(back), "a 3>2 staged\nb 3>2 staged"; got != want || len(back.Diagnostics) != 1 || back.Diagnostics[0].Object != s.ID {
		t.Errorf("rollback:\n%s\nwant\n%s, diagnostics %v", got, want, back.Diagnostics)
	}
}

func TestStagingWithoutAJournalChangesNothing(t *testing.T) {
	b := newBed(t)
	b.options.Spec.Journal.Dir = "/proc/no/such/folder"
	s, err := core.StageRelease(t.Context(), b.options, false)
	if !errors.Is(err, runtime.ErrJournal) || !strings.Contains(err.Error(), "choose another folder with journal.dir") {
		t.Errorf("error %v", err)
	}
	if s.ID != "" || rows(s) != "a 1>2 planned\nb 1>2 planned" {
		t.Errorf("journal %q\n%s", s.ID, rows(s))
	}
	if d := cmp.Diff(map[string]int{"a": 1, "b": 1}, b.templates()); d != "" {
		t.Error(d)
	}
}
