package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Write, check and describe the rotation file",
		GroupID: groupSetup,
	}
	a.only(cmd)
	initCmd := &cobra.Command{
		Use:     "init",
		Short:   "Print a rotation file with every key, explained, at its default",
		Example: "  rotatord config init > rotation.yaml",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(config.Example())
			return err
		},
	}
	schema := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the rotation file, for editors",
		Example: "  rotatord config schema > rotation.schema.json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(config.Schema())
			return err
		},
	}
	validate := &cobra.Command{
		Use:   "validate [FILE] [flags]",
		Short: "Check a rotation file, with the variables and flags that go with it",
		Long: `Check a rotation file as plan and run do, and name everything that is wrong with
its line. ROTATOR_* variables and flags count too: what they give need not stand
in the file. Neither the cluster nor the provider is asked. With --fleet, a fleet
file is checked and the rotation files that it names.`,
		Example: "  rotatord config validate rotation.yaml\n  rotatord config validate rotation.yaml --cluster prod\n  rotatord config validate --fleet fleet.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("usage: "+cmd.UseLine(), "unexpected argument %q", args[1])
			}
			return nil
		},
	}
	specFlags(validate)
	outputFlag(validate)
	fleet := fleetFlag(validate, "Check this fleet file, and the rotation files of its clusters")
	validate.RunE = func(cmd *cobra.Command, args []string) error { return a.validate(cmd, args, *fleet) }
	cmd.AddCommand(initCmd, validate, schema)
	return cmd
}

func (a *app) validate(cmd *cobra.Command, args []string, fleet string) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	if _, err := choice(cmd, "log-level", logLevels); err != nil {
		return err
	}
	file := setting(cmd, "config")
	if len(args) == 1 {
		if cmd.Flags().Changed("config") {
			return usage("give one of them", "both FILE and --config are given")
		}
		file = args[0]
	}
	if fleet != "" {
		if len(args) > 0 {
			return usage("give one of them", "both FILE and --fleet are given")
		}
		file = fleet
		_, err = a.newFleet(cmd, fleet)
	} else {
		_, err = load(cmd, file, false)
	}
	if asJSON {
		doc := struct {
			Valid    bool             `json:"valid"`
			Problems []config.Problem `json:"problems"`
		}{err == nil, []config.Problem{}}
		var ce *config.Error
		if errors.As(err, &ce) {
			doc.Problems = ce.Problems
		}
		return errors.Join(err, writeJSON(a.stdout, doc))
	}
	if err == nil {
		fmt.Fprintf(a.stdout, "%s: valid\n", cmp.Or(file, "configuration"))
	}
	return err
}
