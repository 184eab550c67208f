package aws

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/sandbox/control"
)

func (a *account) fault(f control.Fault) control.Fault {
	a.t.Helper()
	f, err := a.AddFault(f)
	a.must(err)
	return f
}

// calls makes one harmless call of each service and answers their error codes.
func (a *account) calls(keyID, region string) (codes []string) {
	c := a.config(keyID, region)
	_, err := autoscaling.NewFromConfig(c).DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	codes = append(codes, code(err))
	_, err = ec2.NewFromConfig(c).DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{})
	codes = append(codes, code(err))
	_, err = ssm.NewFromConfig(c).GetParameter(a.ctx(), &ssm.GetParameterInput{Name: sdk.String(ParameterRecommendedImage)})
	codes = append(codes, code(err))
	_, err = sts.NewFromConfig(c).GetCallerIdentity(a.ctx(), &sts.GetCallerIdentityInput{})
	return append(codes, code(err))
}

func TestCredentials(t *testing.T) {
	a := newAccount(t)
	a.seed()
	for _, tc := range []struct {
		name, key, region string
		want              []string // autoscaling, ec2, ssm, sts
	}{
		{"good", "sandbox", "", []string{"", "", "", ""}},
		// "No permissions are required to perform this operation", says GetCallerIdentity.
		{"denied", "denied", "", []string{"AccessDenied", "UnauthorizedOperation", "AccessDeniedException", ""}},
		{"unknown", "AKIAEXAMPLE", "", []string{"InvalidClientTokenId", "AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId"}},
		{"another region", "sandbox", "us-west-2", []string{"SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, a.calls(tc.key, tc.region)); d != "" {
				t.Error(d)
			}
		})
	}
	_, err := a.EC2.DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{})
	a.must(err)
	_, err = ec2.NewFromConfig(a.config("denied", "")).DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{})
	refused(t, err, "UnauthorizedOperation", "is not authorized to perform: ec2:DescribeInstances")
	id, err := a.STS.GetCallerIdentity(a.ctx(), &sts.GetCallerIdentityInput{})
	if err != nil || *id.Account != "123456789012" || *id.Arn != "arn:aws:iam::123456789012:user/sandbox" {
		t.Errorf("%+v, %v", id, err)
	}
}

// What is not signed, not known or no request of AWS's at all must answer and never panic.
func TestRawRequests(t *testing.T) {
	a := newAccount(t)
	signed := func(service string) string {
		return "AWS4-HMAC-SHA256 Credential=sandbox/20260301/eu-central-1/" + service + "/aws4_request, SignedHeaders=host, Signature=0"
	}
	for _, tc := range []struct {
		name, auth, target, body string
		status                   int
		want                     string
	}{
		{"ec2 without signature", "", "", "Action=DescribeInstances&Version=2016-11-15", 403, "<Code>MissingAuthenticationToken</Code>"},
		{"autoscaling without signature", "", "", "Action=DescribeAutoScalingGroups&Version=2011-01-01", 403, "<Code>MissingAuthenticationToken</Code>"},
		{"ssm without signature", "", "AmazonSSM.GetParameter", "{}", 400, "MissingAuthenticationTokenException"},
		{"unknown action of ec2", signed("ec2"), "", "Action=BuyInstances&Version=2016-11-15", 400, "<Code>InvalidAction</Code><Message>The action BuyInstances is not valid for this web service."},
		{"unknown action of autoscaling", signed("autoscaling"), "", "Action=Scale&Version=2011-01-01", 400, "Could not find operation Scale for version 2011-01-01"},
		{"unknown operation of ssm", signed("ssm"), "AmazonSSM.Reboot", "{}", 400, "UnknownOperationException"},
		{"no JSON", signed("ssm"), "AmazonSSM.GetParameter", "{", 400, "SerializationException"},
		{"a service that is not simulated", signed("s3"), "", "", 404, "serves ec2, autoscaling, elasticloadbalancing, eks, iam, ssm and sts"},
		{"nothing of AWS's", "", "", "hello", 404, "serves ec2, autoscaling, elasticloadbalancing, eks, iam, ssm and sts"},
		{"text is escaped", signed("ec2"), "", "Action=%3Cx%3E&Version=2016-11-15", 400, "The action &lt;x&gt; is not valid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(tc.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tc.auth != "" {
				r.Header.Set("Authorization", tc.auth)
			}
			if tc.target != "" {
				r.Header.Set("X-Amz-Target", tc.target)
			}
			w := httptest.NewRecorder()
			a.Handler().ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tc.status, tc.want)
			}
		})
	}
}

func TestRateLimits(t *testing.T) {
	a := newAccount(t, func(c *Config) {
		c.RateLimits = map[string]RateLimit{
			"autoscaling:read": {Burst: 3, PerSecond: 2}, "ec2:read": {Burst: 1, PerSecond: 1}, "ssm:read": {Burst: 1, PerSecond: 1}, "sts:read": {},
		}
	})
	a.seed()
	describe := func() string {
		_, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
		return code(err)
	}
	var got []string
	for range 5 {
		got = append(got, describe())
	}
	if want := []string{"", "", "", "Throttling", "Throttling"}; !slices.Equal(got, want) {
		t.Errorf("a burst: %q, want %q", got, want)
	}
	refused(t, a.setDesired("x", 1), "ValidationError", "") // writes have a bucket of their own
	a.pass(time.Second)
	got = []string{describe(), describe(), describe()}
	if want := []string{"", "", "Throttling"}; !slices.Equal(got, want) {
		t.Errorf("a second later: %q, want %q", got, want)
	}
	a.jump(time.Hour) // the bucket fills no higher than its burst
	got = []string{describe(), describe(), describe(), describe()}
	if want := []string{"", "", "", "Throttling"}; !slices.Equal(got, want) {
		t.Errorf("an hour later: %q, want %q", got, want)
	}
	a.jump(time.Hour)
	a.calls("sandbox", "")
	if got := a.calls("sandbox", "")[1:]; !slices.Equal(got, []string{"RequestLimitExceeded", "ThrottlingException", ""}) {
		t.Errorf("the services' own errors: %q", got)
	}
}

func TestCallFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault control.Fault
		want  []string // error codes of three SetDesiredCapacity to 1, 2, 3
		end   int      // desired capacity afterwards
	}{
		{"throttle", control.Fault{Kind: control.Throttle, Action: "SetDesiredCapacity", Count: 2}, []string{"Throttling", "Throttling", ""}, 3},
		{"throttle a service", control.Fault{Kind: control.Throttle, Action: "autoscaling", Count: 1}, []string{"Throttling", "", ""}, 3},
		{"throttle everything", control.Fault{Kind: control.Throttle}, []string{"Throttling", "Throttling", "Throttling"}, 0},
		{"error before the act", control.Fault{Kind: control.ErrorBeforeAct, Action: "autoscaling:SetDesiredCapacity"}, []string{"InternalFailure", "InternalFailure", "InternalFailure"}, 0},
		{"error after the act", control.Fault{Kind: control.ErrorAfterAct, Action: "SetDesiredCapacity"}, []string{"InternalFailure", "InternalFailure", "InternalFailure"}, 3},
		{"deny", control.Fault{Kind: control.Deny, Action: "SetDesiredCapacity", Count: 1}, []string{"AccessDenied", "", ""}, 3},
		{"another action", control.Fault{Kind: control.Deny, Action: "ec2:DescribeInstances"}, []string{"", "", ""}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", Max: 5})
			a.fault(tc.fault)
			var got []string
			for n := range int32(3) {
				got = append(got, code(a.setDesired("g", n+1)))
			}
			if !slices.Equal(got, tc.want) || a.group("g").Desired != tc.end {
				t.Errorf("codes %q, want %q; desired %d, want %d", got, tc.want, a.group("g").Desired, tc.end)
			}
		})
	}
	// A refused call has not acted: its own error stands, and the fault waits for one that acts.
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 1})
	a.fault(control.Fault{Kind: control.ErrorAfterAct, Count: 1})
	refused(t, a.setDesired("g", 9), "ValidationError", "above max")
	refused(t, a.setDesired("g", 1), "InternalFailure", "")
}

func TestFaultShareFollowsTheSeed(t *testing.T) {
	pattern := func(seed uint64) (s string) {
		a := newAccount(t, func(c *Config) { c.Seed = seed })
		a.seed()
		a.fault(control.Fault{Kind: control.Throttle, Action: "DescribeAutoScalingGroups", Share: 0.3})
		for range 60 {
			_, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
			s += map[bool]string{true: "x", false: "."}[err != nil]
		}
		return s
	}
	one := pattern(1)
	if n := strings.Count(one, "x"); n < 8 || n > 28 {
		t.Errorf("%d of 60 struck with a share of 0.3: %s", n, one)
	}
	if pattern(1) != one || pattern(2) == one {
		t.Error("the share must follow the seed")
	}
}

func TestInsufficientCapacity(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 9})
	f := a.fault(control.Fault{Kind: control.InsufficientCapacity, Zone: "eu-central-1b"})
	a.must(a.setDesired("g", 4))
	a.pass(3 * time.Second)
	g := a.group("g")
	if n := zones(g); n["eu-central-1a"] != 2 || n["eu-central-1c"] != 2 {
		t.Errorf("the other zones must take over: %v", n)
	}
	out, err := a.AS.DescribeScalingActivities(a.ctx(), &autoscaling.DescribeScalingActivitiesInput{})
	a.must(err)
	failed := 0
	for _, act := range out.Activities {
		if act.StatusCode == "Failed" {
			failed++
			if !strings.Contains(*act.StatusMessage, "do not have sufficient m5.large capacity in the Availability Zone you requested (eu-central-1b)") {
				t.Errorf("message %q", *act.StatusMessage)
			}
		}
	}
	if failed == 0 || failed > 4 {
		t.Errorf("%d failed activities in 3 s with a backoff of 1 s", failed)
	}
	a.must(a.ClearFaults(f.ID))
	a.pass(5 * time.Second)
	if n := zones(a.group("g")); n["eu-central-1b"] != 1 || len(n) != 3 {
		t.Errorf("with room again the zones are evened out: %v", n)
	}
	// RunInstances answers it as an error and launches nothing.
	a.fault(control.Fault{Kind: control.InsufficientCapacity, Count: 1})
	before := len(a.Machines())
	_, err = a.EC2.RunInstances(a.ctx(), &ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: sdk.String(a.imageOrder[0].id)})
	refused(t, err, "InsufficientInstanceCapacity", "sufficient")
	if len(a.Machines()) != before {
		t.Error("it launched")
	}
}

func TestMachineFaults(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 9})
	a.seedGroup(GroupSpec{Name: "h", Max: 9})
	a.fault(control.Fault{Kind: control.NeverJoin, Group: "g", Count: 1})
	a.fault(control.Fault{Kind: control.NeverReady, Zone: "eu-central-1b"})
	a.fault(control.Fault{Kind: control.SlowBoot, Group: "g", Delay: control.Duration(time.Minute), Count: 2})
	a.must(a.setDesired("h", 1))
	a.pass(time.Second)
	a.must(a.setDesired("g", 3))
	a.pass(time.Second)
	var got []string
	for _, m := range a.Machines() {
		got = append(got, fmt.Sprint(m.Group, " ", m.Zone[len(m.Zone)-1:], " ", m.NeverJoins, " ", m.NeverReady, " ", m.BootDelay))
	}
	want := []string{"h a false false 2s", "g a true false 1m2s", "g b false true 1m2s", "g c false false 2s"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	struck := []int{}
	for _, f := range a.Faults() {
		struck = append(struck, f.Struck)
	}
	if !slices.Equal(struck, []int{1, 1, 2}) {
		t.Errorf("struck %v", struck)
	}
}

func TestFaultsAreChecked(t *testing.T) {
	a := newAccount(t)
	a.seed()
	for _, tc := range []struct {
		name, want string
		fault      control.Fault
	}{
		{"unknown kind", `fault kind "gremlin" is not known: choose one of throttle`, control.Fault{Kind: "gremlin"}},
		{"negative count", "negative", control.Fault{Kind: control.Throttle, Count: -1}},
		{"share above one", "not between 0 and 1", control.Fault{Kind: control.Throttle, Share: 1.5}},
		{"slow without delay", "give the delay", control.Fault{Kind: control.SlowBoot}},
		{"delay of what is not slow", "takes no delay", control.Fault{Kind: control.NeverJoin, Delay: 1}},
		{"calls have no zone", "takes an action", control.Fault{Kind: control.Throttle, Zone: "eu-central-1a"}},
		{"launches have no action", "takes a group or a zone", control.Fault{Kind: control.NeverJoin, Action: "RunInstances"}},
		{"unknown group", `no Auto Scaling group or managed node group "x"`, control.Fault{Kind: control.NeverJoin, Group: "x"}},
		{"unknown zone", `no zone "x"`, control.Fault{Kind: control.NeverJoin, Zone: "x"}},
		{"unknown action", `"Fly" is simulated`, control.Fault{Kind: control.Throttle, Action: "Fly"}},
		{"unknown action of a service", `"ec2:Fly" is simulated`, control.Fault{Kind: control.Throttle, Action: "ec2:Fly"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := a.AddFault(tc.fault); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if err := a.ClearFaults("fault-9"); err == nil {
		t.Error("an unknown id must be refused")
	}
	if n := len(a.Faults()); n != 0 {
		t.Errorf("%d faults", n)
	}
}

func TestStats(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 2, Desired: 1})
	a.must(a.setDesired("g", 2))
	refused(t, a.setDesired("g", 3), "ValidationError", "")
	a.calls("sandbox", "")
	a.calls("denied", "")
	s := a.Stats(true)
	want := control.Stats{Since: start, Total: 10, Changing: 2, Launched: 1, MostMachines: 1, Terminations: []control.Termination{}, Calls: []control.Calls{
		{Service: "autoscaling", Action: "DescribeAutoScalingGroups", Calls: 2, Errors: map[string]int64{"AccessDenied": 1}},
		{Service: "autoscaling", Action: "SetDesiredCapacity", Calls: 2, Errors: map[string]int64{"ValidationError": 1}},
		{Service: "ec2", Action: "DescribeInstances", Calls: 2, Errors: map[string]int64{"UnauthorizedOperation": 1}},
		{Service: "ssm", Action: "GetParameter", Calls: 2, Errors: map[string]int64{"AccessDeniedException": 1}},
		{Service: "sts", Action: "GetCallerIdentity", Calls: 2, Errors: map[string]int64{}},
	}}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	if s := a.Stats(false); s.Total != 0 || len(s.Calls) != 0 || s.Launched != 0 || s.MostMachines != 1 || !s.Since.Equal(a.clock()) {
		t.Errorf("after the reset: %+v", s)
	}
}

// Each machine's end is listed once, with who asked for it first.
func TestTerminations(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 8, Desired: 6})
	end := func(id string) {
		t.Helper()
		_, err := a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		a.must(err)
	}
	want, listed := map[string]string{}, a.group("g").Instances
	one := func(i int, by string) string {
		want[listed[i].ID] = by
		return listed[i].ID
	}
	for range 2 {
		_, err := a.terminate(one(0, "autoscaling:TerminateInstanceInAutoScalingGroup"), false)
		a.must(err)
	}
	end(listed[0].ID) // it is ending already
	for range 2 {
		end(one(1, "ec2:TerminateInstances"))
	}
	_, err := a.AS.SetInstanceHealth(a.ctx(), &autoscaling.SetInstanceHealthInput{InstanceId: sdk.String(one(2, "health-check")),
		HealthStatus: sdk.String("Unhealthy"), ShouldRespectGracePeriod: sdk.Bool(false)})
	a.must(err)
	a.pass(3 * time.Second)
	before := a.group("g").settled()
	a.must(a.setDesired("g", 5))
	a.pass(3 * time.Second)
	left := a.group("g").settled()
	for _, id := range before {
		if !slices.Contains(left, id) {
			want[id] = "scale-in"
		}
	}
	_, err = a.AS.DeleteAutoScalingGroup(a.ctx(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: sdk.String("g"), ForceDelete: sdk.Bool(true)})
	a.must(err)
	for _, id := range left {
		want[id] = "autoscaling:DeleteAutoScalingGroup"
	}
	a.pass(3 * time.Second)

	got := map[string]string{}
	for _, e := range a.Stats(true).Terminations {
		if was, twice := got[e.Instance]; twice {
			t.Errorf("instance %s is listed twice: %s and %s", e.Instance, was, e.By)
		}
		if e.Group != "g" || e.Time.IsZero() {
			t.Errorf("%+v, want group and time", e)
		}
		got[e.Instance] = e.By
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("terminations (-want +got):\n%s", d)
	}
	if n := len(a.Stats(false).Terminations); n != 0 {
		t.Errorf("%d terminations after the reset", n)
	}
}
