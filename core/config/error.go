package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Source is the file's name, --flag or VARIABLE that the value came from;
	// empty for a Spec made in Go.
	Source string `json:"source,omitempty"`
	// Line and Column count from 1; 0: not in a file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path is the key's, with dots; empty: the whole document.
	Path string `json:"path,omitempty"`
	// Message names the value and what is allowed.
	Message string `json:"message"`
}

// String gives the position first, as compilers do.
func (p Problem) String() string {
	var b strings.Builder
	if p.Source != "" {
		b.WriteString(p.Source)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error holds everything that is wrong with a configuration: what has a line in
// the file, in its order, then the rest.
type Error struct {
	Problems []Problem // at least one
}

// Error lists the problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// place is where a value came from.
type place struct {
	source       string
	line, column int
}

// problems collects what is wrong, at most maxProblems.
type problems struct {
	list []Problem
}

// maxProblems bounds what one reading reports: beyond it, the file is not a
// rotation file at all.
const maxProblems = 50

func (p *problems) add(at place, path, format string, args ...any) {
	if len(p.list) < maxProblems {
		p.list = append(p.list, Problem{at.source, at.line, at.column, path, fmt.Sprintf(format, args...)})
	}
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		switch {
		case a.Line > 0 && b.Line > 0:
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		case a.Line > 0:
			return -1
		case b.Line > 0:
			return 1
		}
		return 0
	})
	return &Error{p.list}
}
