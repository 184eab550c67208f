package config

import (
	"os"
	"strings"
	"testing"
)

// The file that docs/from-rotatorctl.md offers is valid, and every flag that
// it names exists.
func TestMigrationGuide(t *testing.T) {
	doc, err := os.ReadFile("../../docs/from-rotatorctl.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```yaml\n")
	if !ok {
		t.Fatal("the guide holds no file")
	}
	file, _, _ := strings.Cut(rest, "```")
	s, err := Parse("docs/from-rotatorctl.md", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Select.Force || s.Drain.Retries != 9 {
		t.Errorf("the guide's file gives %+v", s)
	}
	paths := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[3], "`") {
			continue
		}
		for i, code := range strings.Split(cells[3], "`") {
			if i%2 == 1 {
				path, _, _ := strings.Cut(code, ":")
				if _, ok := KeyOf(path); !ok {
					t.Errorf("the guide names key %s, which does not exist", path)
				}
				paths++
			}
		}
		for i, code := range strings.Split(cells[2], "`") {
			flag, _, _ := strings.Cut(strings.TrimPrefix(code, "--"), " ")
			if i%2 == 1 && strings.HasPrefix(code, "--") && !hasFlag(flag) {
				t.Errorf("the guide names flag --%s, which does not exist", flag)
			}
		}
	}
	if paths < 10 {
		t.Errorf("only %d keys were found in the guide's table", paths)
	}
}

func hasFlag(name string) bool {
	for _, k := range table {
		if k.Flag == name {
			return true
		}
	}
	return false
}
