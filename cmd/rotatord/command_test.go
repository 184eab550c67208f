package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/estimate"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

var update = flag.Bool("update", false, "write the golden files")

// fake is a backend that records what it is asked for.
type fake struct {
	request request
	openErr error
	// open, where set, is called by Open with its context.
	open func(ctx context.Context) error

	plan    *plan.Plan
	planErr error
	notes   []model.Diagnostic

	events []event.Event
	result *engine.Result
	runErr error
	// running, where set, is called by Run and Drain once their events are out.
	running func(r request)
	ran     int
	closed  int

	drained   string
	terminate bool
	drivers   []driverFile
	asked     plan.Driver
	info      *driverInfo
	infoErr   error
	state     state
	stateErr  error

	releases *core.Releases
	staging  *core.Staging
	stageErr error
	dryRun   bool
	to       string
}

func (f *fake) CheckReleases(_ context.Context, r request) (*core.Releases, error) {
	f.request = r
	return f.releases, f.stageErr
}

func (f *fake) StageRelease(_ context.Context, r request, dryRun bool) (*core.Staging, error) {
	f.request, f.dryRun = r, dryRun
	return f.staging, f.stageErr
}

func (f *fake) RollbackRelease(_ context.Context, r request, to string, dryRun bool) (*core.Staging, error) {
	f.request, f.to, f.dryRun = r, to, dryRun
	return f.staging, f.stageErr
}

func (f *fake) Open(ctx context.Context, r request) (rotation, error) {
	f.request = r
	if f.open != nil {
		if err := f.open(ctx); err != nil {
			return nil, err
		}
	}
	if f.openErr != nil {
		return nil, f.openErr
	}
	return f, nil
}

func (f *fake) Plan() (*plan.Plan, error)       { return f.plan, f.planErr }
func (f *fake) Diagnostics() []model.Diagnostic { return f.notes }
func (f *fake) Close()                          { f.closed++ }
func (f *fake) Explain(err error) *failure      { return coreBackend{}.Explain(err) }
func (f *fake) State(ctx context.Context, r request) (state, error) {
	f.request = r
	if f.open != nil {
		if err := f.open(ctx); err != nil {
			return nil, err
		}
	}
	return f.state, f.stateErr
}
func (f *fake) Drivers(d plan.Driver) []driverFile { f.asked = d; return f.drivers }

func (f *fake) Run(context.Context) (*engine.Result, error) {
	f.ran++
	for _, s := range f.request.Sinks {
		s.Publish(f.events)
	}
	if f.running != nil {
		f.running(f.request)
	}
	return f.result, f.runErr
}

func (f *fake) Abort(_ context.Context, r request) (*engine.Result, error) {
	f.request = r
	return f.Run(context.Background())
}

func (f *fake) Drain(ctx context.Context, r request, node string, terminate bool) (*engine.Result, error) {
	f.request, f.drained, f.terminate = r, node, terminate
	return f.Run(ctx)
}

func (f *fake) DriverInfo(ctx context.Context, r request) (*driverInfo, error) {
	if f.open != nil {
		if err := f.open(ctx); err != nil {
			return nil, err
		}
	}
	f.request = r
	return f.info, f.infoErr
}

// outcome of one call of the command.
type outcome struct {
	code           int
	stdout, stderr string
}

// buffer is written by the command and read by tests meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func call(t *testing.T, f *fake, args ...string) outcome {
	t.Helper()
	var stdout, stderr buffer
	a := &app{stdout: &stdout, stderr: &stderr, backend: f, exit: func(int) { t.Error("the process was ended") }}
	code := a.run(t.Context(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// examplePlan is a plan with everything that can be shown.
func examplePlan() *plan.Plan {
	return &plan.Plan{
		Cluster: "prod", Mode: plan.ModeRolling,
		Groups: []plan.Group{
			{ID: "asg-1", Name: "workers", Role: model.RoleNode, Revision: "lt-1:4", Size: 3, Surge: 1, Current: 1,
				Nodes: []plan.Node{
					{Instance: "i-0a", Node: "ip-10-0-0-1", Zone: "eu-west-1a", Pods: 12, Reasons: []model.Reason{{Code: "revision", Message: "launch template lt-1 version 3, wanted 4"}}},
					{Instance: "i-0b", Zone: "eu-west-1b", Reasons: []model.Reason{{Code: "revision", Message: "launch template lt-1 version 3, wanted 4"}, {Code: "age"}}},
				}},
			{ID: "asg-2", Name: "spot", Role: model.RoleNode, Revision: "lt-2:1", Size: 5, Current: 5, HeldBy: "r-9", LeftSurge: 1},
		},
		MarkedNodes: 1,
		Estimate: &estimate.Estimate{Seconds: 118, SecondsLong: 305, LowerBoundSeconds: 100, LimitedBy: "group workers: 2 nodes, one at a time, 50s each: 1m40s",
			Groups: []estimate.Part{{Name: "workers", Seconds: 118, AtOnce: 1, BootSeconds: 48}},
			Basis:  []string{"a new node is Ready after 48s (median of 8 instances)", "a pod is Ready after 7s (median of 80 pods)"}},
		Warnings: []plan.Finding{{Code: "single-replica", Object: "shop/cart", Message: "deployment shop/cart has one replica: it is down while its pod moves", Fix: "raise its replicas to 2"}},
	}
}

// largePlan has more nodes than a person wants to read, in waves.
func largePlan() *plan.Plan {
	p := examplePlan()
	p.Warnings, p.Groups, p.MarkedNodes = nil, p.Groups[:1], 0
	g := &p.Groups[0]
	first := g.Nodes[0]
	g.Nodes = nil
	for i := range 5000 {
		n := first
		n.Instance, n.Node = fmt.Sprintf("i-%04d", i), fmt.Sprintf("node-%04d", i)
		g.Nodes = append(g.Nodes, n)
	}
	p.Mode, p.Estimate.Groups[0].Waves, p.Estimate.Groups[0].AtOnce = plan.ModeBatch, 51, 100
	return p
}

// rollPlan has groups that their provider rolls.
func rollPlan() *plan.Plan {
	p := examplePlan()
	p.Warnings, p.MarkedNodes = nil, 0 // with a time that other groups take
	p.Groups[0].Surge, p.Groups[0].Unavailable = 0, 1
	p.Groups[0].Roll = &plan.Roll{Running: "u-1", Cannot: []string{"it takes the nodes in an order of its own"}, Ignored: []string{"strategy.order", "drain.rules"}}
	assisted := p.Groups[0]
	assisted.Name, assisted.Roll = "batch", &plan.Roll{Assisted: true, MaxUnavailable: 1, Cannot: []string{"it goes on when rotatord ends"}}
	p.Groups[1] = plan.Group{Name: "spot", Role: model.RoleNode, Revision: "lt-2:1", Size: 5, Current: 5, Roll: &plan.Roll{Running: "u-2", Ours: true}}
	p.Groups = append(p.Groups, assisted)
	return p
}

func refusedPlan() *plan.Plan {
	p := examplePlan()
	p.Refusals = []plan.Finding{
		{Code: "budget-never", Object: "shop/db", Message: "budget shop/db never allows an eviction: minAvailable 3 of 3 pods", Fix: "lower minAvailable, or add a replica"},
		{Code: "unmanaged-pod", Object: "shop/debug", Message: "pod shop/debug has no controller and would be lost", Fix: "delete it, or --unmanaged-pods evict"},
	}
	return p
}

var exampleNotes = []model.Diagnostic{{Severity: model.SeverityWarning, Code: "managed-group", Object: "ng-1", Summary: "managed node group ng-1 is left out", Detail: "this driver rotates self-managed groups"}}

func exampleEvents(end event.Event) []event.Event {
	events := []event.Event{
		{Kind: event.RotationStarted, Message: "rotation of 1 node(s) in 1 group(s) of cluster prod", Data: map[string]string{"nodes": "1", "mode": "rolling"}},
		{Kind: event.GroupStarted, Group: "workers", Message: "1 of 1 node(s) to replace, surge 1, unavailable 0", Data: map[string]string{"nodes": "1"}},
		{Kind: event.NodeDraining, Group: "workers", Instance: "i-0a", Node: "ip-10-0-0-1"},
		{Kind: event.NodeDrained, Group: "workers", Instance: "i-0a", Node: "ip-10-0-0-1", Data: map[string]string{"seconds": "2.0", "evicted": "3"}},
		{Kind: event.NodeReplaced, Group: "workers", Instance: "i-0a", Node: "ip-10-0-0-1", Data: map[string]string{"seconds": "3.0"}},
		{Kind: event.GroupFinished, Group: "workers", Message: "1 node(s) replaced"},
		end,
	}
	for i := range events {
		events[i].Seq, events[i].Rotation, events[i].Time = uint64(i+1), "r-1", start.Add(time.Duration(i)*time.Second)
	}
	return events
}

func doneRun() *fake {
	return &fake{plan: examplePlan(), result: &engine.Result{Status: engine.StatusDone, Message: "1 node(s) replaced"},
		events: exampleEvents(event.Event{Kind: event.RotationFinished, Code: "done", Message: "1 node(s) replaced"})}
}

var target = []string{"--cluster", "prod", "--driver", "eks"}

func with(args ...string) []string { return append(args, target...) }

// Scripts: one call each, its whole output held against a golden file.
func TestGolden(t *testing.T) {
	tests := map[string]struct {
		fake *fake
		args []string
		code int
	}{
		"help":                 {&fake{}, []string{"--help"}, 0},
		"help-run":             {&fake{}, []string{"run", "--help"}, 0},
		"help-drain":           {&fake{}, []string{"drain", "--help"}, 0},
		"help-drivers":         {&fake{}, []string{"drivers"}, 0},
		"plan-text":            {&fake{plan: examplePlan(), notes: exampleNotes}, with("plan"), 0},
		"plan-json":            {&fake{plan: examplePlan(), notes: exampleNotes}, with("plan", "-o", "json"), 0},
		"plan-large":           {&fake{plan: largePlan()}, with("plan"), 0},
		"plan-roll":            {&fake{plan: rollPlan()}, with("plan"), 0},
		"plan-nothing":         {&fake{plan: &plan.Plan{Cluster: "prod", Mode: plan.ModeRolling, Groups: []plan.Group{{Name: "workers", Role: model.RoleNode, Revision: "lt-1:4", Size: 1, Current: 1}}}}, with("plan"), 0},
		"plan-refused":         {&fake{plan: refusedPlan()}, with("plan"), exitRefused},
		"run-done":             {doneRun(), with("run"), 0},
		"run-json":             {doneRun(), with("run", "--output=json"), 0},
		"run-refused":          {&fake{plan: refusedPlan()}, with("run"), exitRefused},
		"run-dry":              {&fake{plan: examplePlan()}, with("run", "--dry-run"), 0},
		"drain-json":           {doneRun(), []string{"drain", "ip-10-0-0-1", "-o", "json"}, 0},
		"help-release":         {&fake{}, []string{"release", "--help"}, 0},
		"help-release-check":   {&fake{}, []string{"release", "check", "--help"}, 0},
		"release-check":        {&fake{releases: exampleReleases(), notes: exampleNotes}, with("release", "check"), exitFailed},
		"release-check-json":   {&fake{releases: exampleReleases()}, with("release", "check", "-o", "json"), exitFailed},
		"release-check-behind": {&fake{releases: &core.Releases{Release: "latest", Groups: exampleReleases().Groups[:2]}}, with("release", "check"), exitBehind},
		"release-check-same":   {&fake{releases: &core.Releases{Release: "latest", Groups: exampleReleases().Groups[1:2]}}, with("release", "check"), 0},
		"release-apply":        {&fake{staging: exampleStaging("r-1", core.GroupStaged)}, with("release", "apply"), 0},
		"release-apply-json":   {&fake{staging: exampleStaging("r-1", core.GroupStaged)}, with("release", "apply", "-o", "json"), 0},
		"release-apply-dry":    {&fake{staging: exampleStaging("", core.GroupPlanned)}, with("release", "apply", "--dry-run"), 0},
		"release-refused":      {&fake{stageErr: refused(refusedPlan())}, with("release", "apply"), exitRefused},
		"release-rollback":     {&fake{staging: &core.Staging{Groups: []core.StagedGroup{{Group: "workers", Status: core.GroupLeft, From: model.Release{ID: "ami-2"}, To: model.Release{ID: "ami-2"}, Note: "the journal does not know what it had before"}}}}, with("release", "rollback"), 0},
		"plan-release":         {&fake{plan: stagingPlan()}, with("plan", "--release", "latest"), 0},
		"drivers-list":         {&fake{drivers: exampleDrivers}, []string{"drivers", "list"}, 0},
		"drivers-list-json":    {&fake{drivers: exampleDrivers}, []string{"drivers", "list", "-o", "json"}, 0},
		"drivers-none":         {&fake{}, []string{"drivers", "list"}, 0},
		"drivers-info":         {&fake{info: exampleInfo}, []string{"drivers", "info", "eks"}, 0},
		"drivers-info-json":    {&fake{info: exampleInfo}, []string{"drivers", "info", "eks", "-o", "json"}, 0},
		"config-problems":      {&fake{}, []string{"config", "validate", "testdata/bad.yaml"}, exitUsage},
		"config-problems-json": {&fake{}, []string{"config", "validate", "testdata/bad.yaml", "-o", "json"}, exitUsage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := call(t, tt.fake, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", got.code, tt.code, got.stderr)
			}
			golden(t, name, "$ rotatord "+strings.Join(tt.args, " ")+"\n-- stdout --\n"+got.stdout+"-- stderr --\n"+got.stderr)
			if slices.Contains(tt.args, "json") || slices.Contains(tt.args, "--output=json") {
				oneDocument(t, got.stdout)
			}
		})
	}
}

func exampleReleases() *core.Releases {
	old := model.Release{ID: "ami-1", Name: "al2023-1.37-v20261001", Created: start.AddDate(0, -1, 0)}
	fresh := model.Release{ID: "ami-2", Name: "al2023-1.37-v20261101", Created: start.AddDate(0, 0, -1), Notes: "https://example.com/notes"}
	return &core.Releases{Release: "latest", Groups: []model.GroupRelease{
		{GroupID: "asg-1", Group: "workers", Role: model.RoleNode, Current: old, Target: &fresh, Order: model.ReleaseNewer},
		{GroupID: "asg-2", Group: "spot", Role: model.RoleNode, Current: fresh, Target: &fresh, Order: model.ReleaseSame},
		{GroupID: "asg-3", Group: "gpu", Role: model.RoleNode, Current: model.Release{ID: "ami-9"},
			Diagnostics: []model.Diagnostic{{Severity: model.SeverityError, Code: "release-own-image", Object: "asg-3", Summary: "group gpu runs an image of somebody's own", Detail: "name the image with --release ami-..."}}},
	}, Diagnostics: exampleNotes}
}

func exampleStaging(id string, s core.StagedStatus) *core.Staging {
	r := exampleReleases().Groups
	return &core.Staging{ID: id, Release: "latest", Groups: []core.StagedGroup{
		{Group: "workers", From: r[0].Current, To: *r[0].Target, Status: s},
		{Group: "spot", From: r[1].Current, To: r[1].Current, Status: core.GroupCurrent}}}
}

// stagingPlan gives a group another release first.
func stagingPlan() *plan.Plan {
	p := examplePlan()
	r := exampleReleases().Groups[0]
	p.Groups[0].Staging = &plan.Staging{From: r.Current, To: *r.Target, Order: r.Order}
	for i := range p.Groups[0].Nodes {
		p.Groups[0].Nodes[i].Reasons = []model.Reason{{Code: "release", Message: "outdated once its group has release " + r.Target.Name}}
	}
	return p
}

var exampleDrivers = []driverFile{
	{Name: "eks", Path: "/opt/rotator/rotatord-driver-eks", Source: "plugin-dir", Status: "ok"},
	{Name: "kops", Path: "/tmp/rotatord-driver-kops", Source: "PATH", Status: "rejected", Reason: "driver /tmp/rotatord-driver-kops is refused: everybody can write to it", Fix: "chmod go-w /tmp/rotatord-driver-kops"},
}

var exampleInfo = &driverInfo{Name: "eks", Version: "0.1.0", Path: "/opt/rotator/rotatord-driver-eks", Verbs: []string{"prepare", "set-surge", "terminate"},
	ConfigSchema: []byte(`{"type":"object","properties":{"region":{"type":"string"}}}`)}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", file, d)
	}
}

func oneDocument(t *testing.T, s string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(s))
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("stdout is not JSON: %v\n%s", err, s)
	}
	if dec.More() {
		t.Errorf("stdout holds more than one document:\n%s", s)
	}
}

func TestErrors(t *testing.T) {
	missing := &failure{code: exitUsage, message: "driver nosuch: no executable rotatord-driver-nosuch", fix: "install it"}
	tests := map[string]struct {
		fake *fake
		args []string
		env  map[string]string
		code int
		want []string // all of stderr, by lines; a line that ends in ... is a prefix
	}{
		"unknown command": {args: []string{"plna"}, code: exitUsage, want: []string{
			`error: unknown command "plna" for rotatord`, "fix: did you mean `rotatord plan`?"}},
		"unknown command before flags": {args: []string{"rum", "--max-surge", "2"}, code: exitUsage, want: []string{
			`error: unknown command "rum" for rotatord`, "fix: did you mean `rotatord run`?"}},
		"unknown subcommand": {args: []string{"drivers", "show"}, code: exitUsage, want: []string{
			`error: unknown command "show" for rotatord drivers`, "fix: commands are info, list"}},
		"help of an unknown command": {args: []string{"help", "pln"}, code: exitUsage, want: []string{
			`error: unknown command "pln" for rotatord`, "fix: did you mean `rotatord plan`?"}},
		"help of an unknown subcommand": {args: []string{"help", "drivers", "verify"}, code: exitUsage, want: []string{
			`error: unknown command "verify" for rotatord drivers`, "fix: commands are info, list"}},
		"completion for an unknown shell": {args: []string{"completion", "cmd"}, code: exitUsage, want: []string{
			`error: unknown command "cmd" for rotatord completion`, "fix: ..."}},
		"an unknown letter": {args: []string{"plan", "-x"}, code: exitUsage, want: []string{
			"error: unknown flag -x", "fix: `rotatord plan --help` lists the flags"}},
		"a log level that the check does not know": {args: []string{"config", "validate", "--log-level", "loud"}, code: exitUsage, want: []string{
			`error: --log-level: "loud" is unknown`, "fix: choose one of debug, info, warn, error"}},
		"unknown flag": {args: with("run", "--max-sruge=2"), code: exitUsage, want: []string{
			"error: unknown flag --max-sruge", "fix: did you mean --max-surge?"}},
		"a flag like no other": {args: with("run", "--colour=red"), code: exitUsage, want: []string{
			"error: unknown flag --colour", "fix: `rotatord run --help` lists the flags"}},
		"a flag of the tool that many come from": {args: with("run", "--rotate-masters"), code: exitUsage, want: []string{
			"error: unknown flag --rotate-masters", "fix: use --role control-plane"}},
		"a flag without a value": {args: []string{"plan", "--cluster"}, code: exitUsage, want: []string{
			"error: flag needs an argument: --cluster", "fix: `rotatord plan --help` lists the flags"}},
		"a boolean flag that is none": {args: with("plan", "--force=maybe"), code: exitUsage, want: []string{
			`error: invalid argument "maybe" for "--force" flag: "maybe" is not a boolean: write true or false`, "fix: `rotatord plan --help` lists the flags"}},
		"no node": {args: []string{"drain"}, code: exitUsage, want: []string{
			"error: NODE is missing", "fix: usage: rotatord drain NODE [flags]"}},
		"two nodes": {args: []string{"drain", "a", "b"}, code: exitUsage, want: []string{
			`error: unexpected argument "b"`, "fix: usage: rotatord drain NODE [flags]"}},
		"an argument too many": {args: with("plan", "prod"), code: exitUsage, want: []string{
			`error: unexpected argument "prod"`, "fix: usage: rotatord plan [flags]"}},
		"no cluster and no driver": {args: []string{"plan"}, code: exitUsage, want: []string{
			"error: cluster: is missing: ...", "error: driver.name: is missing: ...", "fix: `rotatord config init` ..."}},
		"no file": {args: []string{"plan", "--config", "nosuch.yaml"}, code: exitUsage, want: []string{
			"error: nosuch.yaml: the rotation file cannot be read: no such file or directory ...", "fix: ..."}},
		"both at zero": {args: with("plan", "--max-surge=0"), code: exitUsage, want: []string{
			"error: --max-surge: strategy.maxSurge: it and maxUnavailable are both 0, ...", "fix: ..."}},
		"an unknown variable": {args: with("plan"), env: map[string]string{"ROTATOR_MAX_SRUGE": "1"}, code: exitUsage, want: []string{
			"error: ROTATOR_MAX_SRUGE: unknown variable; did you mean ROTATOR_MAX_SURGE?", "fix: ..."}},
		"an unknown output": {args: with("plan", "--output", "yaml"), code: exitUsage, want: []string{
			`error: --output: "yaml" is unknown`, "fix: choose one of text, json"}},
		"an unknown log level": {args: with("plan", "--log-level", "loud"), code: exitUsage, want: []string{
			`error: --log-level: "loud" is unknown`, "fix: choose one of debug, info, warn, error"}},
		"a driver that is missing": {fake: &fake{openErr: missing}, args: with("run"), code: exitUsage, want: []string{
			"error: driver nosuch: no executable rotatord-driver-nosuch", "fix: install it"}},
		"a driver that cannot be described": {fake: &fake{infoErr: missing}, args: []string{"drivers", "info", "nosuch"}, code: exitUsage, want: []string{
			"error: driver nosuch: no executable rotatord-driver-nosuch", "fix: install it"}},
		"a selection that matches nothing": {fake: &fake{planErr: &plan.SelectionError{Message: `no node group is named "x"`, Fix: "choose among: workers"}}, args: with("plan", "--group=x"), code: exitUsage, want: []string{
			`error: no node group is named "x"`, "fix: choose among: workers"}},
		"an error with another program's words": {fake: &fake{openErr: &failure{code: exitUsage, message: "driver eks ended:\n    \x1b[31mno license\x1b[0m"}}, args: with("plan"), code: exitUsage, want: []string{
			"error: driver eks ended:", "  [31mno license [0m"}},
		"an error that nobody knows": {fake: &fake{openErr: errors.New("something else")}, args: with("plan"), code: exitFailed, want: []string{
			"error: something else"}},
		"a report folder that cannot be made": {fake: doneRun(), args: with("drain", "n", "--report-dir", "/dev/null/x"), code: exitUsage, want: []string{
			"error: report folder: mkdir /dev/null: not a directory; nothing was changed", "fix: choose another folder with --report-dir"}},
		"FILE and --config": {args: []string{"config", "validate", "a", "--config", "b"}, code: exitUsage, want: []string{
			"error: both FILE and --config are given", "fix: give one of them"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			f := tt.fake
			if f == nil {
				f = &fake{plan: examplePlan()}
			}
			got := call(t, f, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			if got.stdout != "" {
				t.Errorf("stdout holds %q, want nothing", got.stdout)
			}
			lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
			ok := len(lines) == len(tt.want)
			for i := range min(len(lines), len(tt.want)) {
				if prefix, cut := strings.CutSuffix(tt.want[i], "..."); cut {
					ok = ok && strings.HasPrefix(lines[i], prefix)
				} else {
					ok = ok && lines[i] == tt.want[i]
				}
			}
			if !ok {
				t.Errorf("stderr:\n%s\nwant:\n%s", got.stderr, strings.Join(tt.want, "\n"))
			}
			if f.ran != 0 {
				t.Error("a rotation was run")
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for status, want := range map[engine.Status]int{
		engine.StatusDone: exitDone, engine.StatusStopped: exitStopped, engine.StatusGateFailed: exitGate,
		engine.StatusFailed: exitFailed, "strange": exitFailed,
	} {
		f := doneRun()
		f.result = &engine.Result{Status: status, Message: "node n is left; look at it"}
		got := call(t, f, with("run")...)
		if got.code != want {
			t.Errorf("status %s: exit code %d, want %d", status, got.code, want)
		}
		if failed := want != exitDone; strings.Contains(got.stderr, "error: ") != failed || failed && !strings.Contains(got.stderr, "node n is left") {
			t.Errorf("status %s: stderr:\n%s", status, got.stderr)
		}
		if f.closed != 1 {
			t.Errorf("status %s: the rotation was closed %d times, want once", status, f.closed)
		}
	}
}

func TestNothingToDo(t *testing.T) {
	f := &fake{plan: &plan.Plan{Cluster: "prod"}, result: &engine.Result{Status: engine.StatusDone, Message: "nothing to do: no node is outdated"}}
	got := call(t, f, with("run")...)
	if got.code != 0 || got.stdout != "nothing to do: no node is outdated\n" {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
	got = call(t, f, with("run", "-o", "json")...)
	var s report.Summary
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil || got.code != 0 || s.Status != "done" || s.Cluster != "prod" {
		t.Errorf("exit code %d, error %v, stdout %s", got.code, err, got.stdout)
	}
}

func TestReportFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	f := doneRun()
	if got := call(t, f, with("run", "--report-dir", dir)...); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	events, err := os.ReadFile(filepath.Join(dir, report.EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(events, []byte("\n")); n != len(f.events) {
		t.Errorf("events.jsonl has %d lines, want %d", n, len(f.events))
	}
	data, err := os.ReadFile(filepath.Join(dir, report.SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	var s report.Summary
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if s.Status != "done" || s.Replaced != 1 || s.Cluster != "prod" {
		t.Errorf("summary.json: %+v", s)
	}
	// A plan leaves the report of the last run alone.
	if got := call(t, &fake{plan: examplePlan()}, with("plan", "--report-dir", dir)...); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	if after, err := os.ReadFile(filepath.Join(dir, report.EventsFile)); err != nil || !bytes.Equal(after, events) {
		t.Errorf("the plan changed events.jsonl (%v)", err)
	}
}

func TestRunFailsWithoutAResult(t *testing.T) {
	f := doneRun()
	f.result, f.runErr = nil, errors.New("the journal cannot be written: no space left on device")
	got := call(t, f, with("run", "-o", "json")...)
	if got.code != exitFailed || !strings.Contains(got.stderr, "error: the journal cannot be written") {
		t.Errorf("exit code %d, stderr:\n%s", got.code, got.stderr)
	}
	oneDocument(t, got.stdout)
}

func TestRequest(t *testing.T) {
	f := &fake{plan: examplePlan()}
	file := filepath.Join(t.TempDir(), "rotation.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: "+config.APIVersion+"\nkind: Rotation\ncluster: file\ndriver: {name: eks}\nstrategy: {maxSurge: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROTATOR_CONFIG", file)
	t.Setenv("ROTATOR_OUTPUT", "json")
	t.Setenv("ROTATOR_DRAIN_DEADLINE", "3m")
	got := call(t, f, "plan", "--cluster", "flag", "--driver-config", "region=eu-west-1")
	if got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	oneDocument(t, got.stdout)
	s := f.request.Spec
	if s.Cluster != "flag" || s.Strategy.MaxSurge != "2" || s.Drain.Deadline != 3*time.Minute || s.Driver.Config["region"] != "eu-west-1" {
		t.Errorf("the backend was given %+v", s)
	}
	if f.request.Log == nil || f.request.DriverLog == nil || f.request.Stop == nil || len(f.request.Sinks) == 0 {
		t.Errorf("the backend was given %+v", f.request)
	}
}

func TestDrain(t *testing.T) {
	f := doneRun()
	if got := call(t, f, "drain", "node-1"); got.code != 0 || f.drained != "node-1" || f.terminate {
		t.Errorf("exit code %d, drained %q, terminate %v\n%s", got.code, f.drained, f.terminate, got.stderr)
	}
	// Ending an instance needs to know where.
	f = doneRun()
	if got := call(t, f, "drain", "node-1", "--terminate"); got.code != exitUsage || f.ran != 0 {
		t.Errorf("exit code %d, ran %d times\n%s", got.code, f.ran, got.stderr)
	}
	if got := call(t, f, with("drain", "node-1", "--terminate")...); got.code != 0 || !f.terminate {
		t.Errorf("exit code %d, terminate %v\n%s", got.code, f.terminate, got.stderr)
	}
}

func TestAbortAndResume(t *testing.T) {
	f := doneRun()
	if got := call(t, f, with("abort")...); got.code != 0 || f.ran != 1 {
		t.Errorf("abort: exit code %d, ran %d times\n%s", got.code, f.ran, got.stderr)
	}
	f = doneRun()
	if got := call(t, f, with("resume", "--from-cluster")...); got.code != 0 || f.ran != 1 || !f.request.FromCluster {
		t.Errorf("resume: exit code %d, ran %d times, from cluster %v\n%s", got.code, f.ran, f.request.FromCluster, got.stderr)
	}
	f = doneRun()
	if got := call(t, f, with("resume")...); got.code != 0 || f.request.FromCluster {
		t.Errorf("resume: exit code %d, from cluster %v\n%s", got.code, f.request.FromCluster, got.stderr)
	}
}

func TestDriversInfoIgnoresTheFilesOtherDriver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rotation.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: "+config.APIVersion+"\nkind: Rotation\ndriver: {name: eks, path: /x/eks, pluginDirs: [/plugins]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"eks": "/x/eks", "kops": ""} {
		f := &fake{info: exampleInfo}
		if got := call(t, f, "drivers", "info", name, "--config", file); got.code != 0 {
			t.Fatalf("exit code %d\n%s", got.code, got.stderr)
		}
		if d := f.request.Spec.Driver; d.Name != name || d.Path != want || !slices.Equal(d.PluginDir, []string{"/plugins"}) {
			t.Errorf("drivers info %s asks for %+v, want path %q", name, d, want)
		}
	}
}

func TestConfigInitValidates(t *testing.T) {
	init := call(t, &fake{}, "config", "init")
	file := filepath.Join(t.TempDir(), "rotation.yaml")
	if err := os.WriteFile(file, []byte(init.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := call(t, &fake{}, "config", "validate", file); got.code != 0 || got.stdout != file+": valid\n" || got.stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	if got := call(t, &fake{}, "config", "validate", file, "-o", "json"); got.code != 0 || !strings.Contains(got.stdout, `"valid": true`) {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
	oneDocument(t, call(t, &fake{}, "config", "schema").stdout)
}

// Output that is lost is no success; how a rotation ended counts for more.
func TestOutputThatIsLost(t *testing.T) {
	gate := doneRun()
	gate.result = &engine.Result{Status: engine.StatusGateFailed, Message: "node n is not Ready"}
	for name, tt := range map[string]struct {
		fake *fake
		args []string
		code int
		want string
	}{
		"version":               {&fake{}, []string{"version"}, exitFailed, "error: all is done, but the output is not complete: the disk is full\n"},
		"help":                  {&fake{}, []string{"--help"}, exitFailed, "error: all is done, but the output is not complete"},
		"drivers list":          {&fake{}, []string{"drivers", "list"}, exitFailed, "error: all is done, but the output is not complete"},
		"plan":                  {&fake{plan: examplePlan()}, with("plan"), exitFailed, "error: all is done, but the output is not complete"},
		"a rotation":            {doneRun(), with("run"), exitFailed, "error: all is done, but the output is not complete"},
		"a rotation as JSON":    {doneRun(), with("run", "--output=json"), exitFailed, "error: all is done, but the output is not complete"},
		"one that a gate ended": {gate, with("run", "--output=json"), exitGate, "error: a health gate failed: node n is not Ready\n"},
		"a refused plan":        {&fake{plan: refusedPlan()}, with("plan"), exitRefused, "error: refused for "},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr buffer
			a := &app{stdout: fullDisk{}, stderr: &stderr, backend: tt.fake, exit: func(int) { t.Error("the process was ended") }}
			if code := a.run(t.Context(), tt.args); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr does not say %q:\n%s", tt.want, stderr.String())
			}
		})
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestVersion(t *testing.T) {
	version = "v1.2.3"
	t.Cleanup(func() { version = "" })
	if got := call(t, &fake{}, "version"); got.code != 0 || !strings.HasPrefix(got.stdout, "rotatord v1.2.3, ") {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
	var v buildVersion
	got := call(t, &fake{}, "version", "--output", "json")
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || v.Version != "v1.2.3" || v.Go == "" || v.APIVersion != config.APIVersion {
		t.Errorf("error %v, stdout %s", err, got.stdout)
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"__complete run --mode ":    "rolling\nbatch\n",
		"__complete plan --output ": "text\njson\n",
		"__complete plan --role ":   "bastion\ncontrol-plane\napi-server\nnode\n",
		"__complete dr":             "drain\t",
		"__complete --log-level ":   "debug\ninfo\nwarn\nerror\n",
	} {
		got := call(t, &fake{}, strings.Split(args, " ")...)
		if got.code != 0 || !strings.HasPrefix(got.stdout, want) {
			t.Errorf("%s: exit code %d, stdout %q, want %q first", args, got.code, got.stdout, want)
		}
	}
	if got := call(t, &fake{}, "completion", "bash"); got.code != 0 || !strings.Contains(got.stdout, "rotatord") {
		t.Errorf("completion bash: exit code %d", got.code)
	}
}

// signalled runs a command that signals reach.
type signalled struct {
	app            *app
	signals        chan os.Signal
	exits          chan int
	stdout, stderr buffer
	code           chan int
}

func startSignalled(t *testing.T, f *fake, args ...string) *signalled {
	s := &signalled{signals: make(chan os.Signal), exits: make(chan int, 1), code: make(chan int, 1)}
	s.app = &app{stdout: &s.stdout, stderr: &s.stderr, backend: f, signals: s.signals, exit: func(code int) { s.exits <- code }}
	go func() { s.code <- s.app.run(t.Context(), args) }()
	return s
}

func TestFirstSignalStopsTheRotation(t *testing.T) {
	f := doneRun()
	running := make(chan struct{})
	f.running = func(r request) {
		close(running)
		<-r.Stop
		f.result = &engine.Result{Status: engine.StatusStopped, Message: "1 node(s) left"}
	}
	s := startSignalled(t, f, with("run")...)
	<-running
	s.signals <- os.Interrupt
	if code := <-s.code; code != exitStopped {
		t.Errorf("exit code %d, want %d", code, exitStopped)
	}
	for _, want := range []string{"SIGINT: stopping: nothing new starts; ", "error: stopped before the end: 1 node(s) left\n", "fix: run the same command again: "} {
		if !strings.Contains(s.stderr.String(), want) {
			t.Errorf("stderr does not say %q:\n%s", want, s.stderr.String())
		}
	}
	if !strings.Contains(s.stdout.String(), "stopped after") {
		t.Errorf("stdout holds no summary:\n%s", s.stdout.String())
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	f := doneRun()
	running, release := make(chan struct{}), make(chan struct{})
	f.running = func(request) { close(running); <-release } // a rotation that does not end
	s := startSignalled(t, f, with("run")...)
	<-running
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGTERM
	if code := <-s.exits; code != exitStopped {
		t.Errorf("exit code %d, want %d", code, exitStopped)
	}
	if !strings.Contains(s.stderr.String(), "SIGTERM again: exiting at once; run the same command again") {
		t.Errorf("stderr:\n%s", s.stderr.String())
	}
	close(release)
	<-s.code
}

// A signal ends a command that is not ready for it yet, such as one whose rotation
// file is a pipe into which nobody writes.
func TestSignalWhileTheFileIsRead(t *testing.T) {
	for _, args := range [][]string{{"run", "--config"}, {"config", "validate"}, {"run", "--fleet"}, {"abort", "--fleet"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		file := fmt.Sprintf("/dev/fd/%d", r.Fd())
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		s := startSignalled(t, &fake{}, append(args, file)...)
		s.signals <- syscall.SIGTERM
		if code := <-s.exits; code != exitStopped {
			t.Errorf("%v: exit code %d, want %d", args, code, exitStopped)
		}
		if want := "SIGTERM: exiting at once: nothing is under way\n"; s.stderr.String() != want {
			t.Errorf("%v: stderr is %q, want %q", args, s.stderr.String(), want)
		}
		_, _ = w.Close(), <-s.code
		_ = r.Close()
	}
}

func TestSignalBeforeTheStart(t *testing.T) {
	for _, args := range [][]string{with("run"), with("plan"), with("status"), with("history"), {"drivers", "info", "eks"}} {
		opening := make(chan struct{})
		f := doneRun()
		f.state = &fakeState{}
		f.open = func(ctx context.Context) error { close(opening); <-ctx.Done(); return ctx.Err() }
		s := startSignalled(t, f, args...)
		<-opening
		s.signals <- os.Interrupt
		if code := <-s.code; code != exitStopped || f.ran != 0 {
			t.Errorf("%v: exit code %d, want %d; ran %d times", args, code, exitStopped, f.ran)
		}
		if !strings.Contains(s.stderr.String(), "error: interrupted before the start: nothing was changed\n") {
			t.Errorf("%v: stderr:\n%s", args, s.stderr.String())
		}
	}
}
