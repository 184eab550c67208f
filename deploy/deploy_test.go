// Package deploy_test holds what is shipped to what is built.
package deploy_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each image holds all that `make build` makes, and nothing else of the build.
func TestDockerfileCopiesWhatIsBuilt(t *testing.T) {
	// A dry run, with no flags of a make that runs this test.
	dryRun := exec.CommandContext(t.Context(), "make", "-n", "build", "BIN=/out", "VERSION=test")
	dryRun.Dir = ".."
	dryRun.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "BIN"}, name)
	})
	out, err := dryRun.CombinedOutput()
	if err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	var built []string
	for _, m := range regexp.MustCompile(`-o (/out/\S+)`).FindAllStringSubmatch(string(out), -1) {
		built = append(built, m[1])
	}
	slices.Sort(built)

	text := read(t, "container/Dockerfile")
	if !strings.Contains(text, "\nRUN make build BIN=/out ") {
		t.Error("the Dockerfile does not build into /out")
	}
	// The modules' Go, whatever its patch: the image has no other and fetches none.
	for _, module := range []string{"../go.mod", "../drivers/kops/go.mod"} {
		if m := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, module)); m == nil || !strings.Contains(text, "\nFROM golang:"+m[1]+" AS build\n") {
			t.Errorf("the Dockerfile does not build with the Go of %s: %v", module, m)
		}
	}
	stages := strings.Split(text, "\nFROM ")[2:] // without the comment and the stage that builds
	if len(stages) != 2 {
		t.Fatalf("%d images, want 2", len(stages))
	}
	for _, stage := range stages {
		base, _, _ := strings.Cut(stage, "\n")
		m := regexp.MustCompile(`(?m)^COPY --from=build (.*) /usr/local/bin/$`).FindStringSubmatch(stage)
		if m == nil {
			t.Errorf("the image on %s copies nothing from the build", base)
			continue
		}
		copied := strings.Fields(m[1])
		slices.Sort(copied)
		if len(built) == 0 || !slices.Equal(copied, built) {
			t.Errorf("the image on %s holds %q, make builds %q", base, copied, built)
		}
		// With a name instead of a number, a pod that must not run as root is refused.
		if !regexp.MustCompile(`(?m)^USER [1-9][0-9]*$`).MatchString(stage) {
			t.Errorf("the image on %s has no user by number", base)
		}
	}
}

// Pipelines name the image that has a shell, manifests the one without, and all of
// them one version.
func TestOneVersionOfTheImage(t *testing.T) {
	image := regexp.MustCompile(`ghcr\.io/rotatord/rotatord:\S+`)
	versions := map[string]bool{}
	for path, shell := range map[string]bool{
		"ci/gitlab/templates/rotate.yml": true,
		"ci/github/rotate.yml":           true,
		"kubernetes/job.yaml":            false,
		"kubernetes/cronjob.yaml":        false,
		"kubernetes/fleet.yaml":          false,
	} {
		name := image.FindString(read(t, path))
		version, ci := strings.CutSuffix(name, "-ci")
		if name == "" || ci != shell {
			t.Errorf("%s names the image %q", path, name)
		}
		versions[version] = true
	}
	if len(versions) != 1 {
		t.Errorf("versions %v", versions)
	}
}
