package observer

import (
	"testing"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

func TestAttachedEnds(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := newVolumes()
	v.nodes["i-1"], v.nodes["i-2"] = "n1", "n2"
	v.attachments["a"] = &attachment{node: "n1", volume: "pv-1", began: at, ended: at.Add(10 * time.Second)}
	v.attachments["b"] = &attachment{node: "n1", volume: "pv-2", began: at.Add(30 * time.Second)}
	for _, tc := range []struct {
		name     string
		instance string
		after    time.Duration // of the termination
		by       string
		want     string
	}{
		{"while one is attached", "i-1", 5 * time.Second, "ec2:TerminateInstances", "pv-1"},
		{"once it was detached", "i-1", 20 * time.Second, "ec2:TerminateInstances", ""},
		{"as it was being told of", "i-1", 10*time.Second - watchLag/2, "ec2:TerminateInstances", ""},
		{"before another was attached", "i-1", 29 * time.Second, "ec2:TerminateInstances", ""},
		{"with one that stays", "i-1", time.Hour, "ec2:TerminateInstances", "pv-2"},
		{"by the group itself", "i-1", 5 * time.Second, "health-check", ""},
		{"another node's", "i-2", 5 * time.Second, "ec2:TerminateInstances", ""},
		{"one that never joined", "i-3", 5 * time.Second, "ec2:TerminateInstances", ""},
		{"before the judgement began", "i-1", -time.Minute, "ec2:TerminateInstances", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			for _, e := range v.attachedEnds([]control.Termination{{Instance: tc.instance, Time: at.Add(tc.after), By: tc.by}}, at.Add(-time.Second)) {
				got += e.Volume
			}
			if got != tc.want {
				t.Errorf("volumes %q, want %q", got, tc.want)
			}
		})
	}
}
