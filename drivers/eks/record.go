package eks

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Tags on a group. Tags have no compare-and-swap: they protect against our own
// crashes, not against a second rotation at the same moment (that is the
// core's lock).
const (
	tagPrefix   = "rotatord.github.io/"
	tagPrepared = tagPrefix + "prepared"
	tagSurge    = tagPrefix + "surge"
	// tagProtected, followed by a number from 0, lists instances that somebody
	// protected from scale-in before the rotation.
	tagProtected = tagPrefix + "protected-"
)

// maxTagValue is AWS's limit on a tag's value, in characters.
const maxTagValue = 256

// rotationID is what may stand in a record: characters that a tag's value may
// hold, no space, and short enough for the longest record to fit.
var rotationID = regexp.MustCompile(`^[A-Za-z0-9._:/@+-]{1,64}$`)

// fields is a record as it stands in a tag: words KEY=VALUE in a fixed order.
type fields struct{ b strings.Builder }

func (f *fields) add(key, value string) {
	if f.b.Len() > 0 {
		f.b.WriteByte(' ')
	}
	f.b.WriteString(key + "=" + value)
}

func (f *fields) addInt(key string, n int) { f.add(key, strconv.Itoa(n)) }

// reader takes a record apart and remembers the first thing wrong with it.
type reader struct {
	values map[string]string
	err    error
}

func read(value string) *reader {
	r := &reader{values: map[string]string{}}
	for _, word := range strings.Fields(value) {
		k, v, ok := strings.Cut(word, "=")
		if _, twice := r.values[k]; !ok || k == "" || twice {
			r.fail("cannot read %q", word)
			return r
		}
		r.values[k] = v
	}
	return r
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) take(key string) (string, bool) {
	v, ok := r.values[key]
	delete(r.values, key)
	return v, ok
}

// word takes a value that must be there, one of those allowed if any are named.
func (r *reader) word(key string, allowed ...string) string {
	v, ok := r.take(key)
	if !ok {
		r.fail("no %s", key)
		return ""
	}
	for _, a := range allowed {
		if v == a {
			return v
		}
	}
	if len(allowed) > 0 {
		r.fail("%s is %q, not one of %s", key, v, strings.Join(allowed, ", "))
	}
	return v
}

// number takes a count that must be there.
func (r *reader) number(key string) int {
	n, err := strconv.Atoi(r.word(key))
	if err != nil || n < 0 {
		r.fail("%s is not a count", key)
	}
	return n
}

// done returns the first error. A word that is left over is one: a record of a
// later version must not be half understood.
func (r *reader) done() error {
	for k := range r.values {
		r.fail("unknown word %q", k)
	}
	return r.err
}
