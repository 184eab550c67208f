package kube

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// listPage is how many objects a page of a list holds: as kubectl has it.
const listPage = 500

// maxPages bounds one list: ten times the objects that the largest cluster has.
const maxPages = 4000

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

// pages is a source of lists that is not asked to stream them. Where both are
// offered, pages take the same memory as a stream and 60 % of the CPU: a stream
// costs an event, a frame and an entry of a buffer for each object.
type pages struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked for by the reflector.
func (pages) IsWatchListSemanticsUnSupported() bool { return true }

// paged lists page by page and trims each, for API servers that do not stream
// lists. Without it client-go gathers all pages of the API's own objects first,
// and an API server that may answer from its cache ignores pages altogether:
// 150,000 pods are 2.6 GiB then.
func (r *resource[K, V]) paged(list cache.ListWithContextFunc) cache.ListWithContextFunc {
	return func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
		// Any version ("0") would be answered from the cache, in one page. The most
		// recent one may be asked for in pages; an exact or least version may not.
		o.ResourceVersion, o.ResourceVersionMatch, o.Limit, o.Continue = "", "", listPage, ""
		all := &trimmedList{}
		for range maxPages {
			page, err := list(ctx, o)
			if err != nil {
				return nil, err
			}
			m, err := meta.ListAccessor(page)
			if err != nil {
				return nil, err
			}
			err = meta.EachListItem(page, func(obj apiruntime.Object) error {
				t, err := r.convert(obj)
				if err == nil {
					all.Items = append(all.Items, t)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			all.ResourceVersion = m.GetResourceVersion()
			if o.Continue = m.GetContinue(); o.Continue == "" {
				return all, nil
			}
		}
		return nil, fmt.Errorf("%s: the list has not ended after %d pages of %d", r.name, maxPages, listPage)
	}
}
