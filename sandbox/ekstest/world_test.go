// Package ekstest runs the EKS driver against the simulated AWS over HTTP. It
// lives here because the driver's own module must not import the sandbox.
package ekstest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/aws/modelcheck"
	"github.com/rotatord/rotator/sandbox/control"
)

const (
	cluster  = "prod"
	region   = "eu-central-1"
	rotation = "r-20260301-1"
	groupA   = "prod-workers-1"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a simulated account whose clock only the test moves. Every answer
// that the driver gets is held against AWS's own models.
type world struct {
	*aws.Cloud
	t     *testing.T
	model *modelcheck.Checker
	url   string // for the driver
	// direct is for everybody else: past the cuts, and not in asked.
	direct string
	// ways is managedNodeGroups of the driver's configuration; empty: none.
	ways string

	mu    sync.Mutex
	at    time.Time
	cut   *cut
	blind bool           // DescribeInstances answers with nothing
	asked map[string]int // the driver's calls since the last time, by SERVICE:ACTION
	// meanwhile happens once, just before the driver's next call of that name is
	// served.
	meanwhile map[string]func()
}

// cut stands for a kill of the driver: from the request number left on, no
// answer comes back, and no request gets through.
type cut struct {
	left  int  // changing requests that still pass
	after bool // the last one acts, and only its answer is lost
	kill  context.CancelFunc
	done  bool
}

func newWorld(t *testing.T, change ...func(*aws.Config)) *world {
	t.Helper()
	w := &world{t: t, at: start, asked: map[string]int{}}
	limits := map[string]aws.RateLimit{}
	for family := range aws.DefaultRateLimits() {
		limits[family] = aws.RateLimit{} // the clock stands still: limits would never recover
	}
	config := aws.Config{Region: region, Seed: 7, Clock: w.now, RateLimits: limits}
	for _, f := range change {
		f(&config)
	}
	w.Cloud = aws.New(config)
	w.check(w.CreateCluster(aws.ClusterSpec{Name: cluster, Version: "1.37"}))
	w.check(w.ConnectCluster(cluster, "https://127.0.0.1:6443", []byte("-----BEGIN CERTIFICATE-----\n"), nil))
	backend, err := url.Parse("http://backend")
	if err != nil {
		t.Fatal(err)
	}
	w.model = modelcheck.Load(t)
	checked := w.model.Transport(t, direct{w.Handler()})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, backend, checked) }))
	t.Cleanup(srv.Close)
	plain := httptest.NewServer(w.Handler())
	t.Cleanup(plain.Close)
	w.url, w.direct = srv.URL, plain.URL
	credentials(t)
	return w
}

// credentials is an environment in which the SDK finds the sandbox's
// credentials, and nothing of the person who runs the tests.
func credentials(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", aws.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", aws.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
}

// direct is a transport that calls a handler in this process.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	res := rec.Result()
	res.Request = r
	return res, nil
}

// serve passes a request to the simulated AWS through the model check, unless
// the driver is being killed.
func (w *world) serve(rw http.ResponseWriter, r *http.Request, backend *url.URL, checked http.RoundTripper) {
	body, err := readAll(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	pass, answer := w.admit(r, string(body.text))
	if !answer {
		defer w.killed() // after the act: the test goes on once the driver is dead
	}
	if !pass {
		panic(http.ErrAbortHandler)
	}
	name := w.named(r, string(body.text))
	w.mu.Lock()
	happens := w.meanwhile[name]
	delete(w.meanwhile, name)
	w.mu.Unlock()
	if happens != nil {
		happens()
	}
	if w.hides(name) {
		rw.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		_, _ = rw.Write([]byte(`<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet/></DescribeInstancesResponse>`))
		return
	}
	in := r.Clone(r.Context())
	in.URL = backend.ResolveReference(r.URL)
	in.RequestURI, in.Body = "", body.reader()
	res, err := checked.RoundTrip(in)
	if !answer || err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	for k, v := range res.Header {
		rw.Header()[k] = v
	}
	rw.WriteHeader(res.StatusCode)
	if _, err := copyTo(rw, res); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// admit says whether a request gets through, and its answer back.
func (w *world) admit(r *http.Request, body string) (pass, answer bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, name := w.cut, w.named(r, body)
	// The SDK's own repeats do not count. On loopback some happen unasked: an
	// answer that comes before net/http has seen the end of the request's body
	// makes it close the connection.
	if strings.HasPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt=1;") {
		w.asked[name]++
	}
	switch {
	case c == nil:
		return true, true
	case c.done:
		return false, false
	case reads(name):
		return true, true
	case c.left > 0:
		c.left--
		return true, true
	}
	c.done = true
	return c.after, false
}

// hide makes DescribeInstances answer with nothing, as EC2 does for a moment
// after a launch.
func (w *world) hide(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blind = on
}

func (w *world) hides(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blind && name == "ec2:DescribeInstances"
}

func (w *world) killed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut != nil {
		w.cut.kill()
	}
}

// named is a request's SERVICE:ACTION, as IAM names it.
func (w *world) named(r *http.Request, body string) string {
	service, action := w.model.Named(r, []byte(body))
	return cmp.Or(service, "?") + ":" + cmp.Or(action, "?")
}

func reads(name string) bool {
	_, action, _ := strings.Cut(name, ":")
	return strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get") || strings.HasPrefix(action, "List")
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// pass lets time go by in steps of 100 ms, each with a tick.
func (w *world) pass(d time.Duration) {
	for end := w.now().Add(d); w.now().Before(end); {
		w.mu.Lock()
		w.at = w.at.Add(100 * time.Millisecond)
		now := w.at
		w.mu.Unlock()
		w.Tick(now)
		w.TickEKS(w.t.Context(), now)
	}
}

// seed makes an image, the template "nodes", and the cluster's group of n.
func (w *world) seed(n int, change ...func(*aws.GroupSpec)) {
	w.t.Helper()
	image := w.CreateImage(aws.ImageSpec{Name: "node-1"})
	w.PutParameter(aws.ParameterRecommendedImage, image)
	w.template("nodes", image)
	s := aws.GroupSpec{Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Min: 1, Max: n + 2, Desired: n, Tags: clusterTag(cluster, "owned")}
	for _, f := range change {
		f(&s)
	}
	w.group(s)
}

func (w *world) template(name, image string) string {
	w.t.Helper()
	id, err := w.CreateLaunchTemplate(name, aws.LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// publish adds a version with a new image to the template and returns it.
func (w *world) publish(name string) {
	w.t.Helper()
	image := w.CreateImage(aws.ImageSpec{Name: "next of " + name + w.now().String()})
	if _, err := w.CreateLaunchTemplateVersion(name, "$Latest", aws.LaunchTemplateData{ImageID: &image}); err != nil {
		w.t.Fatal(err)
	}
}

// group makes a group and lets it settle.
func (w *world) group(s aws.GroupSpec) {
	w.t.Helper()
	if err := w.CreateAutoScalingGroup(s); err != nil {
		w.t.Fatal(err)
	}
	w.pass(2 * time.Second)
}

func clusterTag(name, value string) []aws.GroupTag {
	return []aws.GroupTag{{Key: "kubernetes.io/cluster/" + name, Value: value, PropagateAtLaunch: true}}
}

// state reads a group from the inside.
func (w *world) state(name string) aws.GroupState {
	w.t.Helper()
	for _, g := range w.Groups() {
		if g.Name == name {
			return g
		}
	}
	w.t.Fatalf("no group %s", name)
	return aws.GroupState{}
}

// members lists a group's instances in a lifecycle state, oldest first.
func members(g aws.GroupState, state string) []string {
	var ids []string
	for _, m := range g.Instances {
		if m.State == state {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// driver starts a new life of the driver.
func (w *world) driver() *eks.Driver {
	w.t.Helper()
	if w.ways != "" {
		return w.driverWith(w.ways)
	}
	d := eks.New(eks.WithClock(w.now), eks.WithPause(func(_ context.Context, d time.Duration) error { w.pass(d); return nil }))
	diags, err := d.Configure(context.Background(), w.config(nil), false)
	if err != nil || len(diags) > 0 {
		w.t.Fatalf("configure: %v %+v", err, diags)
	}
	return d
}

func (w *world) config(more map[string]string) []byte {
	c := map[string]string{"region": region, "endpoint": w.url}
	for k, v := range more {
		c[k] = v
	}
	raw, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *world) fault(f control.Fault) {
	w.t.Helper()
	if _, err := w.AddFault(f); err != nil {
		w.t.Fatal(err)
	}
}

// calls counts the driver's calls since the last time, by SERVICE:ACTION.
func (w *world) calls() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.asked
	w.asked = map[string]int{}
	return n
}

// changes are those of the calls that change something.
func changes(calls map[string]int) map[string]int {
	maps.DeleteFunc(calls, func(name string, _ int) bool { return reads(name) })
	return calls
}

func total(calls map[string]int) (n int) {
	for _, c := range calls {
		n += c
	}
	return n
}

// look is an Observe that must succeed.
func look(t *testing.T, d *eks.Driver, maxAge time.Duration) *sdk.Snapshot {
	t.Helper()
	s, err := d.Observe(t.Context(), sdk.Scope{Cluster: cluster}, maxAge)
	if err != nil {
		t.Fatalf("observe: %v", err)
	}
	return s
}

func groupOf(t *testing.T, s *sdk.Snapshot, name string) sdk.NodeGroup {
	t.Helper()
	for _, g := range s.Groups {
		if g.Name == name {
			return g
		}
	}
	t.Fatalf("no group %s in the snapshot", name)
	return sdk.NodeGroup{}
}

func codesOf(diags []sdk.Diagnostic) []string {
	var codes []string
	for _, d := range diags {
		codes = append(codes, d.Code)
	}
	slices.Sort(codes)
	return codes
}

func op() sdk.Op { return sdk.Op{ID: "op-1", RotationID: rotation} }

func setSurge(t *testing.T, d *eks.Driver, n int) *sdk.Operation {
	t.Helper()
	return must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: n}))(t)
}

func shrink(t *testing.T, d *eks.Driver, id string, surge int) *sdk.TerminateResult {
	t.Helper()
	return must(d.Terminate(t.Context(), sdk.TerminateRequest{Op: op(), GroupID: groupA, InstanceID: id, Capacity: sdk.ShrinkCapacity, Surge: surge}))(t)
}

func keep(t *testing.T, d *eks.Driver, id string) *sdk.TerminateResult {
	t.Helper()
	return must(d.Terminate(t.Context(), sdk.TerminateRequest{Op: op(), GroupID: groupA, InstanceID: id, Capacity: sdk.KeepCapacity}))(t)
}

func prepare(t *testing.T, d *eks.Driver) *sdk.Operation {
	t.Helper()
	return must(d.Prepare(t.Context(), sdk.GroupRequest{Op: op(), GroupID: groupA}))(t)
}

func restore(t *testing.T, d *eks.Driver) *sdk.Operation {
	t.Helper()
	return must(d.Restore(t.Context(), sdk.GroupRequest{Op: op(), GroupID: groupA}))(t)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// accepted fails the test unless the operation was done or is under way.
func accepted(t *testing.T, o *sdk.Operation) {
	t.Helper()
	if o.State != sdk.OperationDone && o.State != sdk.OperationRunning {
		t.Fatalf("operation: %+v", o)
	}
}

func ptr[T any](v T) *T { return &v }
