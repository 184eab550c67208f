package aws

import (
	"maps"
	"slices"
	"time"
)

// Machine is what the cluster side needs to know of an instance. It is a copy: nothing in it changes later.
type Machine struct {
	ID, Zone, Region, InstanceType, ImageID, PrivateDNSName, PrivateIP string
	// Group is the Auto Scaling group that launched it, "" for an instance of its own.
	Group      string
	Tags       map[string]string
	LaunchTime time.Time
	// State is the EC2 state: pending, running, shutting-down, terminated.
	State string
	// BootDelay is this machine's own, faults included.
	BootDelay time.Duration
	// Labels and Taints are those with which its kubelet registers, given by a managed node group.
	Labels map[string]string
	Taints []NodeTaint
	// Architecture is its image's: x86_64 or arm64.
	Architecture string
	// Kubernetes is the version of the kubelet in its image, for instance 1.37.2; "": not known.
	Kubernetes string
	// NeverJoins says that the kubelet never registers, NeverReady that it registers and never gets Ready.
	NeverJoins, NeverReady bool
}

// Hooks are told what becomes of machines. They are called without locks held, one at a time and in order for each
// machine, and may block briefly (time does not pass meanwhile). They may call the Cloud's methods, except Tick. An
// instance that is terminated while still pending is Stopping and Terminated without ever having been Running.
type Hooks struct {
	// Running: the instance is running; its boot begins.
	Running func(Machine)
	// Stopping: shutting-down; the machine's kubelet stops now.
	Stopping func(Machine)
	// Terminated: gone; a cloud controller removes its Node.
	Terminated func(Machine)
}

type hookCall struct {
	f func(Machine)
	m Machine
}

func (h hookCall) run() { h.f(h.m) }

func (c *Cloud) tell(f func(Machine), i *instance) {
	if f != nil {
		c.hookQueue = append(c.hookQueue, hookCall{f: f, m: c.machine(i)})
	}
}

func (c *Cloud) machine(i *instance) Machine {
	kubernetes, architecture := "", ""
	if img := c.images[i.imageID]; img != nil {
		kubernetes, architecture = img.kubernetes, img.architecture
	}
	return Machine{
		Labels: maps.Clone(i.identity.labels), Taints: slices.Clone(i.identity.taints), Kubernetes: kubernetes, Architecture: architecture,
		ID: i.id, Zone: i.zone, Region: c.cfg.Region, InstanceType: i.instanceType, ImageID: i.imageID,
		PrivateDNSName: i.privateDNSName, PrivateIP: i.privateIP, Group: i.group, Tags: maps.Clone(i.tags),
		LaunchTime: i.launchTime, State: i.state.name, BootDelay: i.bootDelay, NeverJoins: i.neverJoins, NeverReady: i.neverReady,
	}
}

// Machines lists the instances that EC2 still shows, in the order of their launch.
func (c *Cloud) Machines() []Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Machine, 0, len(c.order))
	for _, i := range c.order {
		out = append(out, c.machine(i))
	}
	return out
}

// Machine looks an instance up by id.
func (c *Cloud) Machine(id string) (Machine, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.instances[id]
	if !ok {
		return Machine{}, false
	}
	return c.machine(i), true
}

// GroupState is a copy of an Auto Scaling group's state, for those who judge a run from outside.
type GroupState struct {
	Name              string            `json:"name"`
	Min               int               `json:"min"`
	Max               int               `json:"max"`
	Desired           int               `json:"desired"`
	Suspended         []string          `json:"suspended,omitempty"` // processes, sorted
	ProtectsNew       bool              `json:"newInstancesProtectedFromScaleIn"`
	Tags              map[string]string `json:"tags,omitempty"`
	DesiredImage      string            `json:"desiredImage,omitempty"`   // what a launch would use now; "" when it would fail
	DesiredVersion    int64             `json:"desiredVersion,omitempty"` // the launch template version that a launch would use now
	Instances         []MemberState     `json:"instances,omitempty"`      // in the order of their launch
	LaunchTemplate    string            `json:"launchTemplate,omitempty"` // name
	ConfiguredVersion string            `json:"configuredVersion,omitempty"`
}

// MemberState is one instance of a GroupState.
type MemberState struct {
	ID        string `json:"id"`
	Zone      string `json:"zone"`
	State     string `json:"lifecycleState"`
	Healthy   bool   `json:"healthy"`
	Protected bool   `json:"protectedFromScaleIn"`
	ImageID   string `json:"imageId"`
	Version   int64  `json:"launchTemplateVersion,omitempty"`
}

// Groups reads the state of all groups, sorted by name.
func (c *Cloud) Groups() []GroupState {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]GroupState, 0, len(c.groupOrder))
	for _, g := range c.groupOrder {
		s := GroupState{
			Name: g.name, Min: g.min, Max: g.max, Desired: g.desired, ProtectsNew: g.protectNew,
			Suspended: slices.Sorted(maps.Keys(g.suspended)), Tags: map[string]string{},
		}
		for _, t := range g.tags {
			s.Tags[t.Key] = t.Value
		}
		if spec := g.source.templateSpec(); spec != nil {
			s.LaunchTemplate, s.ConfiguredVersion = spec.LaunchTemplateName, spec.Version
		}
		if r, err := c.resolveSource(g.source); err == nil {
			s.DesiredImage, s.DesiredVersion = r.imageID, r.versionNumber()
		}
		for _, m := range g.members {
			s.Instances = append(s.Instances, MemberState{
				ID: m.inst.id, Zone: m.inst.zone, State: m.state, Healthy: m.healthy, Protected: m.protected,
				ImageID: m.inst.imageID, Version: m.inst.versionNumber(),
			})
		}
		out = append(out, s)
	}
	return out
}
