package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// output is the form in which a command prints its data.
type output string

func (o *output) flag(c *cobra.Command) {
	*o = "text"
	c.Flags().VarP(o, "output", "o", "text or json")
}

// String, Set and Type make output a flag's value.
func (o *output) String() string { return string(*o) }

func (o *output) Set(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("%q is neither text nor json", s)
	}
	*o = output(s)
	return nil
}

func (o *output) Type() string { return "format" }

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
