//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
)

// template is a workload's pod, encoded once: of the others only what differs is
// written anew. The API server of a real cluster is on another machine; this one takes
// its CPU time from the reader that is measured, so it takes little.
type template struct {
	raw    []byte
	places [4][]int // of what podName returns, in raw
}

func (a *largeAPI) newTemplate(w int) (*template, error) {
	first := a.pod(w)
	raw, err := first.Marshal()
	if err != nil {
		return nil, err
	}
	t := &template{raw: raw}
	name, id, node, token := a.podName(w)
	for n, s := range []string{name, id, node, token} {
		for at := 0; ; at += len(s) {
			next := bytes.Index(raw[at:], []byte(s))
			if next < 0 {
				break
			}
			at += next
			t.places[n] = append(t.places[n], at)
		}
	}
	return t, nil
}

// podOrder are the numbers of all pods as the API server lists them: by namespace and
// name.
func (a *largeAPI) podOrder() []int {
	order := make([]int, a.workloads)
	for w := range order {
		order[w] = w
	}
	slices.SortFunc(order, func(v, w int) int {
		inV, nameV := a.owner(v)
		inW, nameW := a.owner(w)
		return cmp.Or(strings.Compare(inV, inW), strings.Compare(nameV, nameW))
	})
	all := make([]int, 0, a.pods)
	for _, w := range order {
		for i := w; i < a.pods; i += a.workloads {
			all = append(all, i)
		}
	}
	return all
}

// podPage writes a page of pods as the API server does: as it goes.
func (a *largeAPI) podPage(w io.Writer, meta metav1.ListMeta, from, to int) error {
	field := func(raw []byte, number, size int) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(raw, uint64(number<<3|2)), uint64(size))
	}
	list, err := meta.Marshal()
	if err != nil {
		return err
	}
	kind, err := (&apiruntime.TypeMeta{APIVersion: "v1", Kind: "PodList"}).Marshal()
	if err != nil {
		return err
	}
	pods := a.order[from:to]
	size := len(field(nil, 1, len(list))) + len(list)
	for _, i := range pods {
		pod := len(a.templates[i%a.workloads].raw)
		size += len(field(nil, 2, pod)) + pod
	}
	out := make([]byte, 0, 1<<18)
	out = append(field(append(out, "k8s\x00"...), 1, len(kind)), kind...)
	out = append(field(field(out, 2, size), 1, len(list)), list...)
	for _, i := range pods {
		t := a.templates[i%a.workloads]
		if len(out)+len(t.raw)+10 > cap(out) {
			if _, err := w.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		out = field(out, 2, len(t.raw))
		begin := len(out)
		out = append(out, t.raw...)
		name, id, node, token := a.podName(i)
		for n, now := range []string{name, id, node, token} {
			for _, at := range t.places[n] {
				copy(out[begin+at:], now)
			}
		}
	}
	// Its encoding and its content type, of which there are none.
	_, err = w.Write(field(field(out, 3, 0), 4, 0))
	return err
}
