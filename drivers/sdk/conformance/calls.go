package conformance

import "github.com/rotatord/rotator/drivers/sdk/proto"

// aCall sends a request that is complete, and harmless for a driver that
// refuses it or is not asked to change anything.
type aCall struct {
	name string
	call func(s *subject, op *proto.Op, group, instance string) error
}

// readsOf lists the calls of each verb that change nothing; of the cluster.
var readsOf = map[proto.Verb]func(s *subject, cluster string) error{
	proto.Verb_VERB_STAGE: func(s *subject, cluster string) error {
		_, err := s.driver.Releases(s.Context(), &proto.ReleasesRequest{Scope: &proto.Scope{Cluster: cluster}, Release: "latest"})
		return err
	},
	proto.Verb_VERB_ACCESS: func(s *subject, cluster string) error {
		_, err := s.driver.Access(s.Context(), &proto.AccessRequest{Cluster: cluster})
		return err
	},
}

// callsOf lists the changing calls of each verb.
var callsOf = map[proto.Verb][]aCall{
	proto.Verb_VERB_PREPARE: {
		{"Prepare", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.Prepare(s.Context(), &proto.PrepareRequest{Op: op, GroupId: group})
			return err
		}},
		{"Restore", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.Restore(s.Context(), &proto.RestoreRequest{Op: op, GroupId: group})
			return err
		}},
	},
	proto.Verb_VERB_SET_SURGE: {
		{"SetSurge", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.SetSurge(s.Context(), &proto.SetSurgeRequest{Op: op, GroupId: group, Surge: 1})
			return err
		}},
	},
	proto.Verb_VERB_TERMINATE: {
		{"Terminate", func(s *subject, op *proto.Op, group, instance string) error {
			_, err := s.driver.Terminate(s.Context(), &proto.TerminateRequest{
				Op: op, GroupId: group, InstanceId: instance, Capacity: proto.Capacity_CAPACITY_KEEP,
			})
			return err
		}},
	},
	proto.Verb_VERB_QUIESCE: {
		{"Quiesce", func(s *subject, op *proto.Op, group, instance string) error {
			_, err := s.driver.Quiesce(s.Context(), &proto.QuiesceRequest{Op: op, GroupId: group, InstanceId: instance})
			return err
		}},
		{"Unquiesce", func(s *subject, op *proto.Op, group, instance string) error {
			_, err := s.driver.Unquiesce(s.Context(), &proto.UnquiesceRequest{Op: op, GroupId: group, InstanceId: instance})
			return err
		}},
	},
	proto.Verb_VERB_REIMAGE: {
		{"Reimage", func(s *subject, op *proto.Op, group, instance string) error {
			_, err := s.driver.Reimage(s.Context(), &proto.ReimageRequest{Op: op, GroupId: group, InstanceId: instance})
			return err
		}},
	},
	proto.Verb_VERB_ROLL: {
		{"Roll", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.Roll(s.Context(), &proto.RollRequest{Op: op, GroupId: group})
			return err
		}},
	},
	proto.Verb_VERB_STAGE: {
		{"Stage", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.Stage(s.Context(), &proto.StageRequest{Op: op, GroupId: group, Release: "latest"})
			return err
		}},
	},
	proto.Verb_VERB_CANCEL: {
		{"Cancel", func(s *subject, op *proto.Op, group, _ string) error {
			_, err := s.driver.Cancel(s.Context(), &proto.CancelRequest{Op: op, GroupId: group, TargetId: "none"})
			return err
		}},
	},
}
