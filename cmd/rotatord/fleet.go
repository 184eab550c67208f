package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/report"
)

// maxSummary bounds what is kept of a cluster's stdout, in bytes.
const maxSummary = 16 << 20

// fleetFlag adds --fleet.
func fleetFlag(cmd *cobra.Command) *string {
	file := cmd.Flags().String("fleet", "", "Rotate the clusters that this file names, wave by wave; other flags hold for each of them")
	_ = cmd.MarkFlagFilename("fleet", "yaml", "yml") // fails only without the flag
	return file
}

// fleetRun is one run of a fleet: a rotatord of its own for each cluster, so
// that what happens to one happens to no other.
type fleetRun struct {
	app      *app
	cmd      *cobra.Command
	fleet    *config.Fleet
	schedule *fleet.Schedule
	ended    chan fleetEnd
	children map[string]child
	// summaries are the clusters' own documents, by name.
	summaries map[string]json.RawMessage
}

type fleetEnd struct {
	cluster string
	code    int
	stdout  []byte
}

// runFleet rotates a fleet. The error is its exit code's.
func (a *app) runFleet(cmd *cobra.Command, file string) error {
	asJSON, err := jsonWanted(cmd)
	if err != nil {
		return err
	}
	for _, name := range []string{"config", "cluster"} {
		if cmd.Flags().Changed(name) {
			return usage("name it in the fleet file", "--%s is of one cluster, --fleet names many", name)
		}
	}
	f, err := config.LoadFleet(file, cmd.Flags())
	if err != nil {
		return err
	}
	if wait := cmd.Flags().Lookup("wait-for-window"); wait.Changed {
		f.Window.Wait = wait.Value.String() == "true"
	}
	r := &fleetRun{app: a, cmd: cmd, fleet: f, schedule: fleet.New(&f.Fleet), ended: make(chan fleetEnd),
		children: map[string]child{}, summaries: map[string]json.RawMessage{}}
	if !r.awaitWindow() {
		r.schedule.Halt("stopped by a signal")
	}
	r.run()
	if asJSON {
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
	return awaitOpen(w, r.app.stderr, r.app.signals)
}

// run goes on until nothing runs and nothing is begun any more.
func (r *fleetRun) run() {
	signals := 0
	for {
		begin, wake, over := r.schedule.Next(time.Now())
		for _, c := range begin {
			r.begin(c)
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
		case sig := <-r.app.signals:
			signals++
			r.schedule.Halt("stopped by a signal")
			fmt.Fprintf(r.app.stderr, "%s: stopping: no cluster is begun; %d rotation(s) are told to stop\n", signalName(sig), len(r.children))
			for _, name := range slices.Sorted(maps.Keys(r.children)) {
				// One that has just ended needs no signal.
				_ = r.children[name].Signal(syscall.SIGTERM)
			}
			if signals > 1 {
				r.app.exit(exitStopped)
				return
			}
		}
	}
}

// begin starts the rotation of one cluster.
func (r *fleetRun) begin(c fleet.Cluster) {
	args := append([]string{"run", "--config=" + c.Config, "--output=json"}, config.ClusterFlags(c, r.cmd.Flags())...)
	args = append(args, r.window(c)...)
	if dir := r.cmd.Flags().Lookup("report-dir").Value.String(); dir != "" {
		args = append(args, "--report-dir="+filepath.Join(dir, c.Name))
	}
	fmt.Fprintf(r.app.stderr, "%s: begins\n", c.Name)
	stdout, stderr := &capped{}, &prefixed{w: r.app.stderr, prefix: c.Name + ": "}
	p, err := r.app.self(args, stdout, stderr)
	if err != nil {
		fmt.Fprintf(r.app.stderr, "%s: rotatord cannot be started: %s\n", c.Name, err)
		go func() { r.ended <- fleetEnd{cluster: c.Name, code: exitFailed} }()
		return
	}
	r.children[c.Name] = p
	go func() {
		code := p.Wait()
		stderr.end()
		r.ended <- fleetEnd{cluster: c.Name, code: code, stdout: stdout.b.Bytes()}
	}()
}

// window gives a cluster the fleet's window, unless its file has its own.
func (r *fleetRun) window(c fleet.Cluster) []string {
	w := r.fleet.Window
	if w.Start == "" {
		return nil
	}
	if spec, err := config.LoadCluster(c, r.cmd.Flags()); err != nil || spec.Window.Start != "" {
		return nil // what is wrong with it, it says itself
	}
	args := []string{"--window=" + w.Start, "--window-duration=" + w.Duration.String()}
	if w.TimeZone != "" {
		args = append(args, "--window-time-zone="+w.TimeZone)
	}
	return args
}

func (r *fleetRun) end(e fleetEnd) {
	delete(r.children, e.cluster)
	var sum report.Summary
	if json.Unmarshal(e.stdout, &sum) == nil {
		r.summaries[e.cluster] = e.stdout
	}
	r.schedule.Ended(e.cluster, e.code, sum.Replaced, time.Now())
	fmt.Fprintf(r.app.stderr, "%s: ended with exit code %d, %d node(s) replaced\n", e.cluster, e.code, sum.Replaced)
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

// fleetDocument is what --output json gives.
type fleetDocument struct {
	Fleet    string         `json:"fleet,omitempty"`
	ExitCode int            `json:"exitCode"`
	Halted   string         `json:"halted,omitempty"`
	Clusters []fleetCluster `json:"clusters"`
}

type fleetCluster struct {
	Name     string      `json:"name"`
	Wave     string      `json:"wave"`
	State    fleet.State `json:"state"`
	Why      string      `json:"why,omitempty"`
	ExitCode int         `json:"exitCode"`
	Replaced int         `json:"replaced"`
	Began    time.Time   `json:"began,omitzero"`
	Ended    time.Time   `json:"ended,omitzero"`
	// Rotation is the cluster's own document: a summary, or a plan that was refused.
	Rotation json.RawMessage `json:"rotation,omitempty"`
}

func (r *fleetRun) document() fleetDocument {
	d := fleetDocument{Fleet: r.fleet.Name, ExitCode: r.schedule.ExitCode(), Halted: r.schedule.Halted()}
	for _, c := range r.schedule.Standings() {
		d.Clusters = append(d.Clusters, fleetCluster{Name: c.Name, Wave: c.Wave, State: c.State, Why: c.Why, ExitCode: c.ExitCode, Replaced: c.Replaced,
			Began: c.Began, Ended: c.Ended, Rotation: r.summaries[c.Name]})
	}
	return d
}

func (r *fleetRun) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CLUSTER\tWAVE\tSTATE\tEXIT\tREPLACED\tTIME\t")
	for _, c := range r.schedule.Standings() {
		exit, replaced, took := "-", "-", "-"
		if !c.Ended.IsZero() {
			exit, replaced, took = fmt.Sprint(c.ExitCode), fmt.Sprint(c.Replaced), c.Ended.Sub(c.Began).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Wave, c.State, exit, replaced, took, c.Why)
	}
	return t.Flush()
}

// capped keeps the beginning of what is written to it.
type capped struct{ b bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), max(maxSummary-c.b.Len(), 0))])
	return len(p), nil
}

// prefixed writes whole lines, each after a prefix.
type prefixed struct {
	w      io.Writer
	prefix string
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 && len(p.rest) < 64<<10 {
			return len(b), nil
		}
		if i < 0 {
			i = len(p.rest) - 1 // a line without an end
		}
		if _, err := io.WriteString(p.w, p.prefix+string(p.rest[:i+1])); err != nil {
			return 0, err
		}
		p.rest = p.rest[i+1:]
	}
}

// end writes a last line that has no end of its own.
func (p *prefixed) end() {
	if len(p.rest) > 0 {
		_, _ = p.Write([]byte("\n")) // there is nobody to tell
	}
}

// child is a rotatord that was started for one cluster.
type child interface {
	Signal(s os.Signal) error
	// Wait returns the exit code, once it has ended.
	Wait() int
}
