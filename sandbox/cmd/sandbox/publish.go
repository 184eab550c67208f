package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/control"
)

func newPublishImage() *cobra.Command {
	var r remote
	var group string
	var asJSON bool
	c := &cobra.Command{
		Use:   "publish-image",
		Short: "Publish a new machine image, so that all nodes are outdated",
		Long: `Publish-image makes a new machine image, lets the SSM parameter name it, and adds
a launch template version with it for each group. From then on groups launch from
it, and the machines that run are outdated.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			p, err := client.PublishImage(c.Context(), control.PublishImageRequest{Group: group})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), p)
			}
			fmt.Fprintf(c.OutOrStdout(), "image %s (%s), parameter %s\n", p.ImageID, p.ImageName, p.Parameter)
			for _, g := range p.Groups {
				source := fmt.Sprintf("launch template %s version %d", g.LaunchTemplate, g.Version)
				if g.LaunchConfiguration != "" {
					source = "launch configuration " + g.LaunchConfiguration
				}
				fmt.Fprintf(c.OutOrStdout(), "group %s: %s\n", g.Name, source)
			}
			return nil
		},
	}
	r.flag(c)
	c.Flags().StringVar(&group, "group", "", "only for this Auto Scaling group (default: all)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
