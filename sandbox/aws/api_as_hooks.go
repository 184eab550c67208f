package aws

import (
	"cmp"
	"slices"
	"time"
)

// The bounds of a hook, from the Auto Scaling API reference and quotas.
const (
	defaultHeartbeat = 3600         // seconds
	maxGlobalTimeout = 48 * 60 * 60 // seconds: an instance waits 48 hours at most, or 100 times the heartbeat
	maxHooks         = 50           // for each group
)

type putHookInput struct {
	AutoScalingGroupName  string
	LifecycleHookName     string
	LifecycleTransition   string
	RoleARN               string
	NotificationTargetARN string
	NotificationMetadata  string
	HeartbeatTimeout      *int32
	DefaultResult         string
}

func (c *Cloud) putLifecycleHook(in *putHookInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	return &struct{}{}, g.putHook(LifecycleHook{
		LifecycleHookName: in.LifecycleHookName, LifecycleTransition: in.LifecycleTransition, RoleARN: in.RoleARN,
		NotificationTargetARN: in.NotificationTargetARN, NotificationMetadata: in.NotificationMetadata,
		HeartbeatTimeout: in.HeartbeatTimeout, DefaultResult: in.DefaultResult,
	})
}

// putHook adds a hook, or changes what is given of one that exists. Instances that wait already keep their timeouts.
func (g *group) putHook(h LifecycleHook) error {
	i, found := slices.BinarySearchFunc(g.hooks, h.LifecycleHookName, func(a *LifecycleHook, name string) int { return cmp.Compare(a.LifecycleHookName, name) })
	h.AutoScalingGroupName = g.name
	if found {
		old := g.hooks[i]
		h.LifecycleTransition = cmp.Or(h.LifecycleTransition, old.LifecycleTransition)
		h.HeartbeatTimeout = cmp.Or(h.HeartbeatTimeout, old.HeartbeatTimeout)
		h.DefaultResult = cmp.Or(h.DefaultResult, old.DefaultResult)
		h.RoleARN = cmp.Or(h.RoleARN, old.RoleARN)
		h.NotificationTargetARN = cmp.Or(h.NotificationTargetARN, old.NotificationTargetARN)
		h.NotificationMetadata = cmp.Or(h.NotificationMetadata, old.NotificationMetadata)
	}
	h.HeartbeatTimeout = cmp.Or(h.HeartbeatTimeout, ptr(int32(defaultHeartbeat)))
	h.DefaultResult = cmp.Or(h.DefaultResult, resultAbandon)
	h.GlobalTimeout = ptr(min(int32(maxGlobalTimeout), *h.HeartbeatTimeout*100))
	switch {
	case h.LifecycleHookName == "":
		return validationError("1 validation error detected: Value null at 'lifecycleHookName' failed to satisfy constraint: Member must not be null")
	case h.LifecycleTransition != transitionLaunching && h.LifecycleTransition != transitionTerminating:
		return validationError("Lifecycle transition %q is not valid: give %s or %s", h.LifecycleTransition, transitionLaunching, transitionTerminating)
	case h.DefaultResult != resultContinue && h.DefaultResult != resultAbandon:
		return validationError("Default result %q is not valid: give CONTINUE or ABANDON", h.DefaultResult)
	case *h.HeartbeatTimeout < 30 || *h.HeartbeatTimeout > 7200:
		return validationError("Heartbeat timeout must be between 30 and 7200 seconds, not %d", *h.HeartbeatTimeout)
	case g.warmPool != nil && h.LifecycleTransition == transitionLaunching:
		return validationError("the simulated AWS does not run the hooks of a launch for instances of a warm pool")
	case !found && len(g.hooks) >= maxHooks:
		return failf("LimitExceeded", "The group has %d lifecycle hooks already", maxHooks)
	}
	if found {
		*g.hooks[i] = h
		return nil
	}
	g.hooks = slices.Insert(g.hooks, i, &h)
	return nil
}

type hookInput struct {
	AutoScalingGroupName string
	LifecycleHookName    string
}

// deleteLifecycleHook removes a hook; instances that wait for it go on with its default result.
func (c *Cloud) deleteLifecycleHook(in *hookInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if g.hook(in.LifecycleHookName) == nil {
		return nil, validationError("No Lifecycle Hook found with name %s", in.LifecycleHookName)
	}
	g.hooks = slices.DeleteFunc(g.hooks, func(h *LifecycleHook) bool { return h.LifecycleHookName == in.LifecycleHookName })
	return &struct{}{}, nil
}

func (g *group) hook(name string) *LifecycleHook {
	for _, h := range g.hooks {
		if h.LifecycleHookName == name {
			return h
		}
	}
	return nil
}

type describeHooksInput struct {
	AutoScalingGroupName string
	LifecycleHookNames   []string
}

type describeHooksOutput struct {
	LifecycleHooks []LifecycleHook
}

func (c *Cloud) describeLifecycleHooks(in *describeHooksInput) (*describeHooksOutput, error) {
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	out := &describeHooksOutput{LifecycleHooks: []LifecycleHook{}}
	for _, h := range g.hooks {
		if len(in.LifecycleHookNames) == 0 || slices.Contains(in.LifecycleHookNames, h.LifecycleHookName) {
			out.LifecycleHooks = append(out.LifecycleHooks, *h)
		}
	}
	return out, nil
}

type lifecycleActionInput struct {
	AutoScalingGroupName  string
	LifecycleHookName     string
	LifecycleActionToken  string
	LifecycleActionResult string
	InstanceID            string `q:"InstanceId"`
}

// waiting finds the wait that a call means, by token or by instance id.
func (c *Cloud) waiting(in *lifecycleActionInput) (*hookWait, error) {
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if g.hook(in.LifecycleHookName) == nil {
		return nil, validationError("No Lifecycle Hook found with name %s", in.LifecycleHookName)
	}
	if in.InstanceID == "" && in.LifecycleActionToken == "" {
		return nil, validationError("Either a LifecycleActionToken or an InstanceId must be given")
	}
	for _, m := range g.members {
		w := m.wait
		if w == nil || w.hook.LifecycleHookName != in.LifecycleHookName || w.complete != "" {
			continue
		}
		if (in.InstanceID == "" || in.InstanceID == m.inst.id) && (in.LifecycleActionToken == "" || in.LifecycleActionToken == w.token) {
			return w, nil
		}
	}
	if in.LifecycleActionToken != "" {
		return nil, validationError("No active Lifecycle Action found with token %s", in.LifecycleActionToken)
	}
	return nil, validationError("No active Lifecycle Action found with instance ID %s", in.InstanceID)
}

// completeLifecycleAction ends a wait; the group goes on in its next round.
func (c *Cloud) completeLifecycleAction(in *lifecycleActionInput) (*struct{}, error) {
	if in.LifecycleActionResult != resultContinue && in.LifecycleActionResult != resultAbandon {
		return nil, validationError("Lifecycle action result %q is not valid: give CONTINUE or ABANDON", in.LifecycleActionResult)
	}
	w, err := c.waiting(in)
	if err != nil {
		return nil, err
	}
	w.complete = in.LifecycleActionResult
	return &struct{}{}, nil
}

type heartbeatInput struct {
	AutoScalingGroupName string
	LifecycleHookName    string
	LifecycleActionToken string
	InstanceID           string `q:"InstanceId"`
}

// recordLifecycleActionHeartbeat lets a wait begin its heartbeat timeout anew; the global timeout holds.
func (c *Cloud) recordLifecycleActionHeartbeat(in *heartbeatInput) (*struct{}, error) {
	w, err := c.waiting(&lifecycleActionInput{
		AutoScalingGroupName: in.AutoScalingGroupName, LifecycleHookName: in.LifecycleHookName,
		LifecycleActionToken: in.LifecycleActionToken, InstanceID: in.InstanceID,
	})
	if err != nil {
		return nil, err
	}
	w.until = c.now().Add(seconds(w.hook.HeartbeatTimeout))
	if w.until.After(w.latest) {
		w.until = w.latest
	}
	return &struct{}{}, nil
}

// LaunchConfiguration is what groups launched from before launch templates; AWS still knows those that exist.
type LaunchConfiguration struct {
	LaunchConfigurationName  string
	LaunchConfigurationARN   string
	ImageID                  string `q:"ImageId" x:"ImageId"`
	InstanceType             string
	KeyName                  string
	SecurityGroups           []string
	UserData                 string
	IamInstanceProfile       string
	CreatedTime              time.Time `q:"-"`
	EbsOptimized             bool
	AssociatePublicIPAddress *bool `q:"AssociatePublicIpAddress" x:"AssociatePublicIpAddress"`
}
