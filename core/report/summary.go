// Package report holds folds of the event stream: the summary of a rotation,
// plain progress lines, and the files of a report. Folds are pure and replay:
// the same events give the same summary, whether they arrive from a running
// rotation or from a journal.
package report

import "time"

// maxListed bounds each list of a summary; what is beyond is counted only.
const maxListed = 1000

// Summary says what a rotation did. Durations are in seconds.
type Summary struct {
	Rotation string `json:"rotation"`
	Cluster  string `json:"cluster,omitempty"`
	Mode     string `json:"mode,omitempty"`
	// Status is done, stopped, gate-failed or failed; running until the rotation
	// has ended.
	Status   string    `json:"status"`
	Message  string    `json:"message,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Seconds is the time of all runs together: what passed between the end of one
	// and the start of the next does not count.
	Seconds float64 `json:"seconds"`
	// Planned counts the nodes that the plan replaces, Replaced those whose old
	// instance is gone, ByOthers those of them that somebody else ended.
	Planned     int `json:"planned"`
	Replaced    int `json:"replaced"`
	ByOthers    int `json:"byOthers"`
	Drained     int `json:"drained"`
	Quarantined int `json:"quarantined"`
	// Launched counts replacements that came up, Bad those of them that never
	// joined, never got Ready or came up outdated.
	Launched int `json:"launched"`
	Bad      int `json:"bad"`
	// Boot is from an instance's launch to its node being Ready, Drain from the
	// cordon to the last pod's end, Replace from the cordon to the old
	// instance's end.
	Boot    Stats `json:"boot"`
	Drain   Stats `json:"drain"`
	Replace Stats `json:"replace"`
	// Evicted counts pods, Refused evictions that the API server refused.
	Evicted int `json:"evicted"`
	Refused int `json:"refused"`
	// Operations counts the changes of the provider and of nodes by verb.
	Operations []Operations `json:"operations"`
	Groups     []Group      `json:"groups"`
	// Releases were made the groups' desired revisions, in the order in which that
	// was done; none: the groups kept theirs.
	Releases []Release `json:"releases,omitempty"`
	// Quarantines, Failures and Blocked are in the order of the events.
	Quarantines []Trouble `json:"quarantines"`
	Failures    []Trouble `json:"failures"`
	Blocked     []Blocked `json:"blocked"`
	// Budgets counts refused evictions by PodDisruptionBudget, most first.
	Budgets []Budget `json:"budgets"`
}

// Release is what one group was given to run.
type Release struct {
	Group    string `json:"group"`
	From     string `json:"from"`
	FromName string `json:"fromName,omitempty"`
	To       string `json:"to"`
	ToName   string `json:"toName,omitempty"`
}

// Stats are of durations, in seconds. All are 0 without a sample.
type Stats struct {
	Count int     `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	Max   float64 `json:"max"`
	sum   float64
}

func (s *Stats) add(seconds float64) {
	if s.Count == 0 || seconds < s.Min {
		s.Min = seconds
	}
	s.Max = max(s.Max, seconds)
	s.Count++
	s.sum += seconds
	s.Mean = s.sum / float64(s.Count)
}

// Group is one node group's part of a summary.
type Group struct {
	Name string `json:"name"`
	// Status is running, done or halted. A group that the rotation did not reach
	// is not listed.
	Status      string  `json:"status"`
	Message     string  `json:"message,omitempty"` // why it halted
	Seconds     float64 `json:"seconds"`
	Planned     int     `json:"planned"`
	Replaced    int     `json:"replaced"`
	Quarantined int     `json:"quarantined"`
	Launched    int     `json:"launched"`
	Bad         int     `json:"bad"`
	Evicted     int     `json:"evicted"`
	Refused     int     `json:"refused"`
	Boot        Stats   `json:"boot"`
	Drain       Stats   `json:"drain"`
	// Resized counts how often somebody else changed the group's size meanwhile.
	Resized int       `json:"resized"`
	started time.Time // zero: this run has not come to it
	spent   float64   // seconds of earlier runs
}

// seconds is the group's time in all runs until now.
func (g *Group) seconds(now time.Time) float64 {
	if g.started.IsZero() {
		return g.spent
	}
	return g.spent + now.Sub(g.started).Seconds()
}

// Operations counts the changes of one verb.
type Operations struct {
	Verb      string `json:"verb"`
	Intended  int    `json:"intended"`
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	Retried   int    `json:"retried"`
}

// Trouble is one thing that went wrong.
type Trouble struct {
	Kind     string    `json:"kind"` // the event's kind
	Time     time.Time `json:"time"`
	Group    string    `json:"group,omitempty"`
	Node     string    `json:"node,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Code     string    `json:"code,omitempty"`
	Message  string    `json:"message"`
}

// Blocked is one node whose drain had to wait.
type Blocked struct {
	Group string `json:"group"`
	Node  string `json:"node"`
	// Message is the last that was said about it.
	Message string `json:"message"`
	// Seconds from the first word about it to the end of the drain, to the
	// quarantine, or to the last event.
	Seconds float64 `json:"seconds"`
	// Ended tells whether the drain went on to its end.
	Ended bool `json:"ended"`
	since time.Time
}

// Budget counts the evictions that one PodDisruptionBudget refused.
type Budget struct {
	Budget  string `json:"budget"` // namespace/name
	Refused int    `json:"refused"`
}
