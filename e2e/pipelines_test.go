//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A pipeline's jobs are run from the shipped files as a runner would run them:
// its variables, its shell, and what it puts in for inputs.

// runner is where the scripts of one pipeline run.
type runner struct {
	t   *testing.T
	dir string
	env []string
	// inputs stand for $[[ inputs.NAME ]] and ${{ inputs.NAME }}.
	inputs map[string]string
}

func newRunner(t *testing.T, s *Sandbox, rotation string) *runner {
	t.Helper()
	r := &runner{t: t, dir: t.TempDir(), inputs: map[string]string{}}
	for _, kv := range append(cleanEnviron(), s.environ...) {
		if !strings.HasPrefix(kv, "PATH=") {
			r.env = append(r.env, kv)
		}
	}
	r.env = append(r.env, "PATH="+imagePath(t))
	r.write("rotation.yaml", "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\n"+rotation)
	return r
}

// imagePath is a folder with rotatord, and of the commands of the image "ci" those
// that the jobs may use: one more must be in that image too.
func imagePath(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "cat", "tee"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(executable("rotatord"), filepath.Join(dir, "rotatord")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (r *runner) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// read returns a file that a job left.
func (r *runner) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Error(err)
	}
	return string(b)
}

// bash runs a script as runners do, and returns its exit code and what it said.
func (r *runner) bash(script string, env ...string) (int, string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = r.dir, append(r.env, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (r *runner) must(name, script string, env ...string) string {
	r.t.Helper()
	code, out := r.bash(script, env...)
	if code != 0 {
		r.t.Fatalf("%s ended with exit code %d:\n%s\n%s", name, code, script, out)
	}
	return out
}

var inputPattern = regexp.MustCompile(`\$(?:\[\[|\{\{) *inputs\.([a-z-]+) *(?:\]\]|\}\})`)

// fill puts inputs in.
func (r *runner) fill(text string) string {
	return inputPattern.ReplaceAllStringFunc(text, func(m string) string {
		name := inputPattern.FindStringSubmatch(m)[1]
		v, ok := r.inputs[name]
		if !ok {
			r.t.Fatalf("input %s has no value", name)
		}
		return v
	})
}

// readYAML reads the documents of a file, inputs filled in from the second on or,
// with one document, in that.
func decodeYAML(t *testing.T, text string, to ...any) {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	for _, v := range to {
		if err := dec.Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		t.Fatalf("more documents than expected: %v", err)
	}
}

type gitlabJob struct {
	Variables   map[string]string `yaml:"variables"`
	Extends     string            `yaml:"extends"`
	Script      []string          `yaml:"script"`
	AfterScript []string          `yaml:"after_script"`
	Artifacts   struct {
		Reports map[string]any `yaml:"reports"`
		Paths   []string       `yaml:"paths"`
	} `yaml:"artifacts"`
}

// gitlab are the jobs of the component, as GitLab makes them of its inputs.
type gitlab struct {
	*runner
	jobs map[string]gitlabJob
}

func newGitlab(r *runner, inputs map[string]string) *gitlab {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "ci", "gitlab", "templates", "rotate.yml"))
	if err != nil {
		r.t.Fatal(err)
	}
	header, body, ok := strings.Cut(string(text), "\n---\n")
	if !ok {
		r.t.Fatal("the component has no header")
	}
	var spec struct {
		Spec struct {
			Inputs map[string]struct {
				Default string `yaml:"default"`
			} `yaml:"inputs"`
		} `yaml:"spec"`
	}
	decodeYAML(r.t, header, &spec)
	for name, in := range spec.Spec.Inputs {
		r.inputs[name] = in.Default
	}
	for name, v := range inputs {
		if _, ok := spec.Spec.Inputs[name]; !ok {
			r.t.Fatalf("the component has no input %s", name)
		}
		r.inputs[name] = v
	}
	g := &gitlab{runner: r}
	decodeYAML(r.t, r.fill(body), &g.jobs)
	return g
}

// run runs a job, and its after_script however it ends.
func (g *gitlab) run(name string, env ...string) (int, string) {
	g.t.Helper()
	j, ok := g.jobs[name]
	if !ok {
		g.t.Fatalf("there is no job %s", name)
	}
	for k, v := range g.jobs[j.Extends].Variables {
		env = append(env, k+"="+v)
	}
	code, out := g.bash(strings.Join(j.Script, "\n"), env...)
	status := "success"
	if code != 0 {
		status = "failed"
	}
	_, after := g.bash(strings.Join(j.AfterScript, "\n"), append([]string{"CI_JOB_STATUS=" + status}, env...)...)
	return code, out + after
}

// report reads the files of one report of a job; each pattern must match some.
func (g *gitlab) report(job, kind string) string {
	g.t.Helper()
	var patterns []string
	switch v := g.jobs[job].Artifacts.Reports[kind].(type) {
	case string:
		patterns = []string{v}
	case []any:
		for _, p := range v {
			patterns = append(patterns, p.(string))
		}
	}
	text := ""
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(g.dir, p))
		if err != nil {
			g.t.Fatal(err)
		}
		for _, f := range files {
			text += g.read(strings.TrimPrefix(f, g.dir+"/"))
		}
	}
	return text
}

// job is a job's script that runs.
type job struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of stderr; closed at its end
	ended chan struct{}
}

func (g *gitlab) start(name string) *job {
	g.t.Helper()
	var env []string
	for k, v := range g.jobs[g.jobs[name].Extends].Variables {
		env = append(env, k+"="+v)
	}
	return g.background(strings.Join(g.jobs[name].Script, "\n"), env...)
}

// background starts a script as runners do.
func (r *runner) background(script string, env ...string) *job {
	r.t.Helper()
	cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = r.dir, append(slices.Clone(r.env), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	j := &job{t: r.t, cmd: cmd, lines: make(chan string, 10_000), ended: make(chan struct{})}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			j.lines <- lines.Text()
		}
		close(j.lines)
		cmd.Wait() // the exit code says nothing that a test asks
		close(j.ended)
	}()
	r.t.Cleanup(j.cancel)
	return j
}

// await waits until the job says the words.
func (j *job) await(words string) {
	j.t.Helper()
	var said []string
	for l := range j.lines {
		if said = append(said, l); strings.Contains(l, words) {
			return
		}
	}
	j.t.Fatalf("the job ended and did not say %q:\n%s", words, strings.Join(said, "\n"))
}

// mustEnd waits for the end of a job, which must not have begun another rotation.
func (j *job) mustEnd() {
	j.t.Helper()
	for l := range j.lines {
		if strings.Contains(l, "Plan for cluster") {
			j.t.Errorf("it rotates once more: %s", l)
		}
	}
	<-j.ended
}

// cancel ends a job as runners do: with a signal to all its processes.
func (j *job) cancel() {
	select {
	case <-j.ended:
	default:
		syscall.Kill(-j.cmd.Process.Pid, syscall.SIGTERM) // it may just have ended
		<-j.ended
	}
}

// cancelled runs a job's after_script as GitLab does when it was cancelled.
func (g *gitlab) cancelled(name string, env ...string) string {
	g.t.Helper()
	for k, v := range g.jobs[g.jobs[name].Extends].Variables {
		env = append(env, k+"="+v)
	}
	return g.must(name+" after_script", strings.Join(g.jobs[name].AfterScript, "\n"), append(env, "CI_JOB_STATUS=canceled")...)
}

type githubWorkflow struct {
	On struct {
		Call struct {
			Inputs map[string]struct {
				Default string `yaml:"default"`
			} `yaml:"inputs"`
		} `yaml:"workflow_call"`
	} `yaml:"on"`
	Env  map[string]string `yaml:"env"`
	Jobs map[string]struct {
		Steps []struct {
			Name, Uses, Run, If string
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// github is the workflow, as GitHub makes it of its inputs.
type github struct {
	*runner
	githubWorkflow
	vars []string
}

func newGithub(r *runner) *github {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "ci", "github", "rotate.yml"))
	if err != nil {
		r.t.Fatal(err)
	}
	g := &github{runner: r, vars: []string{"GITHUB_STEP_SUMMARY=" + filepath.Join(r.dir, "step-summary.md"), "RUNNER_TEMP=" + r.t.TempDir()}}
	decodeYAML(r.t, string(text), &g.githubWorkflow)
	for name, in := range g.On.Call.Inputs {
		r.inputs[name] = in.Default
	}
	for k, v := range g.Env {
		g.vars = append(g.vars, k+"="+r.fill(v))
	}
	return g
}

// run runs the steps of a job whose conditions hold, and answers what they said,
// by their names.
func (g *github) run(job string, cancelled bool) map[string]string {
	g.t.Helper()
	said := map[string]string{}
	for _, step := range g.Jobs[job].Steps {
		if step.Run == "" || step.If != "always()" && (step.If == "cancelled()") != cancelled {
			continue
		}
		said[step.Name] = g.must(step.Name, step.Run, g.vars...)
	}
	if len(said) == 0 {
		g.t.Fatalf("job %s has run nothing", job)
	}
	return said
}

// start begins one step of a job, and does not wait for it.
func (g *github) start(job, name string) *job {
	g.t.Helper()
	for _, step := range g.Jobs[job].Steps {
		if step.Name == name {
			return g.background(step.Run, g.vars...)
		}
	}
	g.t.Fatalf("job %s has no step %s", job, name)
	return nil
}

// From "a new image is published" to "every node runs it": EKS, from GitLab.
func TestPipelineGitLabEKS(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	parameter := publishRelease(t, s)
	before := s.State(t)
	r := newRunner(t, s, fmt.Sprintf("cluster: %s\ndriver: {name: eks, config: {releases: {%s: \"ssm:%s\"}}}\nselect: {groups: [%s]}\nstrategy: {canary: {bake: 0s}}\n", s.Name, group, parameter, group))
	g := newGitlab(r, map[string]string{"name": "nodes"})

	if code, out := g.run("nodes:check"); code != 0 || !strings.Contains(out, "newer") {
		t.Fatalf("check ended with %d:\n%s", code, out)
	}
	if code, out := g.run("nodes:plan"); code != 0 || !strings.Contains(r.read("rotation-plan/plan.txt"), "replace 3 nodes") || !strings.Contains(r.read("rotation-plan/plan.json"), `"cluster"`) {
		t.Fatalf("plan ended with %d:\n%s", code, out)
	}
	s.State(t).MustEqual(t, before)

	// Cancelled in the middle: what it changed is taken back.
	r.write("rotation.yaml", strings.Replace(r.read("rotation.yaml"), "bake: 0s", "bake: 10m", 1))
	job := g.start("nodes:rotate")
	job.await("canary passed")
	job.cancel()
	if out := g.cancelled("nodes:rotate"); !strings.Contains(out, "put back") {
		t.Errorf("the abort of a cancelled job says:\n%s", out)
	}
	s.State(t).MustBeTidy(t, before)

	r.write("rotation.yaml", strings.Replace(r.read("rotation.yaml"), "bake: 10m", "bake: 0s", 1))
	if code, out := g.run("nodes:rotate"); code != 0 || strings.Contains(out, "aborted") {
		t.Fatalf("rotate ended with %d:\n%s", code, out)
	}
	for kind, want := range map[string]string{"junit": "<testsuite", "metrics": "# EOF", "dotenv": "ROTATION_STATUS=done"} {
		if text := g.report("nodes:rotate", kind); !strings.Contains(text, want) {
			t.Errorf("the report %s does not hold %q:\n%s", kind, want, text)
		}
	}
	if code, out := g.run("nodes:verify"); code != 0 {
		t.Fatalf("verify ended with %d:\n%s", code, out)
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
}

// The same from GitHub, whose runner passes no signal on into a container: what a
// cancelled job began runs still when its last steps do.
func TestPipelineGitHubEKS(t *testing.T) {
	s := plain(t)
	group := groupName(s, 2)
	before := s.State(t)
	r := newRunner(t, s, fmt.Sprintf("cluster: %s\ndriver: {name: eks, config: {releases: {%s: \"ssm:%s\"}}}\nselect: {groups: [%s]}\nstrategy: {canary: {bake: 10m}}\n", s.Name, group, publishRelease(t, s), group))
	g := newGithub(r)
	g.run("plan", false)
	if text := r.read("step-summary.md"); !strings.Contains(text, "replace 3 nodes") {
		t.Errorf("the step's summary holds no plan:\n%s", text)
	}
	if text := r.read("rotation-plan/plan.json"); !strings.Contains(text, `"nodes": 3`) {
		t.Errorf("the plan as an artifact:\n%s", text)
	}

	rotate := g.start("rotate", "Rotate")
	rotate.await("canary passed")
	if said := g.run("rotate", true); !strings.Contains(said["Abort"], "put back") && !strings.Contains(said["Abort"], "nothing to take back") {
		t.Errorf("a cancelled job says %v", said)
	}
	rotate.mustEnd()
	s.State(t).MustBeTidy(t, before)

	r.write("rotation.yaml", strings.Replace(r.read("rotation.yaml"), "bake: 10m", "bake: 0s", 1))
	g = newGithub(r) // another job
	g.run("rotate", false)
	if text := r.read("rotation-report/junit.xml"); !strings.Contains(text, "<testsuite") {
		t.Errorf("junit.xml:\n%s", text)
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
	if said := g.run("rotate", true); !strings.Contains(said["Abort"], "nothing to take back") {
		t.Errorf("a cancelled job says %v", said)
	}
}

// A fleet from GitLab: the plans of all clusters before the first is touched; after
// a cancelled job each is tidy; then wave by wave to the end. The clusters are
// groups of one sandbox.
func TestPipelineFleet(t *testing.T) {
	s := plain(t)
	groups := []string{groupName(s, 1), groupName(s, 2)}
	parameter := publishRelease(t, s)
	before := s.State(t)
	r := newRunner(t, s, "")
	for i, group := range groups {
		r.write(fmt.Sprintf("c%d.yaml", i), fmt.Sprintf("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: %s\ndriver: {name: eks, config: {releases: {%s: \"ssm:%s\"}}}\nselect: {groups: [%s]}\nlock: {duration: 3s}\n",
			s.Name, group, parameter, group))
	}
	fleet := func(bake string) {
		r.write("fleet.yaml", "apiVersion: rotatord.github.io/v1alpha1\nkind: Fleet\nname: all\nonFailure: continue\nwaves:\n- {name: canary, clusters: [{name: c0, config: c0.yaml, set: {strategy.canary.bake: "+bake+"}}]}\n- {name: rest, clusters: [{name: c1, config: c1.yaml}]}\n")
	}
	fleet("10m")
	g := newGitlab(r, map[string]string{"name": "fleet", "config": "fleet.yaml", "kind": "fleet"})

	if code, out := g.run("fleet:check"); code != 0 || strings.Count(out, "newer") != 2 {
		t.Fatalf("check ended with %d:\n%s", code, out)
	}
	code, out := g.run("fleet:plan")
	if code != 0 || strings.Count(out, "Plan for cluster "+s.Name+": replace 3 nodes") != 2 || !strings.Contains(out, "CLUSTER  WAVE    EXIT  REPLACE") {
		t.Fatalf("plan ended with %d:\n%s", code, out)
	}
	for i := range groups {
		if text := r.read(fmt.Sprintf("rotation-plan/c%d/plan.txt", i)); !strings.Contains(text, "replace 3 nodes") {
			t.Errorf("the plan of c%d:\n%s", i, text)
		}
	}
	s.State(t).MustEqual(t, before)
	if code, _ := g.run("fleet:verify"); code != exitBehind {
		t.Errorf("before the rotation, verify ends with %d", code)
	}

	job := g.start("fleet:rotate")
	job.await("canary passed")
	job.cancel()
	g.cancelled("fleet:rotate") // the clusters are one, so that two aborts meet: each ends well
	s.State(t).MustBeTidy(t, before)

	fleet("0s")
	if code, out := g.run("fleet:rotate"); code != 0 {
		t.Fatalf("rotate ended with %d:\n%s", code, out)
	}
	for kind, wants := range map[string][]string{
		"junit": {`<testsuites name="fleet all" tests="2" failures="0"`, groups[0], groups[1]}, "metrics": {`rotator_nodes{cluster="c1",state="replaced"} 3`}, "dotenv": {"ROTATION_CLUSTERS_DONE=2\n"},
	} {
		for _, want := range wants {
			if text := g.report("fleet:rotate", kind); !strings.Contains(text, want) {
				t.Errorf("the report %s does not hold %q:\n%s", kind, want, text)
			}
		}
	}
	if code, out := g.run("fleet:verify"); code != 0 {
		t.Fatalf("verify ended with %d:\n%s", code, out)
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, groups...)
	s.MustHaveKeptBudgets(t)
}

// The same on a cluster of kops, which has the last word.
func TestPipelineGitLabKops(t *testing.T) {
	const group = "nodes-1"
	s := kopsApplied(t)
	s.kopsUpdate(t, "--yes")
	s.MustSettle(t)
	s.CLI(t, "publish-image", "--group", otherGroup)
	before := s.State(t)
	was := s.stored(t, group)
	r := newRunner(t, s, fmt.Sprintf("cluster: %s\ndriver: {name: kops, config: {latest: \"%s\"}}\nselect: {groups: [%s]}\n", s.Name, recommended, group))
	g := newGitlab(r, map[string]string{"name": "nodes"})

	if code, out := g.run("nodes:check"); code != 0 || !strings.Contains(out, "newer") {
		t.Fatalf("check ended with %d:\n%s", code, out)
	}
	if code, out := g.run("nodes:plan"); code != 0 || !strings.Contains(r.read("rotation-plan/plan.txt"), "replace 2 nodes") {
		t.Fatalf("plan ended with %d:\n%s", code, out)
	}
	s.State(t).MustEqual(t, before)
	if now := s.stored(t, group); now != was {
		t.Errorf("a plan has changed the state store:\n%s", now)
	}
	if code, out := g.run("nodes:rotate"); code != 0 || strings.Contains(out, "aborted") {
		t.Fatalf("rotate ended with %d:\n%s", code, out)
	}
	if text := g.report("nodes:rotate", "dotenv"); !strings.Contains(text, "ROTATION_STATUS=done") {
		t.Errorf("the variables for later jobs:\n%s", text)
	}
	if code, out := g.run("nodes:verify"); code != 0 {
		t.Fatalf("verify ended with %d:\n%s", code, out)
	}
	s.mustBeApplied(t)
	if now := s.kopsGroups(t)[group]; now.status != "Ready" || now.needUpdate != 0 || now.nodes != 2 {
		t.Errorf("kops rolling-update says of the group: %+v", now)
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group+"."+s.Name)
	s.MustHaveKeptBudgets(t)
}

// publishRelease publishes new images, and returns the parameter that names the
// one for Amazon Linux 2023 on x86.
func publishRelease(t *testing.T, s *Sandbox) string {
	t.Helper()
	for _, r := range decode[[]struct{ AMIType, Parameter string }](t, s.CLI(t, "publish-release", "--json")) {
		if r.AMIType == "AL2023_x86_64_STANDARD" {
			return r.Parameter
		}
	}
	t.Fatal("no image for Amazon Linux 2023 was published")
	return ""
}
