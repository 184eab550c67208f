package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/config"
)

// helpWidth is where the text of flags wraps, in columns.
const helpWidth = 100

func init() { cobra.AddTemplateFunc("topics", topics) }

// topics renders a command's own flags under the topics of the configuration;
// flags that belong to none come last.
func topics(cmd *cobra.Command) string {
	sets := map[string]*pflag.FlagSet{}
	order := append(config.Topics(), "Flags")
	for _, t := range order {
		sets[t] = pflag.NewFlagSet(t, pflag.ContinueOnError)
		sets[t].SortFlags = false
	}
	add := func(f *pflag.Flag) {
		topic := "Flags"
		if t := f.Annotations[config.TopicAnnotation]; len(t) > 0 {
			topic = t[0]
		}
		sets[topic].AddFlag(f)
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	var b strings.Builder
	for _, t := range order {
		if sets[t].HasAvailableFlags() {
			b.WriteString("\n" + t + ":\n" + sets[t].FlagUsagesWrapped(helpWidth))
		}
	}
	return b.String()
}

const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $g := .Groups}}
{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $g.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{if not .AllChildCommandsHaveGroup}}
{{if .HasParent}}Commands:{{else}}More:{{end}}{{range $cmds}}{{if (and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{end}}{{topics .}}{{if .HasAvailableSubCommands}}
"{{.CommandPath}} COMMAND --help" explains a command.
{{end}}`
