//go:build e2e

package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// moment is a point in time as rotatord status writes it.
const moment = `20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ`

// awaitStatus asks rotatord status, which reads the journal alone, until a line of
// its answer matches, and answers that line.
func (r *Rotatord) awaitStatus(tb testing.TB, pattern string) string {
	tb.Helper()
	want := regexp.MustCompile(pattern)
	const within = time.Minute
	deadline := time.Now().Add(within)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	elsewhere := &Rotatord{Env: r.Env, Dir: tb.TempDir()} // where it does not touch the run's events
	for {
		res := elsewhere.Exec(tb, "status", "--journal-dir", filepath.Join(r.Dir, "journal"))
		for line := range strings.Lines(res.Stdout) {
			if line = strings.TrimSpace(line); want.MatchString(line) {
				return line
			}
		}
		if time.Now().After(deadline) {
			tb.Fatalf("within %s no line of rotatord status matches %s:\n%s", within, pattern, res.Text())
		}
		<-tick.C
	}
}

// At every moment of a rotation rotatord status names what it waits for, and since
// when: a node that boots, a load balancer, a volume, workloads whose pods left; the
// same after a kill. TestDrainStatus has budgets, TestPods finalizers.
func TestStatusTellsWaits(t *testing.T) {
	s := balanced(t)
	c := newPodCase(t, s, "waits")
	defer c.end()
	c.open()
	group := groupName(s, 1)
	s.delayDeregistration(t, "8")
	c.deployment("web", 6, nil)
	c.await("6 pods", func() bool { return c.readyIn("web") == 6 })
	c.close()
	for _, node := range append(c.others, c.node) {
		c.attach(node, "pv-"+node)
	}
	s.PublishImage(t, group)
	s.Fault(t, "slow-boot", "--group", group, "--count", "1", "--delay", "14s")
	r := s.rotatord(t)
	p := r.Start(t, "run", "--group", group)

	r.awaitStatus(t, `group `+group+`: waiting for replacement instance i-\w+ since `+moment+` \(instance i-\w+ has not joined\).* \(told at `+moment+`\)$`)
	draining := p.Await("node-draining")
	named := `node ` + regexp.QuoteMeta(draining.Node) + ` \(` + draining.Instance + `\)`
	r.awaitStatus(t, `waits: `+named+` leaves its load balancers.* \(since `+moment+`, told at `+moment+`\)$`)
	r.awaitStatus(t, `group `+group+`: waiting for load balancers to let go of `+named+` since `+moment)
	waits := []string{
		`waits: ` + named + ` is empty and waits for volume pv-` + regexp.QuoteMeta(draining.Node) + ` to detach \(since ` + moment + `, told at ` + moment + `\)$`,
		`group ` + group + `: .*pods that left ` + named + ` since ` + moment + ` \(ReplicaSet ` + c.namespace + `/web-\w+ has \d of 6 pods Ready\)`,
	}
	var told []string
	for _, w := range waits {
		told = append(told, r.awaitStatus(t, w))
	}
	p.Signal(syscall.SIGKILL)
	p.Wait()
	for i, w := range waits {
		if now := r.awaitStatus(t, w); now != told[i] {
			t.Errorf("status said %q, and after the kill says %q", told[i], now)
		}
	}
	s.MustHaveKeptBudgets(t)
}

// readyIn counts the Ready pods of an app, wherever they are.
func (c *podCase) readyIn(app string) int {
	c.tb.Helper()
	n := 0
	for _, node := range append(c.others, c.node) {
		n += len(c.readyOn(app, node))
	}
	return n
}

// close keeps pods that leave from being made again. The sandbox has no controller
// that counts quotas.
func (c *podCase) close() {
	c.tb.Helper()
	all, none := c.kube.CoreV1().ResourceQuotas(c.namespace), corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	q, err := all.Create(c.tb.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}, metav1.CreateOptions{})
	c.must(err)
	q.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	_, err = all.UpdateStatus(c.tb.Context(), q, metav1.UpdateOptions{})
	c.must(err)
}

// attach has a volume attached to a node that nobody detaches before the test ends.
func (c *podCase) attach(node, volume string) {
	c.tb.Helper()
	all := c.kube.StorageV1().VolumeAttachments()
	a, err := all.Create(c.tb.Context(), &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "held-" + node},
		Spec: storagev1.VolumeAttachmentSpec{Attacher: "held.example.com", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}}},
		metav1.CreateOptions{})
	c.must(err)
	a.Status.Attached = true
	_, err = all.UpdateStatus(c.tb.Context(), a, metav1.UpdateOptions{})
	c.must(err)
}

// delayDeregistration sets how long instances take to leave the target groups.
func (s *Sandbox) delayDeregistration(tb testing.TB, seconds string) {
	tb.Helper()
	c := s.LoadBalancers()
	groups, err := c.DescribeTargetGroups(tb.Context(), &elbv2.DescribeTargetGroupsInput{})
	if err != nil || len(groups.TargetGroups) == 0 {
		tb.Fatalf("target groups: %v, %+v", err, groups)
	}
	for _, g := range groups.TargetGroups {
		if _, err := c.ModifyTargetGroupAttributes(tb.Context(), &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: g.TargetGroupArn,
			Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: &seconds}}}); err != nil {
			tb.Fatal(err)
		}
	}
}
