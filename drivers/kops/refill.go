package kops

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/blang/semver/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kopsbase "k8s.io/kops"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"

	"github.com/rotatord/rotator/drivers/sdk"
)

// On clouds without groups of their own a deleted machine comes back when the
// cluster is applied. The driver does that, as kops' rolling update does, in the
// call that deletes. So the goal of such a call is two things: the machine is
// gone, and its group has its size. Sent again after a crash in between, it does
// what is missing; Prepare and Restore see to the size as well, for a rotation
// that nobody resumed where it stood.

// applyWithin bounds one deletion with all that follows it. kops' tasks are tried
// for minutes (maxTaskDuration), a deletion on DigitalOcean takes up to five.
const applyWithin = 30 * time.Minute

// maxJobs bounds the deletions under way, in one life of the driver.
const maxJobs = 32

// mayApply tells whether this library may apply a cluster; nil: it may. Another
// minor version would change it beyond what was asked for, an upgrade that nobody
// decided on; and kops refuses to apply what a newer patch release applied, which
// must be known before a machine is deleted.
func (s *spec) mayApply() *sdk.Diagnostic {
	refuse := func(code, detail, summary string, args ...any) *sdk.Diagnostic {
		diag := finding(sdk.SeverityError, code, s.cluster.Name, detail, summary, args...)
		return &diag
	}
	const otherwise = "On this cloud a deleted machine comes back only when the cluster is applied. "
	v, err := semver.ParseTolerant(s.version)
	lib, _ := semver.ParseTolerant(kopsbase.Version)
	switch {
	case s.cluster.Spec.Target != nil && s.cluster.Spec.Target.Terraform != nil:
		return refuse("cluster-of-terraform", otherwise+"Replace its machines with kops and Terraform.",
			"cluster %s is applied by Terraform, which this driver does not run", s.cluster.Name)
	case err != nil:
		return refuse("cluster-not-applied", otherwise+"Apply it once with kops update cluster --yes.",
			"nothing says which kops applied cluster %s", s.cluster.Name)
	case v.Major != lib.Major || v.Minor != lib.Minor || v.GT(lib):
		return refuse("kops-version-differs", otherwise+fmt.Sprintf("Apply the cluster with kops %d.%d once its upgrade is wanted, or use the rotator that is made for kops %d.%d, or kops rolling-update cluster of that version.", lib.Major, lib.Minor, v.Major, v.Minor),
			"cluster %s was applied by kops %s, and this driver would apply it as kops %s", s.cluster.Name, s.version, kopsbase.Version)
	}
	return nil
}

// jobs are the deletions under way, by cluster and instance: a call that is sent
// again while the first still works waits for it, and does not begin another.
type jobs struct {
	mu    sync.Mutex
	under map[string]*job
}

type job struct {
	done chan struct{} // closed at the end
	err  error         // valid then
}

// do runs f as the job of that name, or waits for the one that is under way. f
// goes on after ctx: its caller comes back.
func (j *jobs) do(ctx context.Context, name string, f func(context.Context) error) error {
	j.mu.Lock()
	on := j.under[name]
	if on == nil {
		if len(j.under) >= maxJobs {
			j.mu.Unlock()
			return sdk.Errorf(codes.ResourceExhausted, "%d deletions are under way already", maxJobs)
		}
		on = &job{done: make(chan struct{})}
		if j.under == nil {
			j.under = map[string]*job{}
		}
		j.under[name] = on
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyWithin)
		go func() {
			defer cancel()
			_, on.err = guard(func() (struct{}, error) { return struct{}{}, f(within) })
			j.mu.Lock()
			delete(j.under, name)
			j.mu.Unlock()
			close(on.done)
		}()
	}
	j.mu.Unlock()
	select {
	case <-on.done:
		return on.err
	case <-ctx.Done():
		return sdk.Errorf(codes.DeadlineExceeded, "it goes on: the call is to be sent again")
	}
}

// endAndRefill deletes a machine where there still is one, and then brings its
// group to its size.
func (d *Driver) endAndRefill(ctx context.Context, g *target, r sdk.TerminateRequest, i *cloudinstances.CloudInstance) *sdk.TerminateResult {
	if diag := g.mayApply(); diag != nil {
		return refused(*diag)
	}
	if r.DryRun {
		return gone("dry run: nothing was changed")
	}
	defer d.view.changed()
	err := d.jobs.do(ctx, g.cluster.Name+"/"+r.InstanceID, func(ctx context.Context) error {
		// One after the other: each applies the whole cluster.
		unlock, err := d.changing.lock(ctx, g.cluster.Name)
		if err != nil {
			return err
		}
		defer unlock()
		if i != nil {
			if err := g.cloud.DeleteInstance(i); err != nil {
				return fmt.Errorf("deleting the instance: %w", err)
			}
			d.view.changed()
		}
		return d.refill(ctx, g)
	})
	if err != nil {
		if status.Code(err) == codes.DeadlineExceeded {
			diag := finding(sdk.SeverityWarning, "cloud-timeout", r.InstanceID, "The call is sent again, and waits for it.",
				"instance %s is being deleted, and its group brought back to its size", r.InstanceID)
			diag.Retry = sdk.RetryLater
			return notEnded(diag)
		}
		return notEnded(diagnose("replacing the instance", r.InstanceID, err))
	}
	return gone("deleted, and the cluster applied")
}

// refill applies the cluster if the group lacks machines. The caller has locked
// the cluster.
func (d *Driver) refill(ctx context.Context, g *target) error {
	_, s, err := d.configured()
	if err != nil {
		return err
	}
	// Read now: what applies must be what is specified, and applying changes its copy.
	now, err := d.spec(ctx, s, g.cluster.Name, 0)
	if err != nil {
		return err
	}
	if diag := now.mayApply(); diag != nil {
		return sdk.Errorf(codes.FailedPrecondition, "%s: %s. %s", diag.Code, diag.Summary, diag.Detail)
	}
	if now.group(g.name) == nil {
		return nil // it was deleted from the specification meanwhile
	}
	look := &inventory{spec: now, cloud: g.cloud}
	groups, err := d.cloudGroups(ctx, look, []*kopsapi.InstanceGroup{now.group(g.name)})
	if err != nil {
		return err
	}
	look.groups = groups
	machines, err := d.machines(ctx, look)
	if err != nil {
		return err
	}
	group, n := groups[g.name], 0
	for _, i := range slices.Concat(group.Ready, group.NeedUpdate) {
		if machines[i.ID].state != sdk.InstanceTerminating {
			n++
		}
	}
	if n >= group.TargetSize {
		return nil
	}
	defer d.view.changed()
	if _, err := d.update(s, ctx, now, g.cloud, nil, true); err != nil {
		return fmt.Errorf("applying cluster %s, so that instance group %s has %d machines and not %d: %w", now.cluster.Name, g.name, group.TargetSize, n, err)
	}
	return nil
}

// complete brings a group to its size, where nobody else does: what a run that
// was cut off between a deletion and what follows it has left.
func (d *Driver) complete(ctx context.Context, g *target) *sdk.Diagnostic {
	if !refillsByApplying(g.cluster.GetCloudProvider()) || g.mayApply() != nil {
		return nil
	}
	err := d.jobs.do(ctx, g.cluster.Name+"/"+g.name+"/size", func(ctx context.Context) error {
		unlock, err := d.changing.lock(ctx, g.cluster.Name)
		if err != nil {
			return err
		}
		defer unlock()
		return d.refill(ctx, g)
	})
	if err != nil {
		diag := diagnose("bringing the group to its size", g.name, err)
		return &diag
	}
	return nil
}
