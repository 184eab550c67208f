package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteMetrics writes the summary in the OpenMetrics text format, all gauges, as
// GitLab (reports:metrics) and Prometheus' text file collector read it. Series
// of one metric stand together, in an order of their own.
func (s Summary) WriteMetrics(w io.Writer, exitCode int) error {
	m := &metrics{}
	m.add(s.Cluster, s, exitCode)
	return m.write(w)
}

// add adds the series of one rotation.
func (m *metrics) add(cluster string, s Summary, exitCode int) {
	m.base = []string{"cluster", cluster}
	m.family("rotator_exit_code", "Exit code of rotatord", m.value(float64(exitCode)))
	m.family("rotator_rotation_seconds", "Time that all runs of the rotation took", m.value(s.Seconds))
	m.family("rotator_rotation_done", "Whether the rotation came to its end and all is well", m.value(truth(s.Status == "done")))
	m.family("rotator_nodes", "Nodes by what became of them",
		m.value(float64(s.Planned), "state", "planned"), m.value(float64(s.Replaced), "state", "replaced"),
		m.value(float64(s.Drained), "state", "drained"), m.value(float64(s.Quarantined), "state", "quarantined"))
	m.family("rotator_replacements", "New instances, and those of them that could not be used",
		m.value(float64(s.Launched), "state", "launched"), m.value(float64(s.Bad), "state", "bad"))
	m.family("rotator_evictions", "Evictions by the API server's answer",
		m.value(float64(s.Evicted), "answer", "accepted"), m.value(float64(s.Refused), "answer", "refused"))
	m.family("rotator_failures", "Things that went wrong", m.value(float64(len(s.Failures))))
	var times []string
	for _, t := range []struct {
		step string
		Stats
	}{{"boot", s.Boot}, {"drain", s.Drain}, {"replace", s.Replace}} {
		if t.Count > 0 {
			times = append(times, m.value(t.Mean, "step", t.step, "stat", "mean"), m.value(t.Max, "step", t.step, "stat", "max"))
		}
	}
	m.family("rotator_step_seconds", "Time of the steps of one node", times...)
	var seconds, nodes []string
	for _, g := range s.Groups {
		seconds = append(seconds, m.value(g.Seconds, "group", g.Name))
		nodes = append(nodes, m.value(float64(g.Planned), "group", g.Name, "state", "planned"), m.value(float64(g.Replaced), "group", g.Name, "state", "replaced"),
			m.value(float64(g.Quarantined), "group", g.Name, "state", "quarantined"))
	}
	m.family("rotator_group_seconds", "Time that a group took", seconds...)
	m.family("rotator_group_nodes", "Nodes of a group by what became of them", nodes...)
	var calls []string
	for _, o := range s.Operations {
		calls = append(calls, m.value(float64(o.Succeeded), "verb", o.Verb, "outcome", "succeeded"), m.value(float64(o.Failed), "verb", o.Verb, "outcome", "failed"))
	}
	m.family("rotator_operations", "Changes of the provider and of nodes", calls...)
}

// metrics collects series by their families: OpenMetrics wants those of one
// together.
type metrics struct {
	base     []string // labels of every series that is added
	families []*family
}

type family struct {
	name, help string
	values     []string
}

// value is one series of a family: its labels and its number.
func (m *metrics) value(v float64, labels ...string) string {
	labels = slices.Concat(m.base, labels)
	var list []string
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i+1] != "" {
			list = append(list, fmt.Sprintf(`%s="%s"`, labels[i], metricText.Replace(labels[i+1])))
		}
	}
	return "{" + strings.Join(list, ",") + "} " + strconv.FormatFloat(v, 'f', -1, 64)
}

// metricText is how OpenMetrics escapes the value of a label.
var metricText = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// family adds series to a metric; one without any is left out.
func (m *metrics) family(name, help string, values ...string) {
	if len(values) == 0 {
		return
	}
	i := slices.IndexFunc(m.families, func(f *family) bool { return f.name == name })
	if i < 0 {
		i = len(m.families)
		m.families = append(m.families, &family{name: name, help: help})
	}
	m.families[i].values = append(m.families[i].values, values...)
}

func (m *metrics) write(w io.Writer) error {
	var b bytes.Buffer
	for _, f := range m.families {
		fmt.Fprintf(&b, "# TYPE %s gauge\n# HELP %s %s.\n", f.name, f.name, f.help)
		for _, v := range f.values {
			fmt.Fprintf(&b, "%s%s\n", f.name, v)
		}
	}
	b.WriteString("# EOF\n")
	_, err := b.WriteTo(w)
	return err
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// WriteEnv writes what a later step of a pipeline asks for as NAME=value lines,
// as GitLab's reports:dotenv and GitHub's GITHUB_ENV read them: no quotes, one
// line each. The names begin with ROTATION_ and not with ROTATOR_, which rotatord
// itself would take for settings in a later job.
func (s Summary) WriteEnv(w io.Writer, exitCode int) error {
	var releases []string
	for _, r := range s.Releases {
		if !slices.Contains(releases, r.To) {
			releases = append(releases, r.To)
		}
	}
	var b bytes.Buffer
	for _, v := range []struct {
		name  string
		value any
	}{
		{"ID", s.Rotation}, {"CLUSTER", s.Cluster}, {"STATUS", s.Status}, {"EXIT_CODE", exitCode}, {"SECONDS", int64(s.Seconds)},
		{"NODES_PLANNED", s.Planned}, {"NODES_REPLACED", s.Replaced}, {"NODES_QUARANTINED", s.Quarantined},
		{"PODS_EVICTED", s.Evicted}, {"RELEASE", strings.Join(releases, ",")},
	} {
		fmt.Fprintf(&b, "ROTATION_%s=%s\n", v.name, Clean(fmt.Sprint(v.value)))
	}
	_, err := b.WriteTo(w)
	return err
}
