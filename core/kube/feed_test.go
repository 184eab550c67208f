package kube

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

func (f *feed) putNode(name, uid string, ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes.put(name, &node{Node: model.Node{Name: name, UID: uid, Ready: ready}}) {
		f.touch()
	}
}

func (f *feed) putPod(name, uid, phase string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := model.PodKey{Namespace: "ns", Name: name}
	if f.pods.put(k, &model.Pod{PodKey: k, UID: uid, Phase: phase}) {
		f.touch()
	}
}

func (f *feed) removePod(name, uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pods.remove(model.PodKey{Namespace: "ns", Name: name}, uid) {
		f.touch()
	}
}

// next is the next value of changes, and how long it took.
func next(f *feed) (engine.Input, time.Duration) {
	began := time.Now()
	in := <-f.Changes()
	return in, time.Since(began)
}

func quiet(t *testing.T, f *feed) {
	t.Helper()
	select {
	case in := <-f.Changes():
		t.Errorf("unexpected changes: %+v", in)
	case <-time.After(time.Hour):
	}
}

func runFeed(t *testing.T, test func(t *testing.T, f *feed)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		go f.run(t.Context())
		test(t, f)
	})
}

func pods(in engine.Input) (names []string, gone []string) {
	for _, p := range in.Pods {
		names = append(names, p.Name+" "+p.UID+" "+p.Phase)
	}
	for _, p := range in.PodsGone {
		gone = append(gone, p.Name+" "+p.UID)
	}
	return names, gone
}

func TestFeedCoalesces(t *testing.T) {
	runFeed(t, func(t *testing.T, f *feed) {
		f.putPod("before", "u0", "Running")
		synctest.Wait()
		if inv := f.Inventory(); len(inv.Pods) != 1 {
			t.Fatalf("%+v", inv)
		}
		quiet(t, f) // the inventory had it

		f.putPod("a", "u1", "Pending")
		if in, took := next(f); took != 0 || len(in.Pods) != 1 || in.Pods[0].Name != "a" {
			t.Errorf("idle: %+v after %v, want a at once", in, took)
		}
		// A burst within the window: one value, each object once, the last state.
		f.putPod("a", "u1", "Running")
		f.putPod("b", "u2", "Pending")
		time.Sleep(30 * time.Millisecond)
		f.putPod("b", "u2", "Running")
		f.putNode("n", "un", true)
		in, took := next(f)
		names, gone := pods(in)
		if diff := cmp.Diff([]string{"a u1 Running", "b u2 Running"}, names); diff != "" || gone != nil || len(in.Nodes) != 1 {
			t.Errorf("%s %v %+v", diff, gone, in.Nodes)
		}
		if took != 70*time.Millisecond {
			t.Errorf("after %v, want the rest of the window", took)
		}
		quiet(t, f)
		f.putPod("a", "u1", "Running") // nothing new in it
		quiet(t, f)
	})
}

// A status names all pods that were charged since the reader's last one, also
// those that one in between has dropped.
func TestFeedKeepsCharges(t *testing.T) {
	put := func(f *feed, allowed int, charged ...string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		b := &budget{Budget: model.Budget{BudgetKey: model.BudgetKey{Namespace: "ns", Name: "web"}, UID: "b", Allowed: allowed, Charged: charged, Counted: charged}}
		if f.budgets.put(b.BudgetKey, b) {
			f.touch()
		}
	}
	runFeed(t, func(t *testing.T, f *feed) {
		put(f, 2)
		f.Inventory()
		put(f, 1, "web-1")
		if in, _ := next(f); !cmp.Equal(in.Budgets[0].Counted, []string{"web-1"}) {
			t.Errorf("the first change counts %v", in.Budgets[0].Counted)
		}
		put(f, 0, "web-2", "web-3")
		put(f, 0, "web-3")
		put(f, 1)
		synctest.Wait()
		in, _ := next(f)
		if b := in.Budgets[0]; b.Allowed != 1 || len(b.Charged) > 0 || !cmp.Equal(b.Counted, []string{"web-2", "web-3"}) {
			t.Errorf("the second change: %d allowed, %v charged, %v counted", b.Allowed, b.Charged, b.Counted)
		}
	})
}

// A budget that opens is not kept waiting: an eviction depends on it.
func TestFeedHurries(t *testing.T) {
	runFeed(t, func(t *testing.T, f *feed) {
		put := func(name string, allowed int, observed bool) {
			b := &budget{Budget: model.Budget{BudgetKey: model.BudgetKey{Namespace: "ns", Name: name}, UID: "b-" + name, Allowed: allowed, Observed: observed}}
			f.mu.Lock()
			dirty := f.budgets.put(b.BudgetKey, b)
			hurried := f.budgets.hurried()
			f.mu.Unlock()
			if dirty {
				f.touch()
			}
			if hurried {
				f.hurry()
			}
		}
		put("a", 1, true)
		f.Inventory()
		for _, c := range []struct {
			what     string
			allowed  int
			observed bool
			after    time.Duration // of the delivery before it
			want     time.Duration
		}{
			{"one that closes", 0, true, 30 * time.Millisecond, 70 * time.Millisecond},
			{"one that opens at once", 1, true, 0, 10 * time.Millisecond},
			{"one that opens further, later", 2, true, 40 * time.Millisecond, 0},
			{"one that is not counted yet", 3, false, 0, 100 * time.Millisecond},
		} {
			f.putPod("other", "u"+c.what, "Running")
			next(f)
			time.Sleep(c.after)
			put("a", c.allowed, c.observed)
			in, took := next(f)
			if len(in.Budgets) != 1 || took != c.want {
				t.Errorf("%s: %d budgets after %v, want one after %v", c.what, len(in.Budgets), took, c.want)
			}
			time.Sleep(window)
		}
	})
}

func TestFeedLives(t *testing.T) {
	cases := map[string]struct {
		do          func(f *feed)
		names, gone []string
	}{
		"deleted":                 {func(f *feed) { f.removePod("p", "u1") }, nil, []string{"p u1"}},
		"changed, then deleted":   {func(f *feed) { f.putPod("p", "u1", "Failed"); f.removePod("p", "u1") }, nil, []string{"p u1"}},
		"deleted and made again":  {func(f *feed) { f.removePod("p", "u1"); f.putPod("p", "u2", "Pending") }, []string{"p u2 Pending"}, []string{"p u1"}},
		"made again, unseen":      {func(f *feed) { f.putPod("p", "u2", "Pending") }, []string{"p u2 Pending"}, []string{"p u1"}},
		"made again twice":        {func(f *feed) { f.putPod("p", "u2", "Pending"); f.putPod("p", "u3", "Running") }, []string{"p u3 Running"}, []string{"p u1"}},
		"deletion of an old life": {func(f *feed) { f.putPod("p", "u2", "Pending"); f.removePod("p", "u1") }, []string{"p u2 Pending"}, []string{"p u1"}},
		"came and went":           {func(f *feed) { f.putPod("q", "u9", "Pending"); f.removePod("q", "u9"); f.putPod("z", "u8", "") }, []string{"z u8 "}, nil},
		"a list without it":       {func(f *feed) { f.mu.Lock(); f.pods.replace(nil); f.mu.Unlock(); f.touch() }, nil, []string{"p u1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			runFeed(t, func(t *testing.T, f *feed) {
				f.putPod("p", "u1", "Running")
				f.Inventory()
				c.do(f)
				in, _ := next(f)
				names, gone := pods(in)
				if diff := cmp.Diff(c.names, names); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.gone, gone); diff != "" {
					t.Error(diff)
				}
				quiet(t, f)
			})
		})
	}
}

// Objects other than pods that were made again are in their list alone.
func TestFeedNodeMadeAgain(t *testing.T) {
	runFeed(t, func(t *testing.T, f *feed) {
		f.putNode("n", "u1", true)
		f.putNode("m", "u5", true)
		f.Inventory()
		f.mu.Lock()
		f.nodes.remove("n", "u1")
		f.nodes.remove("m", "u5")
		f.mu.Unlock()
		f.putNode("n", "u2", false)
		in, _ := next(f)
		if diff := cmp.Diff([]string{"m"}, in.NodesGone); diff != "" || len(in.Nodes) != 1 || in.Nodes[0].UID != "u2" {
			t.Errorf("%+v", in)
		}
	})
}

// A value that nobody has taken yet must not come after an inventory that is
// newer than it.
func TestInventoryReplacesPendingChanges(t *testing.T) {
	runFeed(t, func(t *testing.T, f *feed) {
		f.putPod("p", "u1", "Pending")
		f.Inventory()
		f.putPod("p", "u1", "Running")
		synctest.Wait() // the feed now holds a value for whoever reads
		f.putPod("p", "u1", "Failed")
		if inv := f.Inventory(); inv.Pods[0].Phase != "Failed" {
			t.Errorf("%+v", inv.Pods)
		}
		quiet(t, f)
		f.removePod("p", "u1") // the inventory told of this life
		if in, _ := next(f); len(in.PodsGone) != 1 {
			t.Errorf("%+v", in)
		}
	})
}

func TestInventoryAfterTheEnd(t *testing.T) {
	f := newFeed()
	close(f.ended)
	f.putPod("b", "u1", "Running")
	f.putPod("a", "u2", "Running")
	if inv := f.Inventory(); len(inv.Pods) != 2 || inv.Pods[0].Name != "a" {
		t.Errorf("%+v", inv.Pods)
	}
}

// What nobody reads stays bounded by the objects that there are.
func TestUnreadChangesAreBounded(t *testing.T) {
	f := newFeed()
	f.putPod("p", "u0", "Running")
	f.inventory()
	for range 1000 {
		f.putPod("p", "u1", "Running")
		f.removePod("p", "u1")
		f.putPod("p", "u2", "Running")
		f.removePod("p", "u2")
	}
	if n := len(f.pods.changed) + len(f.pods.gone); n != 1 {
		t.Errorf("%d entries are kept, want the one life that was told", n)
	}
}
