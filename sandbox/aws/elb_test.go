package aws

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"
)

// behind makes a target group and a group of two instances behind it, and lets both settle.
func behind(a *account, delay time.Duration) (arn string) {
	a.t.Helper()
	a.seed()
	arn, err := a.CreateTargetGroup(TargetGroupSpec{Name: "web", DeregistrationDelay: delay})
	if err != nil {
		a.t.Fatal(err)
	}
	a.seedGroup(GroupSpec{Name: "g", Min: 0, Max: 9, Desired: 2, TargetGroups: []string{arn}})
	return arn
}

// health reads the states of a target group's targets over the wire, sorted.
func (a *account) health(arn string, ids ...string) []string {
	a.t.Helper()
	in := &elbv2.DescribeTargetHealthInput{TargetGroupArn: &arn}
	for _, id := range ids {
		in.Targets = append(in.Targets, elbtypes.TargetDescription{Id: &id})
	}
	out, err := a.ELB.DescribeTargetHealth(a.ctx(), in)
	if err != nil {
		a.t.Fatal(err)
	}
	states := []string{}
	for _, d := range out.TargetHealthDescriptions {
		states = append(states, string(d.TargetHealth.State))
	}
	slices.Sort(states)
	return states
}

func (a *account) wantHealth(what, arn string, want ...string) {
	a.t.Helper()
	if got := a.health(arn); !slices.Equal(got, want) {
		a.t.Errorf("%s: targets are %v, want %v", what, got, want)
	}
}

func targets(ids ...string) (out []elbtypes.TargetDescription) {
	for _, id := range ids {
		out = append(out, elbtypes.TargetDescription{Id: &id})
	}
	return out
}

func TestTargetsOfAGroup(t *testing.T) {
	a := newAccount(t)
	a.seed()
	arn, err := a.CreateTargetGroup(TargetGroupSpec{Name: "web", DeregistrationDelay: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.CreateAutoScalingGroup(GroupSpec{Name: "g", LaunchTemplate: "nodes", Max: 9, Desired: 2, TargetGroups: []string{arn}}); err != nil {
		t.Fatal(err)
	}
	a.wantHealth("before the first round", arn)
	a.pass(time.Second)
	a.wantHealth("in service for a moment", arn, "initial", "initial")
	a.pass(2 * time.Second)
	a.wantHealth("later", arn, "healthy", "healthy")

	// One that somebody takes out drains, and the group does not put it back.
	id := a.group("g").Instances[0].ID
	if _, err := a.ELB.DeregisterTargets(a.ctx(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: targets(id)}); err != nil {
		t.Fatal(err)
	}
	a.pass(4 * time.Second)
	a.wantHealth("within the delay", arn, "draining", "healthy")
	a.pass(2 * time.Second)
	a.wantHealth("after the delay", arn, "healthy")
	if got := a.health(arn, id); !slices.Equal(got, []string{"unused"}) {
		t.Errorf("the target that left is %v, want unused", got)
	}
	if _, err := a.ELB.DeregisterTargets(a.ctx(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: targets(id, "i-none")}); err != nil {
		t.Errorf("deregistering what is not there: %v, want success", err)
	}
	a.pass(2 * time.Second)
	a.wantHealth("much later", arn, "healthy")
	if _, err := a.ELB.RegisterTargets(a.ctx(), &elbv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: targets(id)}); err != nil {
		t.Fatal(err)
	}
	a.pass(2 * time.Second)
	a.wantHealth("put back", arn, "healthy", "healthy")
}

// The group itself waits for its own deregistration; whoever asks for the end of an instance that is sent to is told.
func TestTerminationDrains(t *testing.T) {
	a := newAccount(t)
	arn := behind(a, 5*time.Second)
	a.pass(2 * time.Second)
	end := func(id string) {
		if _, err := a.AS.TerminateInstanceInAutoScalingGroup(a.ctx(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{
			InstanceId: &id, ShouldDecrementDesiredCapacity: ptr(true)}); err != nil {
			t.Fatal(err)
		}
	}
	first, second := a.group("g").Instances[0].ID, a.group("g").Instances[1].ID
	end(first)
	a.pass(4 * time.Second)
	a.wantHealth("one ends", arn, "draining", "healthy")
	if n := a.Stats(false).Terminated; n != 0 {
		t.Errorf("%d instances shut down while their connections go on", n)
	}
	a.pass(2 * time.Second)
	if _, err := a.ELB.DeregisterTargets(a.ctx(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: targets(second)}); err != nil {
		t.Fatal(err)
	}
	a.pass(6 * time.Second)
	end(second)
	a.pass(2 * time.Second)
	var got [][]string
	for _, e := range a.Stats(false).Terminations {
		got = append(got, e.Targets)
	}
	if diff := cmp.Diff([][]string{{"web: healthy"}, nil}, got); diff != "" {
		t.Errorf("targets of the instances that ended (-want +got):\n%s", diff)
	}
}

func TestTargetGroupCalls(t *testing.T) {
	a := newAccount(t)
	a.seed()
	made, err := a.ELB.CreateTargetGroup(a.ctx(), &elbv2.CreateTargetGroupInput{Name: ptr("api"), Protocol: elbtypes.ProtocolEnumHttps, Port: ptr(int32(8443)),
		VpcId: ptr(a.VPCID()), TargetType: elbtypes.TargetTypeEnumInstance, Tags: []elbtypes.Tag{{Key: ptr("team"), Value: ptr("shop")}}})
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.TargetGroups[0].TargetGroupArn
	for i := range 3 {
		if _, err := a.CreateTargetGroup(TargetGroupSpec{Name: fmt.Sprintf("more-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	// Pages.
	var names []string
	pages := 0
	for p := elbv2.NewDescribeTargetGroupsPaginator(a.ELB, &elbv2.DescribeTargetGroupsInput{PageSize: ptr(int32(3))}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(a.ctx())
		if err != nil {
			t.Fatal(err)
		}
		for _, tg := range out.TargetGroups {
			names = append(names, *tg.TargetGroupName)
		}
	}
	slices.Sort(names)
	if want := []string{"api", "more-0", "more-1", "more-2"}; !slices.Equal(names, want) || pages != 2 {
		t.Errorf("target groups %v on %d pages, want %v on 2", names, pages, want)
	}
	// Attributes and tags.
	if _, err := a.ELB.ModifyTargetGroupAttributes(a.ctx(), &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &arn,
		Attributes: []elbtypes.TargetGroupAttribute{{Key: ptr(attributeDelay), Value: ptr("7")}}}); err != nil {
		t.Fatal(err)
	}
	attrs, err := a.ELB.DescribeTargetGroupAttributes(a.ctx(), &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &arn})
	if err != nil || !slices.ContainsFunc(attrs.Attributes, func(x elbtypes.TargetGroupAttribute) bool { return *x.Key == attributeDelay && *x.Value == "7" }) {
		t.Errorf("attributes %v, %v: want a deregistration delay of 7", attrs, err)
	}
	if _, err := a.ELB.AddTags(a.ctx(), &elbv2.AddTagsInput{ResourceArns: []string{arn}, Tags: []elbtypes.Tag{{Key: ptr("kubernetes.io/cluster/demo"), Value: ptr("owned")}}}); err != nil {
		t.Fatal(err)
	}
	tags, err := a.ELB.DescribeTags(a.ctx(), &elbv2.DescribeTagsInput{ResourceArns: []string{arn}})
	if err != nil || len(tags.TagDescriptions) != 1 || len(tags.TagDescriptions[0].Tags) != 2 {
		t.Errorf("tags %+v, %v: want two", tags, err)
	}
	// Groups are attached and detached, and their instances with them.
	a.seedGroup(GroupSpec{Name: "g", Max: 9, Desired: 2})
	if _, err := a.AS.AttachLoadBalancerTargetGroups(a.ctx(), &autoscaling.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: ptr("g"), TargetGroupARNs: []string{arn}}); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		out, err := a.AS.DescribeLoadBalancerTargetGroups(a.ctx(), &autoscaling.DescribeLoadBalancerTargetGroupsInput{AutoScalingGroupName: ptr("g")})
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, x := range out.LoadBalancerTargetGroups {
			s = append(s, *x.State)
		}
		return strings.Join(s, ",")
	}
	if s := state(); s != "Adding" {
		t.Errorf("the target group is %q before the next round, want Adding", s)
	}
	a.pass(2 * time.Second)
	a.wantHealth("attached", arn, "healthy", "healthy")
	if s := state(); s != "InService" {
		t.Errorf("the target group is %q, want InService", s)
	}
	if _, err := a.ELB.DeleteTargetGroup(a.ctx(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: &arn}); code(err) != "ResourceInUse" {
		t.Errorf("deleting a target group in use: %v", err)
	}
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil || !slices.Equal(out.AutoScalingGroups[0].TargetGroupARNs, []string{arn}) {
		t.Errorf("the group's target groups: %v, %v", out.AutoScalingGroups, err)
	}
	if _, err := a.AS.DetachLoadBalancerTargetGroups(a.ctx(), &autoscaling.DetachLoadBalancerTargetGroupsInput{AutoScalingGroupName: ptr("g"), TargetGroupARNs: []string{arn}}); err != nil {
		t.Fatal(err)
	}
	a.wantHealth("detached", arn, "draining", "draining")
	a.pass(8 * time.Second)
	a.wantHealth("detached for long", arn)
	for range 2 {
		if _, err := a.ELB.DeleteTargetGroup(a.ctx(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: &arn}); err != nil {
			t.Errorf("deleting a target group: %v", err)
		}
	}
}

func TestTargetGroupRefusals(t *testing.T) {
	a := newAccount(t)
	arn := behind(a, 0)
	none := arn + "0"
	create := func(change func(*elbv2.CreateTargetGroupInput)) error {
		in := &elbv2.CreateTargetGroupInput{Name: ptr("x"), Protocol: elbtypes.ProtocolEnumHttp, Port: ptr(int32(80)), VpcId: ptr(a.VPCID())}
		change(in)
		_, err := a.ELB.CreateTargetGroup(a.ctx(), in)
		return err
	}
	modify := func(k, v string) error {
		_, err := a.ELB.ModifyTargetGroupAttributes(a.ctx(), &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &arn,
			Attributes: []elbtypes.TargetGroupAttribute{{Key: &k, Value: &v}}})
		return err
	}
	_, health := a.ELB.DescribeTargetHealth(a.ctx(), &elbv2.DescribeTargetHealthInput{TargetGroupArn: &none})
	_, register := a.ELB.RegisterTargets(a.ctx(), &elbv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: targets("i-none")})
	_, named := a.ELB.DescribeTargetGroups(a.ctx(), &elbv2.DescribeTargetGroupsInput{Names: []string{"web", "nobody"}})
	_, marker := a.ELB.DescribeTargetGroups(a.ctx(), &elbv2.DescribeTargetGroupsInput{Marker: ptr("x")})
	_, attach := a.AS.AttachLoadBalancerTargetGroups(a.ctx(), &autoscaling.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: ptr("g"), TargetGroupARNs: []string{none}})
	_, detach := a.AS.DetachLoadBalancerTargetGroups(a.ctx(), &autoscaling.DetachLoadBalancerTargetGroupsInput{AutoScalingGroupName: ptr("g"), TargetGroupARNs: []string{none}})
	for what, tc := range map[string]struct {
		err  error
		want string
	}{
		"health of an unknown target group": {health, "TargetGroupNotFound"},
		"an instance that does not exist":   {register, "InvalidTarget"},
		"an unknown name":                   {named, "TargetGroupNotFound"},
		"a marker of somebody else":         {marker, "ValidationError"},
		"an unknown attribute":              {modify("nonsense", "1"), "InvalidConfigurationRequest"},
		"a delay of more than an hour":      {modify(attributeDelay, "3601"), "InvalidConfigurationRequest"},
		"attach what does not exist":        {attach, "ValidationError"},
		"detach what is not attached":       {detach, "ValidationError"},
		"a name twice":                      {create(func(in *elbv2.CreateTargetGroupInput) { in.Name = ptr("web") }), "DuplicateTargetGroupName"},
		"a name with a dot":                 {create(func(in *elbv2.CreateTargetGroupInput) { in.Name = ptr("a.b") }), "ValidationError"},
		"a protocol that is not simulated":  {create(func(in *elbv2.CreateTargetGroupInput) { in.Protocol = elbtypes.ProtocolEnumTcp }), "ValidationError"},
		"targets that are not simulated":    {create(func(in *elbv2.CreateTargetGroupInput) { in.TargetType = elbtypes.TargetTypeEnumIp }), "ValidationError"},
	} {
		if got := code(tc.err); got != tc.want {
			t.Errorf("%s: %v, want %s", what, tc.err, tc.want)
		}
	}
}
