package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/plan"
)

// Flags that are not keys of the rotation file. They have variables all the
// same: ROTATOR_CONFIG, ROTATOR_OUTPUT, ROTATOR_LOG_LEVEL.
var ownFlags = []string{"config", "output", "log-level"}

var (
	logLevels = []string{"debug", "info", "warn", "error"}
	outputs   = []string{"text", "json"}
)

// specFlags adds --config and the flags of the rotation file's keys, all or
// those of some topics.
func specFlags(cmd *cobra.Command, topics ...string) {
	fs := cmd.Flags()
	fs.SortFlags = false // in the order of the rotation file
	configFlag(cmd)
	config.AddFlags(fs, topics...)
	for _, k := range config.Keys() {
		if len(k.Enum) > 0 && fs.Lookup(k.Flag) != nil {
			complete(cmd, k.Flag, k.Enum)
		}
	}
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "The rotation file")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json") // fails only without the flag
}

// outputFlag adds --output to a command that prints data.
func outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "text", "What stdout gets: text or json, one document")
	complete(cmd, "output", outputs)
}

// setting reads a flag that is no key of the rotation file, or its variable.
func setting(cmd *cobra.Command, name string) string {
	f := cmd.Flags().Lookup(name)
	if v := os.Getenv(config.EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); v != "" && !f.Changed {
		return v
	}
	return f.Value.String()
}

// choice is a setting that must be one of a few words.
func choice(cmd *cobra.Command, name string, words []string) (string, error) {
	v := setting(cmd, name)
	if !slices.Contains(words, v) {
		return "", usage("choose one of "+strings.Join(words, ", "), "--%s: %q is unknown", name, v)
	}
	return v, nil
}

// jsonWanted tells whether stdout is to get JSON.
func jsonWanted(cmd *cobra.Command) (bool, error) {
	o, err := choice(cmd, "output", outputs)
	return o == "json", err
}

// load reads the configuration of a command.
func load(cmd *cobra.Command, file string, noProvider bool) (plan.Spec, error) {
	if file == "" {
		file = setting(cmd, "config")
	}
	return config.Load(config.Sources{File: file, Flags: cmd.Flags(), OtherFlags: ownFlags, NoProvider: noProvider})
}

// loggers make the log on stderr: our own, and the driver's.
func (a *app) loggers(cmd *cobra.Command) (*slog.Logger, hclog.Logger, error) {
	level, err := choice(cmd, "log-level", logLevels)
	if err != nil {
		return nil, nil, err
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, usage("", "--log-level: %s", err)
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: l}))
	return log, hclog.New(&hclog.LoggerOptions{Output: a.stderr, Level: hclog.LevelFromString(level)}), nil
}

// writeJSON writes one document.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing to stdout: %w", err)
	}
	return nil
}
