package ekstest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

// TestLostLabels: each way names the labels of EKS' that new nodes have another value of, and those alone.
func TestLostLabels(t *testing.T) {
	const nodegroup, image, template = "eks.amazonaws.com/nodegroup=", "eks.amazonaws.com/nodegroup-image=", "eks.amazonaws.com/sourceLaunchTemplateVersion="
	for _, tc := range []struct {
		way    string
		stale  bool // a newer release was published
		custom bool // the image is the user's, and its launch template has a newer version
		want   func(old string) []string
	}{
		{way: "blue-green", stale: true, want: func(old string) []string { return []string{nodegroup + system, image + old} }},
		{way: "blue-green", want: func(string) []string { return []string{nodegroup + system} }},
		{way: "blue-green", custom: true, want: func(string) []string { return []string{nodegroup + system, template + "1"} }},
		{way: "delegated", stale: true, want: func(old string) []string { return []string{image + old} }},
		{way: "delegated", want: func(string) []string { return nil }},
		{way: "assisted", stale: true, want: func(old string) []string { return []string{image + old} }},
		{way: "assisted", custom: true, want: func(string) []string { return []string{template + "1"} }},
		{way: "self", stale: true, want: func(string) []string { return nil }},
	} {
		t.Run(tc.way, func(t *testing.T) {
			w := newWorld(t)
			old := w.publishRelease(1).ImageID
			if tc.custom {
				w.template("mine", old)
			}
			w.nodegroup(2, func(s *aws.NodegroupSpec) {
				if tc.custom {
					s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM"
				}
			})
			if tc.custom {
				w.publish("mine")
			}
			if tc.stale {
				w.publishRelease(9)
			}
			d := w.driverWith(`{"way":"` + tc.way + `"}`)
			if diff := cmp.Diff(tc.want(old), groupOf(t, look(t, d, 0), system).LostLabels); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLostLabelsOfTwins: while a second node group takes the place of the first, the first's labels are those that are
// lost; once it has, its own.
func TestLostLabelsOfTwins(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(1)
	d := w.driver()
	asg := w.asg()
	accepted(t, managedPrepare(t, w, d))
	g, old, _ := w.twin(t, d, asg)
	before := g.LostLabels
	if err := twinEnd(t.Context(), d, asg, old[0], sdk.KeepCapacity); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Second)
	if g, _, _ := w.twin(t, d, asg); len(g.LostLabels) == 0 || g.LostLabels[0] != before[0] || before[0] != "eks.amazonaws.com/nodegroup="+system {
		t.Errorf("at first %v, then %v", before, g.LostLabels)
	}
	w.pass(time.Minute)
	accepted(t, managedRestore(t, w, d))
	w.pass(time.Minute)
	if diff := cmp.Diff([]string{"eks.amazonaws.com/nodegroup=" + green}, groupOf(t, look(t, w.driver(), 0), green).LostLabels); diff != "" {
		t.Errorf("in the end (-want +got):\n%s", diff)
	}
}
