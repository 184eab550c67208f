package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

// maxShown bounds each list of `rotatord status` in text; JSON has all.
const maxShown = 20

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status [ROTATION] [flags]",
		Short:   "Show the running rotation, or the last one, or ROTATION",
		GroupID: groupRotation,
		Long: `Show who holds the lock and since when, how far the rotation is, and what its
groups and drains wait for and since when: from its journal, so that it works from any
machine, for a run that was killed too. A wait reaches the journal within 5 to 30 s;
each says when it was told. Nothing is changed. A driver is started only to learn the
way to the cluster (--access).`,
		Example: `  rotatord status
  rotatord status --output json | jq .summary.replaced
  rotatord status r20261122-120000-0a1b2c`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactly("ROTATION")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.status(cmd, id)
		},
	}
	stateFlags(cmd)
	return cmd
}

func (a *app) historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "history [flags]",
		Short:   "List the rotations of the journal",
		GroupID: groupRotation,
		Example: "  rotatord history\n  rotatord history --output json | jq '.rotations[] | select(.status==\"unfinished\")'",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.history(cmd) },
	}
	stateFlags(cmd)
	return cmd
}

// stateFlags are those of commands that read the journal and the lock.
func stateFlags(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	configFlag(cmd)
	for _, path := range []string{"cluster", "driver.name", "driver.path", "driver.pluginDirs", "driver.config", "kubernetes.kubeconfig", "kubernetes.context", "kubernetes.access", "cloudOnly", "journal.store", "journal.namespace", "journal.dir"} {
		config.AddFlag(cmd.Flags(), path)
	}
	outputFlag(cmd)
}

// withState reads the configuration, connects, and has look do its work. A signal
// ends that.
func (a *app) withState(cmd *cobra.Command, look func(ctx context.Context, s state, spec plan.Spec) error) error {
	spec, err := load(cmd, "", true)
	if err != nil {
		return err
	}
	log, driverLog, err := a.loggers(cmd)
	if err != nil {
		return err
	}
	stop := a.newStopper(cmd.Context())
	defer stop.close()
	s, err := a.backend.State(stop.opening, request{Spec: spec, Log: log, DriverLog: driverLog})
	if err != nil {
		return stop.interrupted(err)
	}
	defer s.Close()
	return stop.interrupted(look(stop.opening, s, spec))
}

// statusDocument is the JSON of `rotatord status`.
type statusDocument struct {
	Lock *lockDocument `json:"lock"` // null: nobody holds it
	// Rotation is null when there is none.
	Rotation *journal.Entry  `json:"rotation"`
	Summary  *report.Summary `json:"summary"`
	// Running is what was begun and not yet ended (calls, drains, rolls), and what groups
	// wait for.
	Running []running `json:"running"`
}

type lockDocument struct {
	Holder   string    `json:"holder"`
	Rotation string    `json:"rotation,omitempty"`
	Since    time.Time `json:"since"`
	Renewed  time.Time `json:"renewed"`
	Seconds  float64   `json:"seconds"` // how long it holds without being renewed
	Fence    int64     `json:"fence"`
}

// What may be under way beside operations.
const (
	whatDrain = "drain"
	whatGroup = "group"
	whatRoll  = "roll"
)

// running is one thing that a journal shows as begun and not ended.
type running struct {
	What     string    `json:"what"` // whatDrain, whatGroup, whatRoll, or an operation's verb
	Since    time.Time `json:"since"`
	Group    string    `json:"group,omitempty"`
	Node     string    `json:"node,omitempty"`
	Instance string    `json:"instance,omitempty"`
	// Message of a drain, a group or a roll: what it waits for, as the journal was told
	// at Told. WaitsSince is of a drain's.
	Message    string    `json:"message,omitempty"`
	WaitsSince time.Time `json:"waitsSince,omitzero"`
	Told       time.Time `json:"told,omitzero"`
}

func (a *app) status(cmd *cobra.Command, id string) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	return a.withState(cmd, func(ctx context.Context, s state, spec plan.Spec) error {
		doc, err := statusOf(ctx, s, spec, id)
		switch {
		case err != nil:
			return err
		case asJSON:
			return writeJSON(a.stdout, doc)
		}
		writeStatus(a.stdout, doc)
		return nil
	})
}

// statusOf looks at the lock and the journal of a rotation: the one with that id, or
// where there is none the one that runs, or the newest.
func statusOf(ctx context.Context, s state, spec plan.Spec, id string) (statusDocument, error) {
	doc := statusDocument{Running: []running{}}
	holder, err := s.Holder(ctx)
	if err != nil {
		return doc, err
	}
	if holder != nil {
		doc.Lock = &lockDocument{holder.Identity, holder.Rotation, holder.Since, holder.Renewed, holder.Duration.Seconds(), holder.Fence}
	}
	list, err := rotations(ctx, s, spec)
	if err != nil {
		return doc, err
	}
	if doc.Rotation = chosen(list, id, holder); doc.Rotation == nil && id != "" {
		return doc, usage("`rotatord history` lists them", "rotation %s has no journal here", id)
	}
	if e := doc.Rotation; e != nil {
		events, err := s.Journals().Read(ctx, e.Rotation)
		if err != nil && !errors.Is(err, journal.ErrNoRotation) {
			return doc, err
		}
		fold := &report.Fold{}
		fold.Publish(events)
		sum := fold.Summary()
		doc.Summary, doc.Running = &sum, unended(events)
	}
	return doc, nil
}

// rotations lists the journals of the cluster that the configuration names.
func rotations(ctx context.Context, s state, spec plan.Spec) ([]journal.Entry, error) {
	list, err := s.Journals().List(ctx)
	out := []journal.Entry{}
	for _, e := range list {
		if spec.Cluster == "" || e.Cluster == "" || e.Cluster == spec.Cluster {
			out = append(out, e)
		}
	}
	return out, err
}

// chosen is the rotation asked for, or the one that runs, or the newest.
func chosen(list []journal.Entry, id string, holder *kube.Holder) *journal.Entry {
	if id == "" && holder != nil {
		id = holder.Rotation
	}
	for i := range list {
		if list[i].Rotation == id || id == "" {
			return &list[i]
		}
	}
	return nil
}

// unended lists what was begun and not ended, oldest first; before that, what groups
// wait for.
func unended(events []event.Event) []running {
	open := map[string]int{} // index in list
	var list []*running
	begin := func(key, what string, e event.Event) {
		open[key] = len(list)
		list = append(list, &running{What: what, Since: e.Time, Group: e.Group, Node: e.Node, Instance: e.Instance, Message: e.Message})
	}
	// tell says what something waits for, which begins with that where nothing else of
	// it is under way.
	tell := func(key, what string, e event.Event) {
		if _, ok := open[key]; !ok {
			begin(key, what, e)
		}
		r := list[open[key]]
		r.Message, r.Told = e.Message, e.Time
		r.WaitsSince, _ = time.Parse(time.RFC3339, e.Data["since"]) // zero: it does not say
	}
	end := func(key string) {
		if i, ok := open[key]; ok {
			list[i] = nil
			delete(open, key)
		}
	}
	endAll := func(what ...string) {
		for key, i := range open {
			if slices.Contains(what, list[i].What) {
				end(key)
			}
		}
	}
	for _, e := range events {
		switch e.Kind {
		case event.RotationStarted: // what the run before it was killed at begins anew
			endAll(whatDrain, whatGroup)
		case event.RotationStopping: // drains are called off
			endAll(whatDrain)
		case event.OpIntended:
			end("op " + e.Op) // sent again
			begin("op "+e.Op, e.Verb, e)
			if e.Verb == string(engine.VerbTerminate) {
				end("drain " + e.Node) // it waited for volumes
			}
		case event.OpSucceeded, event.OpFailed:
			end("op " + e.Op)
		case event.GroupRolling:
			tell("roll "+e.Group, whatRoll, e)
		case event.GroupRolled:
			end("roll " + e.Group)
		case event.NodeDraining:
			end("drain " + e.Node)
			begin("drain "+e.Node, whatDrain, e)
		case event.DrainWaits: // of one that is drained, too: for its volumes
			tell("drain "+e.Node, whatDrain, e)
		case event.GroupWaits:
			end("group " + e.Group)
			if e.Message != "" {
				tell("group "+e.Group, whatGroup, e)
			}
		case event.GroupFinished:
			end("group " + e.Group)
		case event.DrainPostponed, event.NodeDrained, event.NodeQuarantined, event.NodeReplaced:
			end("drain " + e.Node)
		case event.RotationFinished:
			list, open = nil, map[string]int{}
		default: // nothing else begins or ends
		}
	}
	out := []running{}
	for _, r := range list {
		if r != nil {
			out = append(out, *r)
		}
	}
	rank := func(r running) int {
		if r.What == whatGroup {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b running) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func writeStatus(w io.Writer, doc statusDocument) {
	if doc.Lock == nil {
		fmt.Fprintln(w, "lock: free")
	} else {
		l := doc.Lock
		rotation := ""
		if l.Rotation != "" {
			rotation = " for rotation " + report.Clean(l.Rotation)
		}
		fmt.Fprintf(w, "lock: held by %s%s since %s, last renewed %s\n", report.Clean(l.Holder), rotation, at(l.Since), at(l.Renewed))
	}
	e := doc.Rotation
	if e == nil {
		fmt.Fprintln(w, "no rotation is recorded")
		return
	}
	sum := doc.Summary
	fmt.Fprintf(w, "rotation %s of cluster %s: %s, began %s, last event %s\n", report.Clean(e.Rotation), report.Clean(cmp.Or(e.Cluster, "(unknown)")),
		stateOf(doc), at(e.Started), at(e.Modified))
	fmt.Fprintf(w, "  %d of %d node(s) replaced, %d drained, %d pod(s) evicted, %d quarantined\n", sum.Replaced, sum.Planned, sum.Drained, sum.Evicted, sum.Quarantined)
	if sum.Message != "" {
		fmt.Fprintf(w, "  %s\n", report.Clean(sum.Message))
	}
	if len(sum.Groups) > 0 {
		rows := [][]string{{"GROUP", "STATUS", "REPLACED", "PLANNED", "MESSAGE"}}
		for _, g := range sum.Groups {
			rows = append(rows, []string{report.Clean(g.Name), g.Status, strconv.Itoa(g.Replaced), strconv.Itoa(g.Planned), report.Clean(g.Message)})
		}
		fmt.Fprintln(w)
		report.Table(w, rows)
	}
	if len(doc.Running) > 0 {
		fmt.Fprintln(w, "\nunder way:")
		for i, r := range doc.Running {
			if i == maxShown {
				fmt.Fprintf(w, "  and %d more\n", len(doc.Running)-maxShown)
				break
			}
			writeRunning(w, r)
		}
	}
	for i, t := range sum.Failures {
		if i == 0 {
			fmt.Fprintln(w, "\ntrouble:")
		}
		if i == maxShown {
			fmt.Fprintf(w, "  and %d more\n", len(sum.Failures)-maxShown)
			break
		}
		fmt.Fprintf(w, "  %s %s\n", at(t.Time), report.Clean(cmp.Or(t.Message, t.Kind)))
	}
}

func writeRunning(w io.Writer, r running) {
	moments := ""
	if !r.WaitsSince.IsZero() {
		moments = "since " + at(r.WaitsSince) + ", "
	}
	if !r.Told.IsZero() {
		moments = fmt.Sprintf(" (%stold at %s)", moments, at(r.Told))
	}
	message := report.Clean(r.Message) + moments
	if r.What == whatGroup {
		fmt.Fprintf(w, "  group %s: %s\n", report.Clean(r.Group), message)
		return
	}
	fmt.Fprintf(w, "  %s of %s since %s\n", r.What, report.Clean(cmp.Or(r.Node, r.Instance, r.Group, "the rotation")), at(r.Since))
	switch {
	case r.Message == "":
	case r.What == whatDrain:
		fmt.Fprintf(w, "    waits: %s\n", message)
	default:
		fmt.Fprintf(w, "    says: %s\n", message)
	}
}

// stateOf is the rotation's state in words: a journal alone cannot tell a run
// that goes on from one that was cut off; the lock can.
func stateOf(doc statusDocument) string {
	e := doc.Rotation
	switch {
	case e.Status != journal.Unfinished:
		return e.Status
	case doc.Lock != nil && (doc.Lock.Rotation == e.Rotation):
		return "running"
	default:
		return "cut off (the command that began it goes on with it)"
	}
}

func (a *app) history(cmd *cobra.Command) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	var list []journal.Entry
	err = a.withState(cmd, func(ctx context.Context, s state, spec plan.Spec) (err error) {
		list, err = rotations(ctx, s, spec)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.stdout, map[string]any{"rotations": list})
	}
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "no rotation is recorded")
		return nil
	}
	rows := [][]string{{"ROTATION", "CLUSTER", "STATUS", "STARTED", "LAST EVENT", "EVENTS", "SIZE"}}
	for _, e := range list {
		rows = append(rows, []string{report.Clean(e.Rotation), report.Clean(e.Cluster), report.Clean(e.Status), at(e.Started), at(e.Modified),
			strconv.Itoa(e.Events), fmt.Sprintf("%.1f KiB", float64(e.Size)/1024)})
	}
	report.Table(a.stdout, rows)
	for _, e := range list {
		if e.Problem != "" {
			fmt.Fprintf(a.stdout, "\n%s cannot be read: %s\n", report.Clean(e.Rotation), report.Clean(e.Problem))
		}
	}
	return nil
}

// at is a moment in text.
func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
