package config

import (
	"cmp"
	"strings"

	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

// Validate checks a spec that was made in Go, as Load does with a file. The
// error is an *Error with everything that is wrong.
func Validate(s plan.Spec) error {
	d := &decoder{spec: &s, problems: &problems{}}
	validate(d, false)
	return d.err()
}

// validate checks each key by itself, then what concerns several. Keys whose
// value could not be read, or is bad by itself, are left out of the rest: they have
// their problem already.
func validate(d *decoder, noProvider bool) {
	for _, k := range table {
		if d.bad[k.Path] {
			continue
		}
		for _, m := range k.check(d.spec) {
			d.refuse(k.Path, m)
			d.bad[k.Path] = true
		}
	}
	s := d.spec
	if !noProvider {
		if s.Cluster == "" && !d.bad["cluster"] {
			d.missing("cluster", "the cluster's name at the provider")
		}
		if s.Driver.Name == "" && s.Driver.Path == "" && !d.bad["driver.name"] && !d.bad["driver.path"] {
			d.missing("driver.name", "the driver of the cluster's provider, such as eks")
		}
	}
	if s.Cluster != strings.TrimSpace(s.Cluster) {
		d.refuse("cluster", "has spaces around it: remove them")
	}
	if _, said := d.places["journal.store"]; said && s.CloudOnly && s.Journal.Store == plan.StoreCluster {
		d.refuse("journal.store", "is the cluster, and cloudOnly does without it: set folder, or leave it out")
	}
	d.checkWindow()
	d.pace()
	d.checkDrain()
	if s.Journal.Namespace == "" && !d.bad["journal.namespace"] {
		d.refuse("journal.namespace", "is empty: the lock needs one with every store")
	}
}

// checkWindow refuses a window that never opens, and parts of one without the
// rest.
func (d *decoder) checkWindow() {
	w := d.spec.Window
	if w.Start == "" {
		if w.TimeZone != "" || w.Wait {
			d.missing("window.start", "when the window opens")
		}
		return
	}
	if _, err := window.Parse(w.Start, w.Duration, w.TimeZone); err != nil && !d.bad["window.duration"] {
		d.refuse("window.start", err.Error())
	}
}

// pace checks keys of the strategy that contradict each other: a value that
// would be ignored in silence is refused.
func (d *decoder) pace() {
	s := d.spec.Strategy
	surge, _, err1 := parseAmount(cmp.Or(s.MaxSurge, plan.DefaultSurge))
	unavailable, _, err2 := parseAmount(cmp.Or(s.MaxUnavailable, plan.DefaultUnavailable))
	if err1 == nil && err2 == nil && surge == 0 && unavailable == 0 {
		d.refuse("strategy.maxSurge", "it and maxUnavailable are both 0, so no node could ever be replaced: raise one of them")
	}
	if s.Mode == plan.ModeRolling {
		if s.BatchSize > 0 {
			d.refuse("strategy.batchSize", "has no effect in mode rolling: set strategy.mode to batch, or bound the pace by maxSurge and maxUnavailable")
		}
		if s.Waits.BetweenBatches > 0 {
			d.refuse("strategy.waits.betweenBatches", "has no effect in mode rolling: set strategy.mode to batch, or use betweenDrains")
		}
	}
	if !s.Canary.Enabled && s.Canary.Bake > 0 {
		d.refuse("strategy.canary.bake", "has no effect without a canary: set strategy.canary.enabled to true")
	}
}

// missing reports a required key that no source gave.
func (d *decoder) missing(path, what string) {
	k, _ := KeyOf(path)
	d.add(place{source: d.source}, path, "is missing: give %s, by the file, --%s or %s", what, k.Flag, k.Env())
}

func (d *decoder) refuse(path, message string) {
	d.add(d.places[path], path, "%s", message)
}
