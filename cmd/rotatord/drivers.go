package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/report"
)

func (a *app) driversCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "drivers",
		Short:   "List drivers, or describe one",
		GroupID: groupSetup,
		Long: `A driver is an executable named rotatord-driver-NAME. It is searched in the
plugin directories (--plugin-dir), beside rotatord, in the user's data folder and
in PATH; the first one counts. Executables that others may change are refused.`,
	}
	a.only(cmd)
	list := &cobra.Command{
		Use:     "list [flags]",
		Aliases: []string{"ls"},
		Short:   "List the drivers that were found, and those that were rejected",
		Example: "  rotatord drivers list --plugin-dir ./bin",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.driversList(cmd) },
	}
	info := &cobra.Command{
		Use:     "info NAME [flags]",
		Short:   "Show a driver's version, verbs and configuration",
		Example: "  rotatord drivers info eks\n  rotatord drivers info eks --output json | jq .configSchema",
		Args:    exactly("NAME"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.driversInfo(cmd, args[0]) },
	}
	for _, c := range []*cobra.Command{list, info} {
		configFlag(c)
		config.AddFlag(c.Flags(), "driver.pluginDirs")
		outputFlag(c)
	}
	for _, path := range []string{"driver.path", "driver.sha256", "driver.env", "driver.timeout"} {
		config.AddFlag(info.Flags(), path)
	}
	cmd.AddCommand(list, info)
	return cmd
}

func (a *app) driversList(cmd *cobra.Command) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	spec, err := load(cmd, "", true)
	if err != nil {
		return err
	}
	found := a.backend.Drivers(spec.Driver)
	if asJSON {
		return writeJSON(a.stdout, map[string]any{"drivers": append([]driverFile{}, found...)})
	}
	if len(found) == 0 {
		fmt.Fprintln(a.stdout, "no driver was found: an executable rotatord-driver-NAME in a --plugin-dir, beside rotatord, in the user's data folder or in PATH is one")
		return nil
	}
	rows := [][]string{{"NAME", "STATUS", "FOUND", "PATH"}}
	for _, d := range found {
		rows = append(rows, []string{report.Clean(d.Name), d.Status, d.Source, report.Clean(d.Path)})
	}
	report.Table(a.stdout, rows)
	for _, d := range found {
		if d.Reason != "" {
			fmt.Fprintf(a.stdout, "\n%s: %s\n", d.Status, report.Clean(d.Reason))
			if d.Fix != "" {
				fmt.Fprintf(a.stdout, "  fix: %s\n", report.Clean(d.Fix))
			}
		}
	}
	return nil
}

func (a *app) driversInfo(cmd *cobra.Command, name string) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	spec, err := load(cmd, "", true)
	if err != nil {
		return err
	}
	log, driverLog, err := a.loggers(cmd)
	if err != nil {
		return err
	}
	if spec.Driver.Name != name { // what the file says about another driver does not apply
		if !cmd.Flags().Changed("driver-path") {
			spec.Driver.Path = ""
		}
		if !cmd.Flags().Changed("driver-sha256") {
			spec.Driver.SHA256 = ""
		}
	}
	spec.Driver.Name = name
	s := a.newStopper(cmd.Context())
	defer s.close()
	info, err := a.backend.DriverInfo(s.opening, request{Spec: spec, Log: log, DriverLog: driverLog})
	if err != nil {
		return s.interrupted(err)
	}
	return a.printDriver(asJSON, info)
}

func (a *app) printDriver(asJSON bool, d *driverInfo) error {
	if asJSON {
		schema := json.RawMessage("null")
		if len(d.ConfigSchema) > 0 {
			if !json.Valid(d.ConfigSchema) {
				return &failure{code: exitFailed, message: fmt.Sprintf("driver %s: its configuration schema is not JSON", d.Name), fix: "tell the driver's author"}
			}
			schema = d.ConfigSchema
		}
		return writeJSON(a.stdout, struct {
			Name         string          `json:"name"`
			Version      string          `json:"version"`
			Path         string          `json:"path"`
			Verbs        []string        `json:"verbs"`
			ConfigSchema json.RawMessage `json:"configSchema"`
		}{d.Name, d.Version, d.Path, append([]string{}, d.Verbs...), schema})
	}
	verbs := strings.Join(d.Verbs, ", ")
	if verbs == "" {
		verbs = "none"
	}
	report.Table(a.stdout, [][]string{
		{"name", report.Clean(d.Name)}, {"version", report.Clean(d.Version)}, {"path", report.Clean(d.Path)}, {"verbs", report.Clean(verbs)},
	})
	if len(d.ConfigSchema) == 0 {
		fmt.Fprintln(a.stdout, "\nIt takes no configuration.")
		return nil
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, d.ConfigSchema, "", "  "); err != nil {
		return &failure{code: exitFailed, message: fmt.Sprintf("driver %s: its configuration schema is not JSON: %s", d.Name, err), fix: "tell the driver's author", err: err}
	}
	fmt.Fprintf(a.stdout, "\nConfiguration (driver.config), as a JSON Schema:\n%s\n", strings.TrimSpace(pretty.String()))
	return nil
}
