package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rotatord/rotator/core/plan"
)

// The header of a rotation file.
const (
	APIVersion = "rotatord.github.io/v1alpha1"
	FileKind   = "Rotation"
)

const (
	// maxFile bounds a rotation file, in bytes.
	maxFile = 1 << 20
	// maxFreeNodes bounds a free-form map after its aliases are followed, so
	// that a small file cannot unfold into a large value.
	maxFreeNodes = 10_000
	maxFreeDepth = 50
)

// tree is the table by levels: what may stand under each mapping.
type tree struct {
	key      *Key // a leaf
	children map[string]*tree
}

var root = func() *tree {
	r := &tree{children: map[string]*tree{}}
	for i := range table {
		t := r
		for name := range strings.SplitSeq(table[i].Path, ".") {
			if t.children[name] == nil {
				t.children[name] = &tree{children: map[string]*tree{}}
			}
			t = t.children[name]
		}
		t.key = &table[i]
	}
	return r
}()

// decoder reads one file into a spec that already holds the defaults.
type decoder struct {
	source string
	spec   *plan.Spec
	*problems
	places map[string]place // where each key was set
	bad    map[string]bool  // keys whose value could not be read
}

func (d *decoder) at(n *yaml.Node) place { return place{d.source, n.Line, n.Column} }

// position finds the line in an error of the parser, which has no field for it.
var position = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document reads a whole file. It tells whether it could be read as a mapping
// at all: if not, checking its keys would only add noise.
func (d *decoder) document(data []byte) bool {
	top := d.top(data, FileKind)
	if top == nil {
		return false
	}
	d.mapping(top, root, "")
	return true
}

// top reads a file of the kind as far as its mapping; nil: it has none.
func (d *decoder) top(data []byte, kind string) *yaml.Node {
	if len(data) > maxFile {
		d.add(place{source: d.source}, "", "the file is larger than %d bytes: it is no file of ours", maxFile)
		return nil
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.add(place{source: d.source}, "", "the file is empty: %s", exampleOf(kind))
		return nil
	case err != nil:
		at, text := place{source: d.source}, err.Error()
		if m := position.FindStringSubmatch(text); m != nil {
			text = m[2]
			if at.line, _ = strconv.Atoi(m[1]); at.line > 0 {
				at.column = 1
			}
		}
		d.add(at, "", "not valid YAML: %s", text)
		return nil
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		at := place{source: d.source}
		if err == nil {
			at = d.at(&more)
		}
		d.add(at, "", "the file holds more than one document: one a file is allowed")
	}
	top := resolve(doc.Content[0])
	if isNull(top) {
		d.add(place{source: d.source}, "", "the file is empty: %s", exampleOf(kind))
		return nil
	}
	if top.Kind != yaml.MappingNode {
		d.add(d.at(top), "", "%s, where a mapping (key: value) is needed", describe(top))
		return nil
	}
	if d.otherwise(top, kind) {
		return nil
	}
	d.header(top, kind)
	return top
}

// exampleOf says where an example of a file of the kind is.
func exampleOf(kind string) string {
	if kind == FleetKind {
		return "docs/fleet.md has an example"
	}
	return "`rotatord config init` prints an example"
}

// otherwise tells a file of the other of our kinds, of which nothing else needs to
// be said than where it belongs.
func (d *decoder) otherwise(top *yaml.Node, kind string) bool {
	belongs := map[string]string{FileKind: "this is a rotation file, of one cluster: give it with --config", FleetKind: "this is a fleet file: give it with --fleet"}
	for i := 0; i+1 < len(top.Content); i += 2 {
		v := resolve(top.Content[i+1])
		if where, ours := belongs[v.Value]; top.Content[i].Value == "kind" && ours && v.Value != kind {
			d.add(d.at(v), "kind", "%s", where)
			return true
		}
	}
	return false
}

// header checks apiVersion and kind, which say that the file is meant for us.
func (d *decoder) header(top *yaml.Node, kind string) {
	for _, h := range []struct{ key, want string }{{"apiVersion", APIVersion}, {"kind", kind}} {
		found := false
		for i := 0; i+1 < len(top.Content); i += 2 {
			if v := resolve(top.Content[i+1]); top.Content[i].Value == h.key {
				found = true
				if v.Value != h.want {
					d.add(d.at(v), h.key, "%q is not known: write %s", v.Value, h.want)
				}
			}
		}
		if !found {
			d.add(place{d.source, top.Line, top.Column}, h.key, "is missing: write %s: %s", h.key, h.want)
		}
	}
}

// mapping reads the keys of one level.
func (d *decoder) mapping(n *yaml.Node, t *tree, path string) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		if k.Kind != yaml.ScalarNode {
			d.add(d.at(k), path, "%s as a key: keys are words", describe(k))
			continue
		}
		name := k.Value
		full := name
		if path != "" {
			full = path + "." + name
		}
		if line, dup := seen[name]; dup {
			d.add(d.at(k), full, "is given twice: the first is in line %d", line)
			continue
		}
		seen[name] = k.Line
		if path == "" && (name == "apiVersion" || name == "kind") {
			continue
		}
		child, ok := t.children[name]
		if !ok {
			d.add(d.at(k), full, "unknown key%s", d.suggest(name, path, t))
			continue
		}
		switch {
		case isNull(v): // "drain:" with everything below it commented out
		case child.key != nil:
			d.leaf(v, *child.key)
		case v.Kind != yaml.MappingNode:
			d.add(d.at(v), full, "%s, where a mapping with %s is needed", describe(v), orList(slices.Sorted(maps.Keys(child.children))))
		default:
			d.mapping(v, child, full)
		}
	}
}

// suggest names the key that an unknown one was probably meant to be: near in
// spelling here, or the same word elsewhere in the file.
func (d *decoder) suggest(name, path string, t *tree) string {
	here := slices.Sorted(maps.Keys(t.children))
	if s := didYouMean(name, here); s != "" {
		return s
	}
	for _, k := range table {
		last := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if fold(last) == fold(name) || fold(k.Flag) == fold(name) {
			return "; did you mean " + k.Path + "?"
		}
	}
	if path == "" {
		here = append([]string{"apiVersion", "kind"}, here...)
	}
	return ": " + orList(here) + " is allowed here"
}

// leaf reads one value.
func (d *decoder) leaf(v *yaml.Node, k Key) {
	d.places[k.Path] = d.at(v)
	value, err := d.value(v, k)
	if err != nil {
		d.bad[k.Path] = true
		d.add(d.at(v), k.Path, "%s", err)
		return
	}
	if value != nil {
		k.set(d.spec, value)
	}
}

func (d *decoder) value(v *yaml.Node, k Key) (any, error) {
	switch k.Kind {
	case Map:
		if v.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s, where a mapping (key: value) is needed", describe(v))
		}
		left := maxFreeNodes
		if m := d.free(v, k.Path, 0, &left); m != nil {
			return m, nil
		}
		d.bad[k.Path] = true
		return nil, nil
	case Rules:
		return d.rules(v, k)
	case List:
		if v.Kind != yaml.SequenceNode {
			return nil, fmt.Errorf("%s, where a list is needed: write [%s]", describe(v), v.Value)
		}
		out := make([]string, 0, len(v.Content))
		for _, e := range v.Content {
			e = resolve(e)
			if e.Kind != yaml.ScalarNode || isNull(e) {
				return nil, fmt.Errorf("%s in line %d, where a string is needed", describe(e), e.Line)
			}
			out = append(out, e.Value)
		}
		return out, nil
	default: // a scalar, below
	}
	if v.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("%s, where %s is needed", describe(v), k.Kind.noun())
	}
	tag := v.ShortTag()
	switch k.Kind {
	case Bool:
		if tag != "!!bool" {
			return nil, fmt.Errorf("%s is not a boolean: write true or false", describe(v))
		}
	case Count:
		if tag != "!!int" {
			return nil, fmt.Errorf("%s is not a whole number: %s is allowed", describe(v), k.rangeText())
		}
	case Duration:
		if tag != "!!str" && tag != "!!int" && tag != "!!float" {
			return nil, fmt.Errorf("%s is not a duration: write a number with a unit, such as 90s, 15m or 1h30m", describe(v))
		}
	case Text:
		if tag == "!!bool" {
			return nil, fmt.Errorf("%s is a boolean, where a string is needed: write %q", v.Value, v.Value)
		}
	default: // an amount may look like a number or a text
	}
	return k.parse(v.Value)
}

// free reads a free-form mapping; nil after a problem.
func (d *decoder) free(n *yaml.Node, path string, depth int, left *int) map[string]any {
	out := make(map[string]any, len(n.Content)/2)
	seen := map[string]int{}
	ok := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
			d.add(d.at(k), path, "%s as a key: only words are allowed (no merge keys)", describe(k))
			ok = false
			continue
		}
		if line, dup := seen[k.Value]; dup {
			d.add(d.at(k), path+"."+k.Value, "is given twice: the first is in line %d", line)
			ok = false
			continue
		}
		seen[k.Value] = k.Line
		v, good := d.freeValue(n.Content[i+1], path+"."+k.Value, depth+1, left)
		ok = ok && good
		out[k.Value] = v
	}
	if !ok {
		return nil
	}
	return out
}

func (d *decoder) freeValue(n *yaml.Node, path string, depth int, left *int) (any, bool) {
	n = resolve(n)
	if *left--; *left < 0 || depth > maxFreeDepth {
		if *left == -1 || depth == maxFreeDepth+1 {
			d.add(d.at(n), shorten(path), "too large: at most %d values, nested %d deep, are allowed", maxFreeNodes, maxFreeDepth)
		}
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := d.free(n, path, depth, left)
		return m, m != nil
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, e := range n.Content {
			v, ok := d.freeValue(e, fmt.Sprintf("%s[%d]", path, i), depth+1, left)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			d.add(d.at(n), path, "%s cannot be read: %s", describe(n), err)
			return nil, false
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			d.add(d.at(n), path, "%s is not a number that a driver can be given", n.Value)
			return nil, false
		}
		return v, true
	default: // strings; dates stay as they are written
		return n.Value, true
	}
}

// shorten cuts the path of what is nested too deep: its line says where it is.
func shorten(path string) string {
	const most = 80
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}

// resolve follows an alias. The parser refuses an alias of an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what was found.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if isNull(n) {
		return "nothing"
	}
	if n.ShortTag() == "!!str" {
		return strconv.Quote(n.Value)
	}
	return n.Value
}
