package aws

import (
	"cmp"
	"slices"
	"time"
)

// The lifecycle states of an instance in a group ("Amazon EC2 Auto Scaling instance lifecycle").
const (
	lifecyclePending            = "Pending"
	lifecyclePendingWait        = "Pending:Wait"
	lifecyclePendingProceed     = "Pending:Proceed"
	lifecycleInService          = "InService"
	lifecycleTerminating        = "Terminating"
	lifecycleTerminatingWait    = "Terminating:Wait"
	lifecycleTerminatingProceed = "Terminating:Proceed"
	lifecycleTerminated         = "Terminated"
	lifecycleDetaching          = "Detaching"
	lifecycleDetached           = "Detached"
	lifecycleEnteringStandby    = "EnteringStandby"
	lifecycleStandby            = "Standby"
)

// The transitions that a lifecycle hook can be put on.
const (
	transitionLaunching   = "autoscaling:EC2_INSTANCE_LAUNCHING"
	transitionTerminating = "autoscaling:EC2_INSTANCE_TERMINATING"
)

// The results of a lifecycle action.
const (
	resultContinue = "CONTINUE"
	resultAbandon  = "ABANDON"
)

// LifecycleHook holds instances in a :Wait state until its action is completed or times out.
type LifecycleHook struct {
	LifecycleHookName     string
	AutoScalingGroupName  string
	LifecycleTransition   string
	NotificationTargetARN string
	RoleARN               string
	NotificationMetadata  string
	HeartbeatTimeout      *int32 // seconds, 30 to 7200, default 3600
	GlobalTimeout         *int32 // seconds, set by AWS: 48 hours or 100 times the heartbeat timeout, whichever is smaller
	DefaultResult         string // default ABANDON
}

// hookWait is one instance waiting for one hook.
type hookWait struct {
	hook     *LifecycleHook
	token    string
	until    time.Time // when the wait times out; never after latest
	latest   time.Time // the global timeout: no heartbeat extends beyond
	complete string    // the result, once it is known
}

// advanceMember moves one member through its lifecycle as far as it goes now.
func (c *Cloud) advanceMember(g *group, m *member, now time.Time) {
	switch m.state {
	case lifecyclePending:
		if m.inst.state == stateRunning {
			c.enterWait(g, m, transitionLaunching, now)
		}
	case lifecyclePendingProceed:
		m.state = lifecycleInService
		m.activity.end(activitySuccessful, "", now)
	case lifecyclePendingWait, lifecycleTerminatingWait:
		c.advanceWait(g, m, now)
	case lifecycleTerminatingProceed:
		if c.drains(g, m, now) {
			return
		}
		c.terminateInstance(m.inst, m.inst.endedBy, "User initiated", now)
		m.state = lifecycleTerminating
		c.advanceMember(g, m, now) // an instance that was gone before has nothing left to wait for
	case lifecycleDetaching, lifecycleEnteringStandby:
		c.advanceLeaving(m, now)
	case lifecycleTerminating:
		if m.inst.state == stateTerminated {
			m.state = lifecycleTerminated
			m.activity.end(activitySuccessful, "", now)
		}
	}
}

// enterWait puts a member into the :Wait state of its next hook, or lets it proceed when none is left.
func (c *Cloud) enterWait(g *group, m *member, transition string, now time.Time) {
	wait, proceed := lifecyclePendingWait, lifecyclePendingProceed
	if transition == transitionTerminating {
		wait, proceed = lifecycleTerminatingWait, lifecycleTerminatingProceed
	}
	for _, h := range g.hooks {
		if h.LifecycleTransition != transition || slices.Contains(m.passed, h.LifecycleHookName) {
			continue
		}
		m.state = wait
		m.wait = &hookWait{
			hook: h, token: c.newUUID(), until: now.Add(seconds(h.HeartbeatTimeout)), latest: now.Add(seconds(h.GlobalTimeout)),
		}
		m.activity.step(activityMidHook, 50)
		return
	}
	m.wait = nil
	m.state = proceed
	m.activity.step(activityInProgress, 60)
	c.advanceMember(g, m, now)
}

// advanceWait ends the wait for a hook that was completed, timed out (its default result holds then) or deleted.
// For an instance that terminates, ABANDON and CONTINUE both end it; ABANDON skips the hooks that are left. A launch
// that is abandoned terminates the instance, and the group launches another.
func (c *Cloud) advanceWait(g *group, m *member, now time.Time) {
	w := m.wait
	if w.complete == "" && !now.Before(w.until) {
		w.complete = w.hook.DefaultResult
	}
	if w.complete == "" && !slices.Contains(g.hooks, w.hook) {
		w.complete = w.hook.DefaultResult // "any outstanding lifecycle actions are completed first" with the default
	}
	if w.complete == "" {
		return
	}
	m.wait = nil
	m.passed = append(m.passed, w.hook.LifecycleHookName)
	switch {
	case m.state == lifecycleTerminatingWait && w.complete == resultAbandon:
		m.state = lifecycleTerminatingProceed
		c.advanceMember(g, m, now)
	case m.state == lifecycleTerminatingWait:
		c.enterWait(g, m, transitionTerminating, now)
	case w.complete == resultAbandon:
		m.activity.end(activityCancelled, "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "+w.token+" was abandoned: "+
			"Lifecycle Action Completed with ABANDON Result", now)
		c.beginTerminate(g, m, byAbandonedLaunch, "At "+stamp(now)+" an instance was taken out of service in response to a launch that was abandoned.", now)
		// It goes without the hooks of termination: the instance never was in service.
		m.wait, m.state = nil, lifecycleTerminatingProceed
	default:
		c.enterWait(g, m, transitionLaunching, now)
	}
}

// beginTerminate takes a member out of service. Its EC2 instance keeps running while hooks hold it.
func (c *Cloud) beginTerminate(g *group, m *member, by, cause string, now time.Time) *Activity {
	m.inst.endedBy = cmp.Or(m.inst.endedBy, by)
	if m.activity != nil && !m.activity.ended() {
		m.activity.end(activityCancelled, "The instance was terminated before it was in service.", now)
	}
	wasInService := m.state == lifecycleInService
	c.noteEnd(m.inst, now)
	c.leaveBalancers(g, m, now)
	m.activity = c.begin(g, "Terminating EC2 instance: "+m.inst.id, cause, activityInProgress, m.inst.zone, now)
	m.passed = nil
	m.state = lifecycleTerminating
	g.coolUntil = now.Add(time.Duration(g.cooldown) * time.Second)
	if wasInService && !m.inst.gone() {
		c.enterWait(g, m, transitionTerminating, now)
		return m.activity
	}
	m.wait = nil
	m.state = lifecycleTerminatingProceed
	c.advanceMember(g, m, now)
	return m.activity
}

func seconds(n *int32) time.Duration { return time.Duration(deref(n)) * time.Second }
