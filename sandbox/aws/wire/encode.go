package wire

import (
	"bytes"
	"encoding/xml"
	"reflect"
	"strconv"
	"sync"
	"time"
)

// timeLayout is how AWS writes timestamps in XML: UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Encode appends the fields of struct v as XML elements. Left out are nil pointers, nil slices, empty strings and zero
// times; booleans and numbers always appear, and an empty non-nil slice becomes an empty element, as AWS does it.
// A pointer to an empty string is an empty element (a tag without a value).
func Encode(p Protocol, b *bytes.Buffer, v any) {
	encodeFields(p, b, reflect.Indirect(reflect.ValueOf(v)))
}

// field is what the encoder needs to know of a struct's field.
type field struct {
	index      int
	name, item string
}

type layoutKey struct {
	p Protocol
	t reflect.Type
}

// layouts caches the fields of each struct type: reading tags anew for each of a thousand instances took most of the
// time of a page. It grows with the types of the program, not with what is encoded.
var layouts sync.Map // layoutKey -> []field

func layout(p Protocol, t reflect.Type) []field {
	key := layoutKey{p, t}
	if l, ok := layouts.Load(key); ok {
		return l.([]field)
	}
	var l []field
	for i := range t.NumField() {
		if name := elementName(p, t.Field(i)); name != "" {
			l = append(l, field{index: i, name: name, item: itemName(p, t.Field(i))})
		}
	}
	layouts.Store(key, l)
	return l
}

func encodeFields(p Protocol, b *bytes.Buffer, v reflect.Value) {
	for _, f := range layout(p, v.Type()) {
		encodeElement(p, b, f.name, f.item, v.Field(f.index), true)
	}
}

// encodeElement writes one element, and the elements of a list in it under the name item; optional says that a zero string or time leaves it out (never so in lists).
func encodeElement(p Protocol, b *bytes.Buffer, name, item string, v reflect.Value, optional bool) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			encodeElement(p, b, name, item, v.Elem(), false)
		}
		return
	case v.Kind() == reflect.Slice && v.IsNil():
		return
	case optional && v.Kind() == reflect.String && v.Len() == 0:
		return
	case optional && v.Type() == timeType && v.Interface().(time.Time).IsZero():
		return
	}
	b.WriteByte('<')
	b.WriteString(name)
	b.WriteByte('>')
	switch {
	case v.Type() == timeType:
		b.WriteString(v.Interface().(time.Time).UTC().Format(timeLayout))
	case v.Kind() == reflect.Struct:
		encodeFields(p, b, v)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			encodeElement(p, b, item, "", v.Index(i), false)
		}
	case v.Kind() == reflect.String:
		escape(b, v.String())
	case v.Kind() == reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case v.CanInt():
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	default:
		panic("wire: cannot encode " + v.Type().String()) // a mistake in a response struct of ours
	}
	b.WriteString("</")
	b.WriteString(name)
	b.WriteByte('>')
}

// escape writes text as XML character data. Nearly all of it is plain and needs no look at each rune.
func escape(b *bytes.Buffer, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '<' || c == '>' || c == '&' || c == '\'' || c == '"' {
			// EscapeText fails only when the writer does, and a bytes.Buffer does not.
			_ = xml.EscapeText(b, []byte(s))
			return
		}
	}
	b.WriteString(s)
}
