package kops

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go"
	"k8s.io/kops/cloudmock/aws/mockec2"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"
)

const (
	webTargets = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/web/0123456789abcdef"
	oldBalance = "old"
)

// balancers plays Elastic Load Balancing on the wire, in both versions of its
// API, for a target group and a classic load balancer; and EC2, as far as it
// keeps tags of instances.
type balancers struct {
	*mockec2.MockEC2
	t *testing.T

	mu      sync.Mutex
	serving map[string]map[string]string // by load balancer and instance: in or leaving
	tags    map[string]map[string]string // by instance
	ended   string                       // an instance that classic load balancers do not know any more
	asked   map[string]int               // by action, as a policy spells it
	deny    string                       // an action that is refused
	code    string                       // with this; empty: the permission is missing
}

const (
	in      = "in"
	leaving = "leaving"
)

// onBalancers returns a driver over kops' mock of AWS, whose only group, web, is
// behind the target group and the classic load balancer with instances i-1 and
// i-2.
func onBalancers(t *testing.T) (*Driver, *asgtypes.AutoScalingGroup, *balancers) {
	t.Helper()
	d, group := onMock(t)
	b := &balancers{MockEC2: &mockec2.MockEC2{}, t: t, asked: map[string]int{}, tags: map[string]map[string]string{},
		serving: map[string]map[string]string{webTargets: {}, oldBalance: {}}}
	for _, id := range []string{"i-1", "i-2"} {
		group.Instances = append(group.Instances, asgtypes.Instance{InstanceId: &id, AvailabilityZone: aws.String("eu-central-1a"),
			LifecycleState: asgtypes.LifecycleStateInService, LaunchTemplate: group.LaunchTemplate})
		b.tags[id] = map[string]string{"aws:autoscaling:groupName": *group.AutoScalingGroupName, awsup.TagClusterName: "k.example.com", "kops.k8s.io/instancegroup": "web"}
		b.serving[webTargets][id], b.serving[oldBalance][id] = in, in
	}
	group.TargetGroupARNs, group.LoadBalancerNames = []string{webTargets}, []string{oldBalance}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	anybody := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s"}, nil
	})
	cloud := mockOf(t, d)
	cloud.MockEC2 = b
	cloud.MockELB = elb.New(elb.Options{Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: anybody})
	cloud.MockELBV2 = elbv2.New(elbv2.Options{Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: anybody})
	return d, group, b
}

// mockOf is the cloud of a driver of onMock.
func mockOf(t *testing.T, d *Driver) *awsup.MockAWSCloud {
	t.Helper()
	_, s, err := d.configured()
	if err != nil {
		t.Fatal(err)
	}
	sp, err := d.spec(t.Context(), s, "k.example.com", 0)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := d.cloud(t.Context(), sp.cluster)
	if err != nil {
		t.Fatal(err)
	}
	return cloud.(*awsup.MockAWSCloud)
}

// again is the next life of a driver.
func again(t *testing.T, d *Driver) *Driver {
	t.Helper()
	cfg, _, err := d.configured()
	if err != nil {
		t.Fatal(err)
	}
	cloud := mockOf(t, d)
	next := New(WithCloud(func(*kopsapi.Cluster) (fi.Cloud, error) { return cloud, nil }))
	if diags, err := next.Configure(t.Context(), []byte(`{"state":"`+cfg.State+`"}`), false); err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	return next
}

// state is where an instance is, and which tags of ours it has: "web: in, old: in".
func (b *balancers) state(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var parts []string
	for name, lb := range map[string]string{"web": webTargets, "old": oldBalance} {
		if s := b.serving[lb][id]; s != "" {
			parts = append(parts, name+": "+s)
		}
	}
	for k, v := range b.tags[id] {
		if strings.HasPrefix(k, "rotatord.github.io/") {
			parts = append(parts, "tag "+strings.TrimPrefix(k, "rotatord.github.io/")+"="+v)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// drained ends all connections to instances that leave.
func (b *balancers) drained() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, states := range b.serving {
		maps.DeleteFunc(states, func(_, s string) bool { return s == leaving })
	}
}

// since lists what was asked for since the last time, sorted.
func (b *balancers) since() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := slices.Sorted(maps.Keys(b.asked))
	b.asked = map[string]int{}
	return asked
}

// denied takes note of a call, and tells whether it is refused. b.mu is held.
func (b *balancers) denied(action string) bool {
	b.asked[action]++
	return b.deny == action
}

// ServeHTTP implements http.Handler: AWS' query protocol.
func (b *balancers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		b.t.Error(err)
	}
	action := r.Form.Get("Action")
	var result, refusal string
	switch {
	case b.denied("elasticloadbalancing:" + action):
		refusal = cmp.Or(b.code, "AccessDenied")
	case r.Form.Get("Version") == "2015-12-01":
		result, refusal = b.targets(action, r.Form)
	default:
		result, refusal = b.classic(action, r.Form)
	}
	if refusal != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>", refusal)
		return
	}
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></%[1]sResponse>", action, result)
}

// named lists the instances of a request: Targets.member.1.Id and so on.
func named(form url.Values, list, id string) (ids []string) {
	for i := 1; form.Has(fmt.Sprintf("%s.member.%d.%s", list, i, id)); i++ {
		ids = append(ids, form.Get(fmt.Sprintf("%s.member.%d.%s", list, i, id)))
	}
	return ids
}

// change registers and deregisters. b.mu is held.
func (b *balancers) change(lb string, ids []string, to string) {
	for _, id := range ids {
		if to == in || b.serving[lb][id] != "" {
			b.serving[lb][id] = to
		}
		record := "rotatord.github.io/quiesced/" + lb[strings.LastIndexByte(lb, '/')+1:]
		if to == leaving && b.tags[id][record] != lb {
			b.t.Errorf("%s leaves %s, and its tags do not say so: %v", id, lb, b.tags[id])
		}
	}
}

func (b *balancers) targets(action string, form url.Values) (result, refusal string) {
	arn, ids := form.Get("TargetGroupArn"), named(form, "Targets", "Id")
	states, there := b.serving[arn]
	if !there {
		return "", "TargetGroupNotFound"
	}
	switch action {
	case "RegisterTargets":
		b.change(arn, ids, in)
	case "DeregisterTargets":
		b.change(arn, ids, leaving)
	case "DescribeTargetHealth":
		if len(ids) == 0 {
			ids = slices.Sorted(maps.Keys(states))
		}
		for _, id := range ids {
			state := map[string]string{in: "healthy", leaving: "draining", "": "unused"}[states[id]]
			result += "<member><Target><Id>" + html.EscapeString(id) + "</Id><Port>80</Port></Target><TargetHealth><State>" + state + "</State></TargetHealth></member>"
		}
		result = "<TargetHealthDescriptions>" + result + "</TargetHealthDescriptions>"
	default:
		return "", "InvalidAction"
	}
	return result, ""
}

// classic answers in the words of the API's reference: a call is for all of its
// instances or none.
func (b *balancers) classic(action string, form url.Values) (result, refusal string) {
	name, ids := form.Get("LoadBalancerName"), named(form, "Instances", "InstanceId")
	states, there := b.serving[name]
	if !there {
		return "", "LoadBalancerNotFound"
	}
	if b.ended != "" && slices.Contains(ids, b.ended) {
		return "", "InvalidInstance"
	}
	switch action {
	case "RegisterInstancesWithLoadBalancer":
		b.change(name, ids, in)
	case "DeregisterInstancesFromLoadBalancer":
		b.change(name, ids, leaving)
	case "DescribeInstanceHealth":
		for _, id := range ids {
			state, says := "InService", "N/A"
			switch states[id] {
			case leaving:
				says = "Instance deregistration currently in progress."
			case "":
				state, says = "OutOfService", "Instance is not currently registered with the LoadBalancer."
			}
			result += "<member><InstanceId>" + html.EscapeString(id) + "</InstanceId><State>" + state + "</State><ReasonCode>N/A</ReasonCode><Description>" + says + "</Description></member>"
		}
		result = "<InstanceStates>" + result + "</InstanceStates>"
	default:
		return "", "InvalidAction"
	}
	return result, ""
}

var errDenied = &smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "no"}

func (b *balancers) CreateTags(_ context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.denied("ec2:CreateTags") {
		return nil, errDenied
	}
	for _, id := range in.Resources {
		for _, t := range in.Tags {
			b.tags[id][*t.Key] = *t.Value
		}
	}
	return &ec2.CreateTagsOutput{}, nil
}

func (b *balancers) DeleteTags(_ context.Context, in *ec2.DeleteTagsInput, _ ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.denied("ec2:DeleteTags") {
		return nil, errDenied
	}
	for _, id := range in.Resources {
		for _, t := range in.Tags {
			delete(b.tags[id], *t.Key)
		}
	}
	return &ec2.DeleteTagsOutput{}, nil
}

// DescribeInstances knows the filters that the library and the driver use.
func (b *balancers) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.denied("ec2:DescribeInstances") {
		return nil, errDenied
	}
	out := &ec2.DescribeInstancesOutput{}
	for _, id := range slices.Sorted(maps.Keys(b.tags)) {
		tags, matches := b.tags[id], true
		for _, f := range in.Filters {
			value := map[string]string{"instance-id": id, "instance-state-name": "running"}[*f.Name]
			if key, ok := strings.CutPrefix(*f.Name, "tag:"); ok {
				value = tags[key]
			}
			if *f.Name == "tag-key" {
				matches = matches && slices.ContainsFunc(f.Values, func(k string) bool { _, has := tags[k]; return has })
				continue
			}
			matches = matches && slices.Contains(f.Values, value)
		}
		if !matches {
			continue
		}
		i := ec2types.Instance{InstanceId: &id, State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}
		for k, v := range tags {
			i.Tags = append(i.Tags, ec2types.Tag{Key: &k, Value: &v})
		}
		out.Reservations = append(out.Reservations, ec2types.Reservation{Instances: []ec2types.Instance{i}})
	}
	return out, nil
}
