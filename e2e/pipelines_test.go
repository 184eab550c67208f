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
	for _, name := range []string{"bash", "cat", "grep", "mkdir", "tee"} {
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
		Reports map[string]string `yaml:"reports"`
		Paths   []string          `yaml:"paths"`
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

// job is a job's script that runs.
type job struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of stderr; closed at its end
	ended chan struct{}
}

func (g *gitlab) start(name string) *job {
	g.t.Helper()
	cmd := exec.Command("bash", "-eo", "pipefail", "-c", strings.Join(g.jobs[name].Script, "\n"))
	cmd.Dir, cmd.Env = g.dir, g.env
	for k, v := range g.jobs[g.jobs[name].Extends].Variables {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	j := &job{t: g.t, cmd: cmd, lines: make(chan string, 10_000), ended: make(chan struct{})}
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			j.lines <- lines.Text()
		}
		close(j.lines)
		cmd.Wait() // the exit code says nothing that a test asks
		close(j.ended)
	}()
	g.t.Cleanup(j.cancel)
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

// github runs the steps of a job whose conditions hold, and answers what they
// said, by their names.
func github(r *runner, job string, cancelled bool) map[string]string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "ci", "github", "rotate.yml"))
	if err != nil {
		r.t.Fatal(err)
	}
	var w githubWorkflow
	decodeYAML(r.t, string(text), &w)
	for name, in := range w.On.Call.Inputs {
		if _, ok := r.inputs[name]; !ok {
			r.inputs[name] = in.Default
		}
	}
	env := []string{"GITHUB_STEP_SUMMARY=" + filepath.Join(r.dir, "step-summary.md")}
	for k, v := range w.Env {
		env = append(env, k+"="+r.fill(v))
	}
	said := map[string]string{}
	for _, step := range w.Jobs[job].Steps {
		if step.Run == "" || step.If != "always()" && (step.If == "cancelled()") != cancelled {
			continue
		}
		if strings.Contains(step.Run, "${{") {
			r.t.Errorf("step %s puts an expression into its script: what stands there would be run", step.Name)
		}
		said[step.Name] = r.must(step.Name, step.Run, env...)
	}
	if len(said) == 0 {
		r.t.Fatalf("job %s has run nothing", job)
	}
	return said
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
		if text := r.read(g.jobs["nodes:rotate"].Artifacts.Reports[kind]); !strings.Contains(text, want) {
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

// The same from GitHub.
func TestPipelineGitHubEKS(t *testing.T) {
	s := plain(t)
	group := groupName(s, 2)
	before := s.State(t)
	r := newRunner(t, s, fmt.Sprintf("cluster: %s\ndriver: {name: eks, config: {releases: {%s: \"ssm:%s\"}}}\nselect: {groups: [%s]}\n", s.Name, group, publishRelease(t, s), group))
	github(r, "plan", false)
	if text := r.read("step-summary.md"); !strings.Contains(text, "replace 3 nodes") {
		t.Errorf("the step's summary holds no plan:\n%s", text)
	}
	github(r, "rotate", false)
	if text := r.read("rotation-report/junit.xml"); !strings.Contains(text, "<testsuite") {
		t.Errorf("junit.xml:\n%s", text)
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	if said := github(r, "rotate", true); !strings.Contains(said["Abort"], "nothing to take back") {
		t.Errorf("a cancelled job says %v", said)
	}
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
	if text := r.read(g.jobs["nodes:rotate"].Artifacts.Reports["dotenv"]); !strings.Contains(text, "ROTATION_STATUS=done") {
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
