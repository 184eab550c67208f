package sim

import (
	"fmt"
	"slices"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// Groups that surge by detaching, as drivers/kops does. An instance that was
// taken out is one more than the group keeps by itself, and counts in Desired,
// as that driver reports it.

// detached are the instances that were taken out of the group and run.
func (g *group) detached() []*instance {
	return slices.DeleteFunc(g.live(), func(in *instance) bool { return in.State != model.InstanceDetached })
}

// members are the instances that the group itself counts.
func (g *group) members() []*instance {
	return slices.DeleteFunc(g.live(), func(in *instance) bool { return in.State == model.InstanceDetached })
}

// takeOut takes instances out of the group, one act each, those that are going
// first. Who died in between finds by their number how many are missing.
func (w *World) takeOut(g *group, rotation string, e engine.Effect) []act {
	one := func() *engine.Error {
		if err := w.holder(g, rotation); err != nil {
			return err
		}
		now := len(g.detached())
		switch {
		case g.Traits.MaxSurge < e.Surge:
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("group %s can have a surge of %d", g.Name, g.Traits.MaxSurge)}
		case e.Surge < now:
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("group %s has %d detached instances, which do not go back", g.Name, now)}
		case e.Surge == now:
			return nil
		}
		in := g.toDetach(e.Going)
		if in == nil {
			return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("group %s has no instance in service to detach", g.Name)}
		}
		in.State = model.InstanceDetached
		g.Desired++
		g.ours++
		w.reconcile(g)
		return nil
	}
	return slices.Repeat([]act{one}, max(e.Surge, 1))
}

// toDetach picks an instance in service: one that is going, else an outdated one.
func (g *group) toDetach(going []string) *instance {
	fits := func(in *instance) bool { return in != nil && in.State == model.InstanceInService }
	for _, id := range going {
		if in := g.find(id); fits(in) {
			return in
		}
	}
	for _, in := range g.members() {
		if fits(in) && in.outdated() {
			return in
		}
	}
	return nil
}

// terminateDetaching ends an instance; only one that was taken out takes its
// capacity along, and it always does.
func (w *World) terminateDetaching(g *group, rotation string, e engine.Effect) []act {
	return []act{func() *engine.Error {
		if err := w.holder(g, rotation); err != nil {
			return err
		}
		in := g.find(e.InstanceID)
		if in == nil {
			return nil
		}
		if e.Shrink && in.State != model.InstanceDetached {
			return &engine.Error{Code: engine.ErrPermanent, Message: "instance " + in.ID + " is counted by its group, which cannot be made smaller with it"}
		}
		w.end(in, byUs)
		return nil
	}}
}
