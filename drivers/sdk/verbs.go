package sdk

import "github.com/rotatord/rotator/drivers/sdk/proto"

// verbs lists what d implements, in the order of the protocol.
func verbs(d Driver) []proto.Verb {
	var list []proto.Verb
	add := func(ok bool, v proto.Verb) {
		if ok {
			list = append(list, v)
		}
	}
	add(implements[Preparer](d), proto.Verb_VERB_PREPARE)
	add(implements[Surger](d), proto.Verb_VERB_SET_SURGE)
	add(implements[Terminator](d), proto.Verb_VERB_TERMINATE)
	add(implements[Quiescer](d), proto.Verb_VERB_QUIESCE)
	add(implements[Reimager](d), proto.Verb_VERB_REIMAGE)
	add(implements[Roller](d), proto.Verb_VERB_ROLL)
	add(implements[Stager](d), proto.Verb_VERB_STAGE)
	add(implements[Canceller](d), proto.Verb_VERB_CANCEL)
	add(implements[Accessor](d), proto.Verb_VERB_ACCESS)
	return list
}

func implements[T any](d Driver) bool {
	_, ok := d.(T)
	return ok
}

// honest clears the traits that need a verb which d does not implement.
func honest(d Driver, t Traits) Traits {
	if !implements[Terminator](d) {
		t.TerminateKeep, t.TerminateShrink = false, false
	}
	if !implements[Preparer](d) {
		t.Prepare = false
	}
	if !implements[Surger](d) {
		t.MaxSurge, t.SurgeDetaches = 0, false
	}
	if !implements[Quiescer](d) {
		t.Quiesce = false
	}
	if !implements[Reimager](d) {
		t.Reimage = false
	}
	if !implements[Roller](d) {
		t.Roll, t.RollPausable = false, false
	}
	if !implements[Stager](d) {
		t.Stage, t.StageTogether = false, false
	}
	if !implements[Roller](d) || !implements[Canceller](d) {
		t.RollCancellable = false
	}
	return t
}
