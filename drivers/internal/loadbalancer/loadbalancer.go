// Package loadbalancer takes instances of Auto Scaling groups out of their load
// balancers before their drain, waits for their connections to end, and puts
// back those that stay: what the drivers for AWS share.
//
// Load balancers go by the ids that Auto Scaling groups carry: the ARN of a
// target group, the name of a classic load balancer. What was taken out is
// recorded as tags of the instance BEFORE it is deregistered, and nothing else
// is put back.
package loadbalancer

import (
	"context"
	"slices"
	"strings"

	"github.com/rotatord/rotator/drivers/sdk"
)

// State is where an instance is with a load balancer.
type State int

const (
	Out     State = iota // not registered, or nothing is sent there
	Leaving              // deregistered, and its connections have not ended
	In                   // registered, healthy or not
)

// Kind is what one kind of load balancer is asked. A load balancer that is gone
// has no instance, which is no failure but of Register.
type Kind interface {
	// State is that of one instance.
	State(ctx context.Context, id, instance string) (State, *Failure)
	// States are those of all instances that are not Out. members are those of the
	// groups behind the load balancer, for a kind that tells of instances by name
	// only.
	States(ctx context.Context, id string, members []string) (map[string]State, *Failure)
	// Deregister begins to take an instance out; one that is out is success.
	Deregister(ctx context.Context, id, instance string) *Failure
	// Register puts an instance in, also one that is leaving; one that is in is
	// success.
	Register(ctx context.Context, id, instance string) *Failure
}

// Failure is a call that AWS refused. Drivers classify the error, each in its
// own words.
type Failure struct {
	Action string // as in a policy: "elasticloadbalancing:DeregisterTargets"
	Object string // what was acted on
	Err    error
}

// Client acts on load balancers with the credentials of one configuration.
type Client struct {
	EC2          EC2
	TargetGroups Kind
	Classic      Kind // nil: the driver has none to do with
	Memory       *Memory
	// Changed is called once after each change, failed ones included.
	Changed func()
}

// Group is an Auto Scaling group behind load balancers.
type Group struct {
	Name      string   // at Auto Scaling
	Called    string   // how the driver calls it to a person
	Balancers []string // ids
	Members   []string // instances that may be registered, those that were detached included
	// Ending tells whether an instance is not to be put back: it has ended, is
	// about to, or was taken out of the group.
	Ending func(instance string) bool
}

func (c *Client) kind(id string) Kind {
	if isARN(id) {
		return c.TargetGroups
	}
	return c.Classic
}

// Quiesce deregisters an instance from those of the load balancers that it is
// in. The operation runs while connections end: Leaving tells when they have.
func (c *Client) Quiesce(ctx context.Context, r sdk.InstanceRequest, balancers []string) (*sdk.Operation, *Failure) {
	var in, leaving []string
	for _, id := range balancers {
		state, failure := c.kind(id).State(ctx, id, r.InstanceID)
		switch {
		case failure != nil:
			return nil, failure
		case state == Leaving:
			leaving = append(leaving, id)
		case state == In:
			in = append(in, id)
		}
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	for _, id := range leaving {
		c.Memory.stir(id)
	}
	if len(in) > 0 {
		defer c.Changed()
		// A repeated call adds to the record and takes nothing from it.
		if failure := c.record(ctx, r, in); failure != nil {
			return nil, failure
		}
	}
	for _, id := range in {
		c.Memory.leave(id, r.InstanceID)
		if failure := c.kind(id).Deregister(ctx, id, r.InstanceID); failure != nil {
			return nil, failure
		}
	}
	if leaving = append(leaving, in...); len(leaving) > 0 {
		return &sdk.Operation{State: sdk.OperationRunning, Phase: phase(leaving)}, nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Phase: "out of its load balancers"}, nil
}

// Restore puts back what the records on a group's instances say: of one of them,
// or of all where only is empty. A load balancer that the group has left
// meanwhile is left out, with a diagnostic. Each record goes after what it
// describes. What was done before a failure stays done.
func (c *Client) Restore(ctx context.Context, g Group, only string) (diags []sdk.Diagnostic, failure *Failure) {
	if len(g.Balancers) == 0 {
		return nil, nil
	}
	records, failure := c.records(ctx, g.Name, only)
	if failure != nil {
		return nil, failure
	}
	if len(records) > 0 {
		defer c.Changed()
	}
	for _, rec := range records {
		if g.Ending(rec.instance) {
			continue // the record goes with it
		}
		for _, id := range rec.from {
			if !slices.Contains(g.Balancers, id) {
				diags = append(diags, detached(rec.instance, id, g.Called))
				continue
			}
			if failure := c.kind(id).Register(ctx, id, rec.instance); failure != nil {
				return diags, failure
			}
			c.Memory.back(id, rec.instance)
		}
		if failure := c.drop(ctx, rec); failure != nil {
			return diags, failure
		}
	}
	return diags, nil
}

// detached says that an instance is not put back.
func detached(instance, id, group string) sdk.Diagnostic {
	what := noun(id) + " " + Name(id)
	return sdk.Diagnostic{
		Severity: sdk.SeverityInfo, Code: strings.ReplaceAll(noun(id), " ", "-") + "-detached", Object: Name(id),
		Summary: "instance " + instance + " is not put back into " + what + ": group " + group + " is not attached to it any more",
		Detail:  "Register the instance there by hand if it is to be there.",
	}
}

func isARN(id string) bool { return strings.HasPrefix(id, "arn:") }

func noun(id string) string {
	if isARN(id) {
		return "target group"
	}
	return "load balancer"
}

// Name is how people call a load balancer: NAME of arn:...:targetgroup/NAME/ID.
func Name(id string) string {
	if parts := strings.Split(id, "/"); len(parts) == 3 {
		return parts[1]
	}
	return id
}

// phase says what is waited for.
func phase(ids []string) string {
	names := map[string][]string{}
	for _, id := range ids {
		names[noun(id)] = append(names[noun(id)], Name(id))
	}
	var kinds []string
	for _, kind := range []string{"target group", "load balancer"} {
		if list := names[kind]; len(list) > 0 {
			slices.Sort(list)
			kinds = append(kinds, kind+" "+joinAnd(list))
		}
	}
	return "draining connections of " + strings.Join(kinds, " and of ")
}

func joinAnd(names []string) string {
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " and " + names[n]
	}
	return names[0]
}
