package kops

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kops/cloudmock/aws/mockautoscaling"
	"k8s.io/kops/cloudmock/aws/mockec2"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"

	"github.com/rotatord/rotator/drivers/sdk"
)

// resumable adds to kops' own mock what it lacks.
type resumable struct {
	*mockautoscaling.MockAutoscaling
}

func (m *resumable) ResumeProcesses(_ context.Context, in *autoscaling.ResumeProcessesInput, _ ...func(*autoscaling.Options)) (*autoscaling.ResumeProcessesOutput, error) {
	g := m.Groups[*in.AutoScalingGroupName]
	g.SuspendedProcesses = slices.DeleteFunc(g.SuspendedProcesses, func(p asgtypes.SuspendedProcess) bool {
		return slices.Contains(in.ScalingProcesses, aws.ToString(p.ProcessName))
	})
	return &autoscaling.ResumeProcessesOutput{}, nil
}

// onMock returns a driver over kops' mock of AWS and a state store of its own,
// with one instance group, web.
func onMock(t *testing.T) (*Driver, *asgtypes.AutoScalingGroup) {
	t.Helper()
	store := t.TempDir()
	for name, text := range map[string]string{
		"config":            "apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nmetadata:\n  name: k.example.com\nspec:\n  cloudProvider: aws\n",
		"instancegroup/web": "apiVersion: kops.k8s.io/v1alpha2\nkind: InstanceGroup\nmetadata:\n  name: web\nspec:\n  role: Node\n  minSize: 2\n  maxSize: 2\n",
	} {
		path := filepath.Join(store, "k.example.com", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	group := &asgtypes.AutoScalingGroup{
		AutoScalingGroupName: aws.String("web.k.example.com"), DesiredCapacity: aws.Int32(2), MinSize: aws.Int32(2), MaxSize: aws.Int32(2),
		LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), LaunchTemplateName: aws.String("web"), Version: aws.String("1")},
		Tags: []asgtypes.TagDescription{{
			ResourceId: aws.String("web.k.example.com"), ResourceType: aws.String("auto-scaling-group"),
			Key: aws.String(awsup.TagClusterName), Value: aws.String("k.example.com"),
		}},
	}
	cloud := awsup.BuildMockAWSCloud("eu-central-1", "a").WithTags(map[string]string{awsup.TagClusterName: "k.example.com"}).(*awsup.MockAWSCloud)
	cloud.MockEC2 = &mockec2.MockEC2{}
	cloud.MockAutoscaling = &resumable{&mockautoscaling.MockAutoscaling{Groups: map[string]*asgtypes.AutoScalingGroup{"web.k.example.com": group}}}
	d := New(WithCloud(func(*kopsapi.Cluster) (fi.Cloud, error) { return cloud, nil }))
	diags, err := d.Configure(t.Context(), []byte(`{"state":"file://`+store+`"}`), false)
	if err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	return d, group
}

// `kops update cluster` in mid-run takes off tags that it does not specify and
// resumes suspended processes. The record outlives it: the group stays held, a
// repeated Prepare suspends again, and Restore puts back what was.
func TestForeignUpdateBetweenPrepareAndRestore(t *testing.T) {
	for _, before := range []struct {
		name      string
		suspended []asgtypes.SuspendedProcess
	}{{name: "running"}, {name: "suspended by somebody", suspended: []asgtypes.SuspendedProcess{{ProcessName: aws.String(azRebalance)}}}} {
		t.Run(before.name, func(t *testing.T) {
			d, group := onMock(t)
			group.SuspendedProcesses = before.suspended
			ours := sdk.GroupRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"}, GroupID: "k.example.com/web"}
			prepare := func() {
				t.Helper()
				if op, err := d.Prepare(t.Context(), ours); err != nil || op.State != sdk.OperationDone {
					t.Fatalf("Prepare: %+v, %v", op, err)
				}
			}
			heldBy := func() string {
				t.Helper()
				s, err := d.Observe(t.Context(), sdk.Scope{Cluster: "k.example.com"}, 0)
				if err != nil || len(s.Groups) != 1 {
					t.Fatalf("Observe: %+v, %v", s, err)
				}
				return s.Groups[0].HeldBy
			}
			prepare()
			if !suspended(group, azRebalance) {
				t.Error("AZRebalance runs after Prepare")
			}
			group.SuspendedProcesses, group.Tags = nil, group.Tags[:1] // as kops update cluster does
			if got := heldBy(); got != "r-1" {
				t.Errorf("after a foreign update the group is held by %q", got)
			}
			other := ours
			other.RotationID = "r-2"
			if _, err := d.Prepare(t.Context(), other); status.Code(err) != codes.Aborted {
				t.Errorf("another rotation is answered %v, want ABORTED", err)
			}
			prepare()
			if got := suspended(group, azRebalance); got != (before.suspended == nil) {
				t.Errorf("after Prepare again AZRebalance is suspended: %v", got)
			}
			if op, err := d.Restore(t.Context(), ours); err != nil || op.State != sdk.OperationDone {
				t.Fatalf("Restore: %+v, %v", op, err)
			}
			if suspended(group, azRebalance) {
				t.Error("AZRebalance is suspended after Restore, and kops update cluster had resumed it")
			}
			if got := heldBy(); got != "" {
				t.Errorf("after Restore the group is held by %q", got)
			}
		})
	}
}
