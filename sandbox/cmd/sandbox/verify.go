package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/cloudnode"
	"github.com/rotatord/rotator/sandbox/control"
	"github.com/rotatord/rotator/sandbox/observer"
)

// errJudged ends the command with exit code 1 after it has said everything.
var errJudged = errors.New("the verdict is not clean")

func newVerify() *cobra.Command {
	var r remote
	var o output
	var before, cluster string
	var wait time.Duration
	var reset bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Print what an independent observer saw of the budgets and pods",
		Long: `Verify prints the verdict of an observer that watches all disruption budgets and
pods independently of rotatord and reads the API server's audit log. It ends with
exit code 1 when a budget was violated, or when rotatord's user deleted a pod
other than by eviction.

With --replaced-since it also compares the cluster with an earlier verdict
(sandbox verify --output json > FILE), and ends with exit code 1 unless a complete
rotation lies between: each node another machine, as many as before and Ready, no
new cordon or taint, every pod Ready, every group as it was (but for the record of
a release that was staged), and the groups of other clusters untouched. What a rotation's end sets in motion may take a moment
(a terminated machine's node, a last pod): --wait bounds it. A violation is not
waited for.`,
		Example: `  sandbox verify
  sandbox verify --output json > before.json; rotatord run ...; sandbox verify --replaced-since before.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			v, wrong, err := judge(c.Context(), client, before, cluster, wait)
			if err != nil {
				return err
			}
			if reset {
				if err := client.Do(c.Context(), http.MethodPost, "/verify/reset", struct{}{}, nil); err != nil {
					return err
				}
			}
			if o == "json" {
				if err := printJSON(c.OutOrStdout(), v); err != nil {
					return err
				}
			} else {
				printVerdict(c.OutOrStdout(), v)
			}
			for _, w := range wrong {
				fmt.Fprintln(c.ErrOrStderr(), "NOT REPLACED:", w)
			}
			if !v.OK || len(wrong) > 0 {
				return errJudged
			}
			if before != "" {
				fmt.Fprintf(c.ErrOrStderr(), "all %d nodes were replaced, everything else is as before\n", len(v.Nodes))
			}
			return nil
		},
	}
	r.flag(c)
	o.flag(c)
	c.Flags().StringVar(&before, "replaced-since", "", "an earlier verdict (JSON) since which all nodes must have been replaced")
	c.Flags().StringVar(&cluster, "cluster", "demo", "name of the cluster, as given to sandbox up; other clusters' groups must be untouched")
	c.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long --replaced-since waits for the cluster to settle")
	c.Flags().BoolVar(&reset, "reset", false, "begin a new judgement after printing")
	return c
}

// judge reads the verdict, again while it differs from what a rotation leaves.
func judge(ctx context.Context, client *control.Client, before, cluster string, wait time.Duration) (*observer.Verdict, []string, error) {
	var earlier observer.Verdict
	if before != "" {
		content, err := os.ReadFile(before)
		if err != nil {
			return nil, nil, fmt.Errorf("--replaced-since: %w", err)
		}
		if err := json.Unmarshal(content, &earlier); err != nil {
			return nil, nil, fmt.Errorf("--replaced-since %s: %w", before, err)
		}
		if len(earlier.Nodes) == 0 {
			return nil, nil, fmt.Errorf("--replaced-since %s: it names no node: write it with sandbox verify --output json", before)
		}
	}
	deadline := time.Now().Add(wait)
	for {
		v := &observer.Verdict{}
		if err := client.Do(ctx, http.MethodGet, "/verify", nil, v); err != nil {
			return nil, nil, err
		}
		if before == "" {
			return v, nil, nil
		}
		wrong := observer.NotReplaced(&earlier, v, cloudnode.ClusterTag(cluster))
		if !v.OK || len(wrong) == 0 || time.Now().After(deadline) {
			return v, wrong, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func printVerdict(w io.Writer, v *observer.Verdict) {
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	for _, x := range v.Violations {
		say("VIOLATED: %s", x)
	}
	for _, d := range v.DirectDeletes {
		say("DELETED: pod %s/%s by %s (%s) at %s, not by eviction", d.Namespace, d.Pod, d.User, d.UserAgent, d.Time.Format(time.TimeOnly))
	}
	for _, e := range v.EndedAttached {
		say("ATTACHED: %s", e)
	}
	for _, e := range v.EndedInService {
		say("ENDED IN SERVICE: instance %s by %s at %s, with target %s", e.Instance, e.By, e.Time.Format(time.TimeOnly), strings.Join(e.Targets, ", "))
	}
	say("budgets:   %d watched since %s, %d violations", len(v.Budgets), v.Since.Format(time.TimeOnly), len(v.Violations))
	for _, b := range v.Budgets {
		switch {
		case b.Problem != "":
			say("           %s/%s cannot be checked: %s", b.Namespace, b.Name, b.Problem)
		case !b.Checked && b.Desired > 0:
			say("           %s/%s was not met yet: %d healthy of %d desired", b.Namespace, b.Name, b.Healthy, b.Desired)
		}
	}
	for _, e := range v.Evictions {
		say("evictions: %d by %s, %d refused because of a budget, %d failed otherwise", e.Allowed, e.User, e.Refused, e.Other)
	}
	say("deletions: %d pods deleted by rotatord's user other than by eviction", len(v.DirectDeletes))
	say("moves:     %.2f for each pod", v.MovesPerPod)
	say("pods:      %d, %d Ready", v.Pods.Total, v.Pods.Ready)
	for _, p := range v.Pods.NotReady {
		say("           %s", p)
	}
	ready := 0
	var odd []string
	for _, n := range v.Nodes {
		if n.Ready {
			ready++
		}
		var marks []string
		if !n.Ready {
			marks = append(marks, "not Ready")
		}
		if n.Unschedulable {
			marks = append(marks, "cordoned")
		}
		if len(n.Taints) > 0 {
			marks = append(marks, "taints "+strings.Join(n.Taints, ", "))
		}
		if len(marks) > 0 {
			odd = append(odd, n.Name+": "+strings.Join(marks, "; "))
		}
	}
	say("nodes:     %d, %d Ready", len(v.Nodes), ready)
	for _, n := range odd {
		say("           %s", n)
	}
	for _, g := range v.Groups {
		suspended := ""
		if len(g.Suspended) > 0 {
			suspended = ", suspended: " + strings.Join(g.Suspended, ", ")
		}
		say("group:     %s: %d instances, desired %d, min %d, max %d%s", g.Name, len(g.Instances), g.Desired, g.Min, g.Max, suspended)
	}
	if v.OK {
		say("OK: no budget was violated, no pod deleted by rotatord other than by eviction, no machine ended while load balancers used it")
	} else {
		say("NOT OK")
	}
}
