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

func newPublishRelease() *cobra.Command {
	var r remote
	var q control.PublishReleaseRequest
	var asJSON bool
	c := &cobra.Command{
		Use:   "publish-release",
		Short: "Publish a new release of EKS' node images",
		Long: `Publish-release makes new images for EKS' AMI types and lets EKS recommend them: the
public SSM parameters name them, and an update of a managed node group without a
release version takes them. Nothing else changes; no launch template gets a new
version.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := r.client()
			if err != nil {
				return err
			}
			list, err := client.PublishRelease(c.Context(), q)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), list)
			}
			for _, l := range list {
				fmt.Fprintf(c.OutOrStdout(), "%s %s: image %s (%s), parameter %s\n", l.AMIType, l.Version, l.ImageID, l.ImageName, l.Parameter)
			}
			return nil
		},
	}
	r.flag(c)
	c.Flags().StringVar(&q.AMIType, "ami-type", "", "only for this AMI type, for instance AL2023_x86_64_STANDARD (default: all)")
	c.Flags().StringVar(&q.Kubernetes, "kubernetes", "", "Kubernetes version with its patch (default: the control plane's)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
