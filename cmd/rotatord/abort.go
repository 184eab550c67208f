package main

import (
	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
)

func (a *app) abortCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "abort [flags]",
		Short:   "Take back what an unfinished rotation changed",
		GroupID: groupRotation,
		Long: `Take back surge, provider settings, taints and cordons of a rotation that has
not finished. Nodes that were replaced stay replaced; cordons that a person set
stay. A rotation that still runs is asked to do this itself, and abort waits for
it; for one whose process is gone abort does it. In a pipeline, let a step that
always runs call it: with nothing to take back it exits with code 0.`,
		Example: `  rotatord abort --config rotation.yaml
  rotatord abort --cluster prod --driver eks
  rotatord abort --fleet fleet.yaml`,
		Args: exactly(),
	}
	specFlags(cmd, config.TopicTarget, config.TopicDrain, config.TopicOutput)
	outputFlag(cmd)
	fleet := fleetFlag(cmd, "Do it in the clusters that this file names, some at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *fleet != "" {
			return a.abortFleet(cmd, *fleet)
		}
		return a.abort(cmd)
	}
	return cmd
}

func (a *app) abort(cmd *cobra.Command) error {
	s, asJSON, err := a.start(cmd, false)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := a.backend.Abort(cmd.Context(), s.request)
	return a.finish(s, r, err, asJSON)
}
