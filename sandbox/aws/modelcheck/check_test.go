package modelcheck

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	// The models lie in this module; the import keeps it in go.mod. It is the root package, a doc comment and no more.
	_ "github.com/aws/aws-sdk-go" //nolint:staticcheck // deprecated as an SDK; its API models have no successor as a Go module
)

const asNS = `xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"`

// group is an answer of DescribeAutoScalingGroups with the fields that the model requires, and extra ones.
func group(extra string) string {
	return `<DescribeAutoScalingGroupsResponse ` + asNS + `><DescribeAutoScalingGroupsResult><AutoScalingGroups><member>` +
		`<AutoScalingGroupName>g</AutoScalingGroupName><MinSize>0</MinSize><MaxSize>1</MaxSize><DesiredCapacity>1</DesiredCapacity><DefaultCooldown>300</DefaultCooldown>` +
		`<AvailabilityZones><member>a</member></AvailabilityZones><HealthCheckType>EC2</HealthCheckType><CreatedTime>2026-01-01T00:00:00.000Z</CreatedTime>` + extra +
		`</member></AutoScalingGroups></DescribeAutoScalingGroupsResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DescribeAutoScalingGroupsResponse>`
}

func instances(in string) string {
	return `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15"><requestId>r</requestId>` + in + `</DescribeInstancesResponse>`
}

func TestBodyAgainstAWSModels(t *testing.T) {
	k := Load(t)
	for _, tc := range []struct {
		name, service, op string
		status            int
		code              string // of REST-JSON: X-Amzn-Errortype
		body              string
		want              []string // parts of the problems, one each; none: all is well
	}{
		{name: "a good group", service: "autoscaling", op: "DescribeAutoScalingGroups", body: group("<Tags/>")},
		{name: "a wrong element", service: "autoscaling", op: "DescribeAutoScalingGroups", body: group("<Desired>1</Desired>"), want: []string{"unknown element <Desired>"}},
		{name: "a wrong element deep inside", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: group(`<Tags><member><Name>x</Name></member></Tags>`), want: []string{"Tags[0]: unknown element <Name>"}},
		{name: "wrong list items", service: "autoscaling", op: "DescribeAutoScalingGroups", body: group("<Tags><item/></Tags>"), want: []string{"list element <item>, want <member>"}},
		{name: "missing required", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: strings.Replace(group(""), "<MinSize>0</MinSize>", "", 1), want: []string{"missing required <MinSize>"}},
		{name: "an element twice", service: "autoscaling", op: "DescribeAutoScalingGroups", body: group("<MinSize>0</MinSize>"), want: []string{"<MinSize> more than once"}},
		{name: "not a number", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: strings.Replace(group(""), "<MaxSize>1<", "<MaxSize>one<", 1), want: []string{"not an integer"}},
		{name: "not a time", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: strings.Replace(group(""), "2026-01-01T00:00:00.000Z", "yesterday", 1), want: []string{"not a timestamp"}},
		{name: "not in the enum", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: group(`<Instances><member><InstanceId>i</InstanceId><AvailabilityZone>a</AvailabilityZone><LifecycleState>Resting</LifecycleState><HealthStatus>Healthy</HealthStatus><ProtectedFromScaleIn>false</ProtectedFromScaleIn></member></Instances>`),
			want: []string{`"Resting" is none of`}},
		{name: "text among elements", service: "autoscaling", op: "DescribeAutoScalingGroups", body: group("stray"), want: []string{`text "stray"`}},
		{name: "no result wrapper", service: "autoscaling", op: "DescribeAutoScalingGroups",
			body: `<DescribeAutoScalingGroupsResponse ` + asNS + `><ResponseMetadata/></DescribeAutoScalingGroupsResponse>`, want: []string{"want exactly one <DescribeAutoScalingGroupsResult>"}},
		{name: "no metadata", service: "autoscaling", op: "SetDesiredCapacity", body: `<SetDesiredCapacityResponse ` + asNS + `/>`, want: []string{"exactly one <ResponseMetadata>"}},
		{name: "content without an output", service: "autoscaling", op: "SetDesiredCapacity",
			body: `<SetDesiredCapacityResponse ` + asNS + `><Extra/><ResponseMetadata/></SetDesiredCapacityResponse>`, want: []string{"no output"}},
		{name: "another namespace", service: "autoscaling", op: "SetDesiredCapacity",
			body: `<SetDesiredCapacityResponse xmlns="http://example.test/"><ResponseMetadata/></SetDesiredCapacityResponse>`, want: []string{"namespace"}},
		{name: "another root", service: "autoscaling", op: "SetDesiredCapacity", body: `<Response ` + asNS + `><ResponseMetadata/></Response>`, want: []string{"root element"}},
		{name: "an operation that does not exist", service: "autoscaling", op: "Reboot", body: "<x/>", want: []string{"no such operation"}},

		{name: "good instances", service: "ec2", op: "DescribeInstances", body: instances(`<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></item></reservationSet>`)},
		{name: "ec2 list items", service: "ec2", op: "DescribeInstances", body: instances(`<reservationSet><member/></reservationSet>`), want: []string{"list element <member>, want <item>"}},
		{name: "the model's name instead of the element's", service: "ec2", op: "DescribeInstances",
			body: instances(`<reservationSet><item><instancesSet><item><State><code>0</code></State></item></instancesSet></item></reservationSet>`), want: []string{"unknown element <State>"}},
		{name: "elements in a leaf", service: "ec2", op: "DescribeInstances", body: instances(`<nextToken><x/></nextToken>`), want: []string{"element <x> inside a string"}},
		{name: "not a boolean", service: "ec2", op: "DescribeInstances",
			body: instances(`<reservationSet><item><instancesSet><item><ebsOptimized>yes</ebsOptimized></item></instancesSet></item></reservationSet>`), want: []string{"not a boolean"}},
		{name: "return true of an old operation", service: "ec2", op: "CreateTags", body: `<CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><return>true</return></CreateTagsResponse>`},

		{name: "a good query error", service: "sts", op: "GetCallerIdentity", status: 403,
			body: `<ErrorResponse><Error><Type>Sender</Type><Code>X</Code><Message>m</Message></Error><RequestId>r</RequestId></ErrorResponse>`},
		{name: "an ec2 error of query", service: "sts", op: "GetCallerIdentity", status: 403,
			body: `<Response><Errors><Error><Code>X</Code><Message>m</Message></Error></Errors><RequestID>r</RequestID></Response>`, want: []string{"an error of <Response>"}},
		{name: "a good ec2 error", service: "ec2", op: "DescribeInstances", status: 400,
			body: `<Response><Errors><Error><Code>X</Code><Message>m</Message></Error></Errors><RequestID>r</RequestID></Response>`},
		{name: "an error without code", service: "ec2", op: "DescribeInstances", status: 400,
			body: `<Response><Errors><Error><Code></Code><Message>m</Message></Error></Errors><RequestID>r</RequestID></Response>`, want: []string{"empty <Errors/Error/Code>"}},

		{name: "a good parameter", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Name":"n","Version":1,"LastModifiedDate":1.5e9,"Type":"String","Value":"v"}}`},
		{name: "an unknown member", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Title":"n"}}`, want: []string{`unknown member "Title"`}},
		{name: "a string for a number", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Version":"1"}}`, want: []string{"a string, want a long"}},
		{name: "a number for a string", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Name":1}}`, want: []string{"the number 1, want a string"}},
		{name: "a fraction for a whole number", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Version":1.5}}`, want: []string{"the number 1.5"}},
		{name: "null", service: "ssm", op: "GetParameter", body: `{"Parameter":null}`, want: []string{"null"}},
		{name: "not in the enum of JSON", service: "ssm", op: "GetParameter", body: `{"Parameter":{"Type":"Float"}}`, want: []string{`"Float" is none of`}},
		{name: "a declared JSON error", service: "ssm", op: "GetParameter", status: 400, body: `{"__type":"ParameterNotFound","message":""}`},
		{name: "an undeclared JSON error", service: "ssm", op: "GetParameter", status: 400, body: `{"__type":"Oops","message":""}`, want: []string{`"Oops" is not among`}},
		{name: "a good REST answer", service: "eks", op: "ListNodegroups", body: `{"nodegroups":["a"]}`},
		{name: "an unknown member of REST", service: "eks", op: "ListNodegroups", body: `{"groups":["a"]}`, want: []string{`unknown member "groups"`}},
		{name: "content that is not in the model", service: "eks", op: "TagResource", body: `{"x":1}`, want: []string{`unknown member "x"`}},
		{name: "a value added later", service: "eks", op: "DescribeNodegroup", body: `{"nodegroup":{"updateConfig":{"updateStrategy":"MINIMAL"}}}`},
		{name: "a value that was not", service: "eks", op: "DescribeNodegroup", body: `{"nodegroup":{"updateConfig":{"updateStrategy":"FAST"}}}`, want: []string{`"FAST" is none of`}},
		{name: "a good REST error", service: "eks", op: "ListNodegroups", status: 404, code: "ResourceNotFoundException", body: `{"message":"m","clusterName":"c"}`},
		{name: "a REST error without a code", service: "eks", op: "ListNodegroups", status: 404, body: `{"message":"m"}`, want: []string{`"" is not among`, "want 400"}},
		{name: "a REST error with the wrong status", service: "eks", op: "ListNodegroups", status: 400, code: "ResourceNotFoundException", body: `{"message":"m"}`, want: []string{"want 404"}},
		{name: "a REST error with a member too many", service: "eks", op: "ListNodegroups", status: 404, code: "ResourceNotFoundException", body: `{"message":"m","x":"c"}`, want: []string{`unknown member "x"`}},
		{name: "a JSON error with the wrong status", service: "ssm", op: "GetParameter", status: 400, body: `{"__type":"InternalServerError","message":""}`, want: []string{"want 500"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := tc.status
			if status == 0 {
				status = 200
			}
			problems, _ := k.Body(tc.service, tc.op, status, tc.code, []byte(tc.body))
			if len(problems) != len(tc.want) {
				t.Fatalf("%d problems, want %d: %q", len(problems), len(tc.want), problems)
			}
			for i, p := range problems {
				if !strings.Contains(p, tc.want[i]) {
					t.Errorf("problem %q, want one with %q", p, tc.want[i])
				}
			}
		})
	}
}

// A small model of its own shows what AWS's four models here hardly use: flattened lists and maps, and maps in XML.
func TestFlattenedAndMaps(t *testing.T) {
	str := &ref{Shape: "S"}
	m := &Model{Shapes: map[string]*shape{
		"S":     {Type: "string"},
		"N":     {Type: "integer"},
		"List":  {Type: "list", Member: str},
		"Named": {Type: "list", Flattened: true, Member: &ref{Shape: "N", LocationName: "Number"}},
		"Map":   {Type: "map", Key: &ref{Shape: "S"}, Value: &ref{Shape: "N", LocationName: "count"}},
		"Out": {Type: "structure", Members: map[string]*ref{
			"Flat": {Shape: "List", Flattened: true, LocationName: "flat"}, "Numbers": {Shape: "Named"},
			"Counts": {Shape: "Map"}, "FlatCounts": {Shape: "Map", Flattened: true, LocationName: "fc"},
		}},
	}}
	m.Metadata.Protocol = "ec2"
	m.Operations = map[string]operation{"Op": {Output: &ref{Shape: "Out"}}}
	k := &Checker{models: map[string]*Model{"x": m}}
	for _, tc := range []struct{ name, body, want string }{
		{"flattened lists and maps", "<flat>a</flat><flat>b</flat><Number>1</Number><Number>2</Number><Counts><entry><key>k</key><count>1</count></entry></Counts><fc><key>k</key><count>2</count></fc>", ""},
		{"a wrong item of a flattened list", "<Number>one</Number>", "Op/Number[0]: not an integer"},
		{"a flattened list that is wrapped", "<flat><member>a</member></flat>", "inside a string"},
		{"a wrong key of a map", "<Counts><entry><name>k</name><count>1</count></entry></Counts>", "map entry with <name>"},
		{"a wrong entry of a map", "<Counts><item/></Counts>", "map element <item>, want <entry>"},
		{"a wrong value of a flattened map", "<fc><key>k</key><count>x</count></fc>", "not an integer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			problems, _ := k.Body("x", "Op", 200, "", []byte("<OpResponse><requestId>r</requestId>"+tc.body+"</OpResponse>"))
			if all := strings.Join(problems, "\n"); (tc.want == "") != (all == "") || !strings.Contains(all, tc.want) {
				t.Errorf("problems %q, want %q", all, tc.want)
			}
		})
	}
}

type answer string

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a))), Request: r}, nil
}

// The transport must report what is wrong and still hand the answer on, unread bytes and all.
func TestTransportReports(t *testing.T) {
	for _, tc := range []struct {
		name string
		body string
		want int
	}{
		{"good", group(""), 0},
		{"wrong", group("<Wrong/>"), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var problems []string
			tr := Load(t).Transport(t, answer(tc.body))
			tr.report = func(p string) { problems = append(problems, p) }
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", strings.NewReader("Action=DescribeAutoScalingGroups"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=k/20260101/eu-central-1/autoscaling/aws4_request, x")
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != tc.body {
				t.Errorf("the client got %q, %v", b, err)
			}
			if len(problems) != tc.want || tr.Answers.Load() != 1 {
				t.Errorf("%d problems in %d answers, want %d in 1: %v", len(problems), tr.Answers.Load(), tc.want, problems)
			}
			if tc.want == 1 && !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "unknown element <Wrong>") }) {
				t.Errorf("problems %v do not name the element", problems)
			}
		})
	}
}
