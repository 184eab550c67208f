package stack

import (
	"sync"
	"time"

	"github.com/rotatord/rotator/sandbox/aws"
)

// controlPlaneCut is how long the API server is out of reach once a machine of
// the control plane goes: what a load balancer or a change of DNS takes at best.
// It is short against what clients wait before they try again.
const controlPlaneCut = time.Second

// A quorum plays what a client notices of the machines of the control plane: its
// connections break when one of them goes, and nothing answers while half of
// them or fewer are there, because etcd has no majority then. The control plane
// of the sandbox runs on none of them.
//
// It is the network that faults act on, so that the way is open only when
// neither wants it closed.
type quorum struct {
	network
	size int                    // machines of the control plane; 0: none of ours
	is   func(aws.Machine) bool // tells them from others

	mu      sync.Mutex
	begun   bool // somebody may be connected
	fault   bool
	cuts    int                    // machines that went a moment ago
	members map[string]bool        // machines that have booted
	boots   map[string]*time.Timer // and those that will
}

func newQuorum(n network, size int, is func(aws.Machine) bool) *quorum {
	return &quorum{network: n, size: size, is: is, members: map[string]bool{}, boots: map[string]*time.Timer{}}
}

// hooks lets the quorum see machines before those that it is given do.
func (q *quorum) hooks(h aws.Hooks) aws.Hooks {
	running, stopping := h.Running, h.Stopping
	h.Running = func(m aws.Machine) {
		q.running(m)
		running(m)
	}
	h.Stopping = func(m aws.Machine) {
		q.stopping(m)
		stopping(m)
	}
	return h
}

// begin is called once all machines are there.
func (q *quorum) begin() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.begun = true
	return q.enforce()
}

// Refuse implements network for faults.
func (q *quorum) Refuse(on bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = on
	return q.enforce()
}

// enforce needs mu.
func (q *quorum) enforce() error {
	lost := q.begun && q.size > 0 && (q.cuts > 0 || 2*len(q.members) <= q.size)
	return q.network.Refuse(q.fault || lost)
}

func (q *quorum) running(m aws.Machine) {
	if !q.is(m) || m.NeverJoins {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.boots[m.ID] = time.AfterFunc(m.BootDelay, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.boots[m.ID] == nil {
			return // it went at this moment
		}
		delete(q.boots, m.ID)
		q.members[m.ID] = true
		_ = q.enforce() // whoever needs the way will tell
	})
}

func (q *quorum) stopping(m aws.Machine) {
	if !q.is(m) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if boot := q.boots[m.ID]; boot != nil {
		boot.Stop()
		delete(q.boots, m.ID)
	}
	if !q.members[m.ID] {
		return // nobody was connected to it
	}
	delete(q.members, m.ID)
	q.cuts++
	_ = q.enforce()
	time.AfterFunc(controlPlaneCut, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.cuts--
		_ = q.enforce()
	})
}
