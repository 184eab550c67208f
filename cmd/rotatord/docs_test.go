package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/config"
)

// What the documents tell people to type is typed here, as far as it can be read
// without a cluster: commands and flags exist, keys and variables are spelled right,
// and files that a person would copy are accepted.

// documents are all that people read, by path from the root of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "out" || name == "bin" || name == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel("../..", path)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 15 {
		t.Fatalf("only %d documents were found", len(out))
	}
	return out
}

var (
	fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	inline = regexp.MustCompile("`([^`\n]+)`")
	// A word of a command line; quotes hold together what they are around.
	shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
	// What ends a command on its line.
	shellEnd = regexp.MustCompile(`^(\||\|\||&&|;|>|>>|\d?>\S*|#.*|\)|\\)$`)
)

// commandLines are the calls of rotatord in a document, each without the word
// rotatord.
func commandLines(text string) (lines [][]string) {
	add := func(line string) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		line = strings.TrimPrefix(line, "bin/")
		rest, ok := strings.CutPrefix(line+" ", "rotatord ")
		if !ok {
			return
		}
		var words []string
		for _, w := range shellWord.FindAllString(rest, -1) {
			if shellEnd.MatchString(w) {
				break
			}
			words = append(words, strings.Trim(w, `'",.`))
		}
		lines = append(lines, words)
	}
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(strings.ReplaceAll(m[2], "\\\n", " ")) {
			add(line)
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		add(m[1])
	}
	return lines
}

// placeholder tells what stands for something else: NODE, <group>, …
func placeholder(word string) bool {
	return word == "" || word == "…" || word == "..." || strings.ToUpper(word) == word || strings.ContainsAny(word, "<>[]…|")
}

// checkCommand finds what of a command line rotatord does not know.
func checkCommand(root *cobra.Command, words []string) error {
	cmd := root
	for _, w := range words {
		switch w {
		case "--help":
			continue
		case "--": // after the flags of kops come those of a rotation
			cmd, _, _ = root.Find([]string{"run"})
			continue
		}
		if name, isFlag := strings.CutPrefix(w, "--"); isFlag {
			name, _, _ = strings.Cut(name, "=")
			if f := cmd.Flags().Lookup(name); f == nil && cmd.InheritedFlags().Lookup(name) == nil && cmd.PersistentFlags().Lookup(name) == nil {
				return fmt.Errorf("%s has no flag --%s", cmd.CommandPath(), name)
			}
			continue
		}
		if !cmd.HasSubCommands() || placeholder(w) {
			continue
		}
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == w || c.HasAlias(w) })
		if i < 0 {
			return fmt.Errorf("%s has no command %q", cmd.CommandPath(), w)
		}
		cmd = cmd.Commands()[i]
	}
	return nil
}

func rootForDocs() *cobra.Command {
	root := (&app{backend: &fake{}}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

func TestDocumentsNameCommandsThatExist(t *testing.T) {
	root := rootForDocs()
	found := 0
	for name, text := range documents(t) {
		for _, words := range commandLines(text) {
			found++
			if err := checkCommand(root, words); err != nil {
				t.Errorf("%s: `rotatord %s`: %v", name, strings.Join(words, " "), err)
			}
		}
	}
	if found < 80 {
		t.Errorf("only %d command lines were found", found)
	}
}

// foreign are flags of other commands that documents name, by document: a document
// about coming from another tool names that tool's flags.
var foreign = map[string][]string{
	"docs/from-kops.md":         {"*"},
	"docs/from-rotatorctl.md":   {"*"},
	"docs/drivers/kops.md":      {"*"},
	"docs/drain.md":             {"--skip-wait-for-delete-timeout"}, // kubectl's
	"docs/architecture.md":      {"--provider", "--eks-speedup"},
	"docs/releases.md":          {"--provider", "--groups", "--nodes", "--workload"},
	"docs/drivers/eks.md":       {"--scaling-config"},
	"docs/eks.md":               {"--scaling-config"},
	"docs/benchmarks.md":        {"*"},
	"plugins/example/README.md": {"*"},
}

func TestDocumentsNameFlagsThatExist(t *testing.T) {
	root := rootForDocs()
	known := map[string]bool{"--help": true}
	var learn func(*cobra.Command)
	learn = func(c *cobra.Command) {
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		}
		for _, sub := range c.Commands() {
			learn(sub)
		}
	}
	learn(root)
	flag := regexp.MustCompile(`^--[a-z][a-z-]*`)
	for name, text := range documents(t) {
		others := foreign[name]
		if slices.Contains(others, "*") {
			continue
		}
		for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if f := flag.FindString(m[1]); f != "" && !known[f] && !slices.Contains(others, f) {
				t.Errorf("%s: no command has the flag %s", name, f)
			}
		}
	}
}

// settings are the names that a rotation file may have before a dot.
func settings() (first map[string]bool, paths map[string]bool, variables map[string]bool) {
	first, paths, variables = map[string]bool{}, map[string]bool{}, map[string]bool{}
	run, _, _ := rootForDocs().Find([]string{"run"})
	run.Flags().VisitAll(func(f *pflag.Flag) {
		variables["ROTATOR_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = true
	})
	for _, k := range config.Keys() {
		variables[k.Env()] = true
		for p := k.Path; ; {
			paths[p] = true
			i := strings.LastIndexByte(p, '.')
			if i < 0 {
				first[p] = strings.Contains(k.Path, ".")
				break
			}
			p = p[:i]
		}
	}
	return first, paths, variables
}

func TestDocumentsNameKeysThatExist(t *testing.T) {
	first, paths, variables := settings()
	key := regexp.MustCompile(`^([a-z][a-zA-Z]*)((?:\.[a-z][a-zA-Z]*)+)(?:$|[: =])`)
	variable := regexp.MustCompile(`\bROTATOR_[A-Z][A-Z_]*[A-Z]\b`)
	isFile := regexp.MustCompile(`\.(go|md|json|yaml|yml|sh|txt|jsonl|proto|env|io)\b`)
	found := 0
	for name, text := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			k := key.FindStringSubmatch(m[1])
			if k == nil || !first[k[1]] || isFile.MatchString(m[1]) {
				continue
			}
			found++
			if path := k[1] + k[2]; !paths[path] && !strings.HasPrefix(path, "driver.config.") {
				t.Errorf("%s: there is no key %s", name, path)
			}
		}
		for _, v := range variable.FindAllString(text, -1) {
			if !variables[v] {
				t.Errorf("%s: there is no variable %s", name, v)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d keys were found", found)
	}
}

// Each file of the documents that a person may copy is read as rotatord reads it. A
// part of one is completed with the cluster and the driver.
func TestDocumentsShowFilesThatAreAccepted(t *testing.T) {
	first, paths, _ := settings()
	topKey := regexp.MustCompile(`(?m)^([a-zA-Z]+):`)
	read := 0
	for name, text := range documents(t) {
		for _, m := range fenced.FindAllStringSubmatch(text, -1) {
			if m[1] != "yaml" {
				continue
			}
			file := m[2]
			var err error
			switch keys := topKey.FindAllStringSubmatch(file, -1); {
			case strings.Contains(file, "kind: Fleet"):
				_, err = config.ParseFleet(name, []byte(file))
			case strings.Contains(file, "kind: Rotation"):
				_, err = config.Parse(name, []byte(file))
			case len(keys) > 0 && (first[keys[0][1]] || paths[keys[0][1]]):
				whole := "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\n"
				if !strings.Contains("\n"+file, "\ncluster:") {
					whole += "cluster: demo\n"
				}
				if !strings.Contains("\n"+file, "\ndriver:") {
					whole += "driver: {name: eks}\n"
				}
				_, err = config.Parse(name, []byte(whole+file))
			default: // of another program
				continue
			}
			read++
			if err != nil {
				t.Errorf("%s: a file that it shows is refused: %v\n%s", name, err, file)
			}
		}
	}
	if read < 8 {
		t.Errorf("only %d files were found", read)
	}
}
