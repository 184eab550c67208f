package observer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rotatord/rotator/sandbox/control"
)

// An AttachedEnd is a machine whose end was asked for while a volume was
// attached to its node. The sandbox's DaemonSets use none: the volume was that of
// a pod that had left, or was on it still.
type AttachedEnd struct {
	Instance string    `json:"instance"`
	Node     string    `json:"node"`
	Volume   string    `json:"volume"`
	Time     time.Time `json:"time"`
	By       string    `json:"by"`
}

func (e AttachedEnd) String() string {
	return fmt.Sprintf("instance %s (node %s) was ended by %s at %s with volume %s attached", e.Instance, e.Node, e.By, e.Time.Format(time.TimeOnly), e.Volume)
}

// volumes remembers which volume was attached to which node, and when.
type volumes struct {
	mu          sync.Mutex
	nodes       map[string]string // machine id -> node name, of all nodes ever
	attachments map[types.UID]*attachment
}

type attachment struct {
	node, volume string
	began        time.Time
	ended        time.Time // zero: it lasts
}

func newVolumes() *volumes {
	return &volumes{nodes: map[string]string{}, attachments: map[types.UID]*attachment{}}
}

// watch remembers until ctx is done.
func (v *volumes) watch(ctx context.Context, client kubernetes.Interface) {
	nodes := newSink(func(o metav1.Object) {
		n := o.(*corev1.Node)
		if i := strings.LastIndexByte(n.Spec.ProviderID, '/'); i >= 0 {
			v.mu.Lock()
			v.nodes[n.Spec.ProviderID[i+1:]] = n.Name
			v.mu.Unlock()
		}
	}, func(metav1.Object) {})
	attachments := newSink(func(o metav1.Object) {
		a := o.(*storagev1.VolumeAttachment)
		if a.Spec.Source.PersistentVolumeName == nil {
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.attachments[a.UID] == nil {
			v.attachments[a.UID] = &attachment{node: a.Spec.NodeName, volume: *a.Spec.Source.PersistentVolumeName, began: time.Now()}
		}
	}, func(o metav1.Object) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if a := v.attachments[o.GetUID()]; a != nil {
			a.ended = time.Now()
		}
	})
	var wg sync.WaitGroup
	for _, s := range []struct {
		resource string
		client   cache.Getter
		object   any
		sink     *sink
	}{
		{"nodes", client.CoreV1().RESTClient(), &corev1.Node{}, nodes},
		{"volumeattachments", client.StorageV1().RESTClient(), &storagev1.VolumeAttachment{}, attachments},
	} {
		lw := cache.NewListWatchFromClient(s.client, s.resource, metav1.NamespaceAll, fields.Everything())
		r := cache.NewReflectorWithOptions(lw, s.object, s.sink, cache.ReflectorOptions{Name: "observer " + s.resource})
		wg.Go(func() { r.RunWithContext(ctx) })
	}
	wg.Wait()
}

// watchLag is how far our watch may be behind: an attachment that ended just
// after the machine's end was asked for, as it was seen here, had ended before.
const watchLag = 250 * time.Millisecond

// attachedEnds finds the terminations since then that somebody asked for with a
// volume attached.
func (v *volumes) attachedEnds(terminations []control.Termination, since time.Time) []AttachedEnd {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := []AttachedEnd{}
	for _, t := range terminations {
		if !strings.Contains(t.By, ":") || !t.Time.After(since) {
			continue
		}
		node, ok := v.nodes[t.Instance]
		if !ok {
			continue // it never joined
		}
		for _, a := range v.attachments {
			if a.node == node && a.began.Before(t.Time) && (a.ended.IsZero() || a.ended.After(t.Time.Add(watchLag))) {
				out = append(out, AttachedEnd{Instance: t.Instance, Node: node, Volume: a.volume, Time: t.Time, By: t.By})
			}
		}
	}
	slices.SortFunc(out, func(a, b AttachedEnd) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Volume, b.Volume)) })
	return out
}
