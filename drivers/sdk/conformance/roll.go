package conformance

import (
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

func (s *subject) roll(op *proto.Op) {
	s.Helper()
	r, err := s.driver.Roll(s.Context(), &proto.RollRequest{Op: op, GroupId: s.c.Group})
	s.accepted("Roll", err, r.GetOperation())
}

// outdated counts the instances of the group that are to be replaced.
func (s *subject) outdated(o snapshot) int {
	n := 0
	for _, i := range o.instances {
		if i.GetGroupId() == s.c.Group && len(i.GetReasons()) > 0 {
			n++
		}
	}
	return n
}

// testRoll: one call is one roll, in this life of the driver and the next; a roll
// in flight is attached to; its end is seen, and that nothing is outdated then.
func testRoll(s *subject) {
	s.configure()
	before := s.take()
	s.needs("roll", before.GetTraits().GetRoll())
	if s.outdated(s.observe()) == 0 {
		s.Skipf("group %s has no outdated instance", s.c.Group)
	}
	if before.GetTraits().GetPrepare() {
		_, err := s.driver.Roll(s.Context(), &proto.RollRequest{Op: s.op(rotationB), GroupId: s.c.Group})
		s.refused("Roll by another rotation", err, codes.Aborted)
	}
	op := s.op(rotationA)
	s.roll(op)
	var first *proto.RollStatus
	s.eventually("the roll is shown", func(o snapshot) bool {
		first = o.groups[s.c.Group].GetRoll()
		return first.GetId() != ""
	})
	if id := first.GetOpId(); id != "" && id != op.GetId() {
		s.Errorf("the roll's op_id is %q, want %q or none", id, op.GetId())
	}
	same := func(what string) {
		s.Helper()
		if now := s.group().GetRoll(); now.GetId() != first.GetId() {
			s.Errorf("%s: the group shows roll %q, want %q", what, now.GetId(), first.GetId())
		}
	}
	s.roll(op)
	same("after the same call again")
	s.restart()
	same("in another life of the driver")
	s.roll(op)
	same("after the same call in another life")
	if s.group().GetRoll().GetState() == proto.RollState_ROLL_STATE_RUNNING {
		s.roll(s.op(rotationA))
		same("after another call while it runs")
	}
	s.eventually("the roll ends", func(o snapshot) bool {
		return o.groups[s.c.Group].GetRoll().GetState() != proto.RollState_ROLL_STATE_RUNNING
	})
	o := s.observe()
	if state := o.groups[s.c.Group].GetRoll().GetState(); state != proto.RollState_ROLL_STATE_SUCCEEDED {
		s.Errorf("the roll ends as %v: %v", state, o.groups[s.c.Group].GetRoll().GetDiagnostics())
	}
	s.eventually("nothing is outdated", func(o snapshot) bool { return s.outdated(o) == 0 })
	s.roll(op)
	same("after the same call once it has ended")
}
