package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/sandbox/control"
)

// parts notes what the faults asked of the network, the kubelets and the cloud.
type parts struct {
	control.Backend
	refused, held bool
	down          bool
	silent        map[string]bool // by provider id
	cloud         []string
}

func (p *parts) Refuse(on bool) error                 { p.refused = on; return nil }
func (p *parts) Hold(on bool)                         { p.held = on }
func (p *parts) StopAPIServer() error                 { p.down = true; return nil }
func (p *parts) StartAPIServer(context.Context) error { p.down = false; return nil }
func (p *parts) Silence(_ context.Context, node string) (string, error) {
	if node == "nobody" {
		return "", errors.New(`nodes "nobody" not found`)
	}
	p.silent["machine of "+node] = true
	return "machine of " + node, nil
}
func (p *parts) Wake(_ context.Context, node, id string) error {
	if id != "machine of "+node {
		return fmt.Errorf("machine %q of node %q", id, node)
	}
	delete(p.silent, id)
	return nil
}
func (p *parts) AddFault(f control.Fault) (control.Fault, error) {
	p.cloud = append(p.cloud, "add "+string(f.Kind))
	f.ID = "fault-1"
	return f, nil
}
func (p *parts) Faults() []control.Fault { return []control.Fault{{ID: "fault-1"}} }
func (p *parts) ClearFaults(id string) error {
	p.cloud = append(p.cloud, "clear "+id)
	return nil
}

func (p *parts) want(t *testing.T, refused, held bool, silent ...string) {
	t.Helper()
	if p.refused != refused || p.held != held {
		t.Errorf("refused %t, held %t, want %t, %t", p.refused, p.held, refused, held)
	}
	if len(p.silent) != len(silent) || slices.ContainsFunc(silent, func(n string) bool { return !p.silent["machine of "+n] }) {
		t.Errorf("silent %v, want %v", p.silent, silent)
	}
}

func TestFaultsThatLast(t *testing.T) {
	inParts := func(t *testing.T, f func(t *testing.T, s *faults, p *parts, add func(control.Fault) string)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			p := &parts{silent: map[string]bool{}}
			s := newFaults(p, p, p, p)
			defer s.close()
			f(t, s, p, func(q control.Fault) string {
				t.Helper()
				got, err := s.AddFault(q)
				if err != nil {
					t.Fatal(err)
				}
				return got.ID
			})
		})
	}
	seconds := func(n int) control.Duration { return control.Duration(time.Duration(n) * time.Second) }
	pass := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	t.Run("each ends by itself", func(t *testing.T) {
		inParts(t, func(t *testing.T, s *faults, p *parts, add func(control.Fault) string) {
			add(control.Fault{Kind: control.APICut, For: seconds(5)})
			add(control.Fault{Kind: control.APIRestart, For: seconds(5)})
			if !p.down {
				t.Error("the API server was not ended")
			}
			add(control.Fault{Kind: control.APIBlackhole, For: seconds(6)})
			add(control.Fault{Kind: control.NodeDead, Node: "a", For: seconds(7)})
			p.want(t, true, true, "a")
			pass(5*time.Second + time.Millisecond)
			p.want(t, false, true, "a")
			if p.down {
				t.Error("the API server was not started again")
			}
			pass(time.Second)
			p.want(t, false, false, "a")
			pass(time.Second)
			p.want(t, false, false)
			for _, f := range s.Faults()[1:] {
				if !f.Over || f.Struck != 1 {
					t.Errorf("%+v, want it to be over", f)
				}
			}
		})
	})
	t.Run("of two, the longer counts", func(t *testing.T) {
		inParts(t, func(t *testing.T, _ *faults, p *parts, add func(control.Fault) string) {
			for _, n := range []int{9, 3} {
				add(control.Fault{Kind: control.APICut, For: seconds(n)})
				add(control.Fault{Kind: control.NodeDead, Node: "a", For: seconds(n)})
			}
			pass(4 * time.Second)
			p.want(t, true, false, "a")
			pass(6 * time.Second)
			p.want(t, false, false)
		})
	})
	t.Run("without a time, until it is cleared", func(t *testing.T) {
		inParts(t, func(t *testing.T, s *faults, p *parts, add func(control.Fault) string) {
			cut := add(control.Fault{Kind: control.APICut})
			add(control.Fault{Kind: control.NodeDead, Node: "a"})
			pass(time.Hour)
			p.want(t, true, false, "a")
			if err := s.ClearFaults(cut); err != nil {
				t.Fatal(err)
			}
			p.want(t, false, false, "a")
			if err := s.ClearFaults(cut); err == nil || !strings.Contains(err.Error(), cut) {
				t.Errorf("cleared twice: %v", err)
			}
			if err := s.ClearFaults(""); err != nil {
				t.Fatal(err)
			}
			p.want(t, false, false)
			if d := cmp.Diff([]string{"clear "}, p.cloud); d != "" {
				t.Errorf("cloud: %s", d)
			}
		})
	})
	t.Run("those of the cloud are the cloud's", func(t *testing.T) {
		inParts(t, func(t *testing.T, s *faults, p *parts, add func(control.Fault) string) {
			if err := s.ClearFaults(add(control.Fault{Kind: control.Throttle})); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"add throttle", "clear fault-1"}, p.cloud); d != "" {
				t.Errorf("cloud: %s", d)
			}
		})
	})
	t.Run("what cannot be is refused", func(t *testing.T) {
		inParts(t, func(t *testing.T, s *faults, p *parts, _ func(control.Fault) string) {
			for _, f := range []control.Fault{
				{Kind: control.NodeDead}, {Kind: control.NodeDead, Node: "nobody"}, {Kind: control.APICut, Node: "a"},
				{Kind: control.APICut, Count: 1}, {Kind: control.APICut, Share: 0.5}, {Kind: control.APIBlackhole, Action: "ec2"},
				{Kind: control.APICut, For: seconds(-1)}, {Kind: control.Throttle, For: seconds(1)}, {Kind: control.Throttle, Node: "a"},
			} {
				if got, err := s.AddFault(f); err == nil {
					t.Errorf("%+v was added as %s", f, got.ID)
				}
			}
			p.want(t, false, false)
			if n := len(s.Faults()); n != 1 || len(p.cloud) != 0 {
				t.Errorf("%d faults are listed, and the cloud was asked %v", n, p.cloud)
			}
		})
	})
	t.Run("those that are over are forgotten in the end", func(t *testing.T) {
		inParts(t, func(t *testing.T, s *faults, p *parts, add func(control.Fault) string) {
			for range 2 * maxOver {
				add(control.Fault{Kind: control.APICut, For: seconds(1)})
				pass(2 * time.Second)
			}
			if n := len(s.Faults()); n > maxOver+2 {
				t.Errorf("%d faults are listed", n)
			}
			p.want(t, false, false)
		})
	})
}

// The way of the kubeconfig's users to the API server is cut; the cluster's own
// parts live on.
func TestWayToTheAPIServer(t *testing.T) {
	settle(t)
	ask := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := admin.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
		return err
	}
	t.Run("cut", func(t *testing.T) {
		f, err := box.faults.AddFault(control.Fault{Kind: control.APICut})
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(testTimeout); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("while it is cut: %v", err)
		}
		if v := verdict(t); len(v.Nodes) != testNodes || !v.Nodes[0].Ready {
			t.Errorf("the cluster itself is no more: %+v", v.Nodes)
		}
		if err := box.faults.ClearFaults(f.ID); err != nil {
			t.Fatal(err)
		}
		if err := ask(testTimeout); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("blackhole", func(t *testing.T) {
		f, err := box.faults.AddFault(control.Fault{Kind: control.APIBlackhole})
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(300 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(fmt.Sprint(err), "deadline") {
			t.Errorf("while it is cut: %v", err)
		}
		if err := box.faults.ClearFaults(f.ID); err != nil {
			t.Fatal(err)
		}
		if err := ask(testTimeout); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("for a time, over the control endpoint", func(t *testing.T) {
		c, err := control.NewClient(box.url + "/_sandbox")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AddFault(t.Context(), control.Fault{Kind: control.APICut, For: control.Duration(200 * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if err := ask(testTimeout); err != nil {
				return err.Error()
			}
			return ""
		})
		if err := c.Do(t.Context(), http.MethodDelete, "/faults", nil, nil); err != nil {
			t.Error(err)
		}
	})
}
