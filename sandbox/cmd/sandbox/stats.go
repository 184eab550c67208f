package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/control"
)

func newStats() *cobra.Command {
	var r remote
	var o output
	var reset bool
	c := &cobra.Command{
		Use:   "stats",
		Short: "Print how often each AWS action was called",
		Long: `Stats prints how often each AWS action was called, and with which errors. With
--output json it also lists each terminated instance with who asked for it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			s, err := client.Stats(c.Context(), reset)
			if err != nil {
				return err
			}
			if o == "json" {
				return printJSON(c.OutOrStdout(), s)
			}
			return printStats(c.OutOrStdout(), s)
		},
	}
	r.flag(c)
	o.flag(c)
	c.Flags().BoolVar(&reset, "reset", false, "begin to count anew after printing")
	return c
}

func printStats(w io.Writer, s control.Stats) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tACTION\tCALLS\tERRORS")
	for _, a := range s.Calls {
		var errs []string
		for _, code := range slices.Sorted(maps.Keys(a.Errors)) {
			errs = append(errs, fmt.Sprintf("%d %s", a.Errors[code], code))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", a.Service, a.Action, a.Calls, strings.Join(errs, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d calls since %s, %d of them changing; %d machines launched, %d terminated, at most %d at once\n",
		s.Total, s.Since.Format(time.TimeOnly), s.Changing, s.Launched, s.Terminated, s.MostMachines)
	return err
}
