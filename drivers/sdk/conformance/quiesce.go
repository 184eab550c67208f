package conformance

import (
	"google.golang.org/grpc/codes"
	pb "google.golang.org/protobuf/proto"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

func (s *subject) quiesce(instance string) *proto.Operation {
	s.Helper()
	r, err := s.driver.Quiesce(s.Context(), &proto.QuiesceRequest{Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: instance})
	s.accepted("Quiesce", err, r.GetOperation())
	return r.GetOperation()
}

func (s *subject) unquiesce(instance string) {
	s.Helper()
	r, err := s.driver.Unquiesce(s.Context(), &proto.UnquiesceRequest{Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: instance})
	s.accepted("Unquiesce", err, r.GetOperation())
}

// quiescing tells whether a snapshot shows the instance on its way out of its
// load balancers.
func quiescing(o snapshot, instance string) bool {
	return o.instances[instance].GetWork().GetVerb() == "quiesce"
}

func testQuiesce(s *subject) {
	s.configure()
	before := s.take()
	s.needs("quiesce", before.GetTraits().GetQuiesce())
	victim := s.victim()
	untouched := s.observe().instances[victim]
	s.unquiesce(victim) // without a record it is success
	running := s.quiesce(victim).GetState() == proto.OperationState_OPERATION_STATE_RUNNING
	if o := s.observe(); running && o.instances[victim].GetState() != proto.InstanceState_INSTANCE_STATE_IN_SERVICE {
		s.Errorf("instance %s is not in service after Quiesce: %v", victim, o.instances[victim])
	}
	s.quiesce(victim)
	s.restart()
	s.quiesce(victim)
	s.eventually("instance "+victim+" has left its load balancers", func(o snapshot) bool { return !quiescing(o, victim) })
	if op := s.quiesce(victim); op.GetState() != proto.OperationState_OPERATION_STATE_DONE {
		s.Errorf("Quiesce of an instance that has left its load balancers answers %v", op)
	}
	s.restart()
	for range 2 {
		s.unquiesce(victim)
	}
	s.eventually("instance "+victim+" is as it was", func(o snapshot) bool { return pb.Equal(o.instances[victim], untouched) })
	_, err := s.driver.Quiesce(s.Context(), &proto.QuiesceRequest{Op: s.op(rotationA), GroupId: s.c.Group, InstanceId: "no-such-instance"})
	s.refused("Quiesce of an instance that does not exist", err, codes.NotFound)
	if before.GetTraits().GetTerminateKeep() {
		s.terminate(victim, proto.Capacity_CAPACITY_KEEP, 0)
		s.gone(victim)
		s.unquiesce(victim) // nothing is left to be put back
	}
}

func testQuiesceRestored(s *subject) {
	s.configure()
	traits := s.group().GetTraits()
	s.needs("prepare and quiesce", traits.GetPrepare() && traits.GetQuiesce())
	s.restore(rotationA) // of an earlier test, where they share a provider
	before := s.group()
	s.prepare(rotationA)
	victim := s.victim()
	untouched := s.observe().instances[victim]
	_, err := s.driver.Quiesce(s.Context(), &proto.QuiesceRequest{Op: s.op(rotationB), GroupId: s.c.Group, InstanceId: victim})
	s.refused("Quiesce by another rotation", err, codes.Aborted)
	s.quiesce(victim)
	s.restart()
	s.restore(rotationA)
	s.eventually("instance "+victim+" is as it was", func(o snapshot) bool { return pb.Equal(o.instances[victim], untouched) })
	if after := s.group(); !pb.Equal(before, after) {
		s.Errorf("Restore did not put the group back:\nbefore %v\nafter  %v", before, after)
	}
}
