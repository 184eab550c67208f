package sdk

import (
	"crypto/sha256"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// maxOps bounds the memory of the ledger, at about 150 bytes each: more than
// twenty operations for each of 5,000 nodes. Beyond it the oldest are
// forgotten, and with them only a check that guards against a caller's bug.
const maxOps = 1 << 17

// ledger remembers which operation an id stands for, within one life of the
// driver, so that the same id with another body is refused. It decides nothing
// else: that a call is safe to repeat is the driver's to see to.
type ledger struct {
	max int

	mu    sync.Mutex
	known map[string][sha256.Size]byte
	order []string // ring of ids, oldest at next once it is full
	next  int
}

func newLedger(max int) *ledger {
	return &ledger{max: max, known: map[string][sha256.Size]byte{}}
}

// check refuses an id that was used for another body. The body is the method
// and the whole request. Dry runs are not checked and not remembered: a dry run
// and the call that follows it may share an id.
func (l *ledger) check(id, method string, body proto.Message) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return Errorf(codes.Internal, "operation %s: marshal the request: %v", id, err)
	}
	sum := sha256.Sum256(append([]byte(method+"\x00"), raw...))

	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.known[id]; ok {
		if old != sum {
			return Errorf(codes.AlreadyExists, "operation %s: this id was sent with another body; a new goal needs a new id", id)
		}
		return nil
	}
	if len(l.order) < l.max {
		l.order = append(l.order, id)
	} else {
		delete(l.known, l.order[l.next])
		l.order[l.next] = id
		l.next = (l.next + 1) % l.max
	}
	l.known[id] = sum
	return nil
}
