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
	next := r.ask(ctx, client, "")
	began := func(m metav1.ListMeta) {
		all.ResourceVersion, next = m.ResourceVersion, nil
		if m.Continue != "" {
			next = r.ask(ctx, client, m.Continue)
		}
	}
	item := func(obj apiruntime.Object) error {
		t, err := r.convert(obj)
		if err == nil {
			all.Items = append(all.Items, t)
		}
		return err
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
		err := readPage(p.body, example, began, item)
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

// readPage calls began with the metadata of a list and item with each of its
// objects, which is valid until item returns. A list that ends early is an error.
func readPage(body io.Reader, example apiruntime.Object, began func(metav1.ListMeta), item func(apiruntime.Object) error) error {
	r := bufio.NewReaderSize(body, 1<<16)
	if head, err := r.Peek(len(magic)); err == nil && bytes.Equal(head, magic) {
		object, ok := example.DeepCopyObject().(wireObject)
		if !ok {
			return fmt.Errorf("%T cannot be read from protobuf", example)
		}
		return (&listReader{in: r, object: object}).read(began, item)
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
	return meta.EachListItem(list, item)
}
