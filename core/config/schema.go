package config

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Schema returns the JSON Schema (draft 2020-12) of a rotation file, for
// editors. It refuses what Load refuses, but for what concerns several keys.
func Schema() []byte {
	d := Default()
	top := object("A rotation of a cluster's nodes by rotatord.")
	props := top["properties"].(map[string]any)
	props["apiVersion"] = map[string]any{"const": APIVersion}
	props["kind"] = map[string]any{"const": FileKind}
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["$id"] = "https://" + strings.Replace(APIVersion, "/", "/schemas/", 1) + "/rotation.json"
	top["title"] = FileKind
	top["required"] = []string{"apiVersion", "kind"}
	for _, k := range table {
		at, path := top, ""
		names := strings.Split(k.Path, ".")
		for _, name := range names[:len(names)-1] {
			path = strings.TrimPrefix(path+"."+name, ".")
			props := at["properties"].(map[string]any)
			if props[name] == nil {
				props[name] = object(sections[path])
			}
			at = props[name].(map[string]any)
		}
		v := k.schema()
		if k.Default != nil {
			v["default"] = jsonDefault(k, k.text(&d))
		}
		at["properties"].(map[string]any)[names[len(names)-1]] = v
	}
	out, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		panic("config: schema: " + err.Error()) // plain maps and strings only
	}
	return append(out, '\n')
}

// object is a mapping's schema. Null is allowed: a section whose keys are all
// commented out.
func object(doc string) map[string]any {
	return map[string]any{
		"type":                 []string{"object", "null"},
		"description":          doc,
		"additionalProperties": false,
		"properties":           map[string]any{},
	}
}

func (k Key) schema() map[string]any {
	m := map[string]any{"description": k.Doc}
	switch k.Kind {
	case Bool:
		m["type"] = "boolean"
	case Count:
		m["type"], m["minimum"], m["maximum"] = "integer", k.Min, k.Max
	case Duration:
		m["type"], m["pattern"] = []string{"string", "integer"}, `^-?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`
		m["maximum"], m["minimum"] = 0, 0 // the only number without a unit
	case Amount:
		m["type"], m["pattern"] = []string{"string", "integer"}, `^([0-9]+|([0-9]|[1-9][0-9]|100)%)$`
		m["minimum"], m["maximum"] = 0, maxNodes
	case List:
		items := map[string]any{"type": "string"}
		if len(k.Enum) > 0 {
			items["enum"] = k.Enum
		}
		m["type"], m["items"] = "array", items
	case Map:
		m["type"] = "object"
	case Rules:
		m["type"], m["items"] = "array", ruleSchema()
	case Text:
		m["type"] = "string"
		if len(k.Enum) > 0 {
			m["enum"] = k.Enum
		}
	}
	if k.Example != "" && k.Kind == Text {
		m["examples"] = []string{k.Example}
	}
	return m
}

func jsonDefault(k Key, text string) any {
	switch v := k.Default.(type) {
	case bool, int:
		return v
	case []string:
		return slices.Clone(v)
	case time.Duration:
		return text
	}
	return text
}
