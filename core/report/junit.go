package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/rotatord/rotator/core/event"
)

// JUnit makes a JUnit report of a rotation, for the test views of CI systems: a
// suite for each group, with a case for the group itself, one for each of its
// nodes and one for each gate that failed. Nodes that the rotation did not come
// to are skipped cases. It implements the runtime's Sink; the zero value is ready
// to use, and it is safe for concurrent use.
type JUnit struct {
	mu     sync.Mutex
	seq    uint64
	suites []*suite
}

// suite is one group, or the rotation itself (an empty name).
type suite struct {
	group string
	whole *testCase // the group's own
	cases []*testCase
	index map[string]*testCase // by key
}

type caseState int

const (
	casePlanned caseState = iota
	casePassed
	caseFailed
)

type testCase struct {
	key, name string
	state     caseState
	seconds   float64
	code      string
	message   string
}

// Publish folds events in; those that were folded already are skipped.
func (j *JUnit) Publish(events []event.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range events {
		if e.Seq != 0 && e.Seq <= j.seq {
			continue
		}
		j.seq = max(j.seq, e.Seq)
		j.apply(e)
	}
}

func (j *JUnit) apply(e event.Event) {
	switch e.Kind {
	case event.RotationStarted: // what an earlier run gave up is tried again
		for _, s := range j.suites {
			s.cases = slices.DeleteFunc(s.cases, func(c *testCase) bool {
				gone := c.state == caseFailed && strings.HasPrefix(c.key, "gate ")
				if gone {
					delete(s.index, c.key)
				}
				return gone
			})
			for _, c := range append([]*testCase{s.whole}, s.cases...) {
				if c != nil && c.state == caseFailed {
					c.state, c.message = casePlanned, ""
				}
			}
		}
	case event.GroupPlanned:
		for _, id := range strings.Fields(e.Data["instances"]) {
			j.of(e.Group).node(id)
		}
	case event.GroupStarted, event.GroupRolling:
		j.of(e.Group).itself()
	case event.GroupFinished:
		j.of(e.Group).itself().pass()
	case event.GroupRolled:
		switch c := j.of(e.Group).itself(); e.Code {
		case "succeeded", "nothing":
			c.pass()
		case "cancelled": // it was not brought to an end, as was asked for
		default:
			c.fail(e)
		}
	case event.GroupHalted:
		j.of(e.Group).itself().fail(e)
	case event.NodeDraining:
		if c := j.of(e.Group).node(cmp.Or(e.Instance, e.Node)); e.Node != "" {
			c.name = e.Node
		}
	case event.NodeReplaced:
		c := j.of(e.Group).node(cmp.Or(e.Instance, e.Node))
		c.state, c.seconds, c.name = casePassed, seconds(e, "seconds", e.Time), cmp.Or(e.Node, c.name)
	case event.NodeQuarantined:
		c := j.of(e.Group).node(cmp.Or(e.Instance, e.Node))
		c.name = cmp.Or(e.Node, c.name)
		c.fail(e)
	case event.ReplacementBad:
		j.of(e.Group).add("replacement "+e.Instance, "replacement "+cmp.Or(e.Node, e.Instance)).fail(e)
	case event.GateFailed:
		name := strings.TrimSpace("gate " + e.Code)
		j.of(e.Group).add("gate "+e.Code+" "+e.Node, strings.TrimSpace(name+" "+e.Node)).fail(e)
	case event.OpSucceeded, event.OpFailed:
		if e.Verb != event.VerbStage {
			break
		}
		c := j.of(e.Group).add("stage", "release "+e.Data["to"])
		if c.state = casePassed; e.Kind == event.OpFailed {
			c.fail(e)
		}
	default: // no other kind is a case of its own
	}
}

// pass leaves a case that has failed as it is.
func (c *testCase) pass() {
	if c.state == casePlanned {
		c.state = casePassed
	}
}

func (c *testCase) fail(e event.Event) {
	c.state, c.code, c.message = caseFailed, string(e.Kind), cmp.Or(e.Message, e.Code)
}

func (j *JUnit) of(group string) *suite {
	for _, s := range j.suites {
		if s.group == group {
			return s
		}
	}
	s := &suite{group: group}
	j.suites = append(j.suites, s)
	return s
}

func (s *suite) itself() *testCase {
	if s.whole == nil {
		s.whole = &testCase{name: "group " + s.group}
	}
	return s.whole
}

func (s *suite) node(id string) *testCase { return s.add("node "+id, id) }

// add returns the case with this key; one that is not there is made.
func (s *suite) add(key, name string) *testCase {
	if c := s.index[key]; c != nil {
		return c
	}
	c := &testCase{key: key, name: name}
	keep(&s.index, key, c)
	s.cases = append(s.cases, c)
	return c
}

// The elements of the format, as Jenkins, GitLab and GitHub's actions read it.
type (
	xmlSuites struct {
		XMLName  xml.Name   `xml:"testsuites"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Time     string     `xml:"time,attr"`
		Suites   []xmlSuite `xml:"testsuite"`
	}
	xmlSuite struct {
		Name     string    `xml:"name,attr"`
		Tests    int       `xml:"tests,attr"`
		Failures int       `xml:"failures,attr"`
		Skipped  int       `xml:"skipped,attr"`
		Time     string    `xml:"time,attr"`
		Cases    []xmlCase `xml:"testcase"`
	}
	xmlCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Time    string   `xml:"time,attr"`
		Failure *xmlNote `xml:"failure,omitempty"`
		Skipped *xmlNote `xml:"skipped,omitempty"`
	}
	xmlNote struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// Write writes the report of the rotation that s sums up. A rotation that did
// not end well has a failed case of its own even where no group does.
func (j *JUnit) Write(w io.Writer, s Summary) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	doc := xmlSuites{Name: "rotation " + s.Rotation, Time: decimal(s.Seconds)}
	whole := &testCase{name: "rotation", state: casePassed, seconds: s.Seconds}
	if s.Status != "done" {
		whole.state, whole.code, whole.message = caseFailed, s.Status, cmp.Or(s.Message, s.Status)
	}
	doc.add(Clean(cmp.Or(s.Cluster, "cluster")), "rotation", []*testCase{whole})
	for _, x := range j.suites {
		cases := x.cases
		if x.whole != nil {
			c := *x.whole
			for _, g := range s.Groups {
				if g.Name == x.group {
					c.seconds = g.Seconds
				}
			}
			cases = append([]*testCase{&c}, cases...)
		}
		doc.add(Clean(strings.Join(slices.DeleteFunc([]string{s.Cluster, x.group}, func(t string) bool { return t == "" }), ".")), cmp.Or(x.group, "cluster"), cases)
	}
	return doc.write(w)
}

func (d *xmlSuites) write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(d); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (d *xmlSuites) add(class, name string, cases []*testCase) {
	out := xmlSuite{Name: Clean(name)}
	total := 0.0
	for _, c := range cases {
		x := xmlCase{Class: class, Name: Clean(c.name), Time: decimal(c.seconds)}
		out.Tests++
		switch c.state {
		case caseFailed:
			out.Failures++
			x.Failure = &xmlNote{Type: c.code, Message: Clean(c.message), Text: Clean(c.message)}
		case casePlanned:
			out.Skipped++
			x.Skipped = &xmlNote{Message: cmp.Or(Clean(c.message), "the rotation did not bring it to an end")}
		case casePassed:
		}
		total = max(total, c.seconds) // they run beside one another
		out.Cases = append(out.Cases, x)
	}
	out.Time = decimal(total)
	d.Tests, d.Failures, d.Skipped = d.Tests+out.Tests, d.Failures+out.Failures, d.Skipped+out.Skipped
	d.Suites = append(d.Suites, out)
}

func decimal(seconds float64) string { return fmt.Sprintf("%.3f", seconds) }
