package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/config"
)

const (
	groupRotation = "rotation"
	groupSetup    = "setup"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rotatord",
		Short: "Replace the nodes of a Kubernetes cluster",
		Long: `rotatord replaces the nodes of a Kubernetes cluster because a new machine image
came out, a launch template changed, or nodes grew too old. Replacements come up
first, pods leave by evictions that respect PodDisruptionBudgets, and every step
waits for health. A driver, a process of its own, knows the provider.

Configuration comes from a file (--config), then ROTATOR_* variables, then flags;
each overrides the one before. --max-surge is ROTATOR_MAX_SURGE.

` + exitCodesHelp,
		Example: `  rotatord config init > rotation.yaml     # every key, explained
  rotatord plan --config rotation.yaml     # what would be done, and why
  rotatord run --config rotation.yaml      # do it
  rotatord run --cluster prod --driver eks --group 'workers-*' --max-surge 25%`,
		SilenceErrors: true, // report prints them, once
		SilenceUsage:  true,
	}
	root.AddGroup(&cobra.Group{ID: groupRotation, Title: "Rotate:"}, &cobra.Group{ID: groupSetup, Title: "Set up:"})
	root.PersistentFlags().String("log-level", "warn", "What the log on stderr shows: debug, info, warn or error")
	a.only(root)
	root.AddCommand(a.planCommand(), a.runCommand(), a.resumeCommand(), a.abortCommand(), a.drainCommand(), a.releaseCommand(), a.statusCommand(), a.historyCommand(), a.driversCommand(), a.kopsCommand(), a.configCommand(), a.versionCommand())
	root.SetFlagErrorFunc(a.flagError)
	root.SetUsageTemplate(usageTemplate)
	complete(root, "log-level", logLevels)
	root.SetOut(a.stdout) // the commands of completion keep it from here on
	root.SetErr(a.stderr)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			helpOf(root, c)
		case "completion":
			a.only(c)
		}
	}
	return root
}

// only makes a command one that has subcommands and does nothing itself: an
// unknown word is an error with the nearest command.
func (a *app) only(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}
}

// helpOf has `rotatord help WORD` refuse what is no command, as `rotatord WORD` does.
func helpOf(root, help *cobra.Command) {
	help.RunE, help.Run = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 && cmd.HasSubCommands() {
			return unknownCommand(cmd, args[len(args)-len(rest)])
		}
		cmd.InitDefaultHelpFlag() // else only a command that runs has it
		return cmd.Help()
	}, nil
}

func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	fix := "commands are " + strings.Join(names, ", ")
	if n := config.Nearest(word, names); n != "" {
		fix = "did you mean `" + cmd.CommandPath() + " " + n + "`?"
	}
	return usage(fix, "unknown command %q for %s", word, cmd.CommandPath())
}

// flagError explains what the flag parser refuses.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	// `rotatord pln --config x` fails at the flag, but the command is the mistake.
	if cmd.HasSubCommands() {
		depth := strings.Count(cmd.CommandPath(), " ")
		words := slices.DeleteFunc(slices.Clone(a.args), func(s string) bool { return strings.HasPrefix(s, "-") })
		if len(words) > depth {
			return unknownCommand(cmd, words[depth])
		}
	}
	fix := "`" + cmd.CommandPath() + " --help` lists the flags"
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage(fix, "%s", err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if n := config.Nearest(unknown.GetSpecifiedName(), names); n != "" {
		fix = "did you mean --" + n + "?"
	} else if mapped, ok := formerFlags[unknown.GetSpecifiedName()]; ok {
		fix = mapped
	}
	dashes := "--"
	if unknown.GetSpecifiedShortnames() != "" {
		dashes = "-"
	}
	return usage(fix, "unknown flag %s%s", dashes, unknown.GetSpecifiedName())
}

// formerFlags are flags of the tool that many come from.
var formerFlags = map[string]string{
	"max-scaling":                "use --max-surge, or --mode batch with --batch-size",
	"rotate-masters":             "use --role control-plane",
	"rotate-workers":             "use --role node, which is the default",
	"max-drain-retries":          "use --drain-retries",
	"evict-grace-period":         "use --eviction-grace-period with a unit: 60s",
	"wait-between-rotations":     "use --wait-between-batches with --mode batch and a unit: 60s",
	"wait-between-pod-evictions": "use --wait-between-evictions with a unit: 2s",
}

// exactly checks the number of arguments and names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		fix := "usage: " + cmd.UseLine()
		switch {
		case len(args) < len(names):
			return usage(fix, "%s is missing", names[len(args)])
		case len(args) > len(names):
			return usage(fix, "unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// complete offers words to the shell for a flag's value.
func complete(cmd *cobra.Command, flag string, words []string) {
	// It fails only for a flag that does not exist or is registered twice.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
