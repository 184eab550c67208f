package main

import (
	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plan [flags]",
		Short:   "Show what a rotation would do, and why; change nothing",
		GroupID: groupRotation,
		Long: `Show which nodes a rotation would replace, in which order and why, how long that
would take and what limits it, what a person should know before the start, and
what makes a rotation impossible. Nothing is changed. The exit code is 3 when the rotation would be refused.`,
		Example: `  rotatord plan --config rotation.yaml
  rotatord plan --cluster prod --driver eks --group workers --output json | jq '.groups[].nodes[].node'`,
		Args: exactly(),
	}
	specFlags(cmd)
	outputFlag(cmd)
	all := cmd.Flags().Bool("all", false, "List all nodes of large groups too, as JSON always does")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.plan(cmd, *all) }
	return cmd
}

// plan opens, prints the plan on stdout and ends.
func (a *app) plan(cmd *cobra.Command, all bool) error {
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
	if err := a.printPlan(asJSON, all, p, s.rotation.Diagnostics()); err != nil {
		return err
	}
	return refused(p)
}

func (a *app) printPlan(asJSON, all bool, p *plan.Plan, diagnostics []model.Diagnostic) error {
	if asJSON {
		return writeJSON(a.stdout, newPlanDocument(p, diagnostics))
	}
	return writePlan(a.stdout, p, diagnostics, all)
}
