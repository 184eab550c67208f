package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

// buildVersion is what `rotatord version` prints.
type buildVersion struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Modified   bool   `json:"modified,omitempty"` // built from a changed work tree
	CommitTime string `json:"commitTime,omitempty"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	APIVersion string `json:"apiVersion"` // of rotation files
}

func readVersion() buildVersion {
	v := buildVersion{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, APIVersion: config.APIVersion}
	if b, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" && b.Main.Version != "(devel)" {
			v.Version = b.Main.Version // installed by `go install ...@version`
		}
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.CommitTime = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	v.Version = cmp.Or(v.Version, "development")
	return v
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := jsonWanted(cmd)
			if err != nil {
				return err
			}
			v := readVersion()
			if asJSON {
				return writeJSON(a.stdout, v)
			}
			fmt.Fprintf(a.stdout, "rotatord %s", v.Version)
			if v.Commit != "" {
				fmt.Fprintf(a.stdout, ", commit %.12s", v.Commit)
				if v.Modified {
					fmt.Fprint(a.stdout, " with changes")
				}
			}
			fmt.Fprintf(a.stdout, ", %s, %s\n", v.Go, v.Platform)
			return nil
		},
	}
	outputFlag(cmd)
	return cmd
}
