package ekstest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

// detaching starts a new life of a driver that surges by detaching.
func (w *world) detaching() *eks.Driver {
	w.t.Helper()
	d := eks.New(eks.WithClock(w.now))
	diags, err := d.Configure(context.Background(), w.config(map[string]string{"surge": "detach"}), false)
	if err != nil || len(diags) > 0 {
		w.t.Fatalf("configure: %v %+v", err, diags)
	}
	return d
}

func byState(s *sdk.Snapshot, state sdk.InstanceState) (ids []string) {
	for _, i := range s.Instances {
		if i.State == state {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// sized is what a look must show of the group.
func sized(t *testing.T, d *eks.Driver, desired, surge int) *sdk.Snapshot {
	t.Helper()
	s := look(t, d, 0)
	if g := groupOf(t, s, groupA); g.Desired != desired || g.Surge != surge {
		t.Errorf("size %d with a surge of %d, want %d with %d", g.Desired, g.Surge, desired, surge)
	}
	return s
}

// TestDetach surges a group that may not grow, and ends what was taken out of it.
func TestDetach(t *testing.T) {
	w := newWorld(t)
	w.seed(3, func(s *aws.GroupSpec) { s.Max = 3 })
	w.publish("nodes")
	d := w.detaching()
	s := sized(t, d, 3, 0)
	if g := groupOf(t, s, groupA); !g.Traits.SurgeDetaches || g.Traits.MaxSurge != 3 {
		t.Errorf("traits %+v", g.Traits)
	}
	old := byState(s, sdk.InstanceInService)
	accepted(t, prepare(t, d))
	surge := func(d *eks.Driver, n int, going ...string) *sdk.Operation {
		t.Helper()
		return must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: n, Going: going}))(t)
	}
	w.calls()
	accepted(t, surge(d, 1, old[2]))
	want := map[string]int{"ec2:CreateTags": 1, "autoscaling:DetachInstances": 1}
	if diff := cmp.Diff(want, changes(w.calls())); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	w.pass(3 * time.Second)
	d = w.detaching() // another life of it finds the surge
	s = sized(t, d, 4, 1)
	if diff := cmp.Diff([]string{old[2]}, byState(s, sdk.InstanceDetached)); diff != "" {
		t.Errorf("detached (-want +got):\n%s", diff)
	}
	for _, i := range s.Instances {
		if i.ID == old[2] && (len(i.Reasons) != 1 || i.Reasons[0].Code != "detached" || i.ProviderID != "aws:///"+i.Zone+"/"+i.ID) {
			t.Errorf("%+v", i)
		}
	}
	if got := len(byState(s, sdk.InstanceInService)); got != 3 {
		t.Errorf("%d instances in service, want 3: the group launches another", got)
	}
	accepted(t, surge(d, 1))
	if c := changes(w.calls()); len(c) > 0 {
		t.Errorf("the same surge again changes %v", c)
	}
	if o := surge(d, 0); o.State != sdk.OperationFailed || !slices.Equal(codesOf(o.Diagnostics), []string{"surge-lowered"}) {
		t.Errorf("a lower surge: %+v", o)
	}
	if r := shrink(t, d, old[0], 0); !slices.Equal(codesOf(r.Instance.Diagnostics), []string{"instance-not-detached"}) {
		t.Errorf("SHRINK of an instance that the group counts: %+v", r)
	}
	keep(t, d, old[0])
	w.pass(3 * time.Second)
	sized(t, d, 4, 1)
	for range 2 { // before and after a restart of the driver
		r := shrink(t, d, old[2], 0)
		accepted(t, &r.Instance)
		accepted(t, &r.Capacity)
		w.pass(3 * time.Second)
		sized(t, d, 3, 0)
		d = w.detaching()
	}
	accepted(t, restore(t, d))
	if g := w.state(groupA); g.Desired != 3 || g.Max != 3 {
		t.Errorf("the group has %d of at most %d, want 3 of 3", g.Desired, g.Max)
	}
}

// TestDetachCrash kills the driver at each of its changes: the same call of the
// next life reaches the goal, and takes out no more.
func TestDetachCrash(t *testing.T) {
	for left := range 2 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(left, after), func(t *testing.T) {
				w := newWorld(t)
				w.seed(4)
				d := w.detaching()
				accepted(t, prepare(t, d))
				ctx, cancel := context.WithCancel(t.Context())
				w.mu.Lock()
				w.cut = &cut{left: left, after: after, kill: cancel}
				w.mu.Unlock()
				r := sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: 2}
				if o, err := d.SetSurge(ctx, r); err == nil && o.State != sdk.OperationFailed {
					t.Fatalf("it was not cut off: %+v", o)
				}
				w.mu.Lock()
				w.cut = nil
				w.mu.Unlock()
				d = w.detaching()
				accepted(t, must(d.SetSurge(t.Context(), r))(t))
				w.pass(3 * time.Second)
				s := sized(t, d, 6, 2)
				if in := byState(s, sdk.InstanceInService); len(in) != 4 {
					t.Errorf("%d instances in service, want 4", len(in))
				}
			})
		}
	}
}

// TestDetachRefused: instances that were marked, and that AWS did not detach, are ordinary members after Restore, whoever
// detaches one of them then.
func TestDetachRefused(t *testing.T) {
	w := newWorld(t)
	w.seed(3)
	d := w.detaching()
	accepted(t, prepare(t, d))
	w.fault(control.Fault{Kind: control.Deny, Action: "DetachInstances"})
	r := sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: 2}
	if o := must(d.SetSurge(t.Context(), r))(t); o.State != sdk.OperationFailed || !slices.Equal(codesOf(o.Diagnostics), []string{"aws-denied"}) {
		t.Fatalf("%+v", o)
	}
	w.check(w.ClearFaults(""))
	sized(t, d, 3, 0)
	w.calls()
	accepted(t, restore(t, d))
	if c := w.calls(); c["ec2:DeleteTags"] != 1 {
		t.Errorf("the marks stay: %v", c)
	}
	for _, id := range members(w.state(groupA), "InService") {
		w.detachByHand(id)
	}
	w.pass(3 * time.Second)
	sized(t, w.detaching(), 3, 0)
}

// TestDetachNot: what cannot surge so surges by capacity.
func TestDetachNot(t *testing.T) {
	t.Run("behind a load balancer", func(t *testing.T) {
		w := newWorld(t)
		arn, err := w.CreateTargetGroup(aws.TargetGroupSpec{Name: "web"})
		w.check(err)
		w.seed(3, func(s *aws.GroupSpec) { s.TargetGroups = []string{arn} })
		d := w.detaching()
		if g := groupOf(t, look(t, d, 0), groupA); g.Traits.SurgeDetaches {
			t.Error("it is to be taken out of its load balancers")
		}
		accepted(t, setSurge(t, d, 1))
		capacity(t, w, d, 4, 5, 1)
	})
	t.Run("a surge by capacity is left over", func(t *testing.T) {
		w := newWorld(t)
		w.seed(3)
		accepted(t, setSurge(t, w.driver(), 1))
		w.pass(3 * time.Second)
		d := w.detaching()
		if g := groupOf(t, look(t, d, 0), groupA); g.Traits.SurgeDetaches || g.Surge != 1 {
			t.Errorf("%+v", g)
		}
		r := shrinkFirst(t, w, d, 0)
		accepted(t, &r.Capacity)
		capacity(t, w, d, 3, 5, 0)
	})
}

// The rules of the protocol hold for this way too.
func TestDetachConformance(t *testing.T) {
	credentials(t)
	conformance.Run(t, conformance.Config{
		New: func() sdk.Driver { return eks.New() }, Cluster: cluster, Group: groupA, Timeout: 30 * time.Second,
		Config: func(t *testing.T) string {
			c := map[string]string{}
			if err := json.Unmarshal([]byte(account(t, nil)), &c); err != nil {
				t.Fatal(err)
			}
			c["surge"] = "detach"
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		},
	})
}
