package aws

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rotatord/rotator/sandbox/control"
)

// fault is a control.Fault with chance of its own, so that one fault's share does not depend on what else happens.
type fault struct {
	control.Fault
	rng *rand.Rand
}

// strikes decides for one call or launch that matches, and counts.
func (f *fault) strikes() bool {
	if f.Count > 0 && f.Struck >= f.Count {
		return false
	}
	if f.Share > 0 && f.Share < 1 && f.rng.Float64() >= f.Share {
		return false
	}
	f.Struck++
	return true
}

// callFault says whether a fault of the kind strikes this call. Caller holds mu.
func (c *Cloud) callFault(kind control.Kind, service, action string) bool {
	for _, f := range c.faults {
		switch f.Action {
		case "", action, service, service + ":" + action, service + ":*":
			if f.Kind == kind && f.strikes() {
				return true
			}
		}
	}
	return false
}

// machineFault finds the fault of the kind that strikes this launch. Caller holds mu.
func (c *Cloud) machineFault(kind control.Kind, group, zone string) (*fault, bool) {
	for _, f := range c.faults {
		if f.Kind == kind && (f.Group == "" || f.Group == group || c.isNodegroup(f.Group, group)) && (f.Zone == "" || f.Zone == zone) && f.strikes() {
			return f, true
		}
	}
	return nil, false
}

// isNodegroup says whether a name is that of the managed node group that owns an Auto Scaling group.
func (c *Cloud) isNodegroup(name, asg string) bool {
	n := c.nodegroupOf(asg)
	return n != nil && n.name == name
}

// AddFault implements [control.Backend]. A group or zone that does not exist is refused: such a fault could never strike.
func (c *Cloud) AddFault(f control.Fault) (control.Fault, error) {
	if err := f.Validate(); err != nil {
		return control.Fault{}, err
	}
	if f.Kind.Lasts() {
		return control.Fault{}, fmt.Errorf("fault %s is none of the cloud's", f.Kind)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Group != "" && c.groups[f.Group] == nil && !slices.ContainsFunc(c.groupOrder, func(g *group) bool { return c.isNodegroup(f.Group, g.name) }) {
		return control.Fault{}, fmt.Errorf("fault %s: there is no Auto Scaling group or managed node group %q", f.Kind, f.Group)
	}
	if f.Zone != "" && c.zoneIndex(f.Zone) < 0 {
		return control.Fault{}, fmt.Errorf("fault %s: there is no zone %q: the zones are %v", f.Kind, f.Zone, c.cfg.Zones)
	}
	if f.Action != "" && !knownAction(f.Action) {
		return control.Fault{}, fmt.Errorf("fault %s: no service or action %q is simulated", f.Kind, f.Action)
	}
	c.nextFault++
	f.ID = fmt.Sprintf("fault-%d", c.nextFault)
	f.Struck = 0
	c.faults = append(c.faults, &fault{Fault: f, rng: rand.New(rand.NewPCG(c.cfg.Seed, uint64(1000+c.nextFault)))})
	return f, nil
}

// Faults implements [control.Backend].
func (c *Cloud) Faults() []control.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []control.Fault{}
	for _, f := range c.faults {
		out = append(out, f.Fault)
	}
	return out
}

// ClearFaults implements [control.Backend].
func (c *Cloud) ClearFaults(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" {
		c.faults = nil
		return nil
	}
	n := len(c.faults)
	c.faults = slices.DeleteFunc(c.faults, func(f *fault) bool { return f.ID == id })
	if len(c.faults) == n {
		return fmt.Errorf("there is no fault %q: list them with `sandbox fault list`", id)
	}
	return nil
}
