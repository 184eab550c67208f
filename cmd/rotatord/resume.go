package main

import (
	"github.com/spf13/cobra"
)

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resume [flags]",
		Short:   "Go on with a rotation that was cut off or stopped",
		GroupID: groupRotation,
		Long: `Go on with a rotation of the cluster that was cut off or stopped, as the same
'rotatord run' would. What the journal remembers is compared with the cluster and
the provider, and what is there decides. With --from-cluster the journal is left
aside, as when it is lost or damaged: the marks on nodes and the records at the
provider are enough to finish. It is still outdated nodes that are replaced: use
the options of the run that began it.`,
		Example: `  rotatord resume --config rotation.yaml
  rotatord resume --config rotation.yaml --from-cluster`,
		Args: exactly(),
	}
	specFlags(cmd)
	outputFlag(cmd)
	fromCluster := cmd.Flags().Bool("from-cluster", false, "Leave the journal aside, as if it were lost")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.rotate(cmd, *fromCluster) }
	return cmd
}
