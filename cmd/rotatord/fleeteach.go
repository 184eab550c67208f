package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/report"
)

// eachAtOnce is how many clusters are looked at, or aborted, at once, unless the
// fleet file allows more: each takes a rotatord and a driver of its own, of some
// 50 to 200 MiB together, and an abort in a cancelled job has five minutes.
const eachAtOnce = 4

// byWeight are exit codes from the one that asks the least of a person to the one
// that asks the most: a fleet's is the heaviest of its clusters'.
var byWeight = []int{exitDone, exitBehind, exitStopped, exitLocked, exitGate, exitRefused, exitUsage, exitFailed}

func heavier(a, b int) int {
	weight := func(code int) int {
		if i := slices.Index(byWeight, code); i >= 0 {
			return i
		}
		return len(byWeight) // none of ours
	}
	if weight(b) > weight(a) {
		return b
	}
	return a
}

// eachView shows what a command gives for all clusters.
type eachView struct {
	// column heads the one that cell fills.
	column string
	cell   func(document []byte) string
	// text writes the document of one cluster for a person; nil: the cell says it all.
	text func(w io.Writer, document []byte) error
	// into puts the document where the command's JSON has it.
	into func(c *eachCluster, document json.RawMessage)
}

// eachDocument is the JSON of a command for all clusters of a fleet but run.
type eachDocument struct {
	Fleet    string        `json:"fleet,omitempty"`
	ExitCode int           `json:"exitCode"`         // the heaviest of the clusters'
	Window   *windowView   `json:"window,omitempty"` // of a plan
	Clusters []eachCluster `json:"clusters"`
}

type eachCluster struct {
	Name     string `json:"name"`
	Wave     string `json:"wave"`
	ExitCode int    `json:"exitCode"`
	Why      string `json:"why,omitempty"` // of another exit code than 0
	// The cluster's own document, as the command without --fleet gives it.
	Plan     json.RawMessage `json:"plan,omitempty"`
	Releases json.RawMessage `json:"releases,omitempty"`
	Rotation json.RawMessage `json:"rotation,omitempty"`
}

// planFleet plans for each cluster of a fleet.
func (a *app) planFleet(cmd *cobra.Command, file string, o planOptions) error {
	f, err := a.newFleet(cmd, file)
	if err != nil {
		return err
	}
	command := []string{"plan"}
	if o.exitCode {
		command = append(command, "--exit-code")
	}
	return f.each(command, windowOf(f.fleet.Window, time.Now()), eachView{
		column: "REPLACE",
		cell: func(document []byte) string {
			var d planDocument
			if json.Unmarshal(document, &d) != nil || d.Plan == nil {
				return "-"
			}
			all := d.Nodes
			for _, g := range d.Groups {
				all += g.Current
			}
			return fmt.Sprintf("%d of %d", d.Nodes, all)
		},
		text: func(w io.Writer, document []byte) error {
			var d planDocument
			if err := json.Unmarshal(document, &d); err != nil || d.Plan == nil {
				return err
			}
			return d.write(w, o.all)
		},
		into: func(c *eachCluster, document json.RawMessage) { c.Plan = document },
	})
}

// checkFleet compares the groups of each cluster of a fleet with a release.
func (a *app) checkFleet(cmd *cobra.Command, file string) error {
	f, err := a.newFleet(cmd, file)
	if err != nil {
		return err
	}
	return f.each([]string{"release", "check"}, nil, eachView{
		column: "BEHIND",
		cell: func(document []byte) string {
			var d releasesDocument
			if json.Unmarshal(document, &d) != nil {
				return "-"
			}
			behind := 0
			for _, g := range d.Groups {
				if g.Order != model.ReleaseSame {
					behind++
				}
			}
			return fmt.Sprintf("%d of %s", behind, report.Plural(len(d.Groups), "group"))
		},
		text: func(w io.Writer, document []byte) error {
			var d releasesDocument
			if err := json.Unmarshal(document, &d); err != nil {
				return err
			}
			return writeReleases(w, d.releases())
		},
		into: func(c *eachCluster, document json.RawMessage) { c.Releases = document },
	})
}

// releases is what the document was made of.
func (d releasesDocument) releases() *core.Releases {
	r := &core.Releases{Release: d.Release, Diagnostics: diagnosticsOf(d.Diagnostics)}
	for _, g := range d.Groups {
		g.GroupRelease.Diagnostics = diagnosticsOf(g.Diagnostics)
		r.Groups = append(r.Groups, g.GroupRelease)
	}
	return r
}

// abortFleet takes back what unfinished rotations of all clusters changed.
func (a *app) abortFleet(cmd *cobra.Command, file string) error {
	f, err := a.newFleet(cmd, file)
	if err != nil {
		return err
	}
	return f.each([]string{"abort"}, nil, eachView{
		column: "RESULT",
		cell: func(document []byte) string {
			var d report.Summary
			if json.Unmarshal(document, &d) != nil {
				return "-"
			}
			return report.Clean(cmp.Or(d.Message, d.Status))
		},
		into: func(c *eachCluster, document json.RawMessage) { c.Rotation = document },
	})
}

// each has one rotatord for every cluster, some at once, in the order of the file:
// no bake, no stop rule and no window holds one back. The error is the heaviest
// of the clusters' exit codes.
func (f *fleetCall) each(command []string, w *windowView, v eachView) error {
	ends := f.everywhere(command)
	doc := eachDocument{Fleet: f.fleet.Name, Window: w}
	not := []string{}
	for _, wave := range f.fleet.Waves {
		for _, c := range wave.Clusters {
			e, ended := ends[c.Name]
			if !ended {
				e = fleetEnd{cluster: c.Name, code: exitStopped, why: "not begun: stopped by a signal"}
			}
			out := eachCluster{Name: c.Name, Wave: wave.Name, ExitCode: e.code, Why: e.why}
			if json.Valid(e.stdout) {
				v.into(&out, e.stdout)
			}
			if e.code != exitDone {
				not = append(not, fmt.Sprintf("%s (%d)", c.Name, e.code))
			}
			doc.Clusters = append(doc.Clusters, out)
			doc.ExitCode = heavier(doc.ExitCode, e.code)
		}
	}
	var err error
	if f.json {
		err = writeJSON(f.app.stdout, doc)
	} else {
		err = f.write(f.app.stdout, doc, ends, v)
	}
	if err != nil || doc.ExitCode == exitDone {
		return err
	}
	return &failure{code: doc.ExitCode, message: fmt.Sprintf("%d of %s ended with another exit code than 0: %s", len(not), report.Plural(len(doc.Clusters), "cluster"), strings.Join(not, ", ")),
		fix: "see what is said of each"}
}

// everywhere runs the command for all clusters until it has ended for each; a
// signal begins no other.
func (f *fleetCall) everywhere(command []string) map[string]fleetEnd {
	var release func()
	f.stop, release = f.app.listen()
	defer release()
	var waiting []fleet.Cluster
	for _, w := range f.fleet.Waves {
		waiting = append(waiting, w.Clusters...)
	}
	ends := map[string]fleetEnd{}
	for running := 0; ; {
		for f.signals == 0 && len(waiting) > 0 && running < max(eachAtOnce, f.fleet.AtOnce) {
			f.begin(waiting[0], slices.Clone(command)...)
			waiting = waiting[1:]
			running++
		}
		if running == 0 {
			return ends
		}
		select {
		case e := <-f.ended:
			running--
			ends[e.cluster] = e
			f.took(e, "")
		case sig := <-f.stop:
			if !f.signalled(sig) {
				return ends
			}
		}
	}
}

// write writes what each cluster gave, then a table of all.
func (f *fleetCall) write(w io.Writer, doc eachDocument, ends map[string]fleetEnd, v eachView) error {
	for _, c := range doc.Clusters {
		document := ends[c.Name].stdout
		if v.text == nil || !json.Valid(document) {
			continue
		}
		fmt.Fprintf(w, "== cluster %s, wave %s\n", c.Name, c.Wave)
		if err := v.text(w, document); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if doc.Window != nil {
		fmt.Fprintf(w, "window of the fleet: %s\n\n", report.Clean(doc.Window.String()))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CLUSTER\tWAVE\tEXIT\t%s\t\n", v.column)
	for _, c := range doc.Clusters {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", c.Name, c.Wave, c.ExitCode, v.cell(ends[c.Name].stdout), report.Clean(c.Why))
	}
	return t.Flush()
}
