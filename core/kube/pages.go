package kube

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// listPage is how many objects a page of a list holds. Pages bound what the API
// server holds for us at once, not what we do; kubectl's 500 would have 150,000
// pods wait for the rate limit of our calls.
const listPage = 2000

// maxPages bounds one list: ten times the objects that the largest cluster has.
const maxPages = 1000

// trimmedList is a whole list of which only what counts was kept.
type trimmedList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []apiruntime.Object // *trimmed of one type
}

// DeepCopyObject makes it an object of the API; nobody copies one.
func (l *trimmedList) DeepCopyObject() apiruntime.Object { c := *l; return &c }

// GetObjectKind and DeepCopyObject let a list hold trimmed objects.
func (t *trimmed[V]) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject shares the value: it is never changed in place.
func (t *trimmed[V]) DeepCopyObject() apiruntime.Object { c := *t; return &c }

// pages is a source of lists that is not asked to stream them as a watch. Where
// both are offered, pages take the same memory and less of the CPU: such a stream
// costs an event, a frame and an entry of a buffer for each object.
type pages struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked for by the reflector.
func (pages) IsWatchListSemanticsUnSupported() bool { return true }

// list reads a whole list, page by page, and keeps of each object what counts as
// it arrives. client-go itself would gather all pages of the API's own objects
// first, and an API server that may answer from its cache ignores pages
// altogether: 150,000 pods are 2.6 GiB then. The next page is asked for as soon as
// this one has said that there is one.
func (r *resource[K, V]) list(ctx context.Context, client *rest.RESTClient, example apiruntime.Object) (*trimmedList, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := &trimmedList{}
	items, err := r.reader(example, all)
	if err != nil {
		return nil, err
	}
	next := r.ask(ctx, client, "")
	began := func(m metav1.ListMeta) {
		all.ResourceVersion, next = m.ResourceVersion, nil
		if m.Continue != "" {
			next = r.ask(ctx, client, m.Continue)
		}
	}
	for range maxPages {
		var p page
		select {
		case p = <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if p.err != nil {
			return nil, p.err
		}
		next = nil
		err := readPage(p.body, began, items.message, items.object)
		p.body.Close()
		if err != nil {
			return nil, fmt.Errorf("read a page of the list of %s: %w", r.name, err)
		}
		if next == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: the list has not ended after %d pages of %d", r.name, maxPages, listPage)
}

// items reads the objects of one list and keeps what counts of them.
type items[K comparable, V any] struct {
	r       *resource[K, V]
	to      *trimmedList
	example wireObject
	pruned  []byte   // what was kept of the last message
	twins   twins[V] // nil: each object is read by itself
}

// twins are the objects of a list that are like others in all but a few fields.
type twins[V any] interface {
	// twin makes an object of a message that is like one that was remembered, by the key
	// of that, which is valid until the next call. Nil: there is none.
	twin(message []byte) (t *trimmed[V], key []byte)
	// remember takes an object that was read as a whole, and what was made of it.
	remember(key []byte, o apiruntime.Object, v *V)
}

func (r *resource[K, V]) reader(example apiruntime.Object, to *trimmedList) (*items[K, V], error) {
	object, ok := example.DeepCopyObject().(wireObject)
	if !ok {
		return nil, fmt.Errorf("%T cannot be read from protobuf", example)
	}
	i := &items[K, V]{r: r, to: to, example: object}
	if r.twins != nil {
		i.twins = r.twins()
	}
	return i, nil
}

// message reads an object from protobuf.
func (i *items[K, V]) message(c *cut, message []byte) error {
	var key []byte
	if i.twins != nil {
		var t *trimmed[V]
		if t, key = i.twins.twin(message); t != nil {
			i.to.Items = append(i.to.Items, t)
			return nil
		}
	}
	if c != nil {
		var ok bool
		if i.pruned, ok = c.prune(i.pruned[:0], message); ok {
			message = i.pruned
		}
	}
	i.example.Reset()
	if err := i.example.Unmarshal(message); err != nil {
		return err
	}
	t, err := i.r.convert(i.example)
	if err != nil {
		return err
	}
	if len(key) > 0 && t.value != nil {
		i.twins.remember(key, i.example, t.value)
	}
	i.to.Items = append(i.to.Items, t)
	return nil
}

// object takes one that was decoded.
func (i *items[K, V]) object(obj apiruntime.Object) error {
	t, err := i.r.convert(obj)
	if err == nil {
		i.to.Items = append(i.to.Items, t)
	}
	return err
}

// page is a page of a list on its way, or why there is none.
type page struct {
	body io.ReadCloser
	err  error
}

// ask asks for a page in the background. It is given up with ctx.
func (r *resource[K, V]) ask(ctx context.Context, client *rest.RESTClient, from string) <-chan page {
	// Any version ("0") would be answered from the cache, in one page. The most
	// recent one may be asked for in pages; an exact or least version may not.
	o := &metav1.ListOptions{Limit: listPage, Continue: from}
	out := make(chan page)
	go func() {
		var p page
		p.body, p.err = client.Get().Resource(r.name).VersionedParams(o, metav1.ParameterCodec).Stream(ctx)
		select {
		case out <- p:
		case <-ctx.Done():
			if p.err == nil {
				p.body.Close()
			}
		}
	}()
	return out
}

// readPage calls began with the metadata of a list, and with each of its objects either
// message, as (*listReader).read does, or object. A list that ends early is an error.
func readPage(body io.Reader, began func(metav1.ListMeta), message func(c *cut, message []byte) error, object func(apiruntime.Object) error) error {
	r := bufio.NewReaderSize(body, 1<<16)
	if head, err := r.Peek(len(magic)); err == nil && bytes.Equal(head, magic) {
		return (&listReader{in: r}).read(began, message)
	}
	// A proxy or an aggregated API server may answer JSON.
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	list, _, err := codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	began(metav1.ListMeta{ResourceVersion: m.GetResourceVersion(), Continue: m.GetContinue()})
	return meta.EachListItem(list, object)
}
