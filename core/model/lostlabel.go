package model

import (
	"maps"
	"strings"
)

// MaxLostLabels bounds the lost labels of one group.
const MaxLostLabels = 100

// LostLabel is a label of a group's nodes that their replacements do not carry:
// with this value, or at all.
type LostLabel struct {
	Key string
	// Value of the old nodes: the replacements have another. AnyValue: whatever the
	// old nodes have, the replacements have none.
	Value    string
	AnyValue bool
}

// ParseLostLabel reads KEY=VALUE or KEY. It checks nothing.
func ParseLostLabel(s string) LostLabel {
	key, value, found := strings.Cut(s, "=")
	return LostLabel{Key: key, Value: value, AnyValue: !found}
}

// String is KEY=VALUE, or KEY.
func (l LostLabel) String() string {
	if l.AnyValue {
		return l.Key
	}
	return l.Key + "=" + l.Value
}

// In tells whether a node with these labels has it.
func (l LostLabel) In(labels map[string]string) bool {
	v, ok := labels[l.Key]
	return ok && (l.AnyValue || v == l.Value)
}

// anotherValue stands for the value of a label that is not known. It is none that
// a label may have, so that no selector names it.
const anotherValue = "?"

// Relabel returns the labels that the replacement of a node has: labels itself
// where none of them is lost.
func Relabel(labels map[string]string, lost []LostLabel) map[string]string {
	out := labels
	cloned := false
	for _, l := range lost {
		if !l.In(labels) {
			continue
		}
		if !cloned {
			out, cloned = maps.Clone(labels), true
		}
		if l.AnyValue {
			delete(out, l.Key)
		} else if _, there := out[l.Key]; there { // not lost as a whole besides
			out[l.Key] = anotherValue
		}
	}
	return out
}
