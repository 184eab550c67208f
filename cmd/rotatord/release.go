package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "release",
		Short:   "Find new images, stage them, go back to the ones before",
		GroupID: groupRotation,
		Long: `Compare the node groups with the newest image or release of their provider, and
make it their desired revision. No node is replaced by that: 'rotatord run' does,
and 'rotatord run --release latest' does both in one rotation.`,
	}
	a.only(cmd)

	check := &cobra.Command{
		Use:   "check [flags]",
		Short: "Compare the groups with a release; change nothing",
		Long: `Compare the desired revision of each selected group with a release, by default the
latest of its provider. Only the driver is asked: neither a kubeconfig nor any
right to change something is needed. The exit code is 0 when all groups have it,
7 when one has not, 1 when that cannot be told of one. Nodes do not count:
'rotatord plan' shows which of them do not run what their group has.`,
		Example: `  rotatord release check --cluster prod --driver eks
  rotatord release check --config rotation.yaml --output json | jq '.groups[] | select(.order=="newer")'
  rotatord release check --fleet fleet.yaml`,
		Args: exactly(),
	}
	specFlags(check, config.TopicTarget, config.TopicRelease, config.TopicSelect)
	fleet := fleetFlag(check, "Compare the groups of the clusters that this file names")
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		if *fleet != "" {
			return a.checkFleet(cmd, *fleet)
		}
		return a.releaseCheck(cmd)
	}

	apply := &cobra.Command{
		Use:   "apply [flags]",
		Short: "Make a release the groups' desired revision",
		Long: `Make a release, by default the latest, the desired revision of the selected groups.
Instances launched from then on run it; none is replaced. What the groups had is
recorded first, for 'rotatord release rollback'. Everything is checked before the
first group is changed; the same command finishes what was cut off.`,
		Example: `  rotatord release apply --config rotation.yaml --dry-run
  rotatord release apply --config rotation.yaml --release ami-0123456789abcdef0`,
		Args: exactly(),
	}
	specFlags(apply, config.TopicTarget, config.TopicRelease, config.TopicSelect, config.TopicOutput)
	dryRun := apply.Flags().Bool("dry-run", false, "Check and show what would be staged, and stop")
	apply.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.stage(cmd, *dryRun, func(s *session, dryRun bool) (*core.Staging, error) {
			return a.backend.StageRelease(cmd.Context(), s.request, dryRun)
		})
	}

	rollback := &cobra.Command{
		Use:   "rollback [flags]",
		Short: "Stage what the groups had before",
		Long: `Stage again what each selected group had before the newest staging that gave it
what it has: the journal knows. Asked for twice, that goes back and forth. Groups
about which the journal says nothing are left alone. No node is replaced:
'rotatord run' does that, back to the earlier release.`,
		Example: `  rotatord release rollback --config rotation.yaml
  rotatord release rollback --config rotation.yaml --to ami-0123456789abcdef0`,
		Args: exactly(),
	}
	specFlags(rollback, config.TopicTarget, config.TopicSelect, config.TopicOutput)
	to := rollback.Flags().String("to", "", "Id of an earlier release of the groups; default: the one before")
	undry := rollback.Flags().Bool("dry-run", false, "Check and show what would be staged, and stop")
	rollback.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.stage(cmd, *undry, func(s *session, dryRun bool) (*core.Staging, error) {
			return a.backend.RollbackRelease(cmd.Context(), s.request, *to, dryRun)
		})
	}
	for _, c := range []*cobra.Command{check, apply, rollback} {
		outputFlag(c)
	}
	cmd.AddCommand(check, apply, rollback)
	return cmd
}

// releasesDocument is the JSON of `rotatord release check`.
type releasesDocument struct {
	Cluster string `json:"cluster"`
	Release string `json:"release"` // as asked for
	// Current tells whether all groups have it.
	Current     bool             `json:"current"`
	Groups      []releaseView    `json:"groups"`
	Diagnostics []diagnosticView `json:"diagnostics,omitempty"`
}

type releaseView struct {
	model.GroupRelease
	Diagnostics []diagnosticView `json:"diagnostics,omitempty"`
}

func (a *app) releaseCheck(cmd *cobra.Command) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	s, err := a.newSession(cmd, false)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := a.backend.CheckReleases(s.stopper.opening, s.request)
	if err != nil {
		return s.interrupted(err)
	}
	behind, unknown := 0, 0
	for i := range r.Groups {
		switch g := &r.Groups[i]; {
		case g.Target == nil:
			unknown++
		case g.Order != model.ReleaseSame:
			behind++
		}
	}
	if asJSON {
		doc := releasesDocument{Cluster: s.spec.Cluster, Release: r.Release, Current: behind+unknown == 0, Groups: []releaseView{}, Diagnostics: diagnosticViews(r.Diagnostics)}
		for _, g := range r.Groups {
			doc.Groups = append(doc.Groups, releaseView{g, diagnosticViews(g.Diagnostics)})
		}
		err = writeJSON(a.stdout, doc)
	} else {
		err = writeReleases(a.stdout, r)
	}
	switch {
	case err != nil:
		return err
	case unknown > 0:
		return &failure{code: exitFailed, message: fmt.Sprintf("release %s cannot be had for %d of %s", report.Clean(r.Release), unknown, report.Plural(len(r.Groups), "group")), fix: "see the notes of these groups above, or leave them out with --exclude-group"}
	case behind > 0:
		return &failure{code: exitBehind, message: fmt.Sprintf("%d of %s %s not have release %s", behind, report.Plural(len(r.Groups), "group"), map[bool]string{true: "does", false: "do"}[behind == 1], report.Clean(r.Release)),
			fix: "`rotatord run --release " + report.Clean(r.Release) + "` stages it and replaces the nodes; `rotatord release apply` stages it only"}
	}
	return nil
}

// stagingDocument is the JSON of `rotatord release apply` and `rollback`.
type stagingDocument struct {
	Cluster string `json:"cluster"`
	// Rotation names the journal; empty: nothing was recorded.
	Rotation    string             `json:"rotation,omitempty"`
	Release     string             `json:"release,omitempty"` // as asked for; empty: a rollback
	DryRun      bool               `json:"dryRun"`
	Groups      []core.StagedGroup `json:"groups"`
	Diagnostics []diagnosticView   `json:"diagnostics,omitempty"`
	Refusals    []plan.Finding     `json:"refusals,omitempty"` // nothing was changed
}

func (a *app) stage(cmd *cobra.Command, dryRun bool, do func(*session, bool) (*core.Staging, error)) error {
	s, asJSON, err := a.start(cmd, false)
	if err != nil {
		return err
	}
	defer s.close()
	out, err := do(s, dryRun)
	refused, _ := errors.AsType[*core.RefusedError](err)
	if refused != nil && len(refused.Plan.Refusals) > 1 {
		var b strings.Builder // the error names one of the reasons only
		findings(&b, "Refused", refused.Plan.Refusals)
		fmt.Fprint(a.stderr, b.String())
	}
	err = a.closeReport(s, s.summary(stagingResult(out, err), err), err)
	doc := stagingDocument{Cluster: s.spec.Cluster, DryRun: dryRun, Groups: []core.StagedGroup{}}
	switch {
	case asJSON && refused != nil: // one document even so: what was refused, and why
		doc.Release, doc.Refusals = s.spec.Release, refused.Plan.Refusals
		return errors.Join(err, writeJSON(a.stdout, doc))
	case out == nil:
		return err
	case asJSON:
		doc.Rotation, doc.Release, doc.Groups, doc.Diagnostics = out.ID, out.Release, append(doc.Groups, out.Groups...), diagnosticViews(out.Diagnostics)
		return errors.Join(err, writeJSON(a.stdout, doc))
	}
	if werr := writeStaging(a.stdout, out, dryRun); err == nil {
		err = werr
	}
	return err
}

// stagingResult is how a staging ended; nil: the error says it.
func stagingResult(out *core.Staging, err error) *engine.Result {
	end, _ := errors.AsType[*core.EndError](err)
	switch {
	case end != nil:
		return end.Result
	case err != nil:
		return nil
	case out.ID != "":
		return &engine.Result{Status: engine.StatusDone, Message: report.Plural(out.Changes(), "group") + " got another release"}
	}
	return &engine.Result{Status: engine.StatusDone, Message: "nothing was changed"}
}

// diagnosticsOf is what diagnosticViews showed.
func diagnosticsOf(list []diagnosticView) []model.Diagnostic {
	var out []model.Diagnostic
	for _, x := range list {
		out = append(out, model.Diagnostic{Severity: x.Severity, Code: x.Code, Object: x.Object, Summary: x.Summary, Detail: x.Detail})
	}
	return out
}

func diagnosticViews(list []model.Diagnostic) []diagnosticView {
	var out []diagnosticView
	for _, x := range list {
		out = append(out, diagnosticView{x.Severity, x.Code, x.Object, x.Summary, x.Detail})
	}
	return out
}
