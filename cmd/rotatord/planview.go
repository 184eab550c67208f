package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

// planDocument is a plan as JSON.
type planDocument struct {
	*plan.Plan
	Nodes       int              `json:"nodes"`            // to replace, over all groups
	Window      *windowView      `json:"window,omitempty"` // null: a rotation may begin at any time
	Diagnostics []diagnosticView `json:"diagnostics,omitempty"`
}

// diagnosticView is a finding of the driver as JSON.
type diagnosticView struct {
	Severity model.Severity `json:"severity"`
	Code     string         `json:"code"`
	Object   string         `json:"object,omitempty"`
	Summary  string         `json:"summary"`
	Detail   string         `json:"detail,omitempty"`
}

func newPlanDocument(p *plan.Plan, diagnostics []model.Diagnostic, w *windowView) planDocument {
	c := *p // lists that are nil become [] in a copy
	c.Groups = append([]plan.Group{}, p.Groups...)
	for i := range c.Groups {
		c.Groups[i].Nodes = append([]plan.Node{}, c.Groups[i].Nodes...)
	}
	return planDocument{Plan: &c, Nodes: p.Nodes(), Window: w, Diagnostics: diagnosticViews(diagnostics)}
}

// The files of a plan in the folder of a report.
const (
	planTextFile = "plan.txt"
	planJSONFile = "plan.json"
)

// print writes the plan on stdout.
func (d planDocument) print(a *app, asJSON, all bool) error {
	if asJSON {
		return writeJSON(a.stdout, d)
	}
	return d.write(a.stdout, all)
}

// keep writes the plan into a folder, with all nodes.
func (d planDocument) keep(dir string) error {
	return report.Keep(dir,
		report.File{Name: planTextFile, Write: func(w io.Writer) error { return d.write(w, true) }},
		report.File{Name: planJSONFile, Write: func(w io.Writer) error { return writeJSON(w, d) }})
}

// todo says what a run would do; empty: nothing.
func (d planDocument) todo() string {
	var list []string
	if d.Nodes > 0 {
		list = append(list, report.Plural(d.Nodes, "node")+" to replace")
	}
	if n := d.Stagings(); n > 0 {
		list = append(list, report.Plural(n, "release")+" to stage")
	}
	if d.Leftovers() {
		list = append(list, "what an earlier run left to put back")
	}
	return strings.Join(list, ", ")
}

// maxRows bounds the nodes of a group that are listed, unless all are wanted.
const maxRows = 20

// write writes a plan for a person: of a large group the first few nodes, or all
// of them. It shows what the document holds and nothing else, so that a document
// that was read back looks as it did.
func (d planDocument) write(w io.Writer, all bool) error {
	var b strings.Builder
	p, diagnostics := d.Plan, d.Diagnostics
	current := 0
	for _, g := range p.Groups {
		current += g.Current
	}
	if n := p.Nodes(); n > 0 {
		fmt.Fprintf(&b, "Plan for cluster %s: replace %s in %s, mode %s\n", p.Cluster,
			of(n, n+current, "node"), report.Plural(len(p.Groups), "group"), p.Mode)
	} else {
		fmt.Fprintf(&b, "Plan for cluster %s: nothing to replace, %s current in %s\n", p.Cluster,
			are(current, "node"), report.Plural(len(p.Groups), "group"))
	}
	if p.Estimate != nil {
		for i, line := range p.Estimate.Lines() {
			fmt.Fprintf(&b, "  %-6s %s\n", map[bool]string{true: "time:"}[i == 0], report.Clean(line))
		}
	}
	if p.Estimate != nil && slices.ContainsFunc(p.Groups, func(g plan.Group) bool { return g.Roll != nil }) {
		fmt.Fprintf(&b, "  %-6s the groups that their provider rolls are not in it\n", "")
	}
	if d.Window != nil {
		fmt.Fprintf(&b, "  %-6s %s\n", "window:", report.Clean(d.Window.String()))
	}
	for _, g := range p.Groups {
		writeGroup(&b, g, paceOf(p, g.Name), nodeless(p, g), all)
	}
	writeSingles(&b, p)
	if p.MarkedNodes > 0 {
		fmt.Fprintf(&b, "\n%s left marked by an earlier run\n", are(p.MarkedNodes, "node"))
	}
	if len(diagnostics) > 0 {
		b.WriteString("\nThe driver and the journal say\n")
		for _, d := range diagnostics {
			fmt.Fprintf(&b, "  %s: %s (%s)\n", d.Severity, report.Clean(d.Summary), d.Code)
			if d.Detail != "" {
				fmt.Fprintf(&b, "    %s\n", report.Clean(d.Detail))
			}
		}
	}
	findings(&b, "Notes", p.Notes)
	findings(&b, "Warnings", p.Warnings)
	findings(&b, "Refused", p.Refusals)
	_, err := io.WriteString(w, b.String())
	return err
}

// paceOf says how a group's nodes follow one another.
func paceOf(p *plan.Plan, group string) string {
	if p.Estimate == nil {
		return ""
	}
	for _, part := range p.Estimate.Groups {
		switch {
		case part.Name != group:
		case part.Waves > 0:
			return fmt.Sprintf("; %s of at most %d", report.Plural(part.Waves, "wave"), part.AtOnce)
		case part.AtOnce > 1:
			return fmt.Sprintf("; %d at once, the next as soon as one is done", part.AtOnce)
		default:
			return "; one at a time"
		}
	}
	return ""
}

// nodeless is what stands for the node of an instance that has none, as far as is
// known.
func nodeless(p *plan.Plan, g plan.Group) string {
	switch {
	case g.Role == model.RoleBastion:
		return "-" // never a node
	case p.CloudOnly:
		return "(unknown)"
	}
	return "(never joined)"
}

func writeGroup(b *strings.Builder, g plan.Group, pace, nodeless string, all bool) {
	fmt.Fprintf(b, "\nGroup %s (%s), revision %s\n", report.Clean(g.Name), g.Role, cmp.Or(report.Clean(g.Revision), "unknown"))
	writeReleaseOf(b, g.Staging)
	if g.HeldBy != "" || g.LeftSurge > 0 {
		held := ""
		if g.HeldBy != "" {
			held = "held by rotation " + g.HeldBy + ", "
		}
		fmt.Fprintf(b, "  an earlier run left it unfinished: %s%s\n", held, report.Plural(g.LeftSurge, "extra instance"))
	}
	if len(g.Nodes) == 0 {
		if g.Roll != nil && g.Roll.Running != "" {
			fmt.Fprintf(b, "  its provider rolls it still (%s): its end is waited for\n", report.Clean(g.Roll.Running))
		}
		fmt.Fprintf(b, "  nothing to replace: %s current\n", are(g.Current, "node"))
		return
	}
	if g.Roll != nil {
		writeRoll(b, g)
	} else {
		fmt.Fprintf(b, "  replace %s; size %d, surge %d, unavailable %d%s\n", of(len(g.Nodes), len(g.Nodes)+g.Current, "node"), g.Size, g.Surge, g.Unavailable, pace)
	}
	switch surge, unavailable := report.Clean(g.SurgeFrom), report.Clean(g.UnavailableFrom); {
	case surge != "" && surge == unavailable:
		fmt.Fprintf(b, "  surge and unavailable are the group's own: %s\n", surge)
	case surge != "":
		fmt.Fprintf(b, "  the surge is the group's own: %s\n", surge)
	case unavailable != "":
		fmt.Fprintf(b, "  unavailable is the group's own: %s\n", unavailable)
	}
	rows := [][]string{{"  #", "NODE", "INSTANCE", "ZONE", "PODS", "WHY"}}
	shown := g.Nodes
	if !all && len(shown) > maxRows {
		shown = shown[:maxRows-1] // never fold a single row
	}
	for i, n := range shown {
		var why []string
		for _, r := range n.Reasons {
			why = append(why, cmp.Or(r.Message, r.Code))
		}
		rows = append(rows, []string{fmt.Sprintf("  %d", i+1), cmp.Or(n.Node, nodeless), n.Instance, cmp.Or(n.Zone, "-"),
			fmt.Sprint(n.Pods), report.Clean(strings.Join(why, "; "))})
	}
	report.Table(b, rows, 0, 4)
	if more := len(g.Nodes) - len(shown); more > 0 {
		fmt.Fprintf(b, "  and %d more: --all lists them\n", more)
	}
}

// writeRoll says that the provider replaces a group's nodes, and what that
// means.
func writeRoll(b *strings.Builder, g plan.Group) {
	most := "as many missing at once as the group's own setting allows"
	switch {
	case g.Roll.MaxUnavailable > 0:
		most = fmt.Sprintf("at most %d missing at once", g.Roll.MaxUnavailable)
	case g.UnavailableFrom != "":
		most = fmt.Sprintf("at most %d missing at once, by %s", g.Unavailable, report.Clean(g.UnavailableFrom))
	}
	fmt.Fprintf(b, "  the provider rolls it: replace %s; size %d, %s\n", of(len(g.Nodes), len(g.Nodes)+g.Current, "node"), g.Size, most)
	if g.Roll.Running != "" {
		fmt.Fprintf(b, "  a roll is in flight already (%s): no other is begun\n", report.Clean(g.Roll.Running))
	}
	if g.Roll.Assisted {
		fmt.Fprintf(b, "  rotatord empties nodes ahead of it, and ends none; with those that it takes, at most %d are missing\n", g.Unavailable)
	}
	fmt.Fprintf(b, "  mind: %s\n", strings.Join(g.Roll.Cannot, "; "))
	if len(g.Roll.Ignored) > 0 {
		fmt.Fprintf(b, "  without effect on it: %s\n", strings.Join(g.Roll.Ignored, ", "))
	}
}

func findings(b *strings.Builder, title string, list []plan.Finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, f := range list {
		fmt.Fprintf(b, "  %s (%s)\n", report.Clean(f.Message), f.Code)
		if f.Fix != "" {
			fmt.Fprintf(b, "    fix: %s\n", report.Clean(f.Fix))
		}
	}
}

// of writes "3 of 8 nodes", or "8 nodes" for all of them.
func of(n, all int, noun string) string {
	if n == all {
		return report.Plural(n, noun)
	}
	return fmt.Sprintf("%d of %s", n, report.Plural(all, noun))
}

// are writes "1 node is" or "2 nodes are".
func are(n int, noun string) string {
	if n == 1 {
		return report.Plural(n, noun) + " is"
	}
	return report.Plural(n, noun) + " are"
}

// refused is the failure of a plan with refusals; nil: there are none.
func refused(p *plan.Plan) error {
	if len(p.Refusals) == 0 {
		return nil
	}
	f := &failure{code: exitRefused, message: "refused, nothing was changed: " + report.Clean(p.Refusals[0].Message), fix: report.Clean(p.Refusals[0].Fix)}
	if n := len(p.Refusals); n > 1 {
		f.message = fmt.Sprintf("refused for %d reasons, nothing was changed; the first: %s", n, report.Clean(p.Refusals[0].Message))
		f.fix = cmp.Or(f.fix, "see what the plan says") + " (the plan above names all)"
	}
	return f
}
