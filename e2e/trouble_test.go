//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
)

// A replacement that never joins, or joins and never gets Ready, is
// quarantined and reported; old nodes stay, and the rotation ends with the exit
// code of a failed gate.
func TestBadReplacement(t *testing.T) {
	for _, kind := range []string{"never-join", "never-ready"} {
		t.Run(kind, func(t *testing.T) {
			s := plain(t)
			group := groupName(s, 2)
			s.MustSettle(t)
			before := s.State(t)
			s.PublishImage(t, group)
			s.Fault(t, kind, "--group", group, "--count", "1")
			r := s.rotatord(t)

			res := r.Run(t, "run", "--group", group, "--node-ready-timeout", "8s").MustExit(t, exitGate)

			bad := r.Events(t, "replacement-bad")
			if len(bad) != 1 || bad[0].Instance == "" {
				t.Fatalf("events of bad replacements: %+v, want one that names its instance", bad)
			}
			if !strings.Contains(res.Text(), bad[0].Instance) {
				t.Errorf("the output does not name instance %s:\n%s", bad[0].Instance, res.Text())
			}
			after := s.State(t)
			for name, n := range after.Nodes {
				if strings.HasSuffix(name, bad[0].Node) && bad[0].Node != "" {
					continue // the quarantined one may keep its marks
				}
				if n.Unschedulable || len(n.Marks) > 0 || slices.Contains(n.Taints, ourPrefix+"outdated:PreferNoSchedule") {
					t.Errorf("node %s is left with cordon %t, taints %v, marks %v", name, n.Unschedulable, n.Taints, n.Marks)
				}
			}
			s.MustHaveKeptBudgets(t)

			// A person takes the broken machine away, and the same command completes.
			if slices.Contains(after.Groups[group].Instances, bad[0].Instance) {
				_, err := s.AutoScaling().TerminateInstanceInAutoScalingGroup(t.Context(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{
					InstanceId: aws.String(bad[0].Instance), ShouldDecrementDesiredCapacity: aws.Bool(false)})
				if err != nil {
					t.Fatal(err)
				}
			}
			waitForNodes(t, s, len(before.Nodes))
			r.Run(t, "run", "--group", group).MustExit(t, exitDone)
			waitForNodes(t, s, len(before.Nodes))
			last := s.State(t)
			last.MustBeTidy(t, before)
			last.MustHaveReplaced(t, before, group)
			s.MustHaveKeptBudgets(t)
		})
	}
}

// Somebody else changes the desired capacity in mid-run: it is respected.
func TestSomebodyElseResizes(t *testing.T) {
	s := scrap(t)
	group := groupName(s, 1)
	before := s.State(t)
	s.PublishImage(t, group)
	r := s.rotatord(t)
	p := r.Start(t, "run", "--group", group)
	p.Await("replacement-ready")
	now := s.State(t).Groups[group]
	if _, err := s.AutoScaling().UpdateAutoScalingGroup(t.Context(), &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(group), MaxSize: aws.Int32(now.Max + 2), DesiredCapacity: aws.Int32(now.Desired + 1)}); err != nil {
		t.Fatal(err)
	}
	p.Wait().MustExit(t, exitDone)
	after := s.State(t)
	was, is := before.Groups[group], after.Groups[group]
	if is.Desired != was.Desired+1 {
		t.Errorf("desired capacity is %d, want %d: %d before and one more by somebody else", is.Desired, was.Desired+1, was.Desired)
	}
	if !slices.Equal(is.Tags, was.Tags) || !slices.Equal(is.Suspended, was.Suspended) || is.Protected != was.Protected {
		t.Errorf("the group's settings are %+v, were %+v", is, was)
	}
	for _, id := range was.Instances {
		if slices.Contains(is.Instances, id) {
			t.Errorf("instance %s was not replaced", id)
		}
	}
}

// What a person had suspended before stays suspended.
func TestSuspendedProcessesStay(t *testing.T) {
	s := scrap(t)
	group := groupName(s, 2)
	c := s.AutoScaling()
	in := &autoscaling.SuspendProcessesInput{AutoScalingGroupName: aws.String(group), ScalingProcesses: []string{"AZRebalance", "ScheduledActions"}}
	if _, err := c.SuspendProcesses(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	before := s.State(t)
	if len(before.Groups[group].Suspended) != 2 {
		t.Fatalf("suspended processes: %v", before.Groups[group].Suspended)
	}
	s.PublishImage(t, group)
	s.rotatord(t).Run(t, "run", "--group", group).MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
}

// A group that is deleted in mid-run ends the rotation with a message that
// names it, and no other group is touched. Last: the group is gone for good.
func TestZGroupDeleted(t *testing.T) {
	s := scrap(t)
	group := groupName(s, 3)
	before := s.State(t)
	s.PublishImage(t, group)
	p := s.rotatord(t).Start(t, "run", "--group", group)
	p.Await("replacement-ready")
	if _, err := s.AutoScaling().DeleteAutoScalingGroup(t.Context(), &autoscaling.DeleteAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(group), ForceDelete: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	// Not a failure of the rotation's: run again, it goes on with what exists.
	p.Wait().MustExit(t, exitStopped, group, "deleted")
	after := s.State(t)
	delete(before.Groups, group)
	delete(after.Groups, group)
	for _, name := range sortedKeys(before.Groups) {
		if !slices.Equal(before.Groups[name].Instances, after.Groups[name].Instances) {
			t.Errorf("group %s, which was not selected, has other instances", name)
		}
	}
}

// waitForNodes waits until the cluster has so many Ready nodes.
func waitForNodes(t *testing.T, s *Sandbox, want int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ready, v := 0, s.Verify(t)
		for _, n := range v.Nodes {
			if n.Ready {
				ready++
			}
		}
		if ready == want && len(v.Nodes) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cluster has %d Ready nodes of %d, want %d", ready, len(v.Nodes), want)
		}
		<-tick.C
	}
}
