package report

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A fleet's report has the files of a rotation's, over all its clusters.
func TestFleetReport(t *testing.T) {
	s, _ := summed(released())
	dir := filepath.Join(t.TempDir(), "report")
	f := Fleet{Name: "production", ExitCode: 5, Members: []Member{
		{Name: "staging", Wave: "canary", State: "done", Seconds: 60, Summary: &s},
		{Name: "eu-1", Wave: "eu", State: "failed", ExitCode: 5, Why: "a health gate failed: node <n>", Seconds: 30, Summary: &s},
		{Name: "eu-2", Wave: "eu", State: "failed", ExitCode: 1},
		{Name: "us-1", Wave: "us", State: "skipped", Why: "cluster eu-1 has failed"},
	}}
	if err := f.Keep(dir, map[string]string{"fleet": "production"}); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"fleet.junit.xml": JUnitFile, "fleet.metrics.txt": MetricsFile, "fleet.env": EnvFile, "fleet.summary.json": SummaryFile} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
	}
	// OpenMetrics wants the series of one metric together, and each metric once.
	b, err := os.ReadFile(filepath.Join(dir, MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("# TYPE rotator_nodes gauge\n")); n != 1 {
		t.Errorf("rotator_nodes is declared %d times", n)
	}
}
