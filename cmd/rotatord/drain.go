package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
)

func (a *app) drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "drain NODE [flags]",
		Short:   "Empty one node, and end its instance where asked",
		GroupID: groupRotation,
		Long: `Cordon one node and evict its pods, by the same rules as in a rotation:
PodDisruptionBudgets are respected, and what blocks the drain is named. The node
stays cordoned. With --terminate its instance is ended through the driver, after
which its group refills; without, neither a cluster's name nor a driver is needed.`,
		Example: `  rotatord drain ip-10-0-12-34.eu-west-1.compute.internal
  rotatord drain ip-10-0-12-34.eu-west-1.compute.internal --terminate --cluster prod --driver eks`,
		Args: exactly("NODE"),
	}
	specFlags(cmd, config.TopicTarget, config.TopicDrain, config.TopicGates, config.TopicOutput)
	config.AddFlag(cmd.Flags(), "strategy.waits.betweenEvictions")
	outputFlag(cmd)
	terminate := cmd.Flags().Bool("terminate", false, "End the node's instance once it is drained")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.drain(cmd, args[0], *terminate) }
	return cmd
}

func (a *app) drain(cmd *cobra.Command, node string, terminate bool) error {
	s, asJSON, err := a.start(cmd, !terminate)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := a.backend.Drain(cmd.Context(), s.request, node, terminate)
	if refused, ok := errors.AsType[*core.RefusedError](err); ok {
		// The error names one of the reasons only.
		if werr := newPlanDocument(refused.Plan, nil, nil).write(a.stderr, false); werr != nil {
			return werr
		}
	}
	return a.finish(s, r, err, asJSON)
}
