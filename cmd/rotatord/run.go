package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "run [flags]",
		Short:   "Replace the nodes that are outdated",
		GroupID: groupRotation,
		Long: `Plan a rotation and carry it out. The plan and the progress go to stderr, the
summary to stdout. Nothing is touched when the plan is refused.

The first SIGINT, SIGTERM or SIGHUP starts nothing new and leaves the cluster tidy;
the same command then goes on where this one ended. A second one exits at once.`,
		Example: `  rotatord run --config rotation.yaml
  rotatord run --cluster prod --driver eks --max-surge 25% --groups-at-once 2
  rotatord run --config rotation.yaml --mode batch --batch-size 5 --wait-between-batches 5m
  rotatord run --config rotation.yaml --output json --report-dir report > summary.json
  rotatord run --fleet fleet.yaml --report-dir report`,
		Args: exactly(),
	}
	specFlags(cmd)
	outputFlag(cmd)
	fleet := fleetFlag(cmd, "Rotate the clusters that this file names, wave by wave")
	dryRun := cmd.Flags().Bool("dry-run", false, "Print the plan on stdout and stop, as 'rotatord plan' does")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *fleet != "" {
			if *dryRun {
				return a.planFleet(cmd, *fleet, planOptions{})
			}
			return a.runFleet(cmd, *fleet)
		}
		if *dryRun {
			return a.plan(cmd, planOptions{})
		}
		return a.rotate(cmd, false)
	}
	return cmd
}

func (a *app) rotate(cmd *cobra.Command, fromCluster bool) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	s, err := a.newSession(cmd, false)
	if err != nil {
		return err
	}
	defer s.close()
	if err := a.awaitWindow(s); err != nil {
		return err
	}
	if err := a.open(s, fromCluster); err != nil {
		return err
	}
	p, err := s.rotation.Plan()
	if err != nil {
		return err
	}
	doc := newPlanDocument(p, s.rotation.Diagnostics(), windowOf(s.spec.Window, time.Now()))
	if err := doc.write(a.stderr, false); err != nil {
		return err
	}
	if err := refused(p); err != nil {
		if asJSON { // one document even so: what was refused, and why
			return errors.Join(err, writeJSON(a.stdout, doc))
		}
		return err
	}
	fmt.Fprintln(a.stderr)
	if err := s.begin(); err != nil {
		return err
	}
	r, err := s.rotation.Run(cmd.Context())
	return a.finish(s, r, err, asJSON)
}
