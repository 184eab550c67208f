package sim

import "time"

// Pace fixes how long things take that a rotation has no influence on, so that
// a lower bound can be computed for its world. The zero value: by chance.
type Pace struct {
	// React is how long a node group takes to notice that instances are missing;
	// Boot, from an instance's launch until its node is Ready; End, from its
	// termination until it and its node are gone.
	React, Boot, End time.Duration
	// Cloud and API are one way of a call to the provider and to the API server.
	Cloud, API time.Duration
	// Control is how long a controller or the scheduler takes to act on a change,
	// Watch how long a change takes to be seen.
	Control, Watch time.Duration
}

// paced tells whether things take as long as they are said to.
func (p Pace) paced() bool { return p != Pace{} }

// span is a fixed time where the world is paced, else one from a to b.
func (w *World) span(d *dice, fixed, a, b time.Duration) time.Duration {
	if w.pace.paced() {
		return fixed
	}
	return d.between(a, b)
}

// past gives the nodes and pods of a paced world the history that a cluster keeps of
// such, for the plan's estimate.
func (w *World) past() {
	for _, n := range w.nodeList {
		n.ReadySince = n.inst.LaunchedAt.Add(w.pace.Boot)
		n.CreatedAt = n.ReadySince.Add(-toReady)
	}
	for _, p := range w.pods {
		if p.Ready {
			p.StartTook = p.workload.start
		}
	}
}
