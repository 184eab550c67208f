package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
)

// maxShown bounds each list of the text; the JSON has all.
const maxShown = 10

// WriteJSON writes the summary as one JSON document.
func (s Summary) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

// WriteText writes the summary for a person.
func (s Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	title := "Rotation " + s.Rotation
	if s.Cluster != "" {
		title += " of cluster " + s.Cluster
	}
	fmt.Fprintf(&b, "%s: %s after %s\n", title, s.Status, Seconds(s.Seconds))
	if s.Message != "" && s.Message != s.Status {
		fmt.Fprintf(&b, "  %s\n", Clean(s.Message))
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	nodes := fmt.Sprintf("%d of %d replaced", s.Replaced, s.Planned)
	if s.Replaced == 0 && s.Drained > 0 { // a drain without an end of the instance
		nodes = fmt.Sprintf("%d of %d drained", s.Drained, s.Planned)
		if s.Planned == 0 { // extra instances that were taken back
			nodes = fmt.Sprintf("none to replace, %d drained", s.Drained)
		}
	}
	if s.ByOthers > 0 {
		nodes += fmt.Sprintf(", %d of them ended by somebody else", s.ByOthers)
	}
	if s.Quarantined > 0 {
		nodes += fmt.Sprintf(", %d quarantined", s.Quarantined)
	}
	line("nodes", "%s", nodes)
	if s.Bad > 0 {
		line("launched", "%d, %d of them unusable", s.Launched, s.Bad)
	}
	for _, p := range []struct {
		name string
		Stats
	}{{"boot", s.Boot}, {"drain", s.Drain}, {"replace", s.Replace}} {
		if p.Count > 0 {
			line(p.name, "%s", p.spread())
		}
	}
	evicted := Plural(s.Evicted, "pod")
	if s.Refused > 0 {
		evicted += ", " + Plural(s.Refused, "eviction") + " refused"
	}
	line("evicted", "%s", evicted)

	if len(s.Releases) > 0 {
		rows := [][]string{{"GROUP", "RELEASE", "WAS"}}
		for _, r := range s.Releases {
			rows = append(rows, []string{Clean(r.Group), named(r.To, r.ToName), named(r.From, r.FromName)})
		}
		b.WriteByte('\n')
		Table(&b, rows)
	}
	if len(s.Groups) > 0 {
		rows := [][]string{{"GROUP", "STATUS", "TIME", "PLANNED", "REPLACED", "QUARANTINED", "EVICTED", "BOOT", "DRAIN"}}
		for _, g := range s.Groups {
			rows = append(rows, []string{g.Name, g.Status, Seconds(g.Seconds), fmt.Sprint(g.Planned), fmt.Sprint(g.Replaced),
				fmt.Sprint(g.Quarantined), fmt.Sprint(g.Evicted), g.Boot.short(), g.Drain.short()})
		}
		b.WriteByte('\n')
		Table(&b, rows, 2, 3, 4, 5, 6)
	}
	troubles(&b, "Quarantined", s.Quarantines)
	troubles(&b, "Failures", s.Failures)
	if len(s.Blocked) > 0 {
		longest := slices.Clone(s.Blocked)
		slices.SortStableFunc(longest, func(x, y Blocked) int { return cmp.Compare(y.Seconds, x.Seconds) })
		rows := [][]string{}
		for _, x := range longest[:min(len(longest), maxShown)] {
			rows = append(rows, []string{"  " + x.Node, Seconds(x.Seconds), Clean(x.Message)})
		}
		b.WriteString("\nDrains that waited longest\n")
		Table(&b, rows, 1)
		more(&b, len(longest))
	}
	if len(s.Budgets) > 0 {
		rows := [][]string{}
		for _, x := range s.Budgets[:min(len(s.Budgets), maxShown)] {
			rows = append(rows, []string{"  " + x.Budget, fmt.Sprint(x.Refused)})
		}
		b.WriteString("\nEvictions refused by PodDisruptionBudgets\n")
		Table(&b, rows, 1)
		more(&b, len(s.Budgets))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func named(id, name string) string {
	if name == "" || name == id {
		return Clean(id)
	}
	return Clean(id + " (" + name + ")")
}

func troubles(b *strings.Builder, title string, list []Trouble) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, t := range list[:min(len(list), maxShown)] {
		fmt.Fprintf(b, "  %s: %s\n", Clean(t.name()), Clean(cmp.Or(t.Message, t.Code)))
	}
	more(b, len(list))
}

func more(b *strings.Builder, n int) {
	if n > maxShown {
		fmt.Fprintf(b, "  and %d more\n", n-maxShown)
	}
}

// name says what the trouble is about, the most particular first.
func (t Trouble) name() string {
	switch {
	case t.Node != "" && t.Instance != "" && t.Node != t.Instance:
		return t.Node + " (" + t.Instance + ")"
	case t.Node != "" || t.Instance != "":
		return cmp.Or(t.Node, t.Instance)
	}
	return cmp.Or(t.Group, "rotation")
}

func (s Stats) spread() string {
	if s.Count == 1 {
		return Seconds(s.Mean)
	}
	return fmt.Sprintf("%s on average, %s to %s", Seconds(s.Mean), Seconds(s.Min), Seconds(s.Max))
}

// short is for cells of a table: mean and maximum.
func (s Stats) short() string {
	switch s.Count {
	case 0:
		return "-"
	case 1:
		return Seconds(s.Mean)
	}
	return Seconds(s.Mean) + ", max " + Seconds(s.Max)
}

// Seconds writes a duration as a person reads it: 850ms, 21s, 4m12s, 2h05m.
func Seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d.Round(time.Second) < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// Plural writes a count with its noun: 1 pod, 2 pods.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Table writes rows with aligned columns, two spaces apart, without trailing
// blanks. Columns in right are aligned to the right. The last column is not
// padded.
func Table(w io.Writer, rows [][]string, right ...int) {
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if slices.Contains(right, i) {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// Clean makes a text from elsewhere safe for one line on a terminal: control
// and invisible formatting characters become blanks.

func Clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
