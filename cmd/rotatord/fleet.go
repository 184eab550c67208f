package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/report"
)

// fleetFlag adds --fleet; does says what it makes the command do.
func fleetFlag(cmd *cobra.Command, does string) *string {
	file := cmd.Flags().String("fleet", "", does+"; other flags hold for each of them")
	_ = cmd.MarkFlagFilename("fleet", "yaml", "yml") // fails only without the flag
	cmd.Flags().StringSlice("only", nil, "With --fleet: these clusters alone, by name, by WAVE, or by WAVE/INDEX, counted from 0 (repeatable)")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("only") && *file == "" {
			return usage("give --fleet too; --group chooses among the groups of one cluster", "--only is of a fleet")
		}
		return nil
	}
	return file
}

// fleetCall is one call of the command for a fleet: a rotatord of its own for
// each cluster, so that what happens to one happens to no other.
type fleetCall struct {
	app      *app
	cmd      *cobra.Command
	fleet    *config.Fleet
	json     bool
	ended    chan fleetEnd
	children map[string]child
	stop     <-chan os.Signal // of listen
	signals  int
}

// fleetEnd is how the rotatord of one cluster ended.
type fleetEnd struct {
	cluster string
	code    int
	stdout  []byte
	why     string // its error, in one line; empty: it named none
}

// newFleet reads a fleet file and the rotation files that it names.
func (a *app) newFleet(cmd *cobra.Command, file string) (*fleetCall, error) {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"config", "cluster"} {
		if cmd.Flags().Changed(name) {
			return nil, usage("name it in the fleet file", "--%s is of one cluster, --fleet names many", name)
		}
	}
	if variable := config.EnvPrefix + "CLUSTER"; os.Getenv(variable) != "" {
		return nil, usage("unset it: it overrides every cluster's own file", "%s is of one cluster, --fleet names many", variable)
	}
	f, err := config.LoadFleet(file, cmd.Flags())
	if err != nil {
		return nil, err
	}
	if err := only(cmd, f); err != nil {
		return nil, err
	}
	if a.outlive != nil {
		a.outlive()
	}
	return &fleetCall{app: a, cmd: cmd, fleet: f, json: asJSON, ended: make(chan fleetEnd), children: map[string]child{}}, nil
}

// only leaves out of a fleet what --only does not name.
func only(cmd *cobra.Command, f *config.Fleet) error {
	names, err := cmd.Flags().GetStringSlice("only")
	if err != nil || len(names) == 0 {
		return err
	}
	named := map[string]bool{}
	for i := range f.Waves {
		w := &f.Waves[i]
		var kept []fleet.Cluster
		for n, c := range w.Clusters {
			keep := false
			for _, name := range []string{c.Name, w.Name, fmt.Sprintf("%s/%d", w.Name, n)} {
				if slices.Contains(names, name) {
					named[name], keep = true, true
				}
			}
			if keep {
				kept = append(kept, c)
			}
		}
		w.Clusters = kept
	}
	for _, name := range names {
		if !named[name] {
			return usage("name a cluster, a wave, or WAVE/INDEX with an index from 0", "--only: the fleet has no %q", name)
		}
	}
	f.Waves = slices.DeleteFunc(f.Waves, func(w fleet.Wave) bool { return len(w.Clusters) == 0 })
	return nil
}

// begin starts a rotatord for one cluster; its end comes over the channel ended.
func (f *fleetCall) begin(c fleet.Cluster, command ...string) {
	args, env := f.arguments(c, command)
	fmt.Fprintf(f.app.stderr, "%s: begins\n", c.Name)
	stdout, stderr := &capped{}, &prefixed{w: f.app.stderr, prefix: c.Name + ": "}
	p, err := f.app.self(args, env, stdout, stderr)
	if err != nil {
		why := "rotatord cannot be started: " + err.Error()
		fmt.Fprintf(f.app.stderr, "%s: %s\n", c.Name, why)
		go func() { f.ended <- fleetEnd{cluster: c.Name, code: exitFailed, why: why} }()
		return
	}
	f.children[c.Name] = p
	go func() {
		code := p.Wait()
		stderr.end()
		f.ended <- fleetEnd{cluster: c.Name, code: code, stdout: stdout.b.Bytes(), why: stderr.failure}
	}()
}

// arguments are what the rotatord of one cluster is called with: what the fleet
// file sets for it, then what the command line gives. A key that the command has
// no flag for goes by its variable.
func (f *fleetCall) arguments(c fleet.Cluster, command []string) (args, env []string) {
	args = append(command, "--config="+c.Config, "--output=json")
	flags := f.cmd.Flags()
	if level := flags.Lookup("log-level"); level != nil && level.Changed {
		args = append(args, "--log-level="+level.Value.String())
	}
	for _, arg := range config.ClusterFlags(c, flags) {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if flags.Lookup(name) != nil {
			args = append(args, arg)
			continue
		}
		i := slices.IndexFunc(config.Keys(), func(k config.Key) bool { return k.Flag == name })
		env = append(env, config.Keys()[i].Env()+"="+value)
	}
	spec, err := config.LoadCluster(c, flags)
	if err != nil {
		return args, env // what is wrong with it, it says itself
	}
	if w := f.fleet.Window; w.Start != "" && spec.Window.Start == "" && flags.Lookup("window") != nil {
		args = append(args, "--window="+w.Start, "--window-duration="+w.Duration.String())
		if w.TimeZone != "" {
			args = append(args, "--window-time-zone="+w.TimeZone)
		}
	}
	// A folder of its own for each, whoever names it.
	if dir := cmp.Or(f.reportDir(), spec.Report.Dir); dir != "" && flags.Lookup("report-dir") != nil {
		args = append(args, "--report-dir="+filepath.Join(dir, c.Name))
	}
	return args, env
}

// reportDir is the folder of the fleet's own report; empty: none is asked for.
func (f *fleetCall) reportDir() string {
	if f.cmd.Flags().Lookup("report-dir") == nil {
		return ""
	}
	return setting(f.cmd, "report-dir")
}

// took takes note of the end of one.
func (f *fleetCall) took(e fleetEnd, more string) {
	delete(f.children, e.cluster)
	fmt.Fprintf(f.app.stderr, "%s: ended with exit code %d%s\n", e.cluster, e.code, more)
}

// signalled passes a signal on. It returns false when the process is to end at
// once.
func (f *fleetCall) signalled(sig os.Signal) bool {
	f.signals++
	fmt.Fprintf(f.app.stderr, "%s: stopping: no cluster is begun; %d rotation(s) are told to stop\n", signalName(sig), len(f.children))
	for _, name := range slices.Sorted(maps.Keys(f.children)) {
		// One that has just ended needs no signal.
		_ = f.children[name].Signal(syscall.SIGTERM)
	}
	if f.signals > 1 {
		f.app.exit(exitStopped)
		return false
	}
	return true
}

// fleetRun is one run of a fleet.
type fleetRun struct {
	*fleetCall
	schedule *fleet.Schedule
	ends     map[string]fleetEnd
}

// runFleet rotates a fleet. The error is its exit code's.
func (a *app) runFleet(cmd *cobra.Command, file string) error {
	f, err := a.newFleet(cmd, file)
	if err != nil {
		return err
	}
	if wait := cmd.Flags().Lookup("wait-for-window"); wait.Changed {
		f.fleet.Window.Wait = wait.Value.String() == "true"
	}
	r := &fleetRun{fleetCall: f, schedule: fleet.New(&f.fleet.Fleet), ends: map[string]fleetEnd{}}
	if dir := f.reportDir(); dir != "" { // before anything is touched: can it be written?
		if err := report.Keep(dir); err != nil {
			return &failure{code: exitUsage, message: err.Error() + "; nothing was changed", fix: "choose another folder with --report-dir", err: err}
		}
	}
	var release func()
	r.stop, release = a.listen()
	defer release()
	if !r.awaitWindow() {
		r.schedule.Halt("stopped by a signal")
	}
	r.run()
	if dir := f.reportDir(); dir != "" {
		if err := r.report().Keep(dir, r.document()); err != nil {
			fmt.Fprintf(a.stderr, "warning: the fleet's report could not be written: %s\n", err)
		}
	}
	if f.json {
		err = writeJSON(a.stdout, r.document())
	} else {
		err = r.table(a.stdout)
	}
	return cmp.Or(r.failure(), err)
}

// awaitWindow waits for the fleet's window where the file asks for that. It
// returns false when a signal came first.
func (r *fleetRun) awaitWindow() bool {
	w := r.fleet.Fleet.Window
	if w == nil || !r.fleet.Window.Wait {
		return true
	}
	return awaitOpen(w, r.app.stderr, r.stop)
}

// run goes on until nothing runs and nothing is begun any more.
func (r *fleetRun) run() {
	for {
		begin, wake, over := r.schedule.Next(time.Now())
		for _, c := range begin {
			r.begin(c, "run")
		}
		if over {
			return
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(min(time.Until(wake), time.Minute))
		}
		select {
		case e := <-r.ended:
			r.end(e)
		case <-timer:
		case sig := <-r.stop:
			r.schedule.Halt("stopped by a signal")
			if !r.signalled(sig) {
				return
			}
		}
	}
}

func (r *fleetRun) end(e fleetEnd) {
	var sum report.Summary
	if json.Unmarshal(e.stdout, &sum) != nil {
		e.stdout = nil
	}
	r.ends[e.cluster] = e
	r.schedule.Ended(e.cluster, e.code, sum.Replaced, time.Now())
	r.took(e, fmt.Sprintf(", %d node(s) replaced", sum.Replaced))
}

// failure is what the fleet's end amounts to; nil: all clusters are done.
func (r *fleetRun) failure() error {
	code := r.schedule.ExitCode()
	if code == exitDone {
		return nil
	}
	var not []string
	for _, c := range r.schedule.Standings() {
		if c.State != fleet.Done {
			not = append(not, c.Name)
		}
	}
	message := fmt.Sprintf("%d of %d cluster(s) are not done: %s", len(not), len(r.schedule.Standings()), strings.Join(not, ", "))
	if why := r.schedule.Halted(); why != "" {
		message += "; " + why
	}
	return &failure{code: code, message: message, fix: "look at what the table says of them; then run the same command again: it goes on with those that are not done"}
}
