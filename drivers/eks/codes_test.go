package eks

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each code of a diagnostic is in the driver's document, with what to do about it or at least by name.
func TestCodesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "drivers", "eks.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:finding\(sdk\.Severity\w+, |\brefuse\(|\bclass\{|\bmissing\{|\bCode: |\badd\(sdk\.Severity\w+, )"([a-z]+(?:-[a-z]+)+)"`)
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	if len(found) < 50 {
		t.Fatalf("only %d codes were found: the pattern does not fit the code any more", len(found))
	}
	for c := range found {
		if !strings.Contains(string(doc), "`"+c+"`") {
			t.Errorf("docs/drivers/eks.md does not name the code %s", c)
		}
	}
}
