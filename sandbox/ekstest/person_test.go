package ekstest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	sim "github.com/rotatord/rotator/sandbox/aws"
)

// What somebody else than the driver does, by an API client of their own.

func (w *world) person() *autoscaling.Client {
	return autoscaling.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &w.direct,
		Credentials: awscreds.NewStaticCredentialsProvider(sim.AccessKeyID, sim.SecretAccessKey, ""),
	})
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) publishNodes() { w.publish("nodes") }

func (w *world) update(in *autoscaling.UpdateAutoScalingGroupInput) {
	w.t.Helper()
	_, err := w.person().UpdateAutoScalingGroup(w.t.Context(), in)
	w.check(err)
}

func (w *world) setDesired(group string, n int) {
	w.t.Helper()
	_, err := w.person().SetDesiredCapacity(w.t.Context(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &group, DesiredCapacity: ptr(int32(n))})
	w.check(err)
}

func (w *world) suspend(processes ...string) {
	w.t.Helper()
	_, err := w.person().SuspendProcesses(w.t.Context(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: ptr(groupA), ScalingProcesses: processes})
	w.check(err)
}

func (w *world) protect(ids ...string) {
	w.t.Helper()
	_, err := w.person().SetInstanceProtection(w.t.Context(), &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: ptr(groupA), InstanceIds: ids, ProtectedFromScaleIn: ptr(true)})
	w.check(err)
}

func (w *world) deregister(targetGroup, id string) {
	w.t.Helper()
	client := elasticloadbalancingv2.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &w.direct,
		Credentials: awscreds.NewStaticCredentialsProvider(sim.AccessKeyID, sim.SecretAccessKey, ""),
	})
	_, err := client.DeregisterTargets(w.t.Context(), &elasticloadbalancingv2.DeregisterTargetsInput{
		TargetGroupArn: &targetGroup, Targets: []elbtypes.TargetDescription{{Id: &id}},
	})
	w.check(err)
}

// launchFrom points a group to version 1 of another launch template.
func (w *world) launchFrom(group, template string) {
	w.update(&autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &group, LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateName: &template, Version: ptr("1")},
	})
}

// templateVersions counts the versions of a launch template.
func (w *world) templateVersions(name string) int {
	w.t.Helper()
	client := ec2.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &w.direct,
		Credentials: awscreds.NewStaticCredentialsProvider(sim.AccessKeyID, sim.SecretAccessKey, ""),
	})
	out, err := client.DescribeLaunchTemplateVersions(w.t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: &name})
	w.check(err)
	return len(out.LaunchTemplateVersions)
}

// detachByHand takes an instance out of its group, which launches another.
func (w *world) detachByHand(id string) {
	w.t.Helper()
	_, err := w.person().DetachInstances(w.t.Context(), &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: ptr(groupA), InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: ptr(false),
	})
	w.check(err)
}

func (w *world) suspendOf(group string, processes ...string) {
	w.t.Helper()
	_, err := w.person().SuspendProcesses(w.t.Context(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &group, ScalingProcesses: processes})
	w.check(err)
}

// deleteGroup deletes a group with its instances.
func (w *world) deleteGroup(name string) {
	w.t.Helper()
	_, err := w.person().DeleteAutoScalingGroup(w.t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: ptr(true)})
	w.check(err)
}
