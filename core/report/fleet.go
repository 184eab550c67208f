package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
)

// Member is one cluster of a fleet in the fleet's report.
type Member struct {
	Name string // in the fleet; its labels bear it
	Wave string
	// State is done, stopped, failed or skipped; Why says more.
	State, Why string
	ExitCode   int
	Seconds    float64
	// Summary is its rotation's; nil: it left none.
	Summary *Summary
}

// Fleet is what the report of a fleet is made of.
type Fleet struct {
	Name     string
	ExitCode int
	Members  []Member
}

// Keep writes the fleet's report into a folder: summary.json with the document,
// and junit.xml, metrics.txt and rotation.env under the names that those of one
// rotation have, so that a pipeline finds them at the same places. Each member's
// own are in folders of their names.
func (f Fleet) Keep(dir string, document any) error {
	return Keep(dir,
		File{SummaryFile, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(document)
		}},
		File{JUnitFile, f.writeJUnit},
		File{MetricsFile, f.writeMetrics},
		File{EnvFile, f.writeEnv})
}

// writeJUnit writes one case for each cluster, in suites of their waves.
func (f Fleet) writeJUnit(w io.Writer) error {
	doc := xmlSuites{Name: "fleet " + Clean(f.Name)}
	waves := map[string][]*testCase{}
	var order []string
	total := 0.0
	for _, m := range f.Members {
		c := &testCase{name: m.Name, seconds: m.Seconds}
		switch m.State {
		case "done":
			c.state = casePassed
		case "skipped":
			c.message = m.Why
		default:
			c.state, c.code, c.message = caseFailed, m.State, cmp.Or(m.Why, fmt.Sprintf("exit code %d", m.ExitCode))
		}
		total += m.Seconds
		if waves[m.Wave] == nil {
			order = append(order, m.Wave)
		}
		waves[m.Wave] = append(waves[m.Wave], c)
	}
	doc.Time = decimal(total)
	for _, wave := range order {
		doc.add("fleet."+Clean(wave), "wave "+wave, waves[wave])
	}
	return doc.write(w)
}

func (f Fleet) writeMetrics(w io.Writer) error {
	m := &metrics{}
	done := 0
	for _, c := range f.Members {
		if c.Summary != nil {
			m.add(c.Name, *c.Summary, c.ExitCode)
		}
		if c.State == "done" {
			done++
		}
	}
	m.base = []string{"fleet", f.Name}
	m.family("rotator_fleet_exit_code", "Exit code of the fleet", m.value(float64(f.ExitCode)))
	m.family("rotator_fleet_clusters", "Clusters by what became of them",
		m.value(float64(len(f.Members)), "state", "all"), m.value(float64(done), "state", "done"))
	return m.write(w)
}

// writeEnv is Summary.WriteEnv for a fleet: sums over its clusters.
func (f Fleet) writeEnv(w io.Writer) error {
	var planned, replaced, quarantined, evicted, done int
	for _, m := range f.Members {
		if m.State == "done" {
			done++
		}
		if s := m.Summary; s != nil {
			planned, replaced, quarantined, evicted = planned+s.Planned, replaced+s.Replaced, quarantined+s.Quarantined, evicted+s.Evicted
		}
	}
	status := map[int]string{0: "done", 4: "stopped", 5: "gate-failed"}[f.ExitCode]
	var b bytes.Buffer
	for _, v := range []struct {
		name  string
		value any
	}{
		{"FLEET", f.Name}, {"STATUS", cmp.Or(status, "failed")}, {"EXIT_CODE", f.ExitCode}, {"CLUSTERS", len(f.Members)}, {"CLUSTERS_DONE", done},
		{"NODES_PLANNED", planned}, {"NODES_REPLACED", replaced}, {"NODES_QUARANTINED", quarantined}, {"PODS_EVICTED", evicted},
	} {
		fmt.Fprintf(&b, "ROTATION_%s=%s\n", v.name, Clean(fmt.Sprint(v.value)))
	}
	_, err := b.WriteTo(w)
	return err
}
