package kube

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Of a pod a rotation reads a tenth: not what its containers run, not who owns
// which of its fields. To decode all of 150,000 pods and to throw most of it away
// takes more time than everything else in a plan. So what nobody reads is cut out
// of the protobuf message before it is decoded.
//
// Field numbers are those of generated.proto in k8s.io/api and k8s.io/apimachinery;
// they never change their meaning. What is not named here stays, so that a field
// that is new, or read from now on, is there. TestPruned holds the tables to what
// is read.

// cut says what becomes of the fields of a message: nil stays as it is, gone is
// left out, and of any other that is in it is cut.
type cut struct {
	fields [maxField + 1]*cut
	// named: it stays only if its first field is one of these texts; nil: always. Such
	// are the entries of maps, and conditions, which begin with their key and their type.
	named []string
}

// maxField is the largest number of a field in the tables.
const maxField = 47

var gone = &cut{}

// cutting leaves out the fields of these numbers, and cuts those of in.
func cutting(in map[protowire.Number]*cut, out ...protowire.Number) *cut {
	return (&cut{}).but(in, out...)
}

// keeping leaves out all fields but those of in, and cuts these. Those of numbers
// that are not known yet stay.
func keeping(in map[protowire.Number]*cut) *cut {
	c := &cut{}
	for number := range c.fields {
		c.fields[number] = gone
	}
	for number, inner := range in {
		c.fields[number] = inner
	}
	return c
}

// but is a cut that leaves out these fields, too, and cuts those of in otherwise.
func (c *cut) but(in map[protowire.Number]*cut, out ...protowire.Number) *cut {
	d := *c
	for _, number := range out {
		d.fields[number] = gone
	}
	for number, inner := range in {
		d.fields[number] = inner
	}
	return &d
}

// onlyOf is a cut of messages that stay only if their first field is one of these texts.
func (c *cut) onlyOf(texts ...string) *cut {
	d := *c
	d.named = texts
	return &d
}

type inside = map[protowire.Number]*cut

var (
	// cutMeta leaves all but generateName, selfLink, managedFields.
	cutMeta = cutting(nil, 2, 4, 17)
	// cutCondition leaves all but the last probe or heartbeat, reason, message.
	cutCondition = cutting(nil, 3, 5, 6)
	// cutVolume leaves all but what hostPath, secret, downwardAPI, configMap, projected, csi
	// hold.
	cutVolume = cutting(inside{2: cutting(nil, 1, 6, 16, 19, 26, 28)})
	// cutPodSpec leaves all but policies of restart and DNS, service account, host namespaces,
	// security context, pull secrets, host names, scheduler, aliases, priority class, readiness
	// gates, runtime class, preemption, spread constraints, ephemeral containers; of containers ports,
	// resources, restartPolicy.
	cutPodSpec = func() *cut {
		requests := cutting(nil, 1, 3) // requests alone
		container := cutting(inside{8: requests}, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25)
		return cutting(inside{1: cutVolume, 2: container, 20: container, 40: requests},
			3, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 21, 23, 24, 26, 27, 28, 29, 30, 31, 33, 34, 35)
	}()
	// cutPodStatus leaves all but addresses, message, reason, QoS class, init and ephemeral
	// containers; of containers restartCount.
	cutPodStatus = cutting(inside{2: cutCondition, 8: cutting(nil, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14)}, 3, 4, 5, 6, 9, 10, 11, 12, 13, 16)
	cutPod       = cutting(inside{1: cutMeta, 2: cutPodSpec, 3: cutPodStatus})
)

// cuts are those of the envelopes of objects, by kind.
var cuts = func() map[schema.GroupVersionKind]*cut {
	var (
		// metadata alone.
		template = cutting(inside{1: cutMeta}, 2)
		// metadata, node selector, affinity and tolerations.
		placed = cutting(inside{1: cutMeta, 2: cutting(nil, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29,
			30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42)})
		node = cutting(inside{1: cutMeta,
			// All but capacity, addresses, endpoints, system info, images, volumes.
			3: cutting(inside{4: cutCondition}, 1, 5, 6, 7, 8, 9, 10)})
		other = cutting(inside{1: cutMeta})
	)
	// workload has its pod template in a field of its spec.
	workload := func(number protowire.Number, template *cut) *cut {
		return cutting(inside{1: cutMeta, 2: cutting(inside{number: template})})
	}
	all := map[schema.GroupVersionKind]*cut{
		corev1.SchemeGroupVersion.WithKind("Pod"):                   cutPod,
		corev1.SchemeGroupVersion.WithKind("Node"):                  node,
		corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"): other,
		appsv1.SchemeGroupVersion.WithKind("ReplicaSet"):            workload(3, template),
		appsv1.SchemeGroupVersion.WithKind("StatefulSet"):           workload(3, placed),
		appsv1.SchemeGroupVersion.WithKind("DaemonSet"):             workload(2, placed),
		appsv1.SchemeGroupVersion.WithKind("Deployment"):            workload(3, placed),
		policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"): other,
		storagev1.SchemeGroupVersion.WithKind("VolumeAttachment"):   other,
	}
	for kind, c := range all {
		all[kind] = cutting(inside{fieldRaw: c})
	}
	return all
}()

// Fields of a runtime.Unknown, the envelope of each object, and of what is in it.
const (
	fieldType     protowire.Number = 1
	fieldRaw      protowire.Number = 2
	fieldEncoding protowire.Number = 3

	fieldAPIVersion protowire.Number = 1
	fieldKind       protowire.Number = 2

	fieldListMeta protowire.Number = 1 // of a list
	fieldItems    protowire.Number = 2
)

// pruning is a serializer of the API that leaves out of protobuf what nobody
// reads. Objects that it has decoded must not be written back as a whole.
type pruning struct {
	apiruntime.NegotiatedSerializer
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (p pruning) SupportedMediaTypes() []apiruntime.SerializerInfo {
	infos := slices.Clone(p.NegotiatedSerializer.SupportedMediaTypes())
	for i := range infos {
		if infos[i].MediaType == apiruntime.ContentTypeProtobuf {
			infos[i].Serializer = pruner{infos[i].Serializer}
		}
	}
	return infos
}

type pruner struct{ apiruntime.Serializer }

// Decode implements runtime.Decoder.
func (p pruner) Decode(message []byte, defaults *schema.GroupVersionKind, into apiruntime.Object) (apiruntime.Object, *schema.GroupVersionKind, error) {
	if pruned, ok := prune(message); ok {
		message = pruned
	}
	return p.Serializer.Decode(message, defaults, into)
}

// magic begins each message in protobuf; a runtime.Unknown follows.
var magic = []byte("k8s\x00")

// prune returns a message without what is cut out of its kind. False: it is of no
// kind that is cut, or cannot be read, which the decoder explains better.
func prune(message []byte) ([]byte, bool) {
	body, ok := bytes.CutPrefix(message, magic)
	if !ok {
		return nil, false
	}
	envelope := texts(body)
	if len(envelope[fieldEncoding]) > 0 {
		return nil, false
	}
	kind := texts(envelope[fieldType])
	c := cuts[schema.FromAPIVersionAndKind(string(kind[fieldAPIVersion]), string(kind[fieldKind]))]
	if c == nil {
		return nil, false
	}
	return c.prune(append(make([]byte, 0, len(message)), magic...), body)
}

// texts are the first texts and messages of a message; none where it cannot be
// read.
func texts(message []byte) (out [4][]byte) {
	for len(message) > 0 {
		number, kind, head := protowire.ConsumeTag(message)
		if head < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, kind, message[head:])
		if size < 0 {
			break
		}
		if kind == protowire.BytesType && int(number) < len(out) {
			out[number], _ = protowire.ConsumeBytes(message[head:])
		}
		message = message[head+size:]
	}
	return out
}

// names tells whether the first field of a message is one of the texts that have it
// stay.
func (c *cut) names(message []byte) bool {
	first := texts(message)[1]
	return slices.ContainsFunc(c.named, func(name string) bool { return name == string(first) })
}

// prune appends the fields of a message that stay. False: it cannot be read.
func (c *cut) prune(dst, message []byte) ([]byte, bool) {
	for len(message) > 0 {
		number, kind, head := protowire.ConsumeTag(message)
		if head < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(number, kind, message[head:])
		if size < 0 {
			return nil, false
		}
		field := message[:head+size]
		message = message[head+size:]
		var inner *cut
		if number <= maxField {
			inner = c.fields[number]
		}
		switch {
		case inner == gone:
		case inner == nil || kind != protowire.BytesType:
			dst = append(dst, field...)
		default:
			value, _ := protowire.ConsumeBytes(field[head:])
			if inner.named != nil && !inner.names(value) {
				continue
			}
			// Its length comes before it and is not known yet: no longer than it was.
			dst = append(dst, field[:len(field)-len(value)]...)
			begin := len(dst)
			var ok bool
			if dst, ok = inner.prune(dst, value); !ok {
				return nil, false
			}
			length := protowire.AppendVarint(dst[:begin-(size-len(value))], uint64(len(dst)-begin))
			dst = append(length, dst[begin:]...)
		}
	}
	return dst, true
}
