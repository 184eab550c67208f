package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/runtime"
)

// fakeState is a lock and journals.
type fakeState struct {
	journal.Store
	holder *kube.Holder
	err    error
}

func (s *fakeState) Holder(context.Context) (*kube.Holder, error) { return s.holder, s.err }
func (s *fakeState) Journals() journal.Store                      { return s }
func (s *fakeState) Close()                                       {}

// recorded is a folder with two rotations of prod and one of staging; the
// newest of prod was cut off or still runs.
func recorded(t *testing.T) *fakeState {
	t.Helper()
	store := journal.Folder{Path: t.TempDir()}
	at := time.Now().Add(-time.Minute)
	write := func(id, cluster string, more ...event.Event) {
		log, err := store.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		all := append([]event.Event{{Kind: event.RotationStarted, Message: "go", Data: map[string]string{"cluster": cluster, "nodes": "3", "mode": "rolling"}}}, more...)
		for i := range all {
			all[i].Seq, all[i].Rotation, all[i].Time = uint64(i+1), id, start.Add(time.Duration(i)*time.Minute)
		}
		if err := log.Append(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second) // files are told apart by their time
		if err := os.Chtimes(filepath.Join(store.Path, id+".jsonl"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("r-old", "prod", event.Event{Kind: event.RotationFinished, Code: "done", Message: "3 node(s) replaced"})
	write("r-now", "prod",
		event.Event{Kind: event.GroupStarted, Group: "workers", Data: map[string]string{"nodes": "3"}},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-1", Instance: "i-1"},
		event.Event{Kind: event.NodeDrained, Group: "workers", Node: "n-1", Instance: "i-1", Data: map[string]string{"evicted": "7"}},
		event.Event{Kind: event.OpIntended, Op: "o-1", Verb: "terminate", Group: "workers", Node: "n-1", Instance: "i-1"},
		event.Event{Kind: event.OpSucceeded, Op: "o-1", Verb: "terminate", Group: "workers", Node: "n-1", Instance: "i-1"},
		event.Event{Kind: event.NodeReplaced, Group: "workers", Node: "n-1", Instance: "i-1"},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-6", Instance: "i-6"},
		event.Event{Kind: event.GroupWaits, Group: "killed", Message: "waiting for drain of n-6"},
		event.Event{Kind: event.RotationStarted, Data: map[string]string{"nodes": "2", "groups": "1", "cluster": "prod"}},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-7", Instance: "i-7"},
		event.Event{Kind: event.RotationStopping, Code: "stopped"},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-2", Instance: "i-2"},
		event.Event{Kind: event.DrainWaits, Group: "workers", Node: "n-2", Instance: "i-2", Message: "pod shop/web-1 waits for budget shop/web: disruptionsAllowed 0", Data: map[string]string{"since": "2026-11-22T08:59:00Z"}},
		event.Event{Kind: event.OpIntended, Op: "o-2", Verb: "set-surge", Group: "workers"},
		event.Event{Kind: event.OpIntended, Op: "o-2", Verb: "set-surge", Group: "workers"},
		event.Event{Kind: event.GroupWaits, Group: "workers", Message: "waiting for replacement i-4"},
		event.Event{Kind: event.GroupWaits, Group: "workers", Message: "waiting for drain of n-2"},
		event.Event{Kind: event.GroupWaits, Group: "idle", Message: "waiting for replacement i-9"},
		event.Event{Kind: event.GroupWaits, Group: "idle"},
		event.Event{Kind: event.GroupWaits, Group: "ended", Message: "waiting for end of n-8"},
		event.Event{Kind: event.GroupFinished, Group: "ended"},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-3", Instance: "i-3"},
		event.Event{Kind: event.DrainWaits, Group: "workers", Node: "n-3", Instance: "i-3", Message: "n-3 leaves its load balancers"},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-4", Instance: "i-4"},
		event.Event{Kind: event.NodeDrained, Group: "workers", Node: "n-4", Instance: "i-4"},
		event.Event{Kind: event.DrainWaits, Group: "workers", Node: "n-4", Instance: "i-4", Message: "n-4 waits for volume pv-1 to detach"},
		event.Event{Kind: event.NodeDraining, Group: "workers", Node: "n-5", Instance: "i-5"},
		event.Event{Kind: event.NodeDrained, Group: "workers", Node: "n-5", Instance: "i-5"},
		event.Event{Kind: event.DrainWaits, Group: "workers", Node: "n-5", Instance: "i-5", Message: "n-5 waits for volume pv-2 to detach"},
		event.Event{Kind: event.OpIntended, Op: "o-5", Verb: "terminate", Group: "workers", Node: "n-5", Instance: "i-5"},
		event.Event{Kind: event.OpSucceeded, Op: "o-5", Verb: "terminate", Group: "workers", Node: "n-5", Instance: "i-5"},
		event.Event{Kind: event.GroupRolling, Group: "batch", Message: "the provider rolls the group (u-1)"},
		event.Event{Kind: event.GroupRolling, Group: "batch", Code: "progress", Message: "2 of 5 nodes; pod shop/cart-1 waits for budget shop/cart"},
		event.Event{Kind: event.GroupRolling, Group: "web", Message: "the provider rolls the group (u-2)"},
		event.Event{Kind: event.GroupRolled, Group: "web", Code: "succeeded"})
	write("r-other", "staging", event.Event{Kind: event.RotationFinished, Code: "stopped", Message: "stopped\x1b[31m"})
	return &fakeState{Store: store}
}

func TestStatus(t *testing.T) {
	held := &kube.Holder{Identity: "ci-1/42/ab", Rotation: "r-now", Since: start, Renewed: start.Add(time.Minute), Duration: 30 * time.Second, Fence: 7}
	tests := map[string]struct {
		holder *kube.Holder
		args   []string
		want   []string
		not    []string
		code   int
	}{
		"a running one": {held, []string{"--config", "testdata/prod.yaml"},
			[]string{"held by ci-1/42/ab for rotation r-now since 2026-11-22 09:00:00Z", "rotation r-now of cluster prod: running", "1 of 3 node(s) replaced, 3 drained, 7 pod(s) evicted",
				"workers  running  1         3", "drain of n-2 since", "    waits: pod shop/web-1 waits for budget shop/web: disruptionsAllowed 0 (since 2026-11-22 08:59:00Z, told at 2026-11-22 09:1", "set-surge of workers since",
				"roll of batch since", "    says: 2 of 5 nodes; pod shop/cart-1 waits for budget shop/cart",
				"  group workers: waiting for drain of n-2 (told at ", "drain of n-3 since", "waits: n-3 leaves its load balancers (told at", "drain of n-4 since", "waits: n-4 waits for volume pv-1 to detach"},
			[]string{"n-1", "cut off", "roll of web", "i-4 (", "group idle", "group ended", "pv-2", "n-5", "n-6", "n-7"}, 0},
		"one that was cut off": {nil, []string{"--config", "testdata/prod.yaml"},
			[]string{"lock: free", "rotation r-now of cluster prod: cut off"}, []string{"running,"}, 0},
		"the newest of all clusters":    {nil, nil, []string{"rotation r-other of cluster staging: stopped"}, []string{"\x1b"}, 0},
		"the one that is asked for":     {held, []string{"r-old"}, []string{"rotation r-old of cluster prod: done", "3 node(s) replaced"}, []string{"under way"}, 0},
		"one that does not exist":       {nil, []string{"r-none"}, []string{"r-none has no journal", "rotatord history"}, nil, exitUsage},
		"more than one is asked for":    {nil, []string{"a", "b"}, []string{`unexpected argument "b"`}, nil, exitUsage},
		"a holder without its rotation": {&kube.Holder{Identity: "x/1/y", Since: start}, nil, []string{"held by x/1/y since"}, []string{" for rotation"}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := recorded(t)
			s.holder = tc.holder
			got := call(t, &fake{state: s}, append([]string{"status"}, tc.args...)...)
			if got.code != tc.code {
				t.Fatalf("exit code %d: %s", got.code, got.stderr)
			}
			for _, want := range tc.want {
				if !strings.Contains(got.stdout+got.stderr, want) {
					t.Errorf("lacks %q:\n%s%s", want, got.stdout, got.stderr)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(got.stdout, not) {
					t.Errorf("has %q:\n%s", not, got.stdout)
				}
			}
		})
	}
}

func TestStatusJSON(t *testing.T) {
	s := recorded(t)
	s.holder = &kube.Holder{Identity: "ci-1/42/ab", Rotation: "r-now", Since: start, Duration: 30 * time.Second, Fence: 7}
	got := call(t, &fake{state: s}, "status", "--output", "json")
	var doc struct {
		Lock struct {
			Holder  string
			Seconds float64
			Fence   int
		}
		Rotation struct{ Rotation, Status string }
		Summary  struct{ Replaced, Planned int }
		Running  []struct{ What, Node, Group, Message, Told, WaitsSince string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil || got.code != 0 {
		t.Fatalf("%v, exit code %d: %s", err, got.code, got.stdout)
	}
	if doc.Lock.Holder != "ci-1/42/ab" || doc.Lock.Seconds != 30 || doc.Lock.Fence != 7 || doc.Rotation.Rotation != "r-now" || doc.Rotation.Status != "unfinished" ||
		doc.Summary.Replaced != 1 || doc.Summary.Planned != 3 || len(doc.Running) != 6 || doc.Running[0].What != whatGroup || doc.Running[0].Message != "waiting for drain of n-2" || doc.Running[0].Told == "" ||
		doc.Running[1].What != whatDrain || doc.Running[1].WaitsSince != "2026-11-22T08:59:00Z" || doc.Running[2].What != "set-surge" || doc.Running[5].What != whatRoll {
		t.Errorf("%+v", doc)
	}
	empty := &fakeState{Store: journal.Folder{Path: t.TempDir()}}
	got = call(t, &fake{state: empty}, "status", "--output", "json")
	if got.code != 0 || !strings.Contains(got.stdout, `"lock": null`) || !strings.Contains(got.stdout, `"running": []`) {
		t.Errorf("of nothing, exit code %d: %s", got.code, got.stdout)
	}
	if got = call(t, &fake{state: empty}, "status"); got.stdout != "lock: free\nno rotation is recorded\n" {
		t.Errorf("of nothing: %q", got.stdout)
	}
}

func TestHistory(t *testing.T) {
	got := call(t, &fake{state: recorded(t)}, "history")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[1], "r-other") || !strings.HasPrefix(lines[2], "r-now") || !strings.Contains(lines[2], "unfinished") || !strings.HasPrefix(lines[3], "r-old") {
		t.Errorf("exit code %d:\n%s", got.code, got.stdout)
	}
	got = call(t, &fake{state: recorded(t)}, "history", "--config", "testdata/prod.yaml", "--output", "json")
	var doc struct{ Rotations []journal.Entry }
	if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil || len(doc.Rotations) != 2 || doc.Rotations[0].Rotation != "r-now" {
		t.Errorf("%v: %s", err, got.stdout)
	}
	got = call(t, &fake{state: &fakeState{Store: journal.Folder{Path: t.TempDir()}}}, "history", "--output", "json")
	if !strings.Contains(got.stdout, `"rotations": []`) {
		t.Errorf("of nothing: %s", got.stdout)
	}
	if got = call(t, &fake{stateErr: errors.New("no route")}, "history"); got.code != exitFailed || !strings.Contains(got.stderr, "no route") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	if got = call(t, &fake{state: &fakeState{Store: journal.Folder{Path: t.TempDir()}, err: errors.New("denied")}}, "status"); got.code != exitFailed {
		t.Errorf("exit code %d", got.code)
	}
}

func TestExplainLockAndJournal(t *testing.T) {
	held := &kube.HeldError{Holder: kube.Holder{Identity: "ci-1/42/ab", Rotation: "r-1", Since: start}, Where: "Lease ns/rotator", Wait: time.Minute}
	tests := map[string]struct {
		err  error
		code int
		want string
	}{
		"held":             {held, exitLocked, "--take-over"},
		"taken over":       {errors.Join(runtime.ErrJournal, journal.ErrTakenOver), exitLocked, "rotatord status"},
		"taken in mid-run": {errors.Join(runtime.ErrLockLost, runtime.ErrJournal, journal.ErrTakenOver), exitStopped, "same command again"},
		"lost":             {errors.Join(runtime.ErrLockLost, errors.New("x")), exitStopped, "same command again"},
		"journal away":     {errors.Join(runtime.ErrJournal, &journal.TransientError{Err: errors.New("x")}), exitStopped, "API server"},
		"journal damaged":  {errors.Join(runtime.ErrJournal, &journal.CorruptError{Path: "p", Reason: "r"}), exitFailed, ""},
		"no permission":    {errors.Join(runtime.ErrJournal, &kube.Error{Code: kube.CodeForbidden, Message: "m", Fix: "grant it"}), exitFailed, "grant it"},
		"refused":          {&core.RefusedError{Plan: refusedPlan()}, exitRefused, ""},
	}
	for name, tc := range tests {
		f := coreBackend{}.Explain(tc.err)
		if f == nil || f.code != tc.code || !strings.Contains(f.fix, tc.want) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := (coreBackend{}).Explain(held); !strings.Contains(f.message, "ci-1/42/ab with rotation r-1 since 2026-11-22T09:00:00Z") || !strings.Contains(f.message, "nothing was changed") {
		t.Errorf("held: %s", f.message)
	}
}
