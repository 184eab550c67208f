// Package wire reads and writes the two query protocols of AWS: "ec2" (EC2) and "query" (Auto Scaling, STS).
//
// Requests are form parameters with dotted names, answers are XML. Both are mapped onto plain Go structs by field tags:
//
//	Filters []Filter `q:"Filter" x:"filterSet"`
//
// `q` names the request parameter and `x` the response element; without a tag the field's own name serves, with its
// first letter in lower case for elements of the ec2 protocol, as AWS's models do. "-" leaves a field out.
//
// The names are AWS's, not ours: package modelcheck holds every answer against AWS's own API models.
package wire

import (
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Protocol is one of AWS's query protocols; they differ in how lists and elements are named.
type Protocol int

const (
	// EC2 is the protocol "ec2": Name.1 in requests, <item> in answers, elements begin in lower case.
	EC2 Protocol = iota
	// Query is the protocol "query": Name.member.1 in requests, <member> in answers.
	Query
)

var timeType = reflect.TypeFor[time.Time]()

// requestName is the parameter name of a field, "" when the field takes no part in requests.
func requestName(f reflect.StructField) string {
	if !f.IsExported() {
		return ""
	}
	if n, ok := f.Tag.Lookup("q"); ok {
		if n == "-" {
			return ""
		}
		return n
	}
	return f.Name
}

// elementName is the element name of a field, "" when the field takes no part in answers.
func elementName(p Protocol, f reflect.StructField) string {
	if !f.IsExported() {
		return ""
	}
	if n, ok := f.Tag.Lookup("x"); ok {
		if n == "-" {
			return ""
		}
		return n
	}
	if p == EC2 {
		return lowerFirst(f.Name)
	}
	return f.Name
}

// itemName is the name of a list's elements.
func itemName(p Protocol, f reflect.StructField) string {
	if n, ok := f.Tag.Lookup("item"); ok {
		return n
	}
	if p == EC2 {
		return "item"
	}
	return "member"
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	var b strings.Builder
	b.WriteRune(unicode.ToLower(r))
	b.WriteString(s[n:])
	return b.String()
}
