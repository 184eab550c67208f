package aws

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

// instanceState is a state of EC2's life cycle with its numeric code.
type instanceState struct {
	code int
	name string
}

var (
	statePending      = instanceState{0, "pending"}
	stateRunning      = instanceState{16, "running"}
	stateShuttingDown = instanceState{32, "shutting-down"}
	stateTerminated   = instanceState{48, "terminated"}
	stateStopping     = instanceState{64, "stopping"}
	stateStopped      = instanceState{80, "stopped"}
)

// instance is one EC2 instance.
type instance struct {
	seq                  int64 // order of launch, the key of paging
	id                   string
	reservation          string
	zone                 string
	imageID              string
	instanceType         string
	privateIP            string
	privateDNSName       string
	launchTime           time.Time
	state                instanceState
	changedAt            time.Time // when the state was entered
	reason               string    // StateTransitionReason
	asked                bool      // somebody has asked for its end
	served               []string  // control.Termination.Targets
	endedBy              string    // who asked first for its end: control.Termination.By
	tags                 map[string]string
	group                string // Auto Scaling group, "" for none
	spot                 bool
	terminationProtected bool // DisableApiTermination
	clientToken          string
	launchIndex          int
	data                 LaunchTemplateData // what it was launched with
	version              *templateVersion   // nil when it was launched without a template
	launchConfig         string

	identity               nodeIdentity // of a managed node group's
	warm                   bool         // in a warm pool: it runs without joining
	bootDelay              time.Duration
	neverJoins, neverReady bool
}

func (i *instance) versionNumber() int64 {
	if i.version == nil {
		return 0
	}
	return i.version.number
}

// gone says that the instance is on its way out or has left.
func (i *instance) gone() bool { return i.state == stateShuttingDown || i.state == stateTerminated }

// launch is what an instance is made of.
type launch struct {
	resolved
	zone         string
	instanceType string // overrides the template's
	group        string
	spot         bool
	clientToken  string
	reservation  string // "" makes a new one
	index        int
	tags         map[string]string
}

// launchInstance starts an instance, or fails as EC2 does when the zone has no capacity.
func (c *Cloud) launchInstance(l launch, now time.Time) (*instance, error) {
	typ := cmp.Or(l.instanceType, deref(l.data.InstanceType))
	if _, hit := c.machineFault(control.InsufficientCapacity, l.group, l.zone); hit {
		var others []string
		for _, z := range c.cfg.Zones {
			if z != l.zone {
				others = append(others, z)
			}
		}
		return nil, &Error{Code: "InsufficientInstanceCapacity", Status: 500, Message: "We currently do not have sufficient " + typ +
			" capacity in the Availability Zone you requested (" + l.zone + "). Our system will be working on provisioning additional capacity. You can currently get " +
			typ + " capacity by not specifying an Availability Zone in your request or choosing " + strings.Join(others, ", ") + "."}
	}
	c.nextSeq++
	i := &instance{
		seq: c.nextSeq, id: c.newID("i"), reservation: l.reservation, zone: l.zone, imageID: l.imageID, instanceType: typ,
		privateIP: c.nextAddress(l.zone), launchTime: now, state: statePending, changedAt: now, tags: l.tags, group: l.group,
		spot: l.spot, terminationProtected: l.data.DisableAPITermination != nil && *l.data.DisableAPITermination,
		clientToken: l.clientToken, launchIndex: l.index, data: l.data, version: l.version, launchConfig: l.launchConfig,
		bootDelay: c.cfg.BootDelay,
	}
	i.privateDNSName = c.privateDNSName(i.id, i.privateIP)
	if i.reservation == "" {
		i.reservation = c.newID("r")
	}
	if _, hit := c.machineFault(control.NeverJoin, l.group, l.zone); hit {
		i.neverJoins = true
	}
	if _, hit := c.machineFault(control.NeverReady, l.group, l.zone); hit {
		i.neverReady = true
	}
	if f, hit := c.machineFault(control.SlowBoot, l.group, l.zone); hit {
		i.bootDelay += time.Duration(f.Delay)
	}
	c.instances[i.id] = i
	c.order = append(c.order, i)
	c.moving = append(c.moving, i)
	c.launched++
	c.alive++
	c.mostAlive = max(c.mostAlive, c.alive)
	return i, nil
}

// launchTags are the tags of a new instance: the template's for instances, then the caller's, then those that AWS sets
// itself ("aws:ec2launchtemplate:id" and ":version" on every launch from a template).
func launchTags(r resolved, own map[string]string) map[string]string {
	tags := map[string]string{}
	for _, s := range r.data.TagSpecifications {
		if s.ResourceType == "instance" {
			for _, t := range s.Tags {
				tags[t.Key] = t.Value
			}
		}
	}
	maps.Copy(tags, own)
	if r.version != nil {
		tags["aws:ec2launchtemplate:id"] = r.version.template.id
		tags["aws:ec2launchtemplate:version"] = r.version.String()
	}
	return tags
}

// Who ends instances: an API action, or a group by itself.
const (
	byTerminateInGroup = serviceAutoScaling + ":TerminateInstanceInAutoScalingGroup"
	byDeleteGroup      = serviceAutoScaling + ":DeleteAutoScalingGroup"
	byTerminate        = serviceEC2 + ":TerminateInstances"
	byScaleIn          = "scale-in"
	byHealthCheck      = "health-check"
	byAbandonedLaunch  = "abandoned-launch"
	byFailedLaunch     = "failed-launch"
	byWarmPool         = "warm-pool"
)

// maxTerminations bounds the list of control.Stats; the counter beside it goes on.
const maxTerminations = 20_000

// terminateInstance begins an instance's end; one that is already going is left alone, as TerminateInstances is idempotent.
func (c *Cloud) terminateInstance(i *instance, by, reason string, now time.Time) {
	if i.gone() {
		return
	}
	c.noteEnd(i, now)
	if len(c.terminations) < maxTerminations {
		c.terminations = append(c.terminations, control.Termination{Instance: i.id, Group: i.group, Time: now, By: cmp.Or(i.endedBy, by), Targets: i.served})
	}
	c.deregisterAll(i.id, now)
	if i.state == stateRunning || i.state == stateStopped {
		c.moving = append(c.moving, i) // one that is in between is in the list already
	}
	if i.state != stateStopping && i.state != stateStopped {
		c.alive--
	}
	i.state, i.changedAt, i.reason = stateShuttingDown, now, reason
	c.terminated++
	c.tell(c.cfg.Hooks.Stopping, i)
}

// noteEnd remembers in which target groups an instance is when somebody first asks for its end.
func (c *Cloud) noteEnd(i *instance, now time.Time) {
	if !i.asked {
		i.asked, i.served = true, c.targetsOf(i.id, now)
	}
}

// advanceInstances lets instances change state and forgets those that ended long ago. Its cost is that of what moves.
func (c *Cloud) advanceInstances(now time.Time) {
	c.moving = slices.DeleteFunc(c.moving, func(i *instance) bool {
		switch {
		case i.state == statePending && !now.Before(i.changedAt.Add(c.cfg.PendingDelay)):
			i.state, i.changedAt = stateRunning, now
			if !i.warm {
				c.tell(c.cfg.Hooks.Running, i)
			}
			return true
		case i.state == stateStopping && !now.Before(i.changedAt.Add(c.cfg.ShutdownDelay)):
			i.state, i.changedAt = stateStopped, now
			return true
		case i.state == stateShuttingDown && !now.Before(i.changedAt.Add(c.cfg.ShutdownDelay)):
			i.state, i.changedAt = stateTerminated, now
			c.dead = append(c.dead, i)
			c.tell(c.cfg.Hooks.Terminated, i)
			return true
		}
		return false
	})
	n := 0
	for n < len(c.dead) && !now.Before(c.dead[n].changedAt.Add(c.cfg.TerminatedRetention)) {
		delete(c.instances, c.dead[n].id)
		n++
	}
	if n > 0 {
		c.dead = slices.Delete(c.dead, 0, n)
		c.order = slices.DeleteFunc(c.order, func(i *instance) bool { return c.instances[i.id] == nil })
	}
	// The tokens of RunInstances live as long as their instances may be seen.
	for token, r := range c.runTokens {
		if !now.Before(r.at.Add(runTokenLife)) {
			delete(c.runTokens, token)
		}
	}
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func ptr[T any](v T) *T { return &v }
