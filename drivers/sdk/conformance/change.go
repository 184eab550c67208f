package conformance

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	pb "google.golang.org/protobuf/proto"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Rotations that the tests play.
const (
	rotationA = "rot-conformance-a"
	rotationB = "rot-conformance-b"
)

func testIncomplete(s *subject) {
	s.configure()
	for _, v := range s.info().GetVerbs() {
		for _, c := range callsOf[v] {
			for name, op := range map[string]*proto.Op{
				"no op": nil, "no op.id": {RotationId: rotationA}, "no op.rotation_id": {Id: "x"},
			} {
				s.refused(c.name+" with "+name, c.call(s, op, s.c.Group, "i"), codes.InvalidArgument)
			}
			s.refused(c.name+" without group_id", c.call(s, s.op(rotationA), "", "i"), codes.InvalidArgument)
		}
	}
	if t := s.group().GetTraits(); t.GetTerminateKeep() || t.GetTerminateShrink() {
		_, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: s.victim()})
		s.refused("Terminate without capacity", err, codes.InvalidArgument)
	}
}

func testNoSuchGroup(s *subject) {
	s.configure()
	const none = "no-such-group"
	for _, v := range s.info().GetVerbs() {
		if v == proto.Verb_VERB_CANCEL { // work that is over, or never was, is success
			continue
		}
		for _, c := range callsOf[v] {
			if c.name == "Restore" || c.name == "Terminate" || c.name == "Unquiesce" {
				continue // a group that is gone has nothing left to undo or to end
			}
			s.refused(c.name+" of a group that does not exist", c.call(s, s.op(rotationA), none, "i"), codes.NotFound)
		}
	}
}

func testDryRun(s *subject) {
	s.configure()
	traits := s.group().GetTraits()
	victim := s.victim()
	before := s.observe()
	dry := func() *proto.Op {
		op := s.op(rotationA)
		op.DryRun = true
		return op
	}
	if traits.GetPrepare() {
		r, err := s.driver.Prepare(s.Context(), &proto.PrepareRequest{Op: dry(), GroupId: s.c.Group})
		s.accepted("Prepare", err, r.GetOperation())
	}
	if traits.GetMaxSurge() > 0 {
		r, err := s.driver.SetSurge(s.Context(), &proto.SetSurgeRequest{Op: dry(), GroupId: s.c.Group, Surge: 1})
		s.accepted("SetSurge", err, r.GetOperation())
	}
	for capacity, offered := range map[proto.Capacity]bool{
		proto.Capacity_CAPACITY_KEEP: traits.GetTerminateKeep(),
		// Where surge is made by detaching, what is in service cannot be shrunk.
		proto.Capacity_CAPACITY_SHRINK: traits.GetTerminateShrink() && !traits.GetSurgeDetaches(),
	} {
		if offered {
			r, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{Op: dry(), GroupId: s.c.Group, InstanceId: victim, Capacity: capacity})
			s.accepted("Terminate", err, r.GetInstance(), r.GetCapacity())
		}
	}
	if traits.GetQuiesce() {
		r, err := s.driver.Quiesce(s.Context(), &proto.QuiesceRequest{Op: dry(), GroupId: s.c.Group, InstanceId: victim})
		s.accepted("Quiesce", err, r.GetOperation())
	}
	if traits.GetReimage() {
		r, err := s.driver.Reimage(s.Context(), &proto.ReimageRequest{Op: dry(), GroupId: s.c.Group, InstanceId: victim})
		s.accepted("Reimage", err, r.GetOperation())
	}
	if traits.GetRoll() {
		r, err := s.driver.Roll(s.Context(), &proto.RollRequest{Op: dry(), GroupId: s.c.Group})
		s.accepted("Roll", err, r.GetOperation())
	}
	after := s.observe()
	if b, a := before.groups[s.c.Group], after.groups[s.c.Group]; !pb.Equal(b, a) {
		s.Errorf("dry runs changed the group:\nbefore %v\nafter  %v", b, a)
	}
	if b, a := before.instances[victim], after.instances[victim]; !pb.Equal(b, a) {
		s.Errorf("dry runs changed instance %s:\nbefore %v\nafter  %v", victim, b, a)
	}
}

func testOpID(s *subject) {
	s.configure()
	traits := s.group().GetTraits()
	switch {
	case traits.GetMaxSurge() > 0:
		op := s.op(rotationA)
		call := func(surge int32, dry bool) error {
			o := &proto.Op{Id: op.GetId(), RotationId: op.GetRotationId(), DryRun: dry}
			_, err := s.driver.SetSurge(s.Context(), &proto.SetSurgeRequest{Op: o, GroupId: s.c.Group, Surge: surge})
			return err
		}
		s.refused("a dry run", call(1, true), codes.OK)
		s.refused("the call itself, with the id of its dry run", call(0, false), codes.OK)
		s.refused("the same again", call(0, false), codes.OK)
		s.refused("another body with the same id", call(1, false), codes.AlreadyExists)
		s.refused("the first body again", call(0, false), codes.OK)
	case traits.GetTerminateKeep():
		op := s.op(rotationA)
		victim := s.victim()
		call := func(instance string) error {
			_, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{Op: op, GroupId: s.c.Group, InstanceId: instance, Capacity: proto.Capacity_CAPACITY_KEEP})
			return err
		}
		s.refused("the first call", call(victim), codes.OK)
		s.refused("another body with the same id", call(victim+"x"), codes.AlreadyExists)
		s.refused("the first body again", call(victim), codes.OK)
	default:
		s.Skip("the group offers neither surge nor terminate")
	}
}

func (s *subject) prepare(rotation string) {
	s.Helper()
	r, err := s.driver.Prepare(s.Context(), &proto.PrepareRequest{Op: s.op(rotation), GroupId: s.c.Group})
	s.accepted("Prepare", err, r.GetOperation())
}

func (s *subject) restore(rotation string) {
	s.Helper()
	r, err := s.driver.Restore(s.Context(), &proto.RestoreRequest{Op: s.op(rotation), GroupId: s.c.Group})
	s.accepted("Restore", err, r.GetOperation())
}

func testPrepare(s *subject) {
	s.configure()
	before := s.group()
	s.needs("prepare", before.GetTraits().GetPrepare())
	s.restore(rotationA) // without a record it is success
	s.prepare(rotationA)
	s.prepare(rotationA) // repeating re-asserts, and does not record what Prepare set
	s.restart()
	s.prepare(rotationA)
	if g := s.group(); g.GetHeldBy() != rotationA {
		s.Errorf("held_by is %q after Prepare by %s", g.GetHeldBy(), rotationA)
	}
	s.restore(rotationA)
	s.restore(rotationA)
	if after := s.group(); !pb.Equal(before, after) {
		s.Errorf("Restore did not put the group back:\nbefore %v\nafter  %v", before, after)
	}
}

func testPrepareHeld(s *subject) {
	s.configure()
	s.needs("prepare", s.group().GetTraits().GetPrepare())
	s.prepare(rotationA)
	_, err := s.driver.Prepare(s.Context(), &proto.PrepareRequest{Op: s.op(rotationB), GroupId: s.c.Group})
	s.refused("Prepare by another rotation", err, codes.Aborted)
	if !strings.Contains(status.Convert(err).Message(), rotationA) {
		s.Errorf("the refusal does not name the holder %s: %v", rotationA, err)
	}
	if g := s.group(); g.GetHeldBy() != rotationA {
		s.Errorf("held_by is %q after the refused Prepare, want %s", g.GetHeldBy(), rotationA)
	}
	s.restore(rotationA)
	s.prepare(rotationB)
	s.restore(rotationB)
}

func (s *subject) surge(n int32) {
	s.Helper()
	r, err := s.driver.SetSurge(s.Context(), &proto.SetSurgeRequest{
		Op: s.op(rotationA), GroupId: s.c.Group, Surge: n, Going: s.inService(s.observe()),
	})
	s.accepted("SetSurge", err, r.GetOperation())
}

// running counts the group's instances that carry pods: those in service, and
// those that were taken out of the group to make room.
func (s *subject) running(o snapshot) int { return len(s.inService(o)) + len(s.detached(o)) }

// detached returns the ids of the instances that were taken out of the group.
func (s *subject) detached(o snapshot) []string {
	var ids []string
	for id, i := range o.instances {
		if i.GetGroupId() == s.c.Group && i.GetState() == proto.InstanceState_INSTANCE_STATE_DETACHED {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// take prepares the group where it can be, as a rotation does first.
func (s *subject) take() *proto.NodeGroup {
	s.Helper()
	g := s.group()
	if g.GetTraits().GetPrepare() {
		s.prepare(rotationA)
	}
	return g
}

func testSurge(s *subject) {
	s.configure()
	before := s.take()
	s.needs("surge", before.GetTraits().GetMaxSurge() > 0)
	check := func(what string) {
		s.Helper()
		if g := s.group(); g.GetDesired() != before.GetDesired()+1 || g.GetSurge() != before.GetSurge()+1 {
			s.Errorf("%s: desired is %d, surge %d; want %d and %d", what, g.GetDesired(), g.GetSurge(), before.GetDesired()+1, before.GetSurge()+1)
		}
	}
	n := before.GetSurge() + 1
	s.surge(n)
	check("after SetSurge(+1)")
	s.surge(n)
	check("after the same goal again")
	s.restart()
	s.surge(n)
	check("after the same goal in another life")
	// A lower goal may be refused, or wait for Terminate to reach it. Either way
	// the capacity stays.
	_, err := s.driver.SetSurge(s.Context(), &proto.SetSurgeRequest{Op: s.op(rotationA), GroupId: s.c.Group, Surge: n - 1})
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		s.Errorf("SetSurge to a lower surge: %v", err)
	}
	if g := s.group(); g.GetDesired() < before.GetDesired()+1 {
		s.Errorf("SetSurge lowered desired to %d: the provider picks the victim then", g.GetDesired())
	}
	s.eventually("the surge instance is in service", func(o snapshot) bool {
		return s.running(o) > int(before.GetDesired())
	})
	if taken := s.detached(s.observe()); before.GetTraits().GetSurgeDetaches() && len(taken) != int(n) {
		s.Errorf("the group surges by detaching, and %d of its instances are detached with a surge of %d: %v", len(taken), n, taken)
	}
}

func (s *subject) terminate(instance string, capacity proto.Capacity, surge int32) {
	s.Helper()
	r, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{
		Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: instance, Capacity: capacity, Surge: surge,
	})
	s.accepted("Terminate", err, r.GetInstance(), r.GetCapacity())
}

func (s *subject) gone(instance string) {
	s.Helper()
	s.eventually("instance "+instance+" is gone", func(o snapshot) bool { return o.instances[instance] == nil })
}

func testTerminateKeep(s *subject) {
	s.configure()
	before := s.take()
	s.needs("terminate with capacity KEEP", before.GetTraits().GetTerminateKeep())
	victim := s.victim()
	for range 2 {
		s.terminate(victim, proto.Capacity_CAPACITY_KEEP, 0)
	}
	if i := s.observe().instances[victim]; i.GetState() == proto.InstanceState_INSTANCE_STATE_IN_SERVICE {
		s.Errorf("instance %s is still in service after Terminate was accepted", victim)
	}
	s.gone(victim)
	s.terminate(victim, proto.Capacity_CAPACITY_KEEP, 0) // gone already: success
	if g := s.group(); g.GetDesired() != before.GetDesired() {
		s.Errorf("desired is %d after Terminate with KEEP, want %d", g.GetDesired(), before.GetDesired())
	}
	if before.GetTraits().GetRefill() == proto.Refill_REFILL_GROUP || before.GetTraits().GetRefill() == proto.Refill_REFILL_DRIVER {
		s.eventually("the group is refilled", func(o snapshot) bool { return s.running(o) >= int(before.GetDesired()) })
	}
}

func testTerminateShrink(s *subject) {
	s.configure()
	before := s.take()
	traits := before.GetTraits()
	s.needs("terminate with capacity SHRINK and surge", traits.GetTerminateShrink() && traits.GetMaxSurge() > 0)
	s.surge(before.GetSurge() + 1)
	s.eventually("the surge instance is in service", func(o snapshot) bool { return s.running(o) > int(before.GetDesired()) })
	victim := s.victim()
	if traits.GetSurgeDetaches() {
		// What the group counts must not be ended with its capacity.
		r, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{
			Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: victim, Capacity: proto.Capacity_CAPACITY_SHRINK, Surge: before.GetSurge(),
		})
		if err == nil && r.GetInstance().GetState() != proto.OperationState_OPERATION_STATE_FAILED {
			s.Errorf("SHRINK of instance %s, which the group counts, is accepted: %v", victim, r)
		}
		victim = s.detached(s.observe())[0]
	}
	check := func(what string) {
		s.Helper()
		if g := s.group(); g.GetDesired() != before.GetDesired() || g.GetSurge() != before.GetSurge() {
			s.Errorf("%s: desired is %d, surge %d; want %d and %d", what, g.GetDesired(), g.GetSurge(), before.GetDesired(), before.GetSurge())
		}
	}
	shrink := func() { s.Helper(); s.terminate(victim, proto.Capacity_CAPACITY_SHRINK, before.GetSurge()) }
	shrink()
	check("after Terminate with SHRINK")
	shrink()
	check("after the same goal again")
	s.restart()
	shrink()
	check("after the same goal in another life")
	s.gone(victim)
	shrink()
	check("after the same goal once the instance is gone")
}

func testRestart(s *subject) {
	s.configure()
	before := s.take()
	traits := before.GetTraits()
	s.needs("terminate", traits.GetTerminateKeep())
	victim := s.victim()
	s.terminate(victim, proto.Capacity_CAPACITY_KEEP, 0)
	s.restart()
	if traits.GetPrepare() {
		if g := s.group(); g.GetHeldBy() != rotationA {
			s.Errorf("held_by is %q in the next life, want %s", g.GetHeldBy(), rotationA)
		}
	}
	// Either gone by now, or seen to be going.
	if i := s.observe().instances[victim]; i != nil && i.GetWork() == nil && i.GetState() != proto.InstanceState_INSTANCE_STATE_TERMINATING {
		s.Errorf("the next life does not see that %s is going: %v", victim, i)
	}
	s.gone(victim)
}

func testClose(s *subject) {
	s.configure()
	before := s.take()
	s.needs("terminate", before.GetTraits().GetTerminateKeep())
	victim := s.victim()
	s.terminate(victim, proto.Capacity_CAPACITY_KEEP, 0)
	s.end() // nobody is connected, nobody asks
	s.start()
	s.configure()
	s.gone(victim)
}
