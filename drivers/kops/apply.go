package kops

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup"
)

// maxTaskDuration bounds how long kops tries one task again, as creating a
// launch template, and retryAfter is its pause when none can go on. kops' own
// are 10 minutes, for a cluster that is being made, and 10 seconds: what fails
// here is to be said before the caller's deadline of two minutes.
const (
	maxTaskDuration = 30 * time.Second
	retryAfter      = 5 * time.Second
)

// difference is what `kops update cluster` would change, as its dry run says.
type difference struct {
	// report is kops' own, for a person to read, without texts (see withoutTexts).
	report string
	// changes are what it lists, sorted, without what is deleted with --prune only.
	changes []change
}

// change is one thing that `kops update cluster` would do.
type change struct {
	what   string   // "modify LaunchTemplate/nodes.example.com"
	fields []string // of the task, as kops calls them
}

// has tells whether the difference holds this change, and of no other field.
func (d *difference) has(what, field string) bool {
	return slices.ContainsFunc(d.changes, func(c change) bool { return c.what == what && slices.Equal(c.fields, []string{field}) })
}

// beyond lists what is done beside some changes, of whatever field.
func (d *difference) beyond(what ...string) []string {
	var list []string
	for _, c := range d.changes {
		if !slices.Contains(what, c.what) {
			list = append(list, c.what)
		}
	}
	return list
}

// updater is the type of (*store).update.
type updater func(s *store, ctx context.Context, sp *spec, cloud fi.Cloud, images map[string]string, apply bool) (*difference, error)

// updating is held through each update: the library caches in maps of its
// packages, without locks, what nodes download. It is the process', as they are.
var updating keyedMutex

// update runs `kops update cluster`, with --yes if apply is set: kops' own
// ApplyClusterCmd over a specification that was read before, so that what was
// looked at is what is applied. Images replaces those of the specification, by
// instance group. It takes no deadline, and as long as the cloud takes.
//
// The version of the kubelets is the specification's: kops looks at the
// control plane for an upgrade under way, and takes the specification's where
// it cannot; a cluster in mid-upgrade differs, and is refused by what calls.
func (s *store) update(ctx context.Context, sp *spec, cloud fi.Cloud, images map[string]string, apply bool) (*difference, error) {
	unlock, err := updating.lock(ctx, "")
	if err != nil {
		return nil, err
	}
	defer unlock()
	cmd := &cloudup.ApplyClusterCmd{
		Cloud: cloud, Clientset: s.client,
		// ApplyClusterCmd fills in defaults in what it is given.
		Cluster: sp.cluster.DeepCopy(), InstanceGroups: groupsWith(sp.groups, images),
		TargetName: cloudup.TargetDryRun, DryRun: true,
		RunTasksOptions:            &fi.RunTasksOptions{MaxTaskDuration: maxTaskDuration, WaitAfterAllTasksFailed: retryAfter},
		DeletionProcessing:         fi.DeletionProcessingModeDeleteIfNotDeferrred,
		ControlPlaneRunningVersion: sp.cluster.Spec.KubernetesVersion,
	}
	if apply {
		cmd.TargetName, cmd.DryRun = cloudup.TargetDirect, false
	}
	if _, err := cmd.Run(ctx); err != nil {
		return nil, err
	}
	if apply {
		return &difference{}, nil
	}
	dry := cmd.Target.(*fi.CloudupDryRunTarget) // ApplyClusterCmd makes it for TargetDryRun
	var b bytes.Buffer
	if err := dry.PrintReport(cmd.TaskMap, &b); err != nil {
		return nil, err
	}
	return &difference{report: withoutTexts(b.String()), changes: changesOf(b.String())}, nil
}

// groupsWith copies instance groups, some with another image.
func groupsWith(groups []*kopsapi.InstanceGroup, images map[string]string) []*kopsapi.InstanceGroup {
	out := make([]*kopsapi.InstanceGroup, 0, len(groups))
	for _, g := range groups {
		g = g.DeepCopy()
		if image, ok := images[g.Name]; ok {
			g.Spec.Image = image
		}
		out = append(out, g)
	}
	return out
}

// The sections of the report of kops' dry run, and what each does to what it
// lists; empty: `kops update cluster --yes` does not do it.
var reportSections = map[string]string{
	"Will create resources:":                                         "create",
	"Will modify resources:":                                         "modify",
	"Items will be deleted during update:":                           "delete",
	"Items will be deleted only when the --prune flag is specified:": "",
}

// changesOf lists what a report of kops' dry run is about. The target keeps its
// list to itself (Changes answers one task of each type), and so the report is
// all that tells: below a line for what is done, a line of two spaces and a name
// for each task, and lines of two spaces, a tab and a name for its fields. A
// line of another kind is a change by itself, so that what is not understood is
// never taken for nothing.
func changesOf(report string) []change {
	var changes []change
	section, known := "", false
	for line := range strings.Lines(report) {
		line = strings.TrimRight(line, " \n")
		name, task := strings.CutPrefix(line, "  ")
		field, isField := strings.CutPrefix(name, "\t")
		switch {
		case line == "":
		case task && isField:
			if n := len(changes); n > 0 && field != "" && field[0] != ' ' && field[0] != '\t' {
				changes[n-1].fields = append(changes[n-1].fields, strings.Fields(field)[0])
			}
		case task && strings.HasPrefix(name, " "): // "internal consistency error!"
			changes = append(changes, change{what: strings.TrimSpace(name)})
		case !task:
			if section, known = reportSections[line]; !known {
				changes = append(changes, change{what: line})
			}
		case section != "":
			changes = append(changes, change{what: section + " " + strings.Join(strings.Fields(name), " ")})
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return strings.Compare(a.what, b.what) })
	return changes
}

// withoutTexts leaves out of a report the differences of texts, as of user data:
// the users' own scripts and files may hold secrets, and what goes into a
// diagnostic is kept in journals and reports. What is not understood is left out
// too.
func withoutTexts(report string) string {
	var out []string
	for line := range strings.Lines(report) {
		line = strings.TrimRight(line, " \n")
		name, task := strings.CutPrefix(line, "  ")
		field, isField := strings.CutPrefix(name, "\t")
		_, section := reportSections[line]
		switch {
		case line == "" || section:
			out = append(out, line)
		case !task || strings.HasPrefix(name, " "):
		case !isField:
			out = append(out, line)
		case field != "" && field[0] != ' ' && field[0] != '\t':
			if len(strings.Fields(field)) == 1 { // what differs is in the lines below
				line += "\t(a text: kops update cluster shows it)"
			}
			out = append(out, line)
		}
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}
