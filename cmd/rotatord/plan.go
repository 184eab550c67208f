package main

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"
)

// planOptions are flags of `rotatord plan` that are no keys of the rotation file.
type planOptions struct {
	all      bool // list all nodes
	exitCode bool // exitBehind where there is something to do
}

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plan [flags]",
		Short:   "Show what a rotation would do, and why; change nothing",
		GroupID: groupRotation,
		Long: `Show which nodes a rotation would replace, in which order and why, how long that
would take and what limits it, what a person should know before the start, and
what makes a rotation impossible. Nothing is changed. The exit code is 3 when the
rotation would be refused. With --report-dir the folder gets plan.txt and plan.json.`,
		Example: `  rotatord plan --config rotation.yaml
  rotatord plan --cluster prod --driver eks --group workers --output json | jq '.groups[].nodes[].node'
  rotatord plan --config rotation.yaml --exit-code     # 7: there are nodes to replace
  rotatord plan --fleet fleet.yaml --report-dir plan`,
		Args: exactly(),
	}
	specFlags(cmd)
	outputFlag(cmd)
	fleet := fleetFlag(cmd, "Plan for the clusters that this file names, some at once, whatever its stop rule and its window say")
	var o planOptions
	cmd.Flags().BoolVar(&o.all, "all", false, "List all nodes of large groups too, as JSON always does")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "End with exit code 7 when there is something to do")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *fleet != "" {
			return a.planFleet(cmd, *fleet, o)
		}
		return a.plan(cmd, o)
	}
	return cmd
}

// plan opens, prints the plan on stdout and ends.
func (a *app) plan(cmd *cobra.Command, o planOptions) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	s, err := a.newSession(cmd, false)
	if err != nil {
		return err
	}
	defer s.close()
	if err := a.open(s, false); err != nil {
		return err
	}
	p, err := s.rotation.Plan()
	if err != nil {
		return err
	}
	doc := newPlanDocument(p, s.rotation.Diagnostics(), windowOf(s.spec.Window, time.Now()))
	if err := doc.print(a, asJSON, o.all); err != nil {
		return cmp.Or(refused(p), err)
	}
	if dir := s.spec.Report.Dir; dir != "" {
		if err := doc.keep(dir); err != nil {
			return &failure{code: exitFailed, message: "the plan could not be kept: " + err.Error(), fix: "check the folder of --report-dir", err: err}
		}
	}
	if err := refused(p); err != nil {
		return err
	}
	if todo := doc.todo(); o.exitCode && todo != "" {
		return &failure{code: exitBehind, message: "there is something to do: " + todo, fix: "`rotatord run` does it"}
	}
	return nil
}
