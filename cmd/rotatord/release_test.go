package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/report"
)

// What a staging leaves in the report's folder says how the command ended, also
// where no event came.
func TestStagingReports(t *testing.T) {
	for name, c := range map[string]struct {
		fake   fake
		args   []string
		code   int
		status string
	}{
		"staged":          {fake: fake{staging: exampleStaging("r-1", core.GroupStaged)}, status: "done"},
		"nothing to do":   {fake: fake{staging: exampleStaging("", core.GroupCurrent)}, status: "done"},
		"a dry run":       {fake: fake{staging: exampleStaging("", core.GroupPlanned)}, args: []string{"--dry-run"}, status: "done"},
		"refused":         {fake: fake{stageErr: refused(refusedPlan())}, code: exitRefused, status: "failed"},
		"stopped":         {fake: fake{staging: exampleStaging("r-1", core.GroupPlanned), stageErr: &core.EndError{Result: &engine.Result{Status: engine.StatusStopped, Message: "by a signal"}}}, code: exitStopped, status: "stopped"},
		"another failure": {fake: fake{stageErr: fmt.Errorf("no driver")}, code: exitFailed, status: "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := call(t, &c.fake, with(append([]string{"release", "apply", "--report-dir", dir}, c.args...)...)...)
			if o.code != c.code {
				t.Fatalf("exit code %d, want %d: %s", o.code, c.code, o.stderr)
			}
			read := func(name string) string {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			var s report.Summary
			if err := json.Unmarshal([]byte(read(report.SummaryFile)), &s); err != nil || s.Status != c.status {
				t.Errorf("summary.json: status %q (%v), want %q", s.Status, err, c.status)
			}
			if want := fmt.Sprintf("ROTATION_EXIT_CODE=%d\n", c.code); !strings.Contains(read(report.EnvFile), want) {
				t.Errorf("rotation.env lacks %q:\n%s", want, read(report.EnvFile))
			}
			if failed := strings.Contains(read(report.JUnitFile), "<failure"); failed != (c.status != "done") {
				t.Errorf("junit.xml:\n%s", read(report.JUnitFile))
			}
		})
	}
}

// --output json gives one document even where the staging is refused.
func TestRefusedStagingAsJSON(t *testing.T) {
	f := &fake{stageErr: &core.RefusedError{Plan: refusedPlan()}}
	o := call(t, f, with("release", "apply", "--release", "ami-7", "-o", "json")...)
	var d stagingDocument
	if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
		t.Fatalf("%v: %q", err, o.stdout)
	}
	if len(d.Refusals) != len(refusedPlan().Refusals) || d.Release != "ami-7" || d.Groups == nil || d.Cluster != "prod" {
		t.Errorf("%+v", d)
	}
}
