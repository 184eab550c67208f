package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/plan"
)

const header = "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\n"

// minimal is the shortest valid file.
const minimal = header + "cluster: demo\ndriver: {name: eks}\n"

func parseMinimal(t *testing.T) plan.Spec {
	t.Helper()
	s, err := Parse("rotation.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTableCoversTheSpec(t *testing.T) {
	var want []string
	var walk func(rt reflect.Type, path string)
	walk = func(rt reflect.Type, path string) {
		for i := range rt.NumField() {
			f := rt.Field(i)
			tag := f.Tag.Get("yaml")
			if tag == "" || tag != f.Tag.Get("json") {
				t.Errorf("%s.%s: yaml and json tags must be the same and not empty", rt, f.Name)
			}
			p := strings.TrimPrefix(path+"."+tag, ".")
			if f.Type.Kind() == reflect.Struct {
				if sections[p] == "" {
					t.Errorf("section %s has no documentation", p)
				}
				walk(f.Type, p)
				continue
			}
			want = append(want, p)
		}
	}
	walk(reflect.TypeFor[plan.Spec](), "")
	var got, flags []string
	for _, k := range Keys() {
		got = append(got, k.Path)
		flags = append(flags, k.Flag)
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: Doc must be a sentence", k.Path)
		}
		if !slices.Contains(Topics(), k.Topic) {
			t.Errorf("%s: topic %q is unknown", k.Path, k.Topic)
		}
		var s plan.Spec
		kinds := map[reflect.Kind][]Kind{reflect.String: {Text, Amount}, reflect.Bool: {Bool}, reflect.Int: {Count}, reflect.Int64: {Duration}, reflect.Slice: {List, Rules}, reflect.Map: {Map}}
		if rk := field(&s, k.Path).Kind(); !slices.Contains(kinds[rk], k.Kind) {
			t.Errorf("%s: kind %s does not fit a field of kind %s", k.Path, k.Kind, rk)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("keys of the table (-spec +table):\n%s", d)
	}
	slices.Sort(flags)
	if n := len(slices.Compact(slices.Clone(flags))); n != len(flags) {
		t.Errorf("two keys have the same flag: %v", flags)
	}
}

func TestDefaults(t *testing.T) {
	want := plan.Spec{
		Driver: plan.Driver{Timeout: 2 * time.Minute},
		Select: plan.Select{Roles: []string{"node"}},
		Window: plan.Window{Duration: 6 * time.Hour},
		Strategy: plan.Strategy{
			Mode: "rolling", MaxInFlight: "0", MaxUnavailablePerZone: "0", Zones: plan.ZonesAny, Order: plan.OrderOldest, GroupsAtOnce: 1, Attract: plan.AttractCordon, OnFailure: plan.FailureAbort, MaxFailed: 3, OnSignal: plan.SignalKeep, RollTimeout: 24 * time.Hour, AutoscalerShield: true,
			Canary:        plan.Canary{Enabled: true},
			CapacityCheck: plan.CapacityRefuse,
		},
		Drain: plan.Drain{Deadline: 15 * time.Minute, OnDeadline: "fail", UnmanagedPods: "refuse", MaxEvictions: 50, ExcludeFromLoadBalancers: true,
			QuiesceTimeout: 10 * time.Minute, OnQuiesceTimeout: plan.QuiesceContinue,
			VolumeDetachTimeout: 5 * time.Minute, SingleReplica: plan.SingleEvict,
			DoNotDisrupt: drain.DoNotDisruptRefuse, DaemonSets: drain.DaemonSetsLeave, StatefulSets: drain.StatefulSetsOrdered},
		Gates: plan.Gates{
			NodeReady:    plan.NodeReadyGate{Timeout: 15 * time.Minute},
			Workloads:    plan.WorkloadsGate{Enabled: true, Timeout: 10 * time.Minute},
			KopsValidate: plan.KopsValidateGate{Timeout: 15 * time.Minute},
		},
		Journal: plan.Journal{Store: "cluster", Namespace: "rotator-system", Keep: 20},
		Lock:    plan.Lock{Duration: 30 * time.Second},
		Kube:    plan.Kube{Access: plan.AccessAuto},
	}
	if d := cmp.Diff(want, Default()); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
	// The table's slices are never handed out.
	Default().Select.Roles[0] = "changed"
	if got := Default().Select.Roles[0]; got != "node" {
		t.Errorf("a caller changed the default role to %s", got)
	}
}

func TestParseReadsEveryKey(t *testing.T) {
	got, err := Parse("rotation.yaml", []byte(header+`
cluster: demo
driver:
  name: eks
  path: /opt/driver
  pluginDirs: [/a, /b]
  sha256: `+strings.Repeat("AB", 32)+`
  timeout: 90s
  env: [AWS_CA_BUNDLE, "CORP_*"]
  config:
    region: eu-west-1
    karpenter.sh/Do-Not: keep
    Nested: {MaxItems: 3, ratio: 0.5, on: true, none: null, day: 2026-11-22, list: [a, {b: 1}]}
kubernetes: {kubeconfig: /k, context: c, access: driver}
select:
  groups: ["workers-*", "[ab]"]
  excludeGroups: [spot]
  roles: [control-plane, node]
  nodes: [i-1]
  force: true
  maxAge: 720h
strategy:
  mode: batch
  maxSurge: 25%
  maxUnavailable: 2
  maxInFlight: 7
  maxUnavailablePerZone: 50%
  zones: spread
  order: label:example.com/wave
  orderNodes: [n-2, n-1]
  groupsAtOnce: 3
  attract: taint
  batchSize: 4
  autoscalerShield: false
  rollTimeout: 2h
  capacityCheck: warn
  canary: {enabled: true, bake: 5m}
  waits: {betweenBatches: 1m, betweenDrains: 2m, betweenEvictions: 1500ms}
drain: {deadline: 20m, retries: 3, onDeadline: force, gracePeriod: 90s, unmanagedPods: evict, maxEvictions: 9, excludeFromLoadBalancers: false, quiesceTimeout: 7m, onQuiesceTimeout: fail,
  volumeDetachTimeout: 3m, singleReplica: surge,
  doNotDisrupt: wait, daemonSets: last, statefulSets: parallel, deletePodsDespiteBudgets: true,
  rules: [{namespaces: [a, "b-*"], selector: "app=web, tier in (x,y)", owners: [Job, StatefulSet/db-*], action: wait, order: -3}, {owners: [Job]}]}
gates:
  nodeReady: {timeout: 7m, startupTaints: [node.example.com/wait]}
  workloads: {enabled: false, timeout: 1h}
journal: {store: folder, namespace: ops, dir: j, keep: 5}
lock: {duration: 2m, takeOver: true}
report: {dir: r}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Spec{
		Cluster: "demo",
		Driver: plan.Driver{Name: "eks", Path: "/opt/driver", PluginDir: []string{"/a", "/b"}, SHA256: strings.Repeat("ab", 32), Timeout: 90 * time.Second, Env: []string{"AWS_CA_BUNDLE", "CORP_*"},
			Config: map[string]any{
				"region":              "eu-west-1",
				"karpenter.sh/Do-Not": "keep",
				"Nested":              map[string]any{"MaxItems": 3, "ratio": 0.5, "on": true, "none": nil, "day": "2026-11-22", "list": []any{"a", map[string]any{"b": 1}}},
			}},
		Kube:   plan.Kube{Kubeconfig: "/k", Context: "c", Access: plan.AccessDriver},
		Select: plan.Select{Groups: []string{"workers-*", "[ab]"}, ExcludeGroups: []string{"spot"}, Roles: []string{"control-plane", "node"}, Nodes: []string{"i-1"}, Force: true, MaxAge: 720 * time.Hour},
		Window: plan.Window{Duration: 6 * time.Hour},
		Strategy: plan.Strategy{Mode: plan.ModeBatch, MaxSurge: "25%", MaxUnavailable: "2", MaxInFlight: "7", MaxUnavailablePerZone: "50%", Zones: plan.ZonesSpread, Order: "label:example.com/wave", OrderNodes: []string{"n-2", "n-1"}, GroupsAtOnce: 3, Attract: plan.AttractTaint, BatchSize: 4, OnFailure: plan.FailureAbort, MaxFailed: 3, OnSignal: plan.SignalKeep, RollTimeout: 2 * time.Hour,
			Canary: plan.Canary{Enabled: true, Bake: 5 * time.Minute},
			Waits:  plan.Waits{BetweenBatches: time.Minute, BetweenDrains: 2 * time.Minute, BetweenEvictions: 1500 * time.Millisecond},

			CapacityCheck: plan.CapacityWarn},
		Drain: plan.Drain{Deadline: 20 * time.Minute, Retries: 3, OnDeadline: plan.DeadlineForce, GracePeriod: 90 * time.Second, UnmanagedPods: plan.UnmanagedEvict, MaxEvictions: 9,
			QuiesceTimeout: 7 * time.Minute, OnQuiesceTimeout: plan.QuiesceFail,
			VolumeDetachTimeout: 3 * time.Minute, SingleReplica: plan.SingleSurge,
			DoNotDisrupt: drain.DoNotDisruptWait, DaemonSets: drain.DaemonSetsLast, StatefulSets: drain.StatefulSetsParallel, DeletePodsDespiteBudgets: true,
			Rules: []drain.Rule{
				{Namespaces: []string{"a", "b-*"}, Selector: "app=web, tier in (x,y)", Owners: []string{"Job", "StatefulSet/db-*"}, Action: drain.ActionWait, Order: -3},
				{Owners: []string{"Job"}}}},
		Gates: plan.Gates{
			NodeReady: plan.NodeReadyGate{Timeout: 7 * time.Minute, StartupTaints: []string{"node.example.com/wait"}},
			Workloads: plan.WorkloadsGate{Enabled: false, Timeout: time.Hour}, KopsValidate: plan.KopsValidateGate{Timeout: 15 * time.Minute}},
		Journal: plan.Journal{Store: plan.StoreFolder, Namespace: "ops", Dir: "j", Keep: 5},
		Lock:    plan.Lock{Duration: 2 * time.Minute, TakeOver: true},
		Report:  plan.Report{Dir: "r"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want []string // all problems, in order
	}{
		"an empty file":  {"", []string{"f.yaml: the file is empty: `rotatord config init` prints an example"}},
		"comments alone": {"# nothing\n", []string{"f.yaml: the file is empty: `rotatord config init` prints an example"}},
		"a list":         {"- a\n", []string{"f.yaml:1:1: a list, where a mapping (key: value) is needed"}},
		"broken YAML":    {"a: [1\nb: 2\n", []string{"f.yaml:1:1: not valid YAML: did not find expected ',' or ']'"}},
		"two documents":  {minimal + "---\na: 1\n", []string{"f.yaml:5:1: the file holds more than one document: one a file is allowed"}},
		"no header": {"cluster: demo\ndriver: {name: eks}\n", []string{
			"f.yaml:1:1: apiVersion: is missing: write apiVersion: rotatord.github.io/v1alpha1",
			"f.yaml:1:1: kind: is missing: write kind: Rotation"}},
		"another header": {"apiVersion: v2\nkind: Rotatoin\ncluster: demo\ndriver: {name: eks}\n", []string{
			`f.yaml:1:13: apiVersion: "v2" is not known: write rotatord.github.io/v1alpha1`,
			`f.yaml:2:7: kind: "Rotatoin" is not known: write Rotation`}},
		"a mistyped key": {minimal + "strategy:\n  maxSurg: 2\n", []string{
			"f.yaml:6:3: strategy.maxSurg: unknown key; did you mean maxSurge?"}},
		"a key in other case": {minimal + "strategy: {max_surge: 2}\n", []string{
			"f.yaml:5:12: strategy.max_surge: unknown key; did you mean maxSurge?"}},
		"a key of another section": {minimal + "maxSurge: 2\n", []string{
			"f.yaml:5:1: maxSurge: unknown key; did you mean strategy.maxSurge?"}},
		"a flag's name as a key": {minimal + "node-ready-timeout: 2m\n", []string{
			"f.yaml:5:1: node-ready-timeout: unknown key; did you mean gates.nodeReady.timeout?"}},
		"a key like no other": {minimal + "journal: {colour: red}\n", []string{
			"f.yaml:5:11: journal.colour: unknown key: dir, keep, namespace or store is allowed here"}},
		"a key twice": {minimal + "cluster: other\n", []string{
			"f.yaml:5:1: cluster: is given twice: the first is in line 3"}},
		"a free-form key twice": {header + "cluster: demo\ndriver:\n  name: eks\n  config:\n    a: 1\n    a: 2\n", []string{
			"f.yaml:8:5: driver.config.a: is given twice: the first is in line 7"}},
		"a list for a text": {header + "cluster: [demo]\ndriver: {name: eks}\n", []string{
			"f.yaml:3:10: cluster: a list, where a string is needed"}},
		"a text for a section": {minimal + "drain: 15m\n", []string{
			`f.yaml:5:8: drain: "15m", where a mapping with daemonSets, deadline, deletePodsDespiteBudgets, doNotDisrupt, excludeFromLoadBalancers, gracePeriod, maxEvictions, onDeadline, onQuiesceTimeout, quiesceTimeout, retries, rules, singleReplica, statefulSets, unmanagedPods or volumeDetachTimeout is needed`}},
		"a text for a list": {minimal + "select: {groups: workers}\n", []string{
			`f.yaml:5:18: select.groups: "workers", where a list is needed: write [workers]`}},
		"a text for a number": {minimal + "strategy: {groupsAtOnce: two}\n", []string{
			`f.yaml:5:26: strategy.groupsAtOnce: "two" is not a whole number: 1 to 1000 is allowed`}},
		"yes for true": {minimal + "select: {force: yes}\n", []string{
			`f.yaml:5:17: select.force: "yes" is not a boolean: write true or false`}},
		"a boolean for a text": {header + "cluster: true\ndriver: {name: eks}\n", []string{
			`f.yaml:3:10: cluster: true is a boolean, where a string is needed: write "true"`}},
		"a duration without a unit": {minimal + "drain: {deadline: 900}\n", []string{
			"f.yaml:5:19: drain.deadline: 900 has no unit: write 900s for seconds or 900m for minutes"}},
		"a bad duration": {minimal + "drain: {deadline: 1 hour}\n", []string{
			`f.yaml:5:19: drain.deadline: "1 hour" is not a duration: write a number with a unit, such as 90s, 15m or 1h30m`}},
		"a negative duration": {minimal + "strategy: {waits: {betweenDrains: -5s}}\n", []string{
			"f.yaml:5:35: strategy.waits.betweenDrains: -5s is negative: 0s to 168h is allowed"}},
		"no time to drain": {minimal + "drain: {deadline: 0}\n", []string{
			"f.yaml:5:19: drain.deadline: 0s is out of range: 1s to 168h is allowed"}},
		"negative counts": {minimal + "strategy: {maxInFlight: -1, maxSurge: -2}\n", []string{
			`f.yaml:5:25: strategy.maxInFlight: "-1" is negative: give a count (2) or a percentage up to 100% (25%)`,
			`f.yaml:5:39: strategy.maxSurge: "-2" is negative: give a count (2) or a percentage up to 100% (25%)`}},
		"more than all": {minimal + "strategy: {maxSurge: 150%}\n", []string{
			`f.yaml:5:22: strategy.maxSurge: "150%" is more than 100%: give a count (2) or a percentage up to 100% (25%)`}},
		"an unknown order": {minimal + "strategy: {order: newest}\n", []string{
			`f.yaml:5:19: strategy.order: "newest" is not an order: oldest, emptiest or label:KEY is allowed`}},
		"an order by no label": {minimal + "strategy: {order: 'label:'}\n", []string{
			`f.yaml:5:19: strategy.order: "label:" needs a label's key after label:, such as label:example.com/wave`}},
		"half a node": {minimal + "strategy: {maxUnavailable: 1.5}\n", []string{
			`f.yaml:5:28: strategy.maxUnavailable: "1.5" is neither a count nor a percentage: give a count (2) or a percentage up to 100% (25%)`}},
		"no way to go on": {minimal + "strategy: {maxSurge: 0%}\n", []string{
			"f.yaml:5:22: strategy.maxSurge: it and maxUnavailable are both 0, so no node could ever be replaced: raise one of them"}},
		"an unknown mode": {minimal + "strategy: {mode: roling}\n", []string{
			`f.yaml:5:18: strategy.mode: "roling" is unknown; did you mean rolling?: rolling or batch is allowed`}},
		"an empty mode": {minimal + "strategy: {mode: ''}\n", []string{
			`f.yaml:5:18: strategy.mode: "" is unknown: rolling or batch is allowed`}},
		"an unknown role": {minimal + "select: {roles: [node, master]}\n", []string{
			`f.yaml:5:17: select.roles: "master" is unknown: bastion, control-plane, api-server or node is allowed`}},
		"no role": {minimal + "select: {roles: []}\n", []string{
			"f.yaml:5:17: select.roles: the list is empty: give bastion, control-plane, api-server or node"}},
		"a broken pattern": {minimal + "select: {groups: ['workers-[']}\n", []string{
			`f.yaml:5:18: select.groups: "workers-[" is not a shell pattern: *, ?, [a-z] and \ (before a character that is meant as it is) are allowed, and each [ needs its ]`}},
		"a short checksum": {header + "cluster: demo\ndriver: {name: eks, sha256: abc}\n", []string{
			`f.yaml:4:29: driver.sha256: "abc" is not a SHA-256: 64 hexadecimal digits are needed, this has 3 characters`}},
		"a path as the driver's name": {header + "cluster: demo\ndriver: {name: ./eks}\n", []string{
			`f.yaml:4:16: driver.name: "./eks" is not a driver's name: lower-case letters, digits and dashes are allowed (to name an executable, set driver.path)`}},
		"a variable with its value": {header + "cluster: demo\ndriver: {name: eks, env: [A=b]}\n", []string{
			`f.yaml:4:26: driver.env: "A=b" must be a variable's name alone: its value is taken from rotatord's environment`}},
		"a taint with its effect": {minimal + "gates: {nodeReady: {startupTaints: ['a:NoSchedule']}}\n", []string{
			`f.yaml:5:36: gates.nodeReady.startupTaints: "a:NoSchedule" is not a taint's key: give the key alone, such as node.example.com/agent-not-ready`}},
		"a wave without waves": {minimal + "strategy:\n  batchSize: 2\n  waits: {betweenBatches: 1m}\n", []string{
			"f.yaml:6:14: strategy.batchSize: has no effect in mode rolling: set strategy.mode to batch, or bound the pace by maxSurge and maxUnavailable",
			"f.yaml:7:27: strategy.waits.betweenBatches: has no effect in mode rolling: set strategy.mode to batch, or use betweenDrains"}},
		"a bake without a canary": {minimal + "strategy: {canary: {enabled: false, bake: 1m}}\n", []string{
			"f.yaml:5:43: strategy.canary.bake: has no effect without a canary: set strategy.canary.enabled to true"}},
		"rules that are no list": {minimal + "drain: {rules: {owners: [Job]}}\n", []string{
			"f.yaml:5:16: drain.rules: a mapping, where a list of rules is needed: write [{namespaces: [batch-*], owners: [Job], action: wait}]"}},
		"a rule that is no mapping": {minimal + "drain: {rules: [Job]}\n", []string{
			`f.yaml:5:17: drain.rules[0]: "Job", where a mapping with action, namespaces, order, owners or selector is needed`}},
		"a rule with what it cannot have": {minimal + "drain:\n  rules:\n  - {owners: [Job], ordr: 1}\n  - owners: Job\n    order: first\n    colour: red\n    owners: [Job]\n", []string{
			"f.yaml:7:21: drain.rules[0].ordr: unknown key; did you mean order?",
			`f.yaml:8:13: drain.rules[1].owners: "Job", where a list is needed: write [Job]`,
			`f.yaml:9:12: drain.rules[1].order: "first" is not a whole number`,
			"f.yaml:10:5: drain.rules[1].colour: unknown key: action, namespaces, order, owners or selector is allowed here",
			"f.yaml:11:5: drain.rules[1].owners: is given twice: the first is in line 8"}},
		"rules that cannot be used": {minimal + "drain:\n  rules:\n  - {selector: 'a within b'}\n  - {action: skip}\n  - {owners: [Job], action: kill}\n", []string{
			`f.yaml:7:16: drain.rules[0].selector: "a within b" is not a label selector: write as for kubectl -l, such as app=web, tier in (a,b), !legacy`,
			"f.yaml:8:5: drain.rules[1]: matches every pod: give namespaces, selector or owners",
			`f.yaml:9:29: drain.rules[2].action: "kill" is unknown: evict, skip or wait is allowed`}},
		"budgets violated without force": {minimal + "drain: {deletePodsDespiteBudgets: true}\n", []string{
			"f.yaml:5:35: drain.deletePodsDespiteBudgets: has no effect unless drain.onDeadline is force: leave it out"}},
		"no cluster and no driver": {header + "driver: {}\n", []string{
			"f.yaml: cluster: is missing: give the cluster's name at the provider, by the file, --cluster or ROTATOR_CLUSTER",
			"f.yaml: driver.name: is missing: give the driver of the cluster's provider, such as eks, by the file, --driver or ROTATOR_DRIVER"}},
		"collections for scalars": {minimal + "strategy: {maxSurge: {a: b}, groupsAtOnce: [1], autoscalerShield: [], order: []}\n", []string{
			"f.yaml:5:22: strategy.maxSurge: a mapping, where a count or a percentage is needed",
			"f.yaml:5:44: strategy.groupsAtOnce: a list, where a whole number is needed",
			"f.yaml:5:67: strategy.autoscalerShield: a list, where true or false is needed",
			"f.yaml:5:78: strategy.order: a list, where a string is needed"}},
		"huge numbers": {minimal + "strategy: {maxSurge: 99999999999999999999, maxUnavailable: 99999999999999999999%, groupsAtOnce: 9223372036854775808}\n", []string{
			`f.yaml:5:22: strategy.maxSurge: "99999999999999999999" is more than 5000, the size of the largest clusters: give a count (2) or a percentage up to 100% (25%)`,
			`f.yaml:5:60: strategy.maxUnavailable: "99999999999999999999%" is more than 100%: give a count (2) or a percentage up to 100% (25%)`,
			"f.yaml:5:97: strategy.groupsAtOnce: 9223372036854775808 is out of range: 1 to 1000 is allowed"}},
		"a number that JSON does not know": {header + "cluster: demo\ndriver: {name: eks, config: {a: .nan}}\n", []string{
			"f.yaml:4:33: driver.config.a: .nan is not a number that a driver can be given"}},
		"a merge key": {header + "cluster: demo\nx: &x {a: 1}\ndriver: {name: eks, config: {<<: *x}}\n", []string{
			"f.yaml:4:1: x: unknown key: apiVersion, kind, allowDowngrade, cloudOnly, cluster, drain, driver, gates, journal, kubernetes, lock, release, report, select, strategy or window is allowed here",
			"f.yaml:5:30: driver.config: << as a key: only words are allowed (no merge keys)"}},
		"no namespace for the lock": {minimal + "journal: {namespace: \"\"}\nlock: {duration: 1s}\n", []string{
			"f.yaml:5:22: journal.namespace: is empty: the lock needs one with every store",
			"f.yaml:6:18: lock.duration: 1s is out of range: 3s to 1h is allowed"}},
		"a window that never opens": {minimal + "window: {start: 0 0 30 2 *}\n", []string{
			`f.yaml:5:17: window.start: "0 0 30 2 *" never comes: there is no such day`}},
		"a window that is too short": {minimal + "window: {start: '@daily', duration: 1s}\n", []string{
			"f.yaml:5:37: window.duration: 1s is out of range: 1m to 168h is allowed"}},
		"a window without a start": {minimal + "window: {timeZone: Europe/Berlin}\n", []string{
			"f.yaml: window.start: is missing: give when the window opens, by the file, --window or ROTATOR_WINDOW"}},
		"a window of no known place": {minimal + "window: {start: '@daily', timeZone: Europe/Atlantis}\n", []string{
			`f.yaml:5:17: window.start: time zone "Europe/Atlantis" is unknown: write a name such as Europe/Berlin or UTC`}},
		"all at once": {header + "cluster: demo\nstrategy: {mode: x, maxSurge: 101%}\ndrian: {}\n", []string{
			`f.yaml:4:18: strategy.mode: "x" is unknown: rolling or batch is allowed`,
			`f.yaml:4:31: strategy.maxSurge: "101%" is more than 100%: give a count (2) or a percentage up to 100% (25%)`,
			"f.yaml:5:1: drian: unknown key; did you mean drain?",
			"f.yaml: driver.name: is missing: give the driver of the cluster's provider, such as eks, by the file, --driver or ROTATOR_DRIVER"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(tt.yaml))
			var ce *Error
			if !errors.As(err, &ce) {
				t.Fatalf("error is %v, want an *Error", err)
			}
			if d := cmp.Diff(tt.want, strings.Split(ce.Error(), "\n")); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want func(*plan.Spec)
	}{
		"a section whose keys are all commented out": {"drain:\n  # deadline: 5m\n", func(*plan.Spec) {}},
		"a key without a value":                      {"strategy: {maxSurge: }\n", func(*plan.Spec) {}},
		"an alias":                                   {"drain: {deadline: &d 5m}\ngates: {nodeReady: {timeout: *d}}\n", func(s *plan.Spec) { s.Drain.Deadline, s.Gates.NodeReady.Timeout = 5*time.Minute, 5*time.Minute }},
		"a quoted count":                             {"strategy: {maxSurge: \"3\"}\n", func(s *plan.Spec) { s.Strategy.MaxSurge = "3" }},
		"surge 0 with unavailable 1":                 {"strategy: {maxSurge: 0, maxUnavailable: 1}\n", func(s *plan.Spec) { s.Strategy.MaxSurge, s.Strategy.MaxUnavailable = "0", "1" }},
		"an empty list":                              {"select: {groups: []}\n", func(*plan.Spec) {}},
		"a folder means the store folder": {"journal: {dir: j}\n", func(s *plan.Spec) {
			s.Journal.Dir, s.Journal.Store = "j", plan.StoreFolder
		}},
		"a folder beside the store cluster": {"journal: {dir: j, store: cluster}\n", func(s *plan.Spec) { s.Journal.Dir = "j" }},
		"a number as a name":                {"select: {nodes: [12]}\n", func(s *plan.Spec) { s.Select.Nodes = []string{"12"} }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := parseMinimal(t)
			tt.want(&want)
			got, err := Parse("f.yaml", []byte(minimal+tt.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
		})
	}
}

func TestFreeFormMapsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(header + "cluster: demo\ndriver:\n  name: eks\n  config:\n    a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range 8 { // 9^9 values
		ref := "*a" + string(rune('0'+i))
		b.WriteString("    a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + strings.Repeat(ref+", ", 8) + ref + "]\n")
	}
	_, err := Parse("f.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "too large: at most 10000 values") {
		t.Errorf("error is %v, want one about the size", err)
	}
	// A mapping within itself.
	_, err = Parse("f.yaml", []byte(header+"cluster: demo\ndriver: &d\n  name: eks\n  config: *d\n"))
	if err == nil || !strings.Contains(err.Error(), "…: too large: at most 10000 values, nested 50 deep") {
		t.Errorf("error is %v, want one about the depth, with a path that can be read", err)
	}
	if _, err := Parse("f.yaml", []byte(minimal+"#"+strings.Repeat("x", maxFile))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error is %v, want one about the file's size", err)
	}
}

// load writes the file and loads it with these flags.
func load(t *testing.T, yaml string, src Sources, args ...string) (plan.Spec, error) {
	t.Helper()
	if yaml != "" {
		src.File = filepath.Join(t.TempDir(), "rotation.yaml")
		if err := os.WriteFile(src.File, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	src.Flags = fs
	return Load(src)
}

func TestLoadOrder(t *testing.T) {
	file := minimal + "strategy: {maxSurge: 2, mode: batch}\nselect: {groups: [a], force: true}\n"
	tests := map[string]struct {
		env  map[string]string
		args []string
		want func(*plan.Spec)
	}{
		"the file alone": {nil, nil, func(*plan.Spec) {}},
		"a variable over the file": {map[string]string{"ROTATOR_MAX_SURGE": "3", "ROTATOR_FORCE": "false"}, nil,
			func(s *plan.Spec) { s.Strategy.MaxSurge, s.Select.Force = "3", false }},
		"a flag over a variable": {map[string]string{"ROTATOR_MAX_SURGE": "3"}, []string{"--max-surge=50%"},
			func(s *plan.Spec) { s.Strategy.MaxSurge = "50%" }},
		"an empty variable counts as none": {map[string]string{"ROTATOR_MAX_SURGE": ""}, nil, func(*plan.Spec) {}},
		"a list replaces the file's": {nil, []string{"--group=b", "--group=c,d"},
			func(s *plan.Spec) { s.Select.Groups = []string{"b", "c", "d"} }},
		"a list in a variable": {map[string]string{"ROTATOR_GROUP": "b, c"}, nil,
			func(s *plan.Spec) { s.Select.Groups = []string{"b", "c"} }},
		"a boolean flag without a value": {nil, []string{"--canary"}, func(*plan.Spec) {}},
		"a boolean flag turned off": {map[string]string{"ROTATOR_CANARY": "true"}, []string{"--canary=false"},
			func(s *plan.Spec) { s.Strategy.Canary.Enabled = false }},
		"a negative duration": {nil, []string{"--eviction-grace-period=-1s", "--drain-deadline", "90s", "--batch-size", "4"},
			func(s *plan.Spec) {
				s.Drain.GracePeriod, s.Drain.Deadline, s.Strategy.BatchSize = -time.Second, 90*time.Second, 4
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want, err := Parse("f", []byte(file))
			if err != nil {
				t.Fatal(err)
			}
			tt.want(&want)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			got, err := load(t, file, Sources{}, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
		})
	}
}

// Every key can be set by its flag and by its variable.
func TestEveryFlagAndVariable(t *testing.T) {
	values := map[Kind]string{Bool: "false", Count: "7", Duration: "7m", Amount: "7%", Text: "x", List: "x"}
	for _, k := range Keys() {
		value := values[k.Kind]
		if k.Kind == Map || k.Kind == Rules || k.Path == "drain.deletePodsDespiteBudgets" {
			continue // no variable; no text of their own; needs another to be allowed
		}
		if len(k.Enum) > 0 {
			value = k.Enum[len(k.Enum)-1]
		}
		switch k.Path {
		case "driver.sha256":
			value = strings.Repeat("0", 64)
		case "strategy.order", "window.start", "window.timeZone":
			value = k.Example
		}
		// What the key needs beside it to make sense.
		base := []string{"--cluster=c", "--driver=d", "--mode=batch", "--force", "--window=@daily"}
		t.Run(k.Flag, func(t *testing.T) {
			got, err := load(t, "", Sources{}, append(base, "--"+k.Flag+"="+value)...)
			if err != nil {
				t.Fatal(err)
			}
			if text := k.text(&got); text != value {
				t.Errorf("--%s=%s gives %s", k.Flag, value, text)
			}
			t.Setenv(k.Env(), value)
			base = slices.DeleteFunc(base, func(a string) bool { return strings.HasPrefix(a, "--"+k.Flag) })
			if got, err = load(t, "", Sources{}, base...); err != nil {
				t.Fatal(err)
			}
			if text := k.text(&got); text != value {
				t.Errorf("%s=%s gives %s", k.Env(), value, text)
			}
		})
	}
}

func TestDrainRuleFlag(t *testing.T) {
	got, err := load(t, minimal+"drain: {rules: [{owners: [Job]}]}\n", Sources{}, "--drain-rule", "{owners: [Job, StatefulSet/db], action: wait}", "--drain-rule", "{selector: 'a in (b,c)', order: 2}")
	if err != nil {
		t.Fatal(err)
	}
	want := []drain.Rule{{Owners: []string{"Job", "StatefulSet/db"}, Action: drain.ActionWait}, {Selector: "a in (b,c)", Order: 2}}
	if d := cmp.Diff(want, got.Drain.Rules); d != "" {
		t.Errorf("flags take the place of the file's rules (-want +got):\n%s", d)
	}
	for value, says := range map[string]string{
		"Job": "is not a rule: write a mapping", "{owner: [Job]}": "owner: unknown key; did you mean owners?",
		"{owners: [Job]": "is not a rule", "{action: skip}": "matches every pod",
	} {
		if _, err := load(t, minimal, Sources{}, "--drain-rule", value); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--drain-rule") {
			t.Errorf("--drain-rule %q: error is %v, want %q", value, err, says)
		}
	}
}

func TestDriverConfigFlag(t *testing.T) {
	got, err := load(t, header+"cluster: demo\ndriver: {name: eks, config: {region: a, Keep.me: 1}}\n", Sources{},
		"--driver-config", "region=b,c=d", "--driver-config", `assume={"arn":"x"}`, "--driver-config", "empty=", "--driver-config", "n=12", "--driver-config", "zero=012")
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Driver.Config["n"]; s == nil || reflect.ValueOf(s).String() != "12" {
		t.Errorf("n is %#v, want the JSON number 12", s)
	}
	delete(got.Driver.Config, "n")
	want := map[string]any{"region": "b,c=d", "Keep.me": 1, "assume": map[string]any{"arn": "x"}, "empty": "", "zero": "012"}
	if d := cmp.Diff(want, got.Driver.Config); d != "" {
		t.Errorf("driver.config (-want +got):\n%s", d)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		args []string
		src  Sources
		want string
	}{
		"an unknown variable": {env: map[string]string{"ROTATOR_MAX_SRUGE": "2"},
			want: "ROTATOR_MAX_SRUGE: unknown variable; did you mean ROTATOR_MAX_SURGE?"},
		"a variable like no other": {env: map[string]string{"ROTATOR_COLOUR": "red"},
			want: "ROTATOR_COLOUR: unknown variable: unset it"},
		"a bad variable": {env: map[string]string{"ROTATOR_FORCE": "maybe"},
			want: `ROTATOR_FORCE: select.force: "maybe" is not a boolean: write true or false`},
		"a bad flag": {args: []string{"--drain-deadline=5"},
			want: "--drain-deadline: drain.deadline: 5 has no unit: write 5s for seconds or 5m for minutes"},
		"a flag out of range": {args: []string{"--groups-at-once=0"},
			want: "--groups-at-once: strategy.groupsAtOnce: 0 is out of range: 1 to 1000 is allowed"},
		"a flag of a list that is empty": {env: map[string]string{"ROTATOR_GROUP": "a"}, args: []string{"--group=", "--node", " , "},
			want: "--group: select.groups: is empty: give a value, or leave the flag out\n--node: select.nodes: is empty: give a value, or leave the flag out"},
		"a driver's value without a key": {args: []string{"--driver-config=eu-west-1"},
			want: `--driver-config: driver.config: "eu-west-1" is not key=value, such as region=eu-west-1`},
		"several": {env: map[string]string{"ROTATOR_MODE": "fast"}, args: []string{"--max-surge=x"},
			want: `ROTATOR_MODE: strategy.mode: "fast" is unknown: rolling or batch is allowed` + "\n" +
				`--max-surge: strategy.maxSurge: "x" is neither a count nor a percentage: give a count (2) or a percentage up to 100% (25%)`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			_, err := load(t, "", tt.src, append([]string{"--cluster=c", "--driver=eks"}, tt.args...)...)
			var ce *Error
			if !errors.As(err, &ce) {
				t.Fatalf("error is %v, want an *Error", err)
			}
			got := strings.Split(ce.Error(), "\n")
			want := strings.Split(tt.want, "\n")
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

func TestLoadWithoutProvider(t *testing.T) {
	t.Setenv("ROTATOR_LOG_LEVEL", "debug")
	if _, err := load(t, "", Sources{NoProvider: true, OtherFlags: []string{"log-level"}}); err != nil {
		t.Errorf("error is %v, want none", err)
	}
	if _, err := load(t, "", Sources{NoProvider: true}); err == nil {
		t.Error("ROTATOR_LOG_LEVEL was accepted though no such flag was named")
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load(Sources{File: "does-not-exist.yaml"})
	want := "does-not-exist.yaml: the rotation file cannot be read: no such file or directory (`rotatord config init` prints an example)"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestValidateSpecMadeInGo(t *testing.T) {
	s := Default()
	s.Cluster, s.Driver.Name = "c", "eks"
	if err := Validate(s); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	s.Strategy.MaxSurge = "0"
	want := "strategy.maxSurge: it and maxUnavailable are both 0, so no node could ever be replaced: raise one of them"
	if err := Validate(s); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"maxSurge", "maxUnavailable", "mode", "waits"}
	for word, want := range map[string]string{
		"maxSruge": "maxSurge", "max_surge": "maxSurge", "MODE": "mode", "moda": "mode",
		"unavailable": "maxUnavailable", "wait": "waits", "x": "", "colour": "", "": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

// Without the cluster the journal is in a folder, unless the file says otherwise,
// which is refused.
func TestCloudOnlyJournal(t *testing.T) {
	s, err := Parse("rotation.yaml", []byte("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: demo\ndriver: {name: kops}\ncloudOnly: true\n"))
	if err != nil || s.Journal.Store != plan.StoreFolder {
		t.Errorf("store %q, error %v; want folder", s.Journal.Store, err)
	}
	_, err = Parse("rotation.yaml", []byte("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: demo\ndriver: {name: kops}\ncloudOnly: true\njournal: {store: cluster}\n"))
	if err == nil || !strings.Contains(err.Error(), "journal.store") {
		t.Errorf("a journal in the cluster: error %v, want one that names journal.store", err)
	}
}
