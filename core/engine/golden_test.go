package engine_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata answer into them")

// epoch is when every script begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestScripts runs the golden scripts; testdata/README.md explains them.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, toy: newToy(), never: map[string]bool{}}
	var got bytes.Buffer
	lines := strings.Split(string(want), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" || strings.HasPrefix(line, "#") {
			got.WriteString(line + "\n")
			continue
		}
		var block []string
		for ; i < len(lines) && lines[i] != "----"; i++ {
			block = append(block, lines[i])
			got.WriteString(lines[i] + "\n")
		}
		for i++; i < len(lines) && lines[i] != ""; i++ { // the answer as it was
		}
		s.out.Reset()
		s.command(strings.Fields(block[0]), block[1:])
		got.WriteString("----\n" + s.out.String() + "\n")
	}
	text := strings.TrimRight(got.String(), "\n") + "\n"
	if *rewrite {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s answers otherwise (-want +got); if that is right, go test ./core/engine -rewrite:\n%s", file, diff)
	}
}

// script is the state of one golden script.
type script struct {
	t     *testing.T
	toy   *toy
	spec  plan.Spec
	eng   *engine.Engine
	check *checker
	out   bytes.Buffer
	todo  []engine.Effect // not answered
	wake  time.Time
	begun bool
	done  bool
	terse bool
	never map[string]bool // instances that never join
	// groupWaits has group-waits printed.
	groupWaits bool
	kept       []event.Event // the journal
	runs       int           // that were killed
}

func (s *script) command(words []string, input []string) {
	toy := s.toy
	args := words[1:]
	arg := func(i int) string {
		if i >= len(args) {
			s.t.Fatalf("%s: argument %d is missing", words[0], i+1)
		}
		return args[i]
	}
	switch words[0] {
	case "cluster":
		s.cluster(input)
	case "step":
		s.step(engine.Input{})
	case "stop":
		s.step(engine.Input{Stop: true})
	case "abort":
		s.step(engine.Input{Undo: true})
	case "roll":
		s.rollCommand(arg(0), arg(1), args[2:])
	case "kill":
		s.kill(duration(arg(0)))
	case "snapshot":
		s.step(engine.Input{Snapshot: toy.snapshot()})
	case "advance":
		s.advance(duration(arg(0)))
	case "ok":
		s.answer(args, func(e engine.Effect) *engine.Error { return toy.apply(e) })
	case "fail":
		err := &engine.Error{Code: engine.ErrorCode(arg(1)), Message: strings.Join(args[2:], " ")}
		s.answer(args[:1], func(engine.Effect) *engine.Error { return err })
	case "lose": // the act happens, its answer does not come back
		s.answer(args[:1], func(e engine.Effect) *engine.Error {
			toy.apply(e)
			return &engine.Error{Code: engine.ErrTransient, Message: "the answer was lost"}
		})
	case "join":
		for _, id := range args {
			toy.join(id)
		}
		s.step(engine.Input{})
	case "launch":
		toy.noLaunch = false
		s.launched()
	case "evict-moves":
		toy.evictEnds()
		toy.fill()
		s.step(engine.Input{})
	case "run":
		s.run(duration(arg(0)))
	case "never":
		s.never[arg(0)] = true
	case "pod-gone": // it ended and came back elsewhere; nobody was told
		p := toy.pods[model.PodKey{Namespace: "default", Name: arg(0)}]
		toy.removePod(p)
		toy.fill()
		s.step(engine.Input{})
	case "detach":
		toy.detach(arg(0))
		s.step(engine.Input{})
	case "progress": // controllers of Deployments do one thing each
		toy.progress()
		s.step(engine.Input{})
	case "scale-unseen": // the watch has not shown it yet
		toy.scale(toy.deployments[deploymentKey(arg(0))], number(arg(1)))
	case "scale": // somebody scales a Deployment
		toy.scale(toy.deployments[deploymentKey(arg(0))], number(arg(1)))
		s.step(engine.Input{})
	case "by-others": // somebody else ends an instance; its group refills
		if toy.instances[arg(0)].State = model.InstanceTerminating; !toy.slowEnd {
			toy.end(arg(0))
		}
		s.launched()
	case "end":
		toy.end(arg(0))
		s.step(engine.Input{})
	case "resize":
		toy.groups[arg(0)].Desired = number(arg(1))
		s.launched()
	case "delete-group":
		delete(toy.groups, arg(0))
	case "budget":
		toy.minimum[model.BudgetKey{Namespace: "default", Name: arg(0)}] = number(arg(1))
		toy.count()
		s.step(engine.Input{})
	case "retune": // the next run has other settings
		s.set(options(args), &engine.Config{})
	case "offers": // every node has room for so many pods
		toy.offers = number(arg(0))
		for _, name := range slices.Sorted(maps.Keys(toy.nodes)) {
			toy.changeNode(name, func(n *model.Node) { n.Allocatable.Pods = int64(toy.offers) })
		}
		s.step(engine.Input{})
	case "crowd": // crowd NODE COUNT: pods of somebody else's start there
		k := toy.addWorkload("ReplicaSet", "crowd", number(arg(1)))
		for range number(arg(1)) {
			toy.startPod(k, arg(0))
		}
		s.step(engine.Input{})
	case "select": // select WORKLOAD COUNT [KEY=VALUE]: its pods are made anew, and select the label
		k := model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: arg(0)}
		if toy.workloads[k] == nil {
			toy.addWorkload(k.Kind, k.Name, number(arg(1)))
		}
		for _, p := range toy.sortedPods() {
			if p.Owner == k {
				toy.removePod(p)
			}
		}
		toy.selects[k] = model.ParseLostLabel(strings.Join(args[2:], ""))
		toy.fill()
		s.step(engine.Input{})
	case "pending": // a pod that finds no node
		toy.setPod(&model.Pod{PodKey: model.PodKey{Namespace: "default", Name: arg(0)}, UID: arg(0), Phase: "Pending",
			Owner: toy.addWorkload("ReplicaSet", arg(0), 1)})
		s.step(engine.Input{})
	case "charge": // charge BUDGET [POD...]
		toy.budgets[model.BudgetKey{Namespace: "default", Name: arg(0)}].Charged = words[2:]
		toy.count()
		s.step(engine.Input{})
	case "person": // person cordon|uncordon NODE
		toy.changeNode(arg(1), func(n *model.Node) { n.Unschedulable = arg(0) == "cordon" })
		s.check.person[arg(1)] = arg(0) == "cordon"
		s.step(engine.Input{})
	case "silent": // its kubelet does not answer any more
		toy.changeNode(arg(0), func(n *model.Node) { n.Ready, n.Unreachable = false, true })
		s.step(engine.Input{})
	case "unready", "healthy": // pods, without a Step
		for _, name := range args {
			toy.changePod(name, func(p *model.Pod) { p.Ready = words[0] == "healthy" })
		}
	case "ends": // pods end by themselves, and are not made again
		for _, name := range args {
			toy.changePod(name, func(p *model.Pod) { p.Phase, p.Ready = "Succeeded", false })
		}
		s.step(engine.Input{})
	case "ready", "notready":
		toy.changeNode(arg(0), func(n *model.Node) { n.Ready = words[0] == "ready" })
		s.step(engine.Input{})
	case "pod": // pod ready|notready NAME, of kube-system
		p := *toy.pods[model.PodKey{Namespace: "kube-system", Name: arg(1)}]
		p.Ready = arg(0) == "ready"
		toy.setPod(&p)
		s.step(engine.Input{})
	case "api": // api ready, or what it says is not
		if toy.apiAway = strings.Join(args, " "); toy.apiAway == "ready" {
			toy.apiAway = ""
		}
	case "set":
		for _, a := range args {
			*map[string]*bool{"slow-end": &toy.slowEnd, "quick-end": &toy.slowEnd, "no-launch": &toy.noLaunch, "launch-old": &toy.launchOld,
				"slow-detach": &toy.volumes.slow, "stays-balanced": &toy.staysBalanced, "slow-ready": &toy.slowReady, "slow-static": &toy.slowStatic,
				"hides-rolls": &toy.hidesRolls, "group-waits": &s.groupWaits, "no-progress": &toy.noProgress, "progress": &toy.noProgress}[a] = a != "progress" && a != "quick-end"
		}
	case "world":
		s.world()
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// defaults are those of the rotation file, but for the canary.
func defaults() plan.Spec {
	return plan.Spec{
		Cluster:  "demo",
		Lock:     plan.Lock{Duration: 2 * time.Minute},
		Strategy: plan.Strategy{Mode: plan.ModeRolling, MaxSurge: "1", MaxUnavailable: "0", GroupsAtOnce: 1},
		Drain:    plan.Drain{QuiesceTimeout: 10 * time.Minute, Deadline: 15 * time.Minute, OnDeadline: plan.DeadlineFail, UnmanagedPods: plan.UnmanagedRefuse, MaxEvictions: 50},
		Gates: plan.Gates{NodeReady: plan.NodeReadyGate{Timeout: 15 * time.Minute},
			Workloads: plan.WorkloadsGate{Enabled: true, Timeout: 10 * time.Minute}},
	}
}

// cluster makes the world, the plan and the engine.
func (s *script) cluster(input []string) {
	toy := s.toy
	toy.now = epoch.Add(-time.Hour)
	s.spec = defaults()
	cfg := engine.Config{Rotation: "r1"}
	var later []func()
	var past []event.Event
	for _, line := range input {
		w := strings.Fields(line)
		opts := options(w[1:])
		switch w[0] {
		case "group":
			g := toy.addGroup(w[1], 0, strings.Split(opts.get("zones", "a"), ",")...)
			g.Role = model.Role(opts.get("role", "node"))
			g.HeldBy = opts.get("held", "")
			g.Surge = number(opts.get("surge", "0"))
			g.Traits.Prepare = opts.get("prepare", "yes") == "yes"
			g.Traits.SurgeDetaches = opts.get("detaches", "no") == "yes"
			if g.Traits.KeepsNodeName = opts.get("keeps", "no") == "yes"; g.Traits.KeepsNodeName {
				g.Traits.MaxSurge, g.Traits.TerminateShrink = 0, false
			}
			if g.Traits.Refill = model.Refill(opts.get("refill", "group")); g.Traits.Refill == model.RefillScheduler {
				g.Traits.MaxSurge, g.Traits.TerminateShrink = 0, false
			}
			g.Traits.Quiesce = opts.get("quiesce", "no") == "yes"
			if by := opts.get("rolls", ""); by != "" {
				g.Traits = model.Traits{Roll: true, Drains: model.Drains(by), Prepare: g.Traits.Prepare, RollCancellable: opts.get("cancellable", "no") == "yes"}
			}
			if g.label = opts.get("relabels", ""); g.label != "" {
				g.LostLabels = []model.LostLabel{{Key: g.label, Value: "old"}}
			}
			old := number(opts.get("old", "0"))
			for i := range old + number(opts.get("new", "0")) {
				g.Desired++
				in := toy.launch(g, i < old)
				toy.join(in.ID)
				if i < number(opts.get("detached", "0")) { // these are the surge
					in.State = model.InstanceDetached
					g.Surge++
				}
			}
		case "pods":
			k := toy.addWorkload(opts.get("kind", "ReplicaSet"), w[1], number(w[2]))
			if v := opts.get("volume", ""); v != "" {
				toy.addVolume(k, v)
			}
			toy.style[k] = func(p *model.Pod) { style(p, opts) }
			toy.tolerant[k] = opts.get("tolerates", "") == "cordon"
			toy.selects[k] = model.ParseLostLabel(opts.get("selects", ""))
			toy.workloads[k].Ordered = opts.get("ordered", "") == "yes"
			if on := opts.get("on", ""); on != "" {
				for range number(w[2]) {
					toy.startPod(k, on)
				}
			}
			toy.fill()
			if d := opts.get("deployment", ""); d != "" {
				toy.addDeployment(k, d)
			}
			if k.Kind == "DaemonSet" {
				for _, n := range slices.Sorted(maps.Keys(toy.nodes)) {
					toy.startPod(k, n)
				}
			}
			toy.count()
		case "closes": // closes 5m: the rotation's window, so long after its start
			cfg.ClosesAt = epoch.Add(duration(w[1]))
		case "before": // before EVENT GROUP IDS: what an earlier run recorded
			past = append(past, before(w[1], w[2], w[3:])...)
		case "static":
			toy.static = w[1:]
		case "budget":
			toy.addBudget(w[1], opts.get("min", "0"), strings.Split(opts.get("app", w[1]), ",")...)
			if opts.get("min", "0") == "100%" {
				toy.budgets[model.BudgetKey{Namespace: "default", Name: w[1]}].Scales = true
				toy.count()
			}
		case "intended": // intended OP VERB GROUP [INSTANCE] KEY=VALUE...: by an earlier run, which was cut off then
			ev := event.Event{Kind: event.OpIntended, Op: w[1], Verb: w[2], Group: w[3], Data: opts}
			if len(w) > 4 && !strings.Contains(w[4], "=") {
				ev.Instance = w[4]
			}
			past = append(past, ev)
		case "launch-pending": // one more, which has not joined
			toy.groups[w[1]].Desired++
			toy.launch(toy.groups[w[1]], false)
		case "node":
			toy.changeNode(w[1], func(n *model.Node) { s.mark(n, w[2:]) })
		case "rule":
			later = append(later, func() {
				r := drain.Rule{Selector: opts.get("selector", ""), Action: drain.RuleAction(opts.get("action", "")), Order: number(opts.get("order", "0"))}
				if o := opts.get("owners", ""); o != "" {
					r.Owners = strings.Split(o, ",")
				}
				s.spec.Drain.Rules = append(s.spec.Drain.Rules, r)
			})
		case "spec":
			later = append(later, func() { s.set(opts, &cfg) })
		default:
			s.t.Fatalf("cluster: unknown line %q", line)
		}
	}
	for _, f := range later {
		f()
	}
	toy.now = epoch
	inv := toy.inventory()
	if s.spec.CloudOnly {
		inv = model.Inventory{Groups: inv.Groups, Instances: inv.Instances}
	}
	for i := range past {
		past[i].Seq, past[i].Rotation = uint64(i+1), cfg.Rotation
	}
	p, err := plan.Build(s.spec, inv, toy.now)
	if len(past) > 0 {
		cfg.Memory, cfg.OpPrefix = engine.Restore(past), cfg.Rotation+".2"
		p, err = plan.Resume(s.spec, inv, toy.now, cfg.Memory.Memory)
	}
	first := toy.snapshot()
	if cfg.DrainOnly {
		node := s.spec.Select.Nodes[0]
		p, err = plan.BuildDrain(s.spec, inv, node, toy.now)
		first = &engine.Snapshot{Groups: []model.NodeGroup{{ID: "drain", Name: "drain", Desired: 1}},
			Instances: []model.Instance{{ID: node, GroupID: "drain", State: model.InstanceInService}}}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range p.Refusals {
		fmt.Fprintf(&s.out, "refused %s %s: %s\n", r.Code, r.Object, r.Message)
	}
	cfg.Plan, cfg.Spec = p, s.spec
	s.eng, s.check = engine.New(cfg), newChecker(toy, p)
	s.check.seq = uint64(len(past))
	s.check.policy, _ = s.spec.Drain.Policy()
	s.check.force, s.check.drainOnly = s.spec.Drain.OnDeadline == plan.DeadlineForce, cfg.DrainOnly
	in := engine.Cluster(&inv)
	in.Snapshot = first
	s.step(in)
}

// before is what an earlier run has recorded: that it set out to replace
// instances, or that those were seen to end.
func before(what, group string, ids []string) []event.Event {
	switch what {
	case "planned":
		return []event.Event{
			{Kind: event.RotationStarted, Data: map[string]string{"nodes": strconv.Itoa(len(ids))}},
			{Kind: event.GroupPlanned, Group: group, Data: map[string]string{"instances": strings.Join(ids, " ")}},
			{Kind: event.GroupStarted, Group: group, Data: map[string]string{"nodes": strconv.Itoa(len(ids))}},
		}
	case "replaced":
		var list []event.Event
		for _, id := range ids {
			list = append(list, event.Event{Kind: event.NodeReplaced, Group: group, Instance: id})
		}
		return list
	}
	panic("before: unknown word " + what)
}

// style gives a pod what the line of its workload says.
func style(p *model.Pod, o optionMap) {
	if o.get("critical", "") == "yes" {
		p.Priority = drain.SystemCritical
	}
	p.ToleratesCordon = o.get("tolerates", "") == "cordon"
	p.GracePeriodSeconds = int64(number(o.get("grace", "30")))
	detail := model.PodDetail{Finalizers: o.get("finalizer", "")}
	if h := o.get("hold", ""); h != "" {
		detail.DoNotDisrupt = "karpenter.sh/do-not-disrupt: " + h
		if h != "true" {
			detail.DoNotDisruptUntil = epoch.Add(duration(h))
		}
	}
	if detail != (model.PodDetail{}) {
		p.Detail = &detail
	}
}

type optionMap map[string]string

func options(words []string) optionMap {
	m := optionMap{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			m[k] = v
		}
	}
	return m
}

func (o optionMap) get(k, def string) string {
	if v, ok := o[k]; ok {
		return v
	}
	return def
}

func (s *script) mark(n *model.Node, how []string) {
	for _, h := range how {
		switch h {
		case "cordoned":
			n.Unschedulable = true
		case "notready":
			n.Ready = false
		case "tainted":
			n.Taints = append(n.Taints, model.Taint{Key: model.TaintOutdated, Effect: "PreferNoSchedule"})
			n.Annotations = map[string]string{model.AnnotationRotation: "r0"}
		case "ours": // cordoned by an earlier run
			n.Unschedulable = true
			n.Annotations = map[string]string{model.AnnotationRotation: "r0", model.AnnotationCordoned: "true"}
		case "kept": // from the cluster autoscaler, by a person
			n.Annotations = merged(n.Annotations, map[string]*string{model.AnnotationScaleDownDisabled: new("true")})
		case "shielded": // by an earlier run
			n.Annotations = merged(n.Annotations, map[string]*string{model.AnnotationScaleDownDisabled: new("true"), model.AnnotationShielded: new(model.Absent)})
		case "excluded": // by a person, from load balancers
			n.Labels = merged(n.Labels, map[string]*string{model.LabelExcludeFromLoadBalancers: new("")})
		default:
			label, ok := strings.CutPrefix(h, "labelled=")
			if !ok {
				s.t.Fatalf("node: unknown word %q", h)
			}
			l := model.ParseLostLabel(label)
			n.Labels = merged(n.Labels, map[string]*string{l.Key: &l.Value})
		}
	}
}

func (s *script) set(o optionMap, cfg *engine.Config) {
	st, dr, ga := &s.spec.Strategy, &s.spec.Drain, &s.spec.Gates
	set := map[string]func(string){
		"mode": func(v string) { st.Mode = plan.Mode(v) }, "surge": func(v string) { st.MaxSurge = v },
		"attract":     func(v string) { st.Attract = plan.Attract(v) },
		"unavailable": func(v string) { st.MaxUnavailable = v }, "inflight": func(v string) { st.MaxInFlight = v },
		"zones":      func(v string) { st.Zones = plan.Zones(v) },
		"perZone":    func(v string) { st.MaxUnavailablePerZone = v },
		"order":      func(v string) { st.Order = plan.Order(v) },
		"orderNodes": func(v string) { st.OrderNodes = strings.Split(v, ",") },
		"groups":     func(v string) { st.GroupsAtOnce = number(v) }, "batch": func(v string) { st.BatchSize = number(v) },
		"bake":            func(v string) { st.Canary = plan.Canary{Enabled: true, Bake: duration(v)} },
		"betweenBatches":  func(v string) { st.Waits.BetweenBatches = duration(v) },
		"betweenDrains":   func(v string) { st.Waits.BetweenDrains = duration(v) },
		"betweenEvict":    func(v string) { st.Waits.BetweenEvictions = duration(v) },
		"deadline":        func(v string) { dr.Deadline = duration(v) },
		"retries":         func(v string) { dr.Retries = number(v) },
		"onFailure":       func(v string) { st.OnFailure = plan.OnFailure(v) },
		"maxFailed":       func(v string) { st.MaxFailed = number(v) },
		"rollTimeout":     func(v string) { st.RollTimeout = duration(v) },
		"undoOnStop":      func(v string) { cfg.UndoOnStop = v == "yes" },
		"onDeadline":      func(v string) { dr.OnDeadline = plan.OnDeadline(v) },
		"unmanaged":       func(v string) { dr.UnmanagedPods = plan.Unmanaged(v) },
		"single":          func(v string) { dr.SingleReplica = plan.SingleReplica(v) },
		"detach":          func(v string) { dr.VolumeDetachTimeout = duration(v) },
		"doNotDisrupt":    func(v string) { dr.DoNotDisrupt = drain.DoNotDisrupt(v) },
		"daemonSets":      func(v string) { dr.DaemonSets = drain.DaemonSets(v) },
		"despite":         func(v string) { dr.DeletePodsDespiteBudgets = v == "yes" },
		"grace":           func(v string) { dr.GracePeriod = duration(v) },
		"joinTimeout":     func(v string) { ga.NodeReady.Timeout = duration(v) },
		"cloudOnly":       func(v string) { s.spec.CloudOnly = v == "yes" },
		"kopsValidate":    func(v string) { ga.KopsValidate = plan.KopsValidateGate{Enabled: true, Timeout: duration(v)} },
		"workloadTimeout": func(v string) { ga.Workloads.Timeout = duration(v) },
		"nodes":           func(v string) { s.spec.Select.Nodes = strings.Split(v, ",") },
		"roles":           func(v string) { s.spec.Select.Roles = strings.Split(v, ",") },
		"shield":          func(v string) { st.AutoscalerShield = v == "yes" },
		"exclude":         func(v string) { dr.ExcludeFromLoadBalancers = v == "yes" },
		"quiesce":         func(v string) { dr.QuiesceTimeout = duration(v) },
		"onQuiesce":       func(v string) { dr.OnQuiesceTimeout = plan.OnQuiesceTimeout(v) },
		"drainOnly":       func(v string) { cfg.DrainOnly, s.spec.Select.Nodes = true, []string{v} },
	}
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if set[k] == nil {
			s.t.Fatalf("spec: unknown key %q", k)
		}
		set[k](o[k])
	}
}

// step runs one Step with what the watches have to tell.
func (s *script) step(in engine.Input) {
	if s.done {
		s.out.WriteString("(done already)\n")
		return
	}
	if s.begun { // the first Step brings all by itself
		d := s.toy.deltas.take()
		if s.spec.CloudOnly {
			d = engine.Input{}
		}
		d.Snapshot, d.Outcomes, d.Stop, d.Undo = in.Snapshot, in.Outcomes, in.Stop, in.Undo
		in = d
	}
	s.begun = true
	r := s.eng.Step(s.toy.now, in)
	for _, problem := range append(s.check.after(in, r), s.eng.Audit()...) {
		s.t.Errorf("at %s: %s", s.toy.now.Sub(epoch), problem)
	}
	s.print(r)
	for _, ev := range r.Records {
		if ev.Kind.Durable() {
			s.kept = append(s.kept, ev)
		}
	}
	s.todo = append(s.todo, r.Effects...)
	s.wake = r.WakeAt
	s.done = r.Done != nil
}

// kill ends the run without a word, and what it had asked for and nobody answered
// comes to nothing. After the pause the next run goes on with the rotation.
func (s *script) kill(pause time.Duration) {
	s.toy.now = s.toy.now.Add(pause)
	s.toy.relist()
	inv := s.toy.inventory()
	s.runs++
	cfg := engine.Config{Rotation: "r1", OpPrefix: fmt.Sprintf("r1.%d", s.runs+1), Memory: engine.Restore(s.kept), Spec: s.spec}
	var err error
	if cfg.Plan, err = plan.Resume(s.spec, inv, s.toy.now, cfg.Memory.Memory); err != nil {
		s.t.Fatal(err)
	}
	person, force := s.check.person, s.check.force
	s.eng, s.check = engine.New(cfg), newChecker(s.toy, cfg.Plan)
	s.check.seq, s.check.resumed, s.check.person = cfg.Memory.LastSeq, true, person
	s.check.force = force || s.spec.Drain.OnDeadline == plan.DeadlineForce
	s.check.policy, _ = s.spec.Drain.Policy()
	s.todo, s.wake, s.begun, s.done = nil, time.Time{}, false, false
	fmt.Fprintf(&s.out, "%s (the next run)\n", s.toy.now.Sub(epoch).Round(time.Millisecond))
	in := engine.Cluster(&inv)
	in.Snapshot = s.toy.snapshot()
	s.step(in)
}

func (s *script) print(r engine.Ready) {
	at := s.toy.now.Sub(epoch).Round(time.Millisecond)
	for _, ev := range r.Records {
		if ev.Kind == event.PlanWarned {
			continue // package plan's: of nodes that offer nothing known, in nearly every script
		}
		if ev.Kind == event.GroupWaits && !s.groupWaits {
			continue // in nearly every script
		}
		if s.terse && (ev.Kind == event.OpSucceeded || ev.Kind == event.PodEvicted) {
			continue
		}
		fmt.Fprintf(&s.out, "%s %s\n", at, recordText(ev))
	}
	if !s.terse {
		for _, e := range r.Effects {
			fmt.Fprintf(&s.out, "%s > %s\n", at, effectText(e))
		}
		if !r.WakeAt.IsZero() {
			fmt.Fprintf(&s.out, "%s wake at %s\n", at, r.WakeAt.Sub(epoch).Round(time.Millisecond))
		}
	}
	if r.Done != nil {
		fmt.Fprintf(&s.out, "%s DONE %s: %s\n", at, r.Done.Status, r.Done.Message)
	}
}

func recordText(e event.Event) string {
	words := []string{string(e.Kind)}
	for _, w := range []string{e.Op, e.Verb, e.Group, e.Instance, e.Node, e.Pod, e.Budget} {
		if w != "" {
			words = append(words, w)
		}
	}
	if e.Code != "" {
		words = append(words, "["+e.Code+"]")
	}
	for _, k := range slices.Sorted(maps.Keys(e.Data)) {
		words = append(words, k+"="+e.Data[k])
	}
	s := strings.Join(words, " ")
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

func effectText(e engine.Effect) string {
	words := []string{string(e.Verb)}
	for _, w := range []string{e.ID, e.GroupID, e.InstanceID, e.Node} {
		if w != "" {
			words = append(words, w)
		}
	}
	switch e.Verb {
	case engine.VerbSetSurge:
		words = append(words, fmt.Sprintf("surge=%d going=%s", e.Surge, strings.Join(e.Going, ",")))
	case engine.VerbTerminate:
		words = append(words, fmt.Sprintf("shrink=%v surge=%d", e.Shrink, e.Surge))
	case engine.VerbRoll:
		words = append(words, fmt.Sprintf("max-unavailable=%d", e.MaxUnavailable))
	case engine.VerbCancel:
		words = append(words, "target="+e.Target)
	case engine.VerbEvict, engine.VerbDeletePod:
		words = append(words, e.Pod.Name)
		if e.GracePeriodSeconds != nil {
			words = append(words, fmt.Sprintf("grace=%d", *e.GracePeriodSeconds))
		}
	case engine.VerbPatchWorkload:
		p := e.WorkloadPatch
		words = append(words, e.Workload.String(), fmt.Sprintf("restart=%v surge=%v give-back=%v", p.Restart != "", p.Surge, p.GiveBack))
	case engine.VerbPatchNode:
		words = append(words, patchText(e.Patch))
	}
	return strings.Join(words, " ")
}

func patchText(p *engine.NodePatch) string {
	var words []string
	if p.AddTaint != nil {
		words = append(words, "+taint")
	}
	if p.RemoveTaint != "" {
		words = append(words, "-taint")
	}
	if p.Unschedulable != nil {
		words = append(words, map[bool]string{true: "cordon", false: "uncordon"}[*p.Unschedulable])
	}
	for _, m := range []struct {
		goal *bool
		name string
	}{{p.Shield, "shield"}, {p.Exclude, "exclude"}} {
		if m.goal != nil {
			words = append(words, map[bool]string{true: "+", false: "-"}[*m.goal]+m.name)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(p.SetAnnotations)) {
		words = append(words, "+"+strings.TrimPrefix(k, model.Prefix))
	}
	for _, k := range p.DropAnnotations {
		words = append(words, "-"+strings.TrimPrefix(k, model.Prefix))
	}
	return strings.Join(words, " ")
}

// name is how a script calls an effect: its op id without the rotation's, the
// verb where there is no id.
func effectName(e engine.Effect) string {
	switch e.Verb {
	case engine.VerbEvict, engine.VerbDeletePod:
		return e.Pod.Name
	case engine.VerbObserve:
		return "observe"
	case engine.VerbCheckAPI:
		return "check-api"
	}
	return strings.TrimPrefix(e.ID, "r1-0000")
}

// answer takes outstanding effects, all or those named, and steps with their
// outcomes.
func (s *script) answer(names []string, do func(engine.Effect) *engine.Error) {
	var in engine.Input
	matched := make(map[string]bool)
	todo := s.todo
	s.todo = nil
	for _, e := range todo {
		// "ok" leaves nothing; "ok but X" all but X.
		but := len(names) > 0 && names[0] == "but"
		if len(names) > 0 && slices.Contains(names, effectName(e)) == but {
			s.todo = append(s.todo, e)
			continue
		}
		matched[effectName(e)] = true
		out := engine.Outcome{ID: e.ID, Verb: e.Verb, Pod: e.Pod, Err: do(e)}
		if e.Verb == engine.VerbObserve && out.Err == nil {
			in.Snapshot = s.toy.snapshot()
		}
		in.Outcomes = append(in.Outcomes, out)
	}
	for _, n := range names {
		if n != "but" && !matched[n] && names[0] != "but" {
			s.t.Fatalf("no effect %q is outstanding", n)
		}
	}
	s.launched()
	s.step(in)
}

// launched lets groups launch what they lack, and says so.
func (s *script) launched() {
	for _, in := range s.toy.refill() {
		fmt.Fprintf(&s.out, "%s (launched %s in %s)\n", s.toy.now.Sub(epoch).Round(time.Millisecond), in.ID, in.Zone)
	}
}

// advance moves the time, with a Step whenever the engine asked for one.
func (s *script) advance(d time.Duration) {
	end := s.toy.now.Add(d)
	for !s.done && !s.wake.IsZero() && !s.wake.After(end) {
		if !s.wake.After(s.toy.now) {
			s.t.Fatalf("at %s: wake-up at %s is not in the future", s.toy.now, s.wake)
		}
		s.toy.now = s.wake
		s.step(engine.Input{})
	}
	s.toy.now = end
}

// run lets the world work by itself: effects are answered at once, evicted
// pods move, launched instances join after a minute. It prints records only.
func (s *script) run(d time.Duration) {
	const boot = time.Minute
	end := s.toy.now.Add(d)
	s.terse = true
	defer func() { s.terse = false }()
	for range 100_000 {
		if s.done {
			return
		}
		var moving bool
		for _, p := range s.toy.sortedPods() {
			moving = moving || s.toy.ends(p)
		}
		switch {
		case len(s.todo) > 0:
			s.answer(nil, s.toy.apply)
			continue
		case moving:
			s.toy.evictEnds()
			s.toy.fill()
			s.step(engine.Input{})
			continue
		case s.toy.progress():
			s.step(engine.Input{})
			continue
		}
		next := end
		joined := false
		for _, in := range s.toy.snapshot().Instances {
			if in.State != model.InstancePending || s.never[in.ID] {
				continue
			}
			if due := in.LaunchedAt.Add(boot); due.After(s.toy.now) {
				next = earlier(next, due)
			} else {
				s.toy.join(in.ID)
				joined = true
			}
		}
		if joined {
			s.toy.fill()
			s.step(engine.Input{})
			continue
		}
		if !s.wake.IsZero() && !s.wake.After(s.toy.now) {
			s.step(engine.Input{}) // asked for at the moment at which the last run ended
			continue
		}
		if !s.wake.IsZero() {
			next = earlier(next, s.wake)
		}
		if !next.After(s.toy.now) || !next.Before(end) {
			s.toy.now = end
			return
		}
		s.toy.now = next
		s.step(engine.Input{})
	}
	s.t.Fatal("run: no end after 100,000 turns")
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// world prints what there is.
func (s *script) world() {
	for _, id := range s.toy.order {
		if g := s.toy.groups[id]; g != nil {
			fmt.Fprintf(&s.out, "group %s desired=%d surge=%d held=%q\n", g.Name, g.Desired, g.Surge, g.HeldBy)
		}
	}
	s.out.WriteString(s.toy.deploymentsText())
	for _, in := range s.toy.snapshot().Instances {
		fmt.Fprintf(&s.out, "%s %s %s %s", in.ID, in.Zone, in.State, in.Revision)
		if n := s.toy.nodes[nodeName(in.ID)]; n != nil {
			var pods []string
			for _, p := range s.toy.sortedPods() {
				if p.Node == n.Name {
					pods = append(pods, p.Name)
				}
			}
			fmt.Fprintf(&s.out, " ready=%v cordoned=%v marked=%v pods=%s", n.Ready, n.Unschedulable, n.Marked(), strings.Join(pods, ","))
			if v := theirMarks(n); v != "" {
				fmt.Fprintf(&s.out, " others=%s", v)
			}
		}
		s.out.WriteString("\n")
	}
}
