package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/plan"
)

// maxRules bounds drain.rules: each pod is held against each of them.
const maxRules = 100

// ruleKeys are the keys of a rule, from the tags of drain.Rule.
var ruleKeys = func() map[string]reflect.StructField {
	out := map[string]reflect.StructField{}
	t := reflect.TypeFor[drain.Rule]()
	for i := range t.NumField() {
		out[t.Field(i).Tag.Get("yaml")] = t.Field(i)
	}
	return out
}()

func ruleKeyNames() []string {
	names := make([]string, 0, len(ruleKeys))
	for name := range ruleKeys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// rules reads a list of rules, strictly: each problem has its own position.
func (d *decoder) rules(v *yaml.Node, k Key) (any, error) {
	if v.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s, where a list of rules is needed: write [%s]", describe(v), k.Example)
	}
	if len(v.Content) > maxRules {
		return nil, fmt.Errorf("%d rules: at most %d are allowed", len(v.Content), maxRules)
	}
	out := make([]drain.Rule, 0, len(v.Content))
	ok := true
	for i, n := range v.Content {
		n = resolve(n)
		path := rulePath(k.Path, i)
		d.places[path] = d.at(n)
		if n.Kind != yaml.MappingNode {
			d.add(d.at(n), path, "%s, where a mapping with %s is needed", describe(n), orList(ruleKeyNames()))
			ok = false
			continue
		}
		r, good := d.rule(n, path)
		ok = ok && good
		out = append(out, r)
	}
	if !ok {
		d.bad[k.Path] = true
		return nil, nil
	}
	return out, nil
}

func rulePath(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// rule reads one.
func (d *decoder) rule(n *yaml.Node, path string) (r drain.Rule, ok bool) {
	ok = true
	bad := func(at *yaml.Node, path, format string, args ...any) {
		d.add(d.at(at), path, format, args...)
		ok = false
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		full := path + "." + k.Value
		if line, dup := seen[k.Value]; dup {
			bad(k, full, "is given twice: the first is in line %d", line)
			continue
		}
		seen[k.Value] = k.Line
		field, known := ruleKeys[k.Value]
		if !known {
			hint := didYouMean(k.Value, ruleKeyNames())
			if hint == "" {
				hint = ": " + orList(ruleKeyNames()) + " is allowed here"
			}
			bad(k, full, "unknown key%s", hint)
			continue
		}
		d.places[full] = d.at(v)
		if isNull(v) {
			continue
		}
		f := reflect.ValueOf(&r).Elem().FieldByIndex(field.Index)
		switch f.Kind() { // those of drain.Rule
		case reflect.Slice:
			list, err := d.value(v, Key{Kind: List})
			if err != nil {
				bad(v, full, "%s", err)
				continue
			}
			f.Set(reflect.ValueOf(list))
		case reflect.Int:
			num, err := strconv.Atoi(v.Value)
			if err != nil || v.ShortTag() != "!!int" {
				bad(v, full, "%s is not a whole number", describe(v))
				continue
			}
			f.SetInt(int64(num))
		default:
			if v.Kind != yaml.ScalarNode {
				bad(v, full, "%s, where a string is needed", describe(v))
				continue
			}
			f.SetString(strings.TrimSpace(v.Value))
		}
	}
	return r, ok
}

// ruleFlags reads rules as flags give them: each a mapping in YAML's flow style.
func ruleFlags(values []string) ([]drain.Rule, error) {
	var out []drain.Rule
	for _, text := range values {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%q is not a rule: write a mapping, such as '{owners: [Job], action: wait}'", text)
		}
		d := newDecoder("")
		r, ok := d.rule(resolve(doc.Content[0]), "")
		if !ok {
			p := d.list[0]
			return nil, errors.New(text + ": " + strings.TrimPrefix(p.Path, ".") + ": " + p.Message)
		}
		out = append(out, r)
	}
	if len(out) > maxRules {
		return nil, fmt.Errorf("%d rules: at most %d are allowed", len(out), maxRules)
	}
	return out, nil
}

// checkDrain checks rules one by one, and keys of the drain that contradict each
// other: a value that would be ignored in silence is refused.
func (d *decoder) checkDrain() {
	s := d.spec.Drain
	for i, r := range s.Rules {
		path := rulePath("drain.rules", i)
		for _, p := range r.Check() {
			full := path
			if p.Key != "" {
				full += "." + p.Key
			}
			at, ok := d.places[full]
			if !ok {
				if at, ok = d.places[path]; !ok {
					at = d.places["drain.rules"] // a flag's
				}
			}
			d.add(at, full, "%s", p.Message)
		}
	}
	if s.DeletePodsDespiteBudgets && s.OnDeadline != plan.DeadlineForce {
		d.refuse("drain.deletePodsDespiteBudgets", "has no effect unless drain.onDeadline is force: leave it out")
	}
}

// ruleSchema is the JSON Schema of a rule.
func ruleSchema() map[string]any {
	texts := func(doc string) map[string]any {
		return map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": doc}
	}
	return map[string]any{
		"type":                 "object",
		"additionalProperties": false,
		"anyOf": []any{map[string]any{"required": []string{"namespaces"}}, map[string]any{"required": []string{"selector"}},
			map[string]any{"required": []string{"owners"}}},
		"properties": map[string]any{
			"namespaces": texts("Namespaces, by name or shell pattern. None: all."),
			"selector":   map[string]any{"type": "string", "description": "Labels, as for kubectl -l. Empty: any."},
			"owners":     texts("Kinds of controllers, or kind/name, where the name may be a pattern. None: any."),
			"action": map[string]any{"type": "string", "description": "What a drain does with the pods.", "default": string(drain.ActionEvict),
				"enum": []string{string(drain.ActionEvict), string(drain.ActionSkip), string(drain.ActionWait)}},
			"order": map[string]any{"type": "integer", "description": "Within a tier lower ones leave first, equal ones together.", "default": 0},
		},
	}
}
