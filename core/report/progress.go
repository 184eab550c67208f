package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// Progress writes one plain line for each event that a person wants to see:
// time since the start, group, node, what happened. It implements the
// runtime's Sink, writes no control characters, and is safe for concurrent use.
//
// Single evictions and patches of nodes are left out: a node's line when it is
// drained counts them.
type Progress struct {
	mu       sync.Mutex
	w        io.Writer
	start    time.Time
	group    int // width of the group column
	node     int // width of the node column
	planned  int
	replaced int
	said     map[string]string // the last message of what repeats, by its subject
}

// maxColumn bounds the width that names may take before the columns shift.
const maxColumn = 48

// NewProgress writes to w. Errors of w are ignored: a closed terminal must not
// stop a rotation.
func NewProgress(w io.Writer) *Progress {
	return &Progress{w: w, said: map[string]string{}}
}

// Publish writes the lines of these events at once.
func (p *Progress) Publish(events []event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, e := range events {
		p.line(&b, e)
	}
	if b.Len() > 0 {
		_, _ = io.WriteString(p.w, b.String())
	}
}

func (p *Progress) line(b *strings.Builder, e event.Event) {
	if p.start.IsZero() {
		p.start = e.Time
	}
	p.count(e)
	text := p.text(e)
	if text == "" {
		return
	}
	// What repeats is said once until it changes.
	if subject := string(e.Kind) + "/" + e.Group + "/" + e.Node + "/" + e.Op; repeats(e.Kind) {
		if p.said[subject] == text {
			return
		}
		p.said[subject] = text
	}
	group, node := Clean(e.Group), Clean(cmp.Or(e.Node, e.Instance))
	p.group = max(p.group, min(len(group), maxColumn))
	p.node = max(p.node, min(len(node), maxColumn))
	fmt.Fprintf(b, "%8s  ", clock(e.Time.Sub(p.start)))
	if group != "" {
		fmt.Fprintf(b, "%-*s  ", p.group, group)
	}
	if node != "" {
		fmt.Fprintf(b, "%-*s  ", p.node, node)
	}
	b.WriteString(text + "\n")
}

func repeats(k event.Kind) bool {
	return k == event.Waiting || k == event.NodeBlocked || k == event.OpRetried
}

func (p *Progress) count(e event.Event) {
	switch e.Kind {
	case event.RotationStarted:
		p.planned = number(e, "nodes")
	case event.NodeReplaced:
		p.replaced++
	default: // nothing to count
	}
}

// text says what happened; empty: nothing that a person wants to see.
func (p *Progress) text(e event.Event) string {
	message := Clean(e.Message)
	with := func(s string) string {
		if message == "" {
			return s
		}
		return s + ": " + message
	}
	switch e.Kind {
	case event.RotationStarted:
		return cmp.Or(message, "rotation started")
	case event.PlanWarned:
		return with("warning") + " (" + Clean(e.Code) + ")"
	case event.RotationStopping:
		return with("stopping")
	case event.WindowClosed:
		return message
	case event.RotationFinished:
		return with(cmp.Or(e.Code, "finished"))
	case event.GroupStarted:
		return cmp.Or(message, "started")
	case event.GroupHalted:
		return with("halted")
	case event.GroupFinished:
		return with("finished")
	case event.GroupRolling:
		if e.Code == "progress" {
			return "rolling: " + message
		}
		return message
	case event.GroupRolled:
		if strings.HasPrefix(e.Code, "roll-") {
			return "" // the group is halted for it, in the same words
		}
		return message
	case event.GroupResized:
		return cmp.Or(message, fmt.Sprintf("somebody else changed the size from %s to %s", e.Data["from"], e.Data["to"]))
	case event.OpIntended:
		return intent(e)
	case event.ReleaseStaging:
		return message
	case event.OpSucceeded:
		if e.Verb == event.VerbStage {
			return message
		}
		return ""
	case event.OpFailed:
		return with(e.Verb + " failed")
	case event.OpRetried:
		return with(e.Verb + " is tried again")
	case event.ReplacementLaunched:
		if zone := Clean(e.Data["zone"]); zone != "" {
			return "launched in " + zone
		}
		return "launched"
	case event.ReplacementReady:
		return "Ready" + after(e, "boot-seconds")
	case event.ReplacementBad:
		return with("unusable (" + e.Code + ")")
	case event.NodeDraining:
		return with("draining")
	case event.NodeQuiesced:
		if message != "" {
			return message
		}
		return "out of its load balancers" + after(e, "seconds")
	case event.NodeDrained:
		return "drained" + after(e, "seconds") + evicted(e)
	case event.NodeBlocked:
		return with("drain waits")
	case event.DeadlinePassed:
		return with("drain's deadline passed")
	case event.NodeQuarantined:
		return with("quarantined")
	case event.NodeReplaced:
		s := "gone" + after(e, "seconds")
		switch e.Code {
		case "by-others":
			s = "gone, ended by somebody else"
		case "unwatched":
			s = "gone since the run before"
		}
		if p.planned > 0 {
			s += fmt.Sprintf(" [%d/%d]", p.replaced, p.planned)
		}
		return s
	case event.CanaryPassed:
		return with("canary passed")
	case event.GateFailed:
		return with("gate " + e.Code + " failed")
	case event.Waiting, event.DrainPostponed, event.PodOverridden, event.WorkloadMoving, event.WorkloadMoved:
		return message
	case event.GroupPlanned, event.PodEvicted, event.EvictionRefused,
		event.StillDraining, event.DrainWaits, event.GroupWaits: // NodeBlocked and Waiting say it
		return ""
	}
	// A kind that this version does not know is shown rather than lost.
	return with(string(e.Kind))
}

func intent(e event.Event) string {
	switch e.Verb {
	case "prepare":
		return "taking the group for this rotation"
	case "restore":
		return "giving the group its settings back"
	case "set-surge":
		return "asking for " + e.Data["surge"] + " extra instance(s)"
	case "roll":
		return "asking the provider to roll the group"
	case "cancel":
		return "asking the provider to stop its roll"
	case "terminate":
		return "terminating"
	case event.VerbStage:
		return "staging release " + Clean(e.Data["to"])
	case "quiesce":
		return "leaving its load balancers"
	case "unquiesce":
		return "going back into its load balancers"
	}
	return ""
}

// after is " after 21s", from an event's data.
func after(e event.Event, key string) string {
	if e.Data[key] == "" {
		return ""
	}
	return " after " + Seconds(seconds(e, key, time.Time{}))
}

func evicted(e event.Event) string {
	switch n := e.Data["evicted"]; n {
	case "":
		return ""
	case "1":
		return ", 1 pod evicted"
	default:
		return ", " + n + " pods evicted"
	}
}

// clock writes minutes and seconds, and hours once there are some.
func clock(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
