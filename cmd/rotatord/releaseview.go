package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

// writeReleases writes what `release check` found, for a person.
func writeReleases(w io.Writer, r *core.Releases) error {
	var b strings.Builder
	rows := [][]string{{"GROUP", "CURRENT", "TARGET", "PUBLISHED", "ORDER"}}
	for _, g := range r.Groups {
		target, published := "-", "-"
		if g.Target != nil {
			target, published = report.Clean(g.Target.String()), day(*g.Target)
		}
		rows = append(rows, []string{report.Clean(g.Group), report.Clean(g.Current.String()), target, published, cmp.Or(string(g.Order), "-")})
	}
	report.Table(&b, rows)
	notes := map[string]bool{}
	for _, g := range r.Groups {
		for _, d := range g.Diagnostics {
			writeDiagnostic(&b, d)
		}
		if g.Target != nil && g.Target.Notes != "" && g.Order != model.ReleaseSame && !notes[g.Target.Notes] {
			notes[g.Target.Notes] = true
			fmt.Fprintf(&b, "release notes of %s: %s\n", report.Clean(g.Target.ID), report.Clean(g.Target.Notes))
		}
	}
	for _, d := range r.Diagnostics {
		writeDiagnostic(&b, d)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeStaging writes what `release apply` or `rollback` did, or would do.
func writeStaging(w io.Writer, s *core.Staging, dryRun bool) error {
	var b strings.Builder
	rows := [][]string{{"GROUP", "FROM", "TO", "PUBLISHED", "STATUS", "NOTE"}}
	for _, g := range s.Groups {
		rows = append(rows, []string{report.Clean(g.Group), report.Clean(g.From.String()), report.Clean(g.To.String()), day(g.To), string(g.Status), report.Clean(g.Note)})
	}
	report.Table(&b, rows)
	for _, d := range s.Diagnostics {
		writeDiagnostic(&b, d)
	}
	switch n := s.Changes(); {
	case n == 0:
		b.WriteString("nothing to stage\n")
	case dryRun:
		fmt.Fprintf(&b, "%s would get another release; nothing was changed\n", report.Plural(n, "group"))
	case s.ID != "":
		fmt.Fprintf(&b, "recorded as rotation %s; no node was replaced: `rotatord run` does that\n", report.Clean(s.ID))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeReleaseOf says which release a group of a plan gets first.
func writeReleaseOf(b *strings.Builder, s *plan.Staging) {
	if s == nil {
		return
	}
	fmt.Fprintf(b, "  first its release becomes %s", report.Clean(s.To.String()))
	if !s.To.Created.IsZero() {
		fmt.Fprintf(b, ", published %s", day(s.To))
	}
	fmt.Fprintf(b, "; it is %s\n", report.Clean(s.From.String()))
}

func writeDiagnostic(b *strings.Builder, d model.Diagnostic) {
	fmt.Fprintf(b, "%s: %s (%s)\n", d.Severity, report.Clean(d.Summary), d.Code)
	if d.Detail != "" {
		fmt.Fprintf(b, "  %s\n", report.Clean(d.Detail))
	}
}

// day is when a release was made.
func day(r model.Release) string {
	if r.Created.IsZero() {
		return "-"
	}
	return r.Created.UTC().Format("2006-01-02")
}
