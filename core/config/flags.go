package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// TopicAnnotation of a flag names its topic in help texts.
const TopicAnnotation = "rotator-topic"

// AddFlags adds the flags of all keys, or of those whose topic is listed.
// Values are checked by Load, together with the file's, not while parsing.
func AddFlags(fs *pflag.FlagSet, topics ...string) {
	for _, k := range table {
		if len(topics) > 0 && !slices.Contains(topics, k.Topic) {
			continue
		}
		AddFlag(fs, k.Path)
	}
}

// AddFlag adds the flag of one key. It panics for an unknown path.
func AddFlag(fs *pflag.FlagSet, path string) {
	k, ok := KeyOf(path)
	if !ok {
		panic("config: no key " + path)
	}
	d := Default()
	f := fs.VarPF(&flagValue{key: k}, k.Flag, "", k.usage())
	switch f.DefValue = k.text(&d); {
	case k.Kind == Map || k.Kind == Rules || f.DefValue == "0s" || f.DefValue == "0" && k.Kind == Count:
		f.DefValue = ""
	case k.Kind == Bool:
		f.NoOptDefVal = "true"
	}
	f.Annotations = map[string][]string{TopicAnnotation: {k.Topic}}
}

// camel finds names of keys in documentation.
var camel = regexp.MustCompile(`\b[a-z]+[A-Z][A-Za-z]*\b`)

// usage is the documentation as a help text has it: flags for names of keys, no
// full stop at the end.
func (k Key) usage() string {
	s := strings.TrimSuffix(strings.ReplaceAll(k.Doc, "`", "'"), ".")
	s = camel.ReplaceAllStringFunc(s, func(word string) string {
		for _, other := range table {
			if strings.HasSuffix(other.Path, "."+word) {
				return "--" + other.Flag
			}
		}
		return word
	})
	if k.Default == true {
		s += "; --" + k.Flag + "=false turns it off"
	}
	if len(k.Enum) > 0 && k.Kind == List {
		s += ": " + strings.Join(k.Enum, ", ")
	}
	if k.Kind == List || k.Kind == Rules {
		s += " (repeatable)"
	}
	return s
}

// flagValue keeps what was given as text; Load parses it.
type flagValue struct {
	key    Key
	values []string
}

var _ pflag.Value = (*flagValue)(nil)

// Set keeps a value. Lists and maps collect, others keep the last.
func (f *flagValue) Set(s string) error {
	switch f.key.Kind {
	case List:
		f.values = append(f.values, splitList(s)...)
	case Map, Rules:
		f.values = append(f.values, s)
	case Bool:
		// viper reads flags of this type with a cast that takes any text for false.
		if _, err := strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is not a boolean: write true or false", s)
		}
		fallthrough
	default:
		f.values = []string{s}
	}
	return nil
}

// String returns what was given, as Load parses it.
func (f *flagValue) String() string { return strings.Join(f.values, ",") }

// Type is shown in help texts.
func (f *flagValue) Type() string {
	switch {
	case f.key.Kind == Map:
		return "key=value"
	case f.key.Kind == Rules:
		return "{key: value, ...}"
	case len(f.key.Enum) > 0 && f.key.Kind == Text:
		return strings.Join(f.key.Enum, "|")
	case f.key.Kind == List || f.key.Kind == Text:
		return "string"
	case f.key.Kind == Amount:
		return "count|percent"
	}
	return string(f.key.Kind)
}
