package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/report"
)

// maxSummary bounds what is kept of a cluster's stdout, in bytes.
const maxSummary = 16 << 20

// fleetDocument is the JSON of `rotatord run --fleet`.
type fleetDocument struct {
	Fleet    string         `json:"fleet,omitempty"`
	ExitCode int            `json:"exitCode"`
	Halted   string         `json:"halted,omitempty"`
	Clusters []fleetCluster `json:"clusters"`
}

type fleetCluster struct {
	Name  string      `json:"name"`
	Wave  string      `json:"wave"`
	State fleet.State `json:"state"`
	// Why it was skipped, or how it failed.
	Why      string    `json:"why,omitempty"`
	ExitCode int       `json:"exitCode"`
	Replaced int       `json:"replaced"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	// Rotation is the cluster's own document: a summary, or a plan that was refused.
	Rotation json.RawMessage `json:"rotation,omitempty"`
}

func (r *fleetRun) document() fleetDocument {
	d := fleetDocument{Fleet: r.fleet.Name, ExitCode: r.schedule.ExitCode(), Halted: r.schedule.Halted()}
	for _, c := range r.schedule.Standings() {
		e := r.ends[c.Name]
		d.Clusters = append(d.Clusters, fleetCluster{Name: c.Name, Wave: c.Wave, State: c.State, Why: cmp.Or(c.Why, e.why), ExitCode: c.ExitCode, Replaced: c.Replaced,
			Began: c.Began, Ended: c.Ended, Rotation: e.stdout})
	}
	return d
}

func (r *fleetRun) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CLUSTER\tWAVE\tSTATE\tEXIT\tREPLACED\tTIME\t")
	for _, c := range r.schedule.Standings() {
		exit, replaced, took := "-", "-", "-"
		if !c.Ended.IsZero() {
			exit, replaced, took = fmt.Sprint(c.ExitCode), fmt.Sprint(c.Replaced), c.Ended.Sub(c.Began).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Wave, c.State, exit, replaced, took, cmp.Or(c.Why, r.ends[c.Name].why))
	}
	return t.Flush()
}

// report is what the fleet's own report is made of.
func (r *fleetRun) report() report.Fleet {
	f := report.Fleet{Name: r.fleet.Name, ExitCode: r.schedule.ExitCode()}
	for _, c := range r.schedule.Standings() {
		e := r.ends[c.Name]
		m := report.Member{Name: c.Name, Wave: c.Wave, State: string(c.State), Why: cmp.Or(c.Why, e.why), ExitCode: c.ExitCode}
		if !c.Ended.IsZero() {
			m.Seconds = c.Ended.Sub(c.Began).Seconds()
		}
		var sum report.Summary
		if json.Unmarshal(e.stdout, &sum) == nil && sum.Status != "" { // else a plan that was refused
			m.Summary = &sum
		}
		f.Members = append(f.Members, m)
	}
	return f
}

// capped keeps the beginning of what is written to it.
type capped struct{ b bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), max(maxSummary-c.b.Len(), 0))])
	return len(p), nil
}

// prefixed writes whole lines, each after a prefix.
type prefixed struct {
	w      io.Writer
	prefix string
	rest   []byte
	// failure is the first error that a line names.
	failure string
}

// Write never fails: whoever writes would be cut off, and goes on where nobody
// reads its words any more. A line that is longer than 64 KiB is broken in two.
func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole && len(p.rest) < 64<<10 {
			return len(b), nil
		}
		if message, ok := strings.CutPrefix(string(line), "error: "); ok && p.failure == "" {
			p.failure = strings.TrimSpace(message)
		}
		_, _ = io.WriteString(p.w, p.prefix+string(line)+"\n")
		p.rest = rest
	}
}

// end writes a last line that has no end of its own.
func (p *prefixed) end() {
	if len(p.rest) > 0 {
		_, _ = p.Write([]byte("\n")) // there is nobody to tell
	}
}

// child is a rotatord that was started for one cluster.
type child interface {
	Signal(s os.Signal) error
	// Wait returns the exit code, once it has ended.
	Wait() int
}
