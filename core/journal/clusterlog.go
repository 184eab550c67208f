package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// clusterLog is one open journal.
type clusterLog struct {
	store    Cluster
	rotation string
	token    string

	mu     sync.Mutex
	past   []event.Event
	head   Object // as it was last written or read, with its version
	header header
	stream *stream
	groups uint64
	seq    uint64
	// pending is an Append that is not settled: it may be durable or not.
	pending *pending
	broken  error
}

// pending is what one Append writes: chunks, then the head.
type pending struct {
	first, last uint64 // sequence numbers
	chunks      []Object
	head        Object
	header      header
	stream      *stream
}

// open reads the journal, or makes it, and puts our name on its head.
func (l *clusterLog) open(ctx context.Context) error {
	s, err := l.store.load(ctx, l.rotation)
	if err != nil {
		return err
	}
	h := header{Format: format, Rotation: l.rotation, Status: Unfinished}
	raw := []byte(nil)
	if s != nil {
		h, raw = s.header, s.raw
		if h.Fence > l.store.Fence {
			return fmt.Errorf("rotation %s: its journal was written under fencing number %d by %s, ours is %d: %w",
				l.rotation, h.Fence, h.Writer, l.store.Fence, ErrTakenOver)
		}
		l.past, l.groups, l.seq = s.events, s.groups, lastSeq(s.events, nil)
	}
	h.Fence, h.Writer, h.Token = l.store.Fence, l.store.Writer, l.token
	h.Modified = time.Now().UTC().Truncate(time.Millisecond)
	l.stream = newStream()
	l.stream.add(raw)
	l.header = h
	o := l.object(&l.header, l.stream)
	var version string
	if s == nil {
		version, err = l.store.Objects.Create(ctx, o)
	} else {
		o.Version = s.head.Version
		version, err = l.store.Objects.Update(ctx, o)
	}
	if err != nil {
		// An answer that was lost is no harm: the next try finds our own name there.
		if errors.Is(err, ErrNoObject) {
			err = ErrConflict // deleted meanwhile: start again
		}
		return fmt.Errorf("take the journal of %s in %s: %w", l.rotation, l.store.Objects.Where(), err)
	}
	o.Version = version
	l.head = o
	return nil
}

// Past implements Log.
func (l *clusterLog) Past() []event.Event { return l.past }

// Append implements Log.
func (l *clusterLog) Append(ctx context.Context, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	p := l.pending
	first, last := events[0].Seq, events[len(events)-1].Seq
	switch {
	case p == nil:
		var err error
		if p, err = l.prepare(events); err != nil {
			return fmt.Errorf("journal of %s: %w", l.rotation, err)
		}
		l.pending = p
	case p.first != first || p.last != last:
		return fmt.Errorf("journal of %s: events %d to %d follow events %d to %d, of which it is not known whether they are durable",
			l.rotation, first, last, p.first, p.last)
	}
	if err := l.write(ctx, p); err != nil {
		err = fmt.Errorf("journal of %s in %s: %w", l.rotation, l.store.Objects.Where(), err)
		if !Transient(err) && ctx.Err() == nil {
			l.broken = err
		}
		return err
	}
	l.pending = nil
	l.header, l.stream = p.header, p.stream
	l.groups++
	l.seq = last
	return nil
}

// prepare makes the objects that an Append writes, and adds the events to the
// stream; an error before that changes nothing.
func (l *clusterLog) prepare(events []event.Event) (*pending, error) {
	p := &pending{first: events[0].Seq, last: events[len(events)-1].Seq, header: l.header}
	var lines [][]byte
	seq := l.seq
	for i, e := range events {
		if e.Seq <= seq {
			return nil, fmt.Errorf("event %d comes after event %d", e.Seq, seq)
		}
		seq = e.Seq
		line, err := appendLine(nil, record{Group: l.groups + 1, Line: i + 1, Of: len(events), Event: e})
		if err != nil {
			return nil, err
		}
		if len(line) > maxEvent {
			return nil, fmt.Errorf("event %d (%s) takes %d bytes, the limit is %d", e.Seq, e.Kind, len(line), maxEvent)
		}
		lines = append(lines, line)
	}
	p.header.take(events)

	group := bytes.Join(lines, nil)
	before := l.stream.raw
	l.stream.add(group)
	p.stream = l.stream
	p.head = l.object(&p.header, p.stream)
	if size(p.head) <= maxHead {
		return p, nil
	}
	// The head is full: what it holds becomes a chunk, and the group follows in
	// the new head, or where it is too large for that in chunks of its own.
	if len(before) > 0 {
		p.chunk(l.rotation, before)
	}
	p.stream = newStream()
	p.stream.add(group)
	if p.head = l.object(&p.header, p.stream); size(p.head) > maxHead {
		var piece []byte
		for _, line := range lines {
			if len(piece) > 0 && len(piece)+len(line) > maxPiece {
				p.chunk(l.rotation, piece)
				piece = nil
			}
			piece = append(piece, line...)
		}
		p.chunk(l.rotation, piece)
		p.stream = newStream()
		p.head = l.object(&p.header, p.stream)
	}
	if p.header.Chunks > maxChunks {
		l.broken = fmt.Errorf("journal of %s: it has %d chunks, which is the limit: this is a bug in rotator, please report it", l.rotation, maxChunks)
		return nil, l.broken
	}
	return p, nil
}

// chunk adds a chunk with these lines, and makes the header name it.
func (p *pending) chunk(rotation string, raw []byte) {
	prev := p.header.Last
	p.header.Chunks++
	p.header.Last = digest(prev, raw)
	s := newStream()
	s.add(raw)
	// No time and no writer: who makes the same chunk again makes the same object.
	h, _ := json.Marshal(chunkHeader{Format: format, Rotation: rotation, Number: p.header.Chunks, Previous: prev}) // no value here can fail
	o := Object{
		Name:      chunkName(rotation, p.header.Chunks, p.header.Last),
		Labels:    map[string]string{LabelPart: partChunk, LabelRotation: slug(rotation)},
		Data:      map[string][]byte{keyHeader: h, keyEvents: s.bytes()},
		Immutable: true,
	}
	p.header.Stored += size(o)
	p.chunks = append(p.chunks, o)
}

// write makes p durable. It may be called again after a transient error.
func (l *clusterLog) write(ctx context.Context, p *pending) error {
	// Chunks BEFORE the head: a head never names a chunk that is not there.
	for len(p.chunks) > 0 {
		if err := l.create(ctx, p.chunks[0]); err != nil {
			return err
		}
		p.chunks = p.chunks[1:]
	}
	for range headTries {
		o := p.head
		o.Version = l.head.Version
		version, err := l.store.Objects.Update(ctx, o)
		if err == nil {
			o.Version = version
			l.head = o
			return nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNoObject) && !Transient(err) {
			return err
		}
		// Whether it was written is for the head to say.
		settled, serr := l.settle(ctx, o)
		if serr != nil {
			return serr
		}
		if settled {
			return nil
		}
		if Transient(err) {
			return err // not written, so far; the caller tries again
		}
	}
	return &TransientError{fmt.Errorf("%s changes all the time without changing its content: does somebody label it in a loop?", p.head.Name)}
}

// settle reads the head and tells whether it is o. If it is neither that nor
// what we wrote before, somebody else has it.
func (l *clusterLog) settle(ctx context.Context, o Object) (bool, error) {
	now, err := l.store.Objects.Get(ctx, o.Name)
	switch {
	case errors.Is(err, ErrNoObject):
		return false, fmt.Errorf("%s was deleted: %w", o.Name, ErrTakenOver)
	case err != nil:
		return false, err
	case sameData(now, o):
		l.head = now
		return true, nil
	case sameData(now, l.head):
		l.head.Version = now.Version
		return false, nil
	}
	h, _, err := readHead(now)
	if err != nil {
		return false, &CorruptError{Path: l.store.Objects.Where() + ", " + o.Name, Reason: err.Error()}
	}
	return false, fmt.Errorf("%s was written by %s with fencing number %d, ours is %d: %w", o.Name, h.Writer, h.Fence, l.store.Fence, ErrTakenOver)
}

// create makes a chunk; one that is there already is compared.
func (l *clusterLog) create(ctx context.Context, o Object) error {
	_, err := l.store.Objects.Create(ctx, o)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	there, err := l.store.Objects.Get(ctx, o.Name)
	if err != nil {
		return err
	}
	// Another version of rotator may have compressed the same lines otherwise.
	prev, raw, err := readChunk(there)
	if err != nil || chunkName(l.rotation, l.number(o), digest(prev, raw)) != o.Name {
		return &CorruptError{Path: l.store.Objects.Where() + ", " + o.Name, Reason: "another object has the name of this chunk: delete it"}
	}
	return nil
}

func (l *clusterLog) number(o Object) int {
	var h chunkHeader
	_ = json.Unmarshal(o.Data[keyHeader], &h) // our own bytes
	return h.Number
}

// Close implements Log.
func (l *clusterLog) Close(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = fmt.Errorf("journal of %s: it is closed", l.rotation)
	}
	return nil
}

// object makes the head, and sets the header's sum.
func (l *clusterLog) object(h *header, s *stream) Object {
	blob := s.bytes()
	h.Sum = h.sum(blob)
	raw, _ := json.Marshal(h) // no value here can fail
	return Object{
		Name:    headName(l.rotation),
		Labels:  map[string]string{LabelPart: partHead, LabelRotation: slug(l.rotation)},
		Data:    map[string][]byte{keyHeader: raw, keyEvents: blob},
		Version: l.head.Version,
	}
}
