package observer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

// Options of an Observer; all but those that read the cloud are required.
type Options struct {
	// Client acts as a user of its own and changes nothing.
	Client kubernetes.Interface
	// AuditLog is the path of the API server's audit log, JSON lines.
	AuditLog string
	// Rotator is the user whose pods' deletions are held against it.
	Rotator string
	// Groups, Targets and Terminations read the state of the cloud's groups, what is in its target groups, and which
	// machines have ended, for the verdict.
	Groups       func() []aws.GroupState
	Targets      func() []aws.TargetState
	Terminations func() []control.Termination
}

// An Observer watches from Run on.
type Observer struct {
	opts    Options
	tracker *tracker
	volumes *volumes
	synced  chan struct{}

	mu    sync.Mutex
	audit *auditReader
	since time.Time
}

// New makes an Observer; Run starts it.
func New(opts Options) *Observer {
	return &Observer{
		opts: opts, tracker: newTracker(time.Now), volumes: newVolumes(), synced: make(chan struct{}),
		audit: newAuditReader(opts.AuditLog), since: time.Now(),
	}
}

// Run watches until ctx is done. It is called once.
func (o *Observer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { o.volumes.watch(ctx, o.opts.Client) })
	o.tracker.watch(ctx, o.opts.Client, o.synced)
	wg.Wait()
	return nil
}

// Synced is closed once everything that there was has been seen.
func (o *Observer) Synced() <-chan struct{} { return o.synced }

// Reset begins a new judgement: what was counted and violated before is
// forgotten, except for violations that last.
func (o *Observer) Reset() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.audit.read(); err != nil {
		return err
	}
	o.audit.clear()
	o.tracker.reset()
	o.since = time.Now()
	return nil
}

// Verdict judges what was seen until now.
func (o *Observer) Verdict(ctx context.Context) (*Verdict, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := &Verdict{Since: o.since, DirectDeletes: []Deletion{}, Evictions: []EvictionCount{}, NodeChanges: []UserCount{}}
	if err := o.audit.read(); err != nil {
		return nil, err
	}
	v.Budgets, v.Violations, v.Workloads = o.tracker.snapshot()
	v.DirectDeletes = append(v.DirectDeletes, o.audit.deletes[o.opts.Rotator]...)
	for _, user := range slices.Sorted(maps.Keys(o.audit.evictions)) {
		v.Evictions = append(v.Evictions, *o.audit.evictions[user])
	}
	for _, user := range slices.Sorted(maps.Keys(o.audit.changes)) {
		v.NodeChanges = append(v.NodeChanges, UserCount{User: user, Count: o.audit.changes[user]})
	}
	v.EndedInService = o.endedInService()
	v.EndedAttached = o.endedAttached()
	v.OK = len(v.Violations) == 0 && len(v.DirectDeletes) == 0 && len(v.EndedInService) == 0 && len(v.EndedAttached) == 0
	v.MovesPerPod = movesPerPod(v.Workloads)
	if err := o.states(ctx, v); err != nil {
		return nil, err
	}
	if o.opts.Groups != nil {
		v.Groups = o.opts.Groups()
	}
	if o.opts.Targets != nil {
		v.Targets = o.opts.Targets()
	}
	return v, nil
}

// endedInService lists the machines whose end somebody asked for while load balancers sent to them, or connections to
// them went on. What a group does by itself is the group's affair.
func (o *Observer) endedInService() []control.Termination {
	list := []control.Termination{}
	if o.opts.Terminations == nil {
		return list
	}
	for _, t := range o.opts.Terminations() {
		if len(t.Targets) > 0 && strings.Contains(t.By, ":") && t.Time.After(o.since) {
			list = append(list, t)
		}
	}
	return list
}

// endedAttached lists the machines whose end somebody asked for while a volume was attached.
func (o *Observer) endedAttached() []AttachedEnd {
	if o.opts.Terminations == nil {
		return []AttachedEnd{}
	}
	return o.volumes.attachedEnds(o.opts.Terminations(), o.since)
}

func movesPerPod(workloads []WorkloadState) float64 {
	places, moves := 0, 0
	for _, w := range workloads {
		if w.Kind != "DaemonSet" && w.Kind != "Job" && w.Kind != "Node" {
			places += w.Places
			moves += w.Moves
		}
	}
	return float64(moves) / float64(max(1, places))
}

// states reads pods and nodes as they are now from the API server.
func (o *Observer) states(ctx context.Context, v *Verdict) error {
	pods, err := o.opts.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("pods for the verdict: %w", err)
	}
	v.Pods.NotReady = []string{}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		v.Pods.Total++
		switch {
		case p.DeletionTimestamp != nil:
			v.Pods.NotReady = append(v.Pods.NotReady, p.Namespace+"/"+p.Name+": is ending")
		case isReady(&p):
			v.Pods.Ready++
		default:
			v.Pods.NotReady = append(v.Pods.NotReady, fmt.Sprintf("%s/%s: %s", p.Namespace, p.Name, p.Status.Phase))
		}
	}
	nodes, err := o.opts.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("nodes for the verdict: %w", err)
	}
	v.Nodes = []NodeState{}
	for _, n := range nodes.Items {
		s := NodeState{Name: n.Name, ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable}
		for _, c := range n.Status.Conditions {
			s.Ready = s.Ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}
		for _, t := range n.Spec.Taints {
			s.Taints = append(s.Taints, t.ToString())
		}
		v.Nodes = append(v.Nodes, s)
	}
	slices.SortFunc(v.Nodes, func(a, b NodeState) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}
