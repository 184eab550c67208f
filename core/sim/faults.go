package sim

import (
	"slices"
	"time"
)

// Kind of fault.
type Kind string

// The kinds. The name of one fault is its kind and where it struck: "lost
// terminate i-00012 #1".
const (
	FailBefore Kind = "fail-before" // a call fails and nothing has happened
	Lost       Kind = "lost"        // a call's act happens, its answer does not come
	Late       Kind = "late"        // a call is carried out and answered late
	DriverDies Kind = "driver-dies" // the driver dies between two acts of a call
	Storm      Kind = "storm"       // the provider throttles for minutes
	NoCapacity Kind = "no-capacity" // nothing can be launched in a zone for a while
	NeverJoins Kind = "never-joins" // an instance does not join until a person mends it
	JoinsLate  Kind = "joins-late"
	NodeDies   Kind = "node-dies"   // a node goes dark some time after it was Ready
	SlowPods   Kind = "slow-pod"    // a pod takes minutes to become Ready
	SlowDetach Kind = "slow-detach" // a volume is not detached before its instance ends

	Closes        Kind = "budget-closes"  // somebody tightens a budget for a while
	Uncordon      Kind = "uncordon"       // somebody uncordons a node that we cordoned
	Cordon        Kind = "cordon"         // somebody cordons a node
	EndInstance   Kind = "end-instance"   // somebody ends an instance
	DeletePod     Kind = "delete-pod"     // somebody deletes a pod
	ScaleUp       Kind = "scale-up"       // somebody, or an autoscaler, makes a group larger
	ScaleDown     Kind = "scale-down"     // smaller: the group picks the victim
	Autoscaler    Kind = "autoscaler"     // an autoscaler ends an instance with its capacity
	Retemplate    Kind = "retemplate"     // somebody gives the group another revision
	StaysBalanced Kind = "stays-balanced" // an instance does not leave its load balancers for long
	Rescale       Kind = "rescale"        // somebody scales a Deployment
	Relabel       Kind = "relabel"        // somebody sets marks for the autoscaler and load balancers
	RollFails     Kind = "roll-fails"     // a provider fails to roll a group
	Rolls         Kind = "rolls"          // somebody else has a provider roll a group
	Selects       Kind = "selects"        // a pod selects for a while a label that new nodes lack
	Signal        Kind = "signal"         // SIGTERM
	WindowShuts   Kind = "window-shuts"   // the rotation's window closes

	// The process is killed, before a Step's records are durable, when some of
	// them are, when all are, or when some of the Step's effects have begun.
	// What is on its way may still happen, or not.
	KillUnrecorded Kind = "kill-unrecorded"
	KillTorn       Kind = "kill-torn"
	KillRecorded   Kind = "kill-recorded"
	KillActing     Kind = "kill-acting"
	// LoseLease lets the next process begin while the last one's calls are on
	// their way: they happen, late. Those that take a driver several requests do
	// not: they end with their deadline, for which a takeover waits.
	LoseLease Kind = "lose-lease"
	// LoseJournal has somebody delete the journal between two runs.
	LoseJournal Kind = "lose-journal"
)

// Kinds are all of them.
var Kinds = []Kind{FailBefore, Lost, Late, DriverDies, Storm, NoCapacity, NeverJoins, JoinsLate, NodeDies, SlowPods, SlowDetach,
	Closes, Uncordon, Cordon, EndInstance, DeletePod, ScaleUp, ScaleDown, Autoscaler, Retemplate, Signal,
	KillUnrecorded, KillTorn, KillRecorded, KillActing, LoseLease, LoseJournal, Relabel, StaysBalanced, Rescale, RollFails, Rolls, WindowShuts, Selects}

// Rates are how often each kind strikes, as the chance at each occasion; a
// kind without one never does.
type Rates map[Kind]float64

// horizon is when the world heals: no fault begins after it, budgets open
// again, capacity and joins come back. Whatever happened before, the same
// command must then complete the rotation.
const horizon = 3 * time.Hour

// injector decides which faults strike, and remembers them.
type injector struct {
	seed  uint64
	rates Rates
	force map[string]bool // these strike in any case
	names []string        // those that struck, in order
	count map[Kind]int
}

func newInjector(seed uint64, rates Rates, force []string) *injector {
	in := &injector{seed: seed, rates: rates, force: make(map[string]bool, len(force)), count: make(map[Kind]int)}
	for _, name := range force {
		in.force[name] = true
	}
	return in
}

// strikes decides about one occasion. A name is asked about once.
func (in *injector) strikes(w *World, k Kind, where string) bool {
	rate := in.rates[k]
	if rate == 0 && len(in.force) == 0 || w.now >= horizon || w.healed {
		return false
	}
	name := string(k) + " " + where
	if !in.force[name] {
		if rate == 0 {
			return false
		}
		if d := newDice(in.seed, name); !d.chance(rate) {
			return false
		}
	}
	in.names = append(in.names, name)
	in.count[k]++
	return true
}

// RandomRates enables some kinds, each at some rate: faults that come together
// find what all of them at once would drown.
func RandomRates(seed uint64) Rates {
	d := newDice(seed, "rates")
	calls := []Kind{FailBefore, Lost, Late, DriverDies}
	kills := []Kind{KillUnrecorded, KillTorn, KillRecorded, KillActing}
	rates := make(Rates)
	for _, k := range Kinds {
		if !d.chance(0.35) {
			continue
		}
		switch {
		case slices.Contains(calls, k):
			rates[k] = pick(&d, 0.02, 0.1, 0.3)
		case slices.Contains(kills, k):
			rates[k] = pick(&d, 0.001, 0.005, 0.02)
		case k == SlowDetach || k == SlowPods || k == NodeDies:
			rates[k] = pick(&d, 0.02, 0.1)
		case k == NeverJoins || k == JoinsLate:
			rates[k] = pick(&d, 0.05, 0.3)
		default:
			rates[k] = pick(&d, 0.2, 0.5)
		}
	}
	return rates
}
