package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// nodePods are the pods bound to one node. There is one for each name of a node
// that was ever asked for, so that members keep theirs and never look it up.
type nodePods struct {
	// list is in the order of names. It is changed by inputs only, so that a Step may
	// go through it while it decides; nobody else changes it.
	list []*model.Pod
	// version counts the changes of the list.
	version uint64
}

func byName(p *model.Pod, k model.PodKey) int {
	return cmp.Or(strings.Compare(p.Namespace, k.Namespace), strings.Compare(p.Name, k.Name))
}

// put adds a pod, or takes its new state.
func (n *nodePods) put(p *model.Pod) {
	n.version++
	i, found := slices.BinarySearchFunc(n.list, p.PodKey, byName)
	if found {
		n.list[i] = p
		return
	}
	n.list = slices.Insert(n.list, i, p)
}

// drop takes a pod off.
func (n *nodePods) drop(k model.PodKey) {
	if i, found := slices.BinarySearchFunc(n.list, k, byName); found {
		n.version++
		n.list = slices.Delete(n.list, i, i+1)
	}
}

// podsAt are the pods of a node, whether or not there is one of that name.
func (w *world) podsAt(node string) *nodePods {
	at := w.podsByNode[node]
	if at == nil {
		at = &nodePods{}
		w.podsByNode[node] = at
	}
	return at
}

// podsOn returns the pods bound to a node, by name. The caller must not change
// the list.
func (w *world) podsOn(node string) []*model.Pod {
	if at := w.podsByNode[node]; at != nil {
		return at.list
	}
	return nil
}
