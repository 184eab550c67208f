package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/control"
)

func newFault() *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "fault",
		Short: "Let something go wrong from now on",
	}
	r.flag(c)
	c.AddCommand(newFaultAdd(&r), newFaultList(&r), newFaultClear(&r))
	return c
}

func newFaultAdd(r *remote) *cobra.Command {
	var f control.Fault
	var delay, lasts time.Duration
	c := &cobra.Command{
		Use:   "add KIND",
		Short: "Add a fault and print its id",
		Long: `Add adds a fault. Kinds of faults of calls, which --action limits:
  throttle           answer the service's throttling error
  error-before-act   answer an internal error and do nothing
  error-after-act    act, then answer an internal error: the response is lost
  deny               answer as if the caller's policy forbade it
Kinds of faults of machines, which --group and --zone limit:
  insufficient-capacity   the launch fails
  never-join              the machine never becomes a node
  never-ready             it becomes a node that never gets Ready
  slow-boot               it takes --delay longer
Kinds of faults that begin at once and last, --for a time or until they are
cleared:
  api-cut         connections to the API server are reset and new ones refused
  api-restart     the API server is ended and started again with its data
  api-blackhole   they hang and nothing is delivered, as when the network is cut
  node-dead       the kubelet of --node falls silent: the node is called not
                  Ready after --node-monitor-grace-period; its machine runs on
api-cut and api-blackhole are for those who use the sandbox's kubeconfig; the
cluster's own components and kubelets keep their connections.`,
		Example: `  sandbox fault add throttle --action autoscaling --share 0.3
  sandbox fault add never-join --count 1
  sandbox fault add slow-boot --delay 20s --group demo-workers-1
  sandbox fault add error-after-act --action TerminateInstanceInAutoScalingGroup --count 1
  sandbox fault add api-cut --for 5s
  sandbox fault add api-restart --for 2s
  sandbox fault add node-dead --node ip-10-0-0-4.eu-central-1.compute.internal`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.Kind, f.Delay, f.For = control.Kind(args[0]), control.Duration(delay), control.Duration(lasts)
			if err := f.Validate(); err != nil {
				return err
			}
			client, err := r.client()
			if err != nil {
				return err
			}
			added, err := client.AddFault(c.Context(), f)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), added.ID)
			return err
		},
	}
	c.Flags().StringVar(&f.Action, "action", "", "only calls of this action or service (default: all)")
	c.Flags().StringVar(&f.Group, "group", "", "only launches of this Auto Scaling group (default: all)")
	c.Flags().StringVar(&f.Zone, "zone", "", "only launches in this availability zone (default: all)")
	c.Flags().IntVar(&f.Count, "count", 0, "how often it strikes (default: until it is cleared)")
	c.Flags().Float64Var(&f.Share, "share", 0, "the share of calls or launches that it strikes, above 0 to 1 (default: all)")
	c.Flags().DurationVar(&delay, "delay", 0, "what a slow boot adds")
	c.Flags().StringVar(&f.Node, "node", "", "the node whose kubelet falls silent")
	c.Flags().DurationVar(&lasts, "for", 0, "how long a fault lasts that lasts (default: until it is cleared)")
	return c
}

func newFaultList(r *remote) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "list",
		Short: "List the faults, those that are used up included",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			faults, err := client.Faults(c.Context())
			if err != nil {
				return err
			}
			if o == "json" {
				return printJSON(c.OutOrStdout(), faults)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tKIND\tLIMITS\tCOUNT\tSTRUCK")
			for _, f := range faults {
				count := "unlimited"
				switch {
				case f.Over:
					count = "over"
				case f.Kind.Lasts():
					count = "lasts"
				case f.Count > 0:
					count = fmt.Sprint(f.Count)
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", f.ID, f.Kind, limits(f), count, f.Struck)
			}
			return t.Flush()
		},
	}
	o.flag(c)
	return c
}

func limits(f control.Fault) string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"action", f.Action}, {"group", f.Group}, {"zone", f.Zone}, {"node", f.Node}} {
		if p.value != "" {
			parts = append(parts, p.name+"="+p.value)
		}
	}
	if f.Share > 0 {
		parts = append(parts, fmt.Sprintf("share=%g", f.Share))
	}
	if f.Delay > 0 {
		parts = append(parts, "delay="+time.Duration(f.Delay).String())
	}
	if f.For > 0 {
		parts = append(parts, "for="+time.Duration(f.For).String())
	}
	return strings.Join(parts, " ")
}

func newFaultClear(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [ID]",
		Short: "Remove one fault, or all of them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			return client.ClearFaults(c.Context(), strings.Join(args, ""))
		},
	}
}
