package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

// FleetKind is the kind of a fleet file, as its header says.
const FleetKind = "Fleet"

// maxClusters bounds a fleet.
const maxClusters = 1000

// Fleet is a fleet file.
type Fleet struct {
	fleet.Fleet
	// Window is the fleet's, as it is written; the zero value: none.
	Window plan.Window
}

// fleetsOwn are flags of keys that are of the fleet where one is rotated: it
// waits for the window once, and has a folder of reports for each cluster.
var fleetsOwn = []string{"wait-for-window", "report-dir"}

// clusterName keeps names of clusters fit for folders and labels.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// LoadFleet reads a fleet file, and the rotation files that it names: a mistake
// in the last is found before the first cluster is touched. others are flags of
// the command line that hold for all clusters, nil: none. The error is an *Error
// with everything that is wrong.
func LoadFleet(file string, others *pflag.FlagSet) (*Fleet, error) {
	data, err := readFile(file, FleetKind)
	if err != nil {
		return nil, err
	}
	f, err := ParseFleet(file, data)
	if err != nil {
		return nil, err
	}
	var all Error
	for _, w := range f.Waves {
		for _, c := range w.Clusters {
			if _, err := LoadCluster(c, others); err != nil {
				e, ok := err.(*Error) //nolint:errorlint // Load returns no other
				if !ok {
					return nil, err
				}
				for _, p := range e.Problems {
					p.Message += " (cluster " + c.Name + " of " + file + ")"
					all.Problems = append(all.Problems, p)
				}
			}
		}
	}
	if len(all.Problems) > 0 {
		return nil, &all
	}
	return f, nil
}

// LoadCluster reads the rotation file of one cluster, with what the fleet file
// and flags of the command line set.
func LoadCluster(c fleet.Cluster, others *pflag.FlagSet) (plan.Spec, error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	for _, arg := range ClusterFlags(c, others) {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if err := flags.Set(name, value); err != nil {
			return plan.Spec{}, &Error{[]Problem{{Source: "--" + name, Message: err.Error()}}}
		}
	}
	return Load(Sources{File: c.Config, Flags: flags, OtherFlags: []string{"config", "output", "log-level", "fleet"}})
}

// ClusterFlags are the flags of the rotation of one cluster: what the fleet file
// sets, then what the command line does.
func ClusterFlags(c fleet.Cluster, others *pflag.FlagSet) []string {
	var args []string
	for _, path := range slices.Sorted(maps.Keys(c.Set)) {
		k, _ := KeyOf(path)
		args = append(args, "--"+k.Flag+"="+c.Set[path])
	}
	if others != nil {
		others.Visit(func(f *pflag.Flag) {
			known := slices.ContainsFunc(table, func(k Key) bool { return k.Flag == f.Name })
			if !known || slices.Contains(fleetsOwn, f.Name) {
				return
			}
			values := f.Value.(*flagValue).values
			if len(values) == 0 {
				values = []string{""} // refused there as here
			}
			for _, v := range values {
				args = append(args, "--"+f.Name+"="+v)
			}
		})
	}
	return args
}

// ParseFleet reads a fleet file's content alone. name stands for the file in
// messages.
func ParseFleet(name string, data []byte) (*Fleet, error) {
	d := newDecoder(name)
	top := d.top(data, FleetKind)
	if top == nil {
		return nil, d.err()
	}
	f := &Fleet{Fleet: fleet.Fleet{AtOnce: 1, OnFailure: fleet.FailureStop}, Window: plan.Window{Duration: 6 * time.Hour}}
	d.fields(top, "", map[string]reader{
		"apiVersion": nil, "kind": nil,
		"name":      d.text(&f.Name),
		"atOnce":    d.number(&f.AtOnce, 1, maxClusters),
		"maxFailed": d.number(&f.MaxFailed, 0, maxClusters),
		"onFailure": func(v *yaml.Node, path string) {
			d.oneOf((*string)(&f.OnFailure), string(fleet.FailureStop), string(fleet.FailureFinishWave), string(fleet.FailureContinue))(v, path)
		},
		"window": func(v *yaml.Node, path string) {
			d.fields(v, path, map[string]reader{
				"start": d.text(&f.Window.Start), "duration": d.duration(&f.Window.Duration), "timeZone": d.text(&f.Window.TimeZone),
				"wait": d.yes(&f.Window.Wait),
			})
			w, err := window.Parse(f.Window.Start, f.Window.Duration, f.Window.TimeZone)
			if err != nil {
				d.add(d.at(v), path, "%s", err)
				return
			}
			f.Fleet.Window = w
		},
		"waves": d.each(func(v *yaml.Node, path string) { f.Waves = append(f.Waves, d.wave(v, path)) }),
	})
	d.checkFleet(f, top)
	if err := d.err(); err != nil {
		return nil, err
	}
	return f, nil
}

func (d *decoder) wave(v *yaml.Node, path string) fleet.Wave {
	w := fleet.Wave{}
	d.fields(v, path, map[string]reader{
		"name": d.text(&w.Name), "atOnce": d.number(&w.AtOnce, 1, maxClusters), "bake": d.duration(&w.Bake),
		"clusters": d.each(func(v *yaml.Node, path string) {
			c := fleet.Cluster{}
			d.fields(v, path, map[string]reader{
				"name": d.text(&c.Name), "config": d.text(&c.Config),
				"set": func(v *yaml.Node, path string) { c.Set = d.overrides(v, path) },
			})
			if !clusterName.MatchString(c.Name) {
				d.add(d.at(v), path+".name", "%q is no name: letters, digits and . _ - are allowed, 63 at most", c.Name)
			}
			if c.Config == "" {
				d.add(d.at(v), path+".config", "is missing: give the cluster's rotation file")
			}
			w.Clusters = append(w.Clusters, c)
		}),
	})
	if w.Name == "" {
		d.add(d.at(v), path+".name", "is missing")
	}
	if len(w.Clusters) == 0 {
		d.add(d.at(v), path+".clusters", "is empty: a wave has clusters")
	}
	return w
}

func (d *decoder) checkFleet(f *Fleet, top *yaml.Node) {
	waves, clusters, n := map[string]bool{}, map[string]string{}, 0
	for _, w := range f.Waves {
		if waves[w.Name] {
			d.add(d.at(top), "waves", "two waves are called %s", w.Name)
		}
		waves[w.Name] = true
		for _, c := range w.Clusters {
			n++
			if other, ok := clusters[c.Name]; ok {
				d.add(d.at(top), "waves", "cluster %s is in wave %s and in wave %s: a rotation twice finds nothing to do", c.Name, other, w.Name)
			}
			clusters[c.Name] = w.Name
		}
	}
	switch {
	case n == 0:
		d.add(d.at(top), "waves", "is missing: a fleet has clusters in waves")
	case n > maxClusters:
		d.add(d.at(top), "waves", "has %d clusters: %d are allowed", n, maxClusters)
	}
}

// overrides are keys of the rotation file, by their path.
func (d *decoder) overrides(n *yaml.Node, path string) map[string]string {
	out := map[string]string{}
	if n.Kind != yaml.MappingNode {
		d.add(d.at(n), path, "%s, where a mapping of keys of the rotation file is needed, as kubernetes.context: prod", describe(n))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, v := n.Content[i].Value, resolve(n.Content[i+1])
		k, ok := KeyOf(name)
		switch {
		case !ok:
			d.add(d.at(n.Content[i]), path+"."+name, "unknown key%s", didYouMean(name, paths()))
		case k.Kind == Map || k.Kind == Rules || k.Kind == List:
			d.add(d.at(v), path+"."+name, "is a %s: write it into the rotation file; here single values are allowed", k.Kind)
		case v.Kind != yaml.ScalarNode:
			d.add(d.at(v), path+"."+name, "%s, where a %s is needed", describe(v), k.Kind)
		default:
			out[name] = v.Value
		}
	}
	return out
}

func paths() []string {
	var out []string
	for _, k := range table {
		out = append(out, k.Path)
	}
	return out
}

// reader reads the value of one key; nil: it was read before.
type reader func(v *yaml.Node, path string)

// fields reads a mapping strictly.
func (d *decoder) fields(n *yaml.Node, path string, known map[string]reader) {
	if n.Kind != yaml.MappingNode {
		d.add(d.at(n), path, "%s, where a mapping with %s is needed", describe(n), orList(slices.Sorted(maps.Keys(known))))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		full := strings.TrimPrefix(path+"."+k.Value, ".")
		read, ok := known[k.Value]
		switch line, dup := seen[k.Value]; {
		case dup:
			d.add(d.at(k), full, "is given twice: the first is in line %d", line)
		case !ok:
			suggestion := didYouMean(k.Value, slices.Sorted(maps.Keys(known)))
			if suggestion == "" {
				suggestion = ": " + orList(slices.Sorted(maps.Keys(known))) + " is allowed here"
			}
			d.add(d.at(k), full, "unknown key%s", suggestion)
		case read != nil && !isNull(v):
			read(v, full)
		}
		seen[k.Value] = k.Line
	}
}

func (d *decoder) each(item reader) reader {
	return func(v *yaml.Node, path string) {
		if v.Kind != yaml.SequenceNode {
			d.add(d.at(v), path, "%s, where a list is needed", describe(v))
			return
		}
		for i, e := range v.Content {
			item(resolve(e), fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// scalar reads one value as a key of the rotation file of that kind would be.
func (d *decoder) scalar(k Key, set func(any)) reader {
	return func(v *yaml.Node, path string) {
		value, err := d.value(v, k)
		if err != nil {
			d.add(d.at(v), path, "%s", err)
			return
		}
		set(value)
	}
}

func (d *decoder) text(to *string) reader {
	return d.scalar(Key{Kind: Text}, func(v any) { *to = v.(string) })
}

func (d *decoder) yes(to *bool) reader {
	return d.scalar(Key{Kind: Bool}, func(v any) { *to = v.(bool) })
}

func (d *decoder) duration(to *time.Duration) reader {
	return func(v *yaml.Node, path string) {
		d.scalar(Key{Kind: Duration}, func(got any) {
			if *to = got.(time.Duration); *to < 0 || int64(*to) > maxWait {
				d.add(d.at(v), path, "%s is out of range: 0s to %s is allowed", *to, time.Duration(maxWait))
			}
		})(v, path)
	}
}

func (d *decoder) number(to *int, least, most int) reader {
	return func(v *yaml.Node, path string) {
		d.scalar(Key{Kind: Count, Min: int64(least), Max: int64(most)}, func(got any) {
			if *to = got.(int); *to < least || *to > most {
				d.add(d.at(v), path, "%d is out of range: %d to %d is allowed", *to, least, most)
			}
		})(v, path)
	}
}

func (d *decoder) oneOf(to *string, words ...string) reader {
	return func(v *yaml.Node, path string) {
		d.text(to)(v, path)
		if !slices.Contains(words, *to) {
			d.add(d.at(v), path, "%q is unknown: %s is allowed", *to, orList(words))
		}
	}
}
