package kube

import "maps"

// table holds the live objects of one resource and what the reader of the feed
// does not know yet. K names an object; its UID tells one life from the next.
// Values are never changed in place, so that readers may keep pointers.
// Guarded by the feed's lock.
type table[K comparable, V any] struct {
	uid  func(*V) string
	same func(a, b *V) bool // equal in all that the model holds
	// urgent tells a change that somebody waits for; nil: none is.
	urgent func(old, now *V) bool
	hurry  bool // one has come since hurried was asked
	// keep has a value show what the one before it did that the reader lacks; nil:
	// the last one counts alone. It must not change old.
	keep func(old, now *V)

	live map[K]*entry[V]
	// changed names live objects whose value the reader lacks, gone the lives
	// that the reader knows and that have ended.
	changed map[K]struct{}
	gone    map[life[K]]struct{}
}

type entry[V any] struct {
	value *V
	told  bool // the reader knows this life
}

type life[K comparable] struct {
	key K
	uid string
}

func newTable[K comparable, V any](uid func(*V) string, same func(a, b *V) bool) *table[K, V] {
	return &table[K, V]{uid: uid, same: same,
		live: map[K]*entry[V]{}, changed: map[K]struct{}{}, gone: map[life[K]]struct{}{}}
}

// put adds or replaces an object and tells whether the reader has to know.
func (t *table[K, V]) put(k K, v *V) bool {
	old, ok := t.live[k]
	if ok && t.uid(old.value) == t.uid(v) {
		was, same := old.value, t.same(old.value, v)
		if _, pending := t.changed[k]; pending && t.keep != nil {
			t.keep(was, v)
		}
		old.value = v // even where all that is read is the same: its version is not
		if same {
			return false // a heartbeat, or a field that nobody here reads
		}
		t.hurry = t.hurry || t.urgent != nil && t.urgent(was, v)
		t.changed[k] = struct{}{}
		return true
	}
	if ok {
		t.end(k, old) // deleted and made again, and the watch has missed it
	}
	t.live[k] = &entry[V]{value: v}
	t.changed[k] = struct{}{}
	return true
}

// hurried tells whether an urgent change has come since it was last asked.
func (t *table[K, V]) hurried() bool {
	h := t.hurry
	t.hurry = false
	return h
}

// remove ends the object's life, if it is the one with that UID.
func (t *table[K, V]) remove(k K, uid string) bool {
	old, ok := t.live[k]
	if !ok || t.uid(old.value) != uid {
		return false
	}
	t.end(k, old)
	return true
}

func (t *table[K, V]) end(k K, old *entry[V]) {
	delete(t.live, k)
	delete(t.changed, k)
	if old.told { // a life that the reader never saw leaves no trace
		t.gone[life[K]{k, t.uid(old.value)}] = struct{}{}
	}
}

// replace makes items the whole content.
func (t *table[K, V]) replace(items map[K]*V) bool {
	dirty := false
	for k, old := range t.live {
		if _, ok := items[k]; !ok {
			t.end(k, old)
			dirty = true
		}
	}
	for k, v := range items {
		if t.put(k, v) {
			dirty = true
		}
	}
	return dirty
}

// take returns what the reader lacks, and counts it as known.
func (t *table[K, V]) take() (changed []*V, gone []life[K]) {
	for k := range t.changed {
		e := t.live[k]
		e.told = true
		changed = append(changed, e.value)
	}
	for l := range t.gone {
		gone = append(gone, l)
	}
	t.settle()
	return changed, gone
}

// all returns everything, and counts it as known.
func (t *table[K, V]) all() []*V {
	list := make([]*V, 0, len(t.live))
	for e := range maps.Values(t.live) {
		e.told = true
		list = append(list, e.value)
	}
	t.settle()
	return list
}

func (t *table[K, V]) settle() {
	// Made anew rather than cleared: a map keeps the size it once had, and the
	// first lists were the whole cluster.
	t.changed, t.gone = map[K]struct{}{}, map[life[K]]struct{}{}
}
