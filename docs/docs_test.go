// Package docs_test holds the documents to what is there: links, files, tests and
// targets that they name. cmd/rotatord holds them to the command.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// tree is what the repository holds, by path from its root.
type tree struct {
	files     map[string]bool
	names     map[string]bool // of files, without their folder
	documents map[string]string
	tests     map[string]bool // names of test functions
}

func readTree(t *testing.T) *tree {
	t.Helper()
	r := &tree{files: map[string]bool{}, names: map[string]bool{}, documents: map[string]string{}, tests: map[string]bool{}}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w+)\(`)
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel("..", p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (rel == ".git" || rel == "bin" || rel == "out") {
			return filepath.SkipDir
		}
		r.files[rel] = true
		r.names[d.Name()] = true
		isTest := strings.HasSuffix(rel, "_test.go")
		if d.IsDir() || !isTest && path.Ext(rel) != ".md" {
			return nil
		}
		text, err := os.ReadFile(p)
		if isTest {
			for _, m := range function.FindAllStringSubmatch(string(text), -1) {
				r.tests[m[1]] = true
			}
		} else {
			r.documents[rel] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.documents) < 15 || len(r.tests) < 500 {
		t.Fatalf("only %d documents and %d tests were found", len(r.documents), len(r.tests))
	}
	return r
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	inline = regexp.MustCompile("`([^`\n]+)`")
)

// anchors are the names by which links reach the headings of a document, as GitHub
// makes them.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(fenced.ReplaceAllString(text, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		var b strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(title)) {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				b.WriteRune(r)
			case r == ' ':
				b.WriteByte('-')
			}
		}
		out[b.String()] = true
	}
	return out
}

func TestLinksResolve(t *testing.T) {
	r := readTree(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	for name, text := range r.documents {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			switch {
			case !r.files[to]:
				t.Errorf("%s: a link leads to %s, which is not there", name, to)
			case anchor != "" && !anchors(r.documents[to])[anchor]:
				t.Errorf("%s: a link leads to the heading #%s of %s, which it does not have", name, anchor, to)
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d links were found", found)
	}
}

// Each document is reached from the first that people read.
func TestEachDocumentIsLinked(t *testing.T) {
	r := readTree(t)
	for name := range r.documents {
		if strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "docs/design/") && !strings.Contains(r.documents["README.md"], "("+name+")") {
			t.Errorf("README.md has no link to %s", name)
		}
	}
}

// Files, tests and targets of make that documents name are there.
func TestWhatDocumentsNameIsThere(t *testing.T) {
	r := readTree(t)
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	inTree := regexp.MustCompile(`^(?:core|cmd|drivers|sandbox|e2e|deploy|docs|hack|plugins|examples|tools)/[\w./-]*$`)
	goFile := regexp.MustCompile(`^[a-z0-9_]+\.go$`)
	test := regexp.MustCompile(`\bTest[A-Z]\w*`)
	target := regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	found := 0
	for name, text := range r.documents {
		dir := path.Dir(name)
		for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			word := m[1]
			switch {
			case inTree.MatchString(word):
				p := strings.TrimSuffix(word, "/")
				if !r.files[p] && !r.files[path.Join(dir, p)] && !r.files[path.Join("core", p)] {
					t.Errorf("%s names %s, which is not there", name, word)
				}
			case goFile.MatchString(word):
				if !r.names[word] {
					t.Errorf("%s names the file %s, and none is called so", name, word)
				}
			default:
				continue
			}
			found++
		}
		for _, m := range inline.FindAllString(text, -1) {
			for _, fn := range test.FindAllString(m, -1) {
				found++
				// A pattern of -run, or a name that goes on, matches by its beginning.
				if !r.tests[fn] && !hasPrefixed(r.tests, fn) {
					t.Errorf("%s names the test %s, which is not there", name, fn)
				}
			}
		}
		for _, m := range target.FindAllStringSubmatch(codeOf(text), -1) {
			found++
			if !targets[m[1]] {
				t.Errorf("%s names make %s, and there is no such target", name, m[1])
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d names were found", found)
	}
}

// codeOf is what of a document is code.
func codeOf(text string) string {
	blocks := fenced.FindAllString(text, -1)
	spans := inline.FindAllString(fenced.ReplaceAllString(text, ""), -1)
	return strings.Join(slices.Concat(blocks, spans), "\n")
}

func hasPrefixed(names map[string]bool, prefix string) bool {
	for n := range names {
		if strings.HasPrefix(n, prefix) {
			return true
		}
	}
	return false
}
