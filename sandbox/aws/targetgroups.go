package aws

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// targetGroup is where a load balancer of Elastic Load Balancing (version 2) sends. The load balancers themselves are
// not simulated: nothing here sends requests, and every target passes its health checks.
type targetGroup struct {
	name, arn, protocol string
	port                int32
	attributes          map[string]string
	tags                map[string]string
	targets             []*target // in the order of their registration
}

// target is an instance in a target group. Its state follows from times, so that nothing has to move it.
type target struct {
	id         string
	port       int32
	registered time.Time
	draining   time.Time // since when it is being deregistered; zero: it is not
}

// The states of a target ("Target health status").
const (
	targetInitial  = "initial"
	targetHealthy  = "healthy"
	targetDraining = "draining"
	targetUnused   = "unused"
)

// attributeDelay is how long a target that is deregistered stays draining, in seconds, from 0 to 3600.
const attributeDelay = "deregistration_delay.timeout_seconds"

// defaultAttributes are those of a new target group that matter for registering and deregistering.
func defaultAttributes() map[string]string {
	return map[string]string{
		attributeDelay: "300", "stickiness.enabled": "false", "stickiness.type": "lb_cookie",
		"load_balancing.cross_zone.enabled": "use_load_balancer_configuration", "slow_start.duration_seconds": "0",
	}
}

// delay is how long targets drain.
func (tg *targetGroup) delay() time.Duration {
	n, err := strconv.Atoi(tg.attributes[attributeDelay])
	if err != nil {
		panic("aws: an attribute was kept that does not parse: " + tg.attributes[attributeDelay]) // modify checks it
	}
	return time.Duration(n) * time.Second
}

// state of a target that is listed. "The status of the target is displayed as draining until the deregistration delay
// timeout expires", says the guide, with or without requests in flight.
func (tg *targetGroup) state(t *target, initial time.Duration, now time.Time) string {
	switch {
	case !t.draining.IsZero() && now.Before(t.draining.Add(tg.delay())):
		return targetDraining
	case !t.draining.IsZero():
		return targetUnused
	case now.Before(t.registered.Add(initial)):
		return targetInitial
	}
	return targetHealthy
}

// settle forgets the targets that have drained.
func (tg *targetGroup) settle(now time.Time) {
	tg.targets = slices.DeleteFunc(tg.targets, func(t *target) bool {
		return !t.draining.IsZero() && !now.Before(t.draining.Add(tg.delay()))
	})
}

func (tg *targetGroup) find(id string, port int32) *target {
	i := slices.IndexFunc(tg.targets, func(t *target) bool { return t.id == id && t.port == port })
	if i < 0 {
		return nil
	}
	return tg.targets[i]
}

// register adds a target, or takes one back that is draining.
func (tg *targetGroup) register(id string, port int32, now time.Time) {
	port = cmp.Or(port, tg.port)
	t := tg.find(id, port)
	if t != nil && t.draining.IsZero() {
		return
	}
	tg.targets = append(slices.DeleteFunc(tg.targets, func(o *target) bool { return o == t }), &target{id: id, port: port, registered: now})
}

// deregister begins to take a target out: port 0 means the group's own. One that is not there is left as it is: "If the
// specified target does not exist, the action returns successfully."
func (tg *targetGroup) deregister(id string, port int32, now time.Time) {
	if t := tg.find(id, cmp.Or(port, tg.port)); t != nil && t.draining.IsZero() {
		t.draining = now
	}
}

// targetsOf lists the states of an instance in all target groups, as "NAME: STATE", those of its own ports included.
func (c *Cloud) targetsOf(id string, now time.Time) []string {
	var out []string
	for _, tg := range c.targetOrder {
		for _, t := range tg.targets {
			if s := tg.state(t, c.cfg.TargetDelay, now); t.id == id && s != targetUnused {
				out = append(out, tg.name+": "+s)
			}
		}
	}
	return out
}

// deregisterAll takes an instance out of all target groups, as Elastic Load Balancing does when it ends.
func (c *Cloud) deregisterAll(id string, now time.Time) {
	for _, tg := range c.targetOrder {
		for _, t := range tg.targets {
			if t.id == id {
				tg.deregister(id, t.port, now)
			}
		}
	}
}

// balance registers the members that came into service in the group's target groups, each once: one that somebody takes
// out afterwards stays out.
func (c *Cloud) balance(g *group, now time.Time) {
	if len(g.targetGroups) == 0 || g.isSuspended(processAddToLoadBalancer) {
		return
	}
	for _, m := range g.members {
		if m.state != lifecycleInService {
			continue
		}
		for _, arn := range g.targetGroups {
			if tg := c.targetGroups[arn]; tg != nil && !slices.Contains(m.balanced, arn) {
				m.balanced = append(m.balanced, arn)
				tg.register(m.inst.id, 0, now)
			}
		}
	}
}

// leaveBalancers deregisters a member that goes from its group's target groups.
func (c *Cloud) leaveBalancers(g *group, m *member, now time.Time) {
	for _, arn := range g.targetGroups {
		if tg := c.targetGroups[arn]; tg != nil {
			tg.deregister(m.inst.id, 0, now)
		}
	}
}

// drains tells whether a member that goes has to wait: "Amazon EC2 Auto Scaling waits for the in-flight requests to
// complete, or for the maximum timeout to expire, before terminating instances".
func (c *Cloud) drains(g *group, m *member, now time.Time) bool {
	return !m.inst.gone() && slices.ContainsFunc(g.targetGroups, func(arn string) bool {
		tg := c.targetGroups[arn]
		return tg != nil && slices.ContainsFunc(tg.targets, func(t *target) bool {
			return t.id == m.inst.id && tg.state(t, c.cfg.TargetDelay, now) == targetDraining
		})
	})
}

// TargetGroupSpec is a target group to be.
type TargetGroupSpec struct {
	Name string
	// DeregistrationDelay is how long targets drain, in whole seconds up to an hour.
	DeregistrationDelay time.Duration
	Tags                map[string]string
}

// CreateTargetGroup makes a target group for HTTP on port 80 and returns its ARN.
func (c *Cloud) CreateTargetGroup(s TargetGroupSpec) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tg, err := c.newTargetGroup(s.Name, "HTTP", 80)
	if err != nil {
		return "", err
	}
	if err := tg.set(attributeDelay, strconv.Itoa(int(s.DeregistrationDelay/time.Second))); err != nil {
		return "", err
	}
	maps.Copy(tg.tags, s.Tags)
	return tg.arn, nil
}

// TargetState is a target as the verdict of a test wants it.
type TargetState struct {
	Group    string `json:"group"`
	Instance string `json:"instance"`
	State    string `json:"state"`
}

// Targets lists all targets, by target group and in the order of their registration.
func (c *Cloud) Targets() []TargetState {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	var out []TargetState
	for _, tg := range c.targetOrder {
		tg.settle(now)
		for _, t := range tg.targets {
			out = append(out, TargetState{Group: tg.name, Instance: t.id, State: tg.state(t, c.cfg.TargetDelay, now)})
		}
	}
	return out
}

func (c *Cloud) newTargetGroup(name, protocol string, port int32) (*targetGroup, error) {
	switch {
	case name == "" || len(name) > 32 || strings.Trim(name, "-") != name || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	}):
		return nil, validationError("Target group name '%s' must be 1 to 32 letters, digits and hyphens, and must not begin or end with a hyphen", name)
	case slices.ContainsFunc(c.targetOrder, func(tg *targetGroup) bool { return tg.name == name }):
		return nil, failf("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", name)
	case port < 1 || port > 65535:
		return nil, validationError("Port '%d' must be from 1 to 65535", port)
	}
	tg := &targetGroup{name: name, protocol: protocol, port: port, attributes: defaultAttributes(), tags: map[string]string{},
		arn: c.arn("elasticloadbalancing", "targetgroup/"+name+"/"+strings.TrimPrefix(c.newID("tg"), "tg-"))}
	c.targetGroups[tg.arn] = tg
	i, _ := slices.BinarySearchFunc(c.targetOrder, tg.arn, func(o *targetGroup, arn string) int { return cmp.Compare(o.arn, arn) })
	c.targetOrder = slices.Insert(c.targetOrder, i, tg)
	return tg, nil
}

// set changes an attribute.
func (tg *targetGroup) set(key, value string) error {
	if _, ok := tg.attributes[key]; !ok {
		return failf("InvalidConfigurationRequest", "Target group attribute key '%s' is not recognized", key)
	}
	if key == attributeDelay {
		if n, err := strconv.Atoi(value); err != nil || n < 0 || n > 3600 {
			return failf("InvalidConfigurationRequest", "'%s' must be between 0 and 3600, not '%s'", key, value)
		}
	}
	tg.attributes[key] = value
	return nil
}
