//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// apiTimes are what an API server writes by its own clock, in JSON.
var apiTimes = regexp.MustCompile(`"(?:creation|deletion)Timestamp":"([0-9TZ:-]{20})"`)

// byOtherClock makes an API server of one whose clock is that far ahead of this
// machine's, behind it where negative.
func byOtherClock(ahead time.Duration) apiProxy {
	shift := func(line []byte) []byte {
		return apiTimes.ReplaceAllFunc(line, func(field []byte) []byte {
			text := field[len(field)-len(time.RFC3339)+4 : len(field)-1]
			at, err := time.Parse(time.RFC3339, string(text))
			if err != nil {
				return field // no time: rotatord is to see it as it is
			}
			return append(field[:len(field)-len(text)-1:len(field)-len(text)-1], at.Add(ahead).UTC().Format(time.RFC3339)+`"`...)
		})
	}
	return apiProxy{json: true, answer: func(a *http.Response) error {
		if date, err := http.ParseTime(a.Header.Get("Date")); err == nil {
			a.Header.Set("Date", date.Add(ahead).UTC().Format(http.TimeFormat))
		}
		// A watch is endless, with an event on each line.
		from, to := io.Pipe()
		body := a.Body
		go func() {
			in := bufio.NewReader(body)
			for {
				line, err := in.ReadBytes('\n')
				if _, lost := to.Write(shift(line)); lost != nil || err != nil {
					to.CloseWithError(err)
					return
				}
			}
		}()
		a.Body = struct {
			io.Reader
			io.Closer
		}{from, closers{from, body}}
		a.ContentLength = -1
		a.Header.Del("Content-Length")
		return nil
	}}
}

// closers closes both.
type closers [2]io.Closer

func (c closers) Close() error {
	c[0].Close() // the end of a pipe has no error
	return c[1].Close()
}

// A cluster whose clock is far from this machine's: it is said, and a pod that has
// its grace period still is not taken for one that was to have ended long ago.
func TestClockSkew(t *testing.T) {
	s := pods(t)
	c := newPodCase(t, s, "skew")
	defer c.end()
	c.deployment("slow", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/stop-delay": "6s"}
		p.Spec.TerminationGracePeriodSeconds = new(int64(20))
	})
	c.ready("slow", 1)
	c.open()
	group := groupName(s, 1)
	before := s.State(t)
	s.PublishImage(t, group)
	r := byOtherClock(-10*time.Minute).rotatord(t, s)
	r.Run(t, "run", "--group", group, "--drain-deadline", "3s", "--max-surge", "2", "--canary=false").MustExit(t, exitDone,
		"the API server's clock is ", " behind this machine's", "set the clocks right", "the deadline of 3s has passed", "within their grace periods until ")
	for _, e := range r.Events(t, "node-blocked") {
		_, due, ok := strings.Cut(e.Message, "within their grace periods until ")
		if !ok {
			continue
		}
		at, err := time.Parse(time.RFC3339, due)
		if left := at.Sub(e.Time); err != nil || left < 10*time.Second || left > 23*time.Second {
			t.Errorf("the deadline was made %s, %s away (%v), for a pod that had 20 s, of which some 3 had passed; clocks are compared to within 2", due, left, err)
		}
	}
	after := s.State(t)
	after.MustHaveReplaced(t, before, group)
	after.MustBeTidy(t, before)
	s.MustHaveKeptBudgets(t)
}
