package config

import (
	"fmt"
	"strings"
)

// exampleWidth is where comments of the example wrap, in columns.
const exampleWidth = 84

// Example returns a rotation file with every key, its documentation and its
// default: what `rotatord config init` prints. It is valid as it is.
func Example() []byte {
	var b strings.Builder
	b.WriteString("# A rotation file: rotatord plan --config rotation.yaml\n" +
		"# Every key but cluster and driver.name may be left out; the values are the defaults.\n" +
		"# A flag (--max-surge) overrides a variable (ROTATOR_MAX_SURGE), which overrides this file.\n" +
		"apiVersion: " + APIVersion + "\nkind: " + FileKind + "\n")
	d := Default()
	var open []string // sections that are open
	for _, k := range table {
		names := strings.Split(k.Path, ".")
		parents := names[:len(names)-1]
		same := 0
		for same < len(parents) && same < len(open) && parents[same] == open[same] {
			same++
		}
		if same == 0 {
			b.WriteByte('\n')
		}
		for i := same; i < len(parents); i++ {
			comment(&b, i, sections[strings.Join(parents[:i+1], ".")])
			fmt.Fprintf(&b, "%s%s:\n", indent(i), parents[i])
		}
		open = parents
		depth := len(parents)
		doc := k.Doc
		if len(k.Enum) > 0 && k.Kind == List {
			doc = strings.TrimSuffix(doc, ".") + ": " + orList(k.Enum) + "."
		}
		comment(&b, depth, doc)
		name := names[len(names)-1]
		switch text := k.text(&d); {
		case k.Path == "cluster" || k.Path == "driver.name":
			fmt.Fprintf(&b, "%s%s: %s\n", indent(depth), name, k.Example)
		case k.Kind == Map:
			fmt.Fprintf(&b, "%s# %s:\n%s#   %s\n", indent(depth), name, indent(depth), k.Example)
		case k.Kind == Rules:
			fmt.Fprintf(&b, "%s# %s: [%s]\n", indent(depth), name, k.Example)
		case k.Kind == List && text == "":
			fmt.Fprintf(&b, "%s# %s: [%q]\n", indent(depth), name, k.Example)
		case k.Kind == List:
			fmt.Fprintf(&b, "%s%s: [%s]\n", indent(depth), name, text)
		case text == "":
			fmt.Fprintf(&b, "%s# %s: %s\n", indent(depth), name, k.Example)
		default:
			fmt.Fprintf(&b, "%s%s: %s\n", indent(depth), name, text)
		}
	}
	return []byte(b.String())
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// comment writes text in lines of at most exampleWidth.
func comment(b *strings.Builder, depth int, text string) {
	prefix := indent(depth) + "# "
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > exampleWidth && line != prefix {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	if line != prefix {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}
