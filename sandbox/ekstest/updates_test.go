package ekstest

import (
	"strings"
	"testing"

	awseks "github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// TestUpdatesOfYears: EKS lists the updates of a node group in no order, and one search describes 200. An update in
// flight among more than that is found by a later search, whatever its place; and then it is asked about by its id.
func TestUpdatesOfYears(t *testing.T) {
	const before, bound = 430, 200
	for name, begin := range map[string]func(*world) (update string){
		"somebody else's": func(w *world) string {
			out, err := w.eksPerson().UpdateNodegroupVersion(t.Context(), &awseks.UpdateNodegroupVersionInput{ClusterName: ptr(cluster), NodegroupName: ptr(system)})
			w.check(err)
			return *out.Update.Id
		},
		"ours, whose answer was lost": func(w *world) string {
			d := w.driver()
			accepted(t, managedPrepare(t, w, d))
			if o := roll(t, w, d); o.State != sdk.OperationRunning {
				t.Fatalf("%+v", o)
			}
			return w.forgetUpdate()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.seedManaged(2)
			for i := range before {
				w.retune(i)
			}
			id := begin(w)
			d := w.driver()
			w.calls()
			looks := 0
			for ; looks < before/bound+2; looks++ {
				r := groupOf(t, look(t, d, 0), system).Roll
				if n := w.calls()["eks:DescribeUpdate"]; n > bound {
					t.Fatalf("%d updates described in look %d, want at most %d", n, looks+1, bound)
				}
				if r != nil {
					if r.ID != id || r.State != sdk.RollRunning {
						t.Fatalf("shown: %+v, want %s", r, id)
					}
					break
				}
			}
			if looks > before/bound {
				t.Fatalf("not found in %d looks", looks)
			}
			look(t, d, 0)
			if calls := w.calls(); calls["eks:DescribeUpdate"] != 1 || calls["eks:ListUpdates"] != 0 {
				t.Errorf("once it is known, a look makes %d calls of DescribeUpdate and %d of ListUpdates, want 1 and 0", calls["eks:DescribeUpdate"], calls["eks:ListUpdates"])
			}
		})
	}
}

// retune has somebody change the node group's configuration, which is an update, and waits for its end.
func (w *world) retune(i int) {
	w.t.Helper()
	_, err := w.eksPerson().UpdateNodegroupConfig(w.t.Context(), &awseks.UpdateNodegroupConfigInput{ClusterName: ptr(cluster), NodegroupName: ptr(system),
		UpdateConfig: &ekstypes.NodegroupUpdateConfig{MaxUnavailable: ptr(int32(1 + i%2))}})
	w.check(err)
	w.ended()
}

// forgetUpdate takes the id of the latest roll out of its record, as if its answer had been lost, and returns it.
func (w *world) forgetUpdate() (update string) {
	w.t.Helper()
	n := w.described()
	const tag = "rotatord.github.io/roll"
	rec, update, ok := strings.Cut(n.Tags[tag], " update=")
	if !ok || update == "" || strings.Contains(update, " ") {
		w.t.Fatalf("the record %q does not end with an update", n.Tags[tag])
	}
	_, err := w.eksPerson().TagResource(w.t.Context(), &awseks.TagResourceInput{ResourceArn: n.NodegroupArn, Tags: map[string]string{tag: rec + " update="}})
	w.check(err)
	return update
}
