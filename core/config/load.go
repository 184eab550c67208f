// Package config reads what a person asks for: the rotation file, then
// ROTATOR_* variables, then flags, each overriding the one before. The result
// is a plan.Spec with every default filled in and every value checked.
//
// The file is decoded strictly, by a parser that knows positions: an unknown
// key is an error with its line and the nearest known key. viper merges
// variables and flags over keys of the table only, because it lowercases keys
// and splits them at dots, which free-form maps would not survive.
//
// Paths in the file are relative to the working directory.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/rotatord/rotator/core/plan"
)

// Default returns the spec that an empty rotation file would give: valid but
// for the cluster's and the driver's name.
func Default() plan.Spec {
	var s plan.Spec
	for _, k := range table {
		k.set(&s, k.Default)
	}
	return s
}

// Sources are what a configuration is read from. The zero value reads the
// process' environment alone.
type Sources struct {
	// File is the rotation file's path; empty: none.
	File string
	// Flags holds flags made by AddFlags; only those that were given count.
	// nil: none.
	Flags *pflag.FlagSet
	// OtherFlags are names of flags that are not keys of the file but have
	// variables too: ROTATOR_LOG_LEVEL for log-level.
	OtherFlags []string
	// NoProvider: neither a cluster's nor a driver's name is needed.
	NoProvider bool
}

// Load reads, merges and checks. The error is an *Error with everything that
// is wrong, or says that the file cannot be read.
func Load(src Sources) (plan.Spec, error) {
	d := newDecoder(src.File)
	if src.File != "" {
		data, err := readFile(src.File, FileKind)
		if err != nil {
			return plan.Spec{}, err
		}
		if !d.document(data) {
			return plan.Spec{}, d.err()
		}
	}
	unknownVariables(d.problems, src.OtherFlags)
	d.merge(src.Flags)
	return d.finish(src.NoProvider)
}

// Parse reads a rotation file's content alone: no variables, no flags. name
// stands for the file in messages.
func Parse(name string, data []byte) (plan.Spec, error) {
	d := newDecoder(name)
	if !d.document(data) {
		return plan.Spec{}, d.err()
	}
	return d.finish(false)
}

func newDecoder(source string) *decoder {
	s := Default()
	return &decoder{source: source, spec: &s, problems: &problems{}, places: map[string]place{}, bad: map[string]bool{}}
}

func (d *decoder) finish(noProvider bool) (plan.Spec, error) {
	validate(d, noProvider)
	if err := d.err(); err != nil {
		return plan.Spec{}, err
	}
	d.spec.Driver.SHA256 = strings.ToLower(d.spec.Driver.SHA256)
	// A folder that somebody names is meant, whatever the default is.
	if _, said := d.places["journal.store"]; !said && (d.spec.Journal.Dir != "" || d.spec.CloudOnly) {
		d.spec.Journal.Store = plan.StoreFolder
	}
	return *d.spec, nil
}

// readFile reads at most a little more than document accepts; kind (FileKind or
// FleetKind) is what the file is to be.
func readFile(name, kind string) ([]byte, error) {
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil {
			return data, nil
		}
	}
	reason := err
	var pe *os.PathError
	if errors.As(err, &pe) {
		reason = pe.Err
	}
	return nil, &Error{[]Problem{{Source: name, Message: fmt.Sprintf("the %s file cannot be read: %s (%s)", strings.ToLower(kind), reason, exampleOf(kind))}}}
}

// merge lays variables and flags over the file's values.
func (d *decoder) merge(flags *pflag.FlagSet) {
	v := viper.New()
	for _, k := range table {
		if k.Env() == "" {
			continue // maps and rules are no scalars: below
		}
		// BindEnv fails only without arguments, BindPFlag only for a nil flag.
		_ = v.BindEnv(k.Path, k.Env())
		if f := lookup(flags, k.Flag); f != nil {
			_ = v.BindPFlag(k.Path, f)
		}
	}
	for _, k := range table {
		at := place{}
		f := lookup(flags, k.Flag)
		switch {
		case f != nil && f.Changed:
			at.source = "--" + k.Flag
			// --group "$GROUPS" of a script in which GROUPS is unset must not choose all.
			if k.Kind == List && f.Value.String() == "" {
				d.bad[k.Path] = true
				d.add(at, k.Path, "is empty: give a value, or leave the flag out")
				continue
			}
		case k.Env() != "" && os.Getenv(k.Env()) != "":
			at.source = k.Env()
		default:
			continue
		}
		var value any
		var err error
		switch k.Kind {
		case Map:
			value, err = mergeMap(d.spec.Driver.Config, f.Value.(*flagValue).values)
		case Rules:
			value, err = ruleFlags(f.Value.(*flagValue).values)
		default:
			value, err = k.parse(v.GetString(k.Path))
		}
		d.places[k.Path] = at
		delete(d.bad, k.Path)
		if err != nil {
			d.bad[k.Path] = true
			d.add(at, k.Path, "%s", err)
			continue
		}
		k.set(d.spec, value)
	}
}

func lookup(flags *pflag.FlagSet, name string) *pflag.Flag {
	if flags == nil {
		return nil
	}
	return flags.Lookup(name)
}

// mergeMap lays key=value pairs over a copy of m. A value that is JSON is
// decoded, so that numbers, lists and objects can be given; any other is a
// string.
func mergeMap(m map[string]any, pairs []string) (map[string]any, error) {
	out := make(map[string]any, len(m)+len(pairs))
	for k, v := range m {
		out[k] = v
	}
	for _, p := range pairs {
		k, text, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%q is not key=value, such as region=eu-west-1", p)
		}
		out[k] = jsonOrText(text)
	}
	return out, nil
}

func jsonOrText(text string) any {
	var v any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // account numbers must not become floats
	if err := dec.Decode(&v); err != nil || dec.More() {
		return text
	}
	return v
}

// unknownVariables refuses ROTATOR_* variables that nobody reads: a typing
// error there would silently rotate with a default.
func unknownVariables(p *problems, otherFlags []string) {
	var known []string
	for _, k := range table {
		if e := k.Env(); e != "" {
			known = append(known, e)
		}
	}
	for _, f := range otherFlags {
		known = append(known, envName(f))
	}
	var found []string
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, EnvPrefix) && !slices.Contains(known, name) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	for _, name := range found {
		bare := make([]string, len(known))
		for i, k := range known {
			bare[i] = strings.TrimPrefix(k, EnvPrefix)
		}
		hint := ": unset it"
		if n := Nearest(strings.TrimPrefix(name, EnvPrefix), bare); n != "" {
			hint = "; did you mean " + EnvPrefix + n + "?"
		}
		p.add(place{source: name}, "", "unknown variable%s", hint)
	}
}
