package aws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
)

func TestSmoke(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 6, Desired: 3, Tags: []GroupTag{{Key: "kubernetes.io/cluster/demo", Value: "owned", PropagateAtLaunch: true}}})
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", out.AutoScalingGroups[0].Instances)
}
