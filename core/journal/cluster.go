package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// Bounds of what is written, in bytes of an object's data.
const (
	// maxHead bounds the head. Each Append writes half of it on average: with
	// some 4,000 Appends, a rotation of 5,000 nodes costs etcd about 64 MiB of
	// writes over its hours.
	maxHead = 32 << 10
	// maxPiece bounds the lines in one chunk before compression. Below
	// etcd's limit of 1.5 MiB for a request and the API server's of 1 MiB for a
	// ConfigMap even where nothing compresses.
	maxPiece = 640 << 10
	// maxEvent bounds one line, so that each fits a chunk. Events are a few
	// hundred bytes.
	maxEvent = 512 << 10
	// maxChunks bounds a rotation's chunks, so that no loop of retries can fill
	// etcd: 2,000 times 32 KiB are 64 MiB, forty times what 5,000 nodes need.
	maxChunks = 2000
	// openTries bounds how often Open starts again because the head changed
	// under it, or the API server did not answer.
	openTries = 5
	// openPause between those tries, doubled each time.
	openPause = 250 * time.Millisecond
	// headTries bounds how often one Append follows a head whose version changed
	// but not its content: somebody labelled it.
	headTries = 3
)

// Object is one named value of the cluster with a version.
type Object struct {
	Name   string
	Labels map[string]string
	Data   map[string][]byte
	// Immutable: nobody can update it; it can only be deleted.
	Immutable bool
	// Version of the content, opaque; set by the server.
	Version string
}

// Objects is the port to where the cluster keeps objects. Errors are ErrNoObject,
// ErrConflict, for what may pass by itself a *TransientError (after which it is
// not known whether a change was made), or final.
type Objects interface {
	Get(ctx context.Context, name string) (Object, error)
	// Create answers the new object's version, or ErrConflict if one has the name.
	Create(ctx context.Context, o Object) (version string, err error)
	// Update replaces the content of the object that still has o.Version, and
	// answers the new version. Otherwise it answers ErrConflict, or ErrNoObject.
	Update(ctx context.Context, o Object) (version string, err error)
	// List returns all objects that carry all these labels.
	List(ctx context.Context, labels map[string]string) ([]Object, error)
	// Delete deletes all objects that carry all these labels; none is fine.
	Delete(ctx context.Context, labels map[string]string) error
	// Where names the place for a person: "namespace rotator-system".
	Where() string
}

// Errors of Objects.
var (
	ErrNoObject = errors.New("no such object")
	ErrConflict = errors.New("the object was changed by somebody else")
)

// Labels of our objects.
const (
	LabelPart     = model.Prefix + "journal"  // head or chunk
	LabelRotation = model.Prefix + "rotation" // the rotation's id, or what stands for it
	partHead      = "head"
	partChunk     = "chunk"
)

// Keys of an object's data.
const (
	keyHeader = "header.json"
	keyEvents = "events.jsonl.gz"
)

// Cluster is the store in the cluster.
type Cluster struct {
	Objects Objects
	// Fence is the fencing number of the lock that the writer holds; 0: none.
	Fence int64
	// Writer names the writer for a person: host and process.
	Writer string
}

var _ Store = Cluster{}

// header is what a head says beside its events. A chunk has one too, for
// people; what is trusted of a chunk is its name.
type header struct {
	Format   int    `json:"format"`
	Rotation string `json:"rotation"`
	Cluster  string `json:"cluster,omitempty"`
	Spec     string `json:"spec,omitempty"`
	// Fence and Writer are of the last that opened it; Token tells its life from
	// all others.
	Fence  int64  `json:"fence"`
	Writer string `json:"writer,omitempty"`
	Token  string `json:"token"`

	Started  time.Time `json:"started,omitzero"`
	Modified time.Time `json:"modified,omitzero"`
	Status   string    `json:"status"`
	Events   int       `json:"events"`

	// Chunks counts the chunks before this head, and Last is the digest of the
	// last one.
	Chunks int    `json:"chunks"`
	Last   string `json:"last,omitempty"`
	// Stored is the size of those chunks.
	Stored int64 `json:"stored,omitempty"`
	// Sum is over this header without it and the events' bytes.
	Sum string `json:"sum"`
}

// format of the objects. Another one is refused.
const format = 1

// Open implements Store.
func (c Cluster) Open(ctx context.Context, rotation string) (Log, error) {
	if err := checkID(rotation); err != nil {
		return nil, err
	}
	token := make([]byte, 8)
	_, _ = rand.Read(token) // never fails, see crypto/rand
	l := &clusterLog{store: c, token: hex.EncodeToString(token), rotation: rotation}
	var err error
	pause := openPause
	for range openTries {
		err = l.open(ctx)
		if err == nil {
			return l, nil
		}
		if !Transient(err) && !errors.Is(err, ErrConflict) {
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("open the journal of %s: %w", rotation, ctx.Err())
		case <-timer.C:
		}
		pause *= 2
	}
	return nil, fmt.Errorf("open the journal of %s in %s: %w", rotation, c.Objects.Where(), err)
}

// List implements Store.
func (c Cluster) List(ctx context.Context) ([]Entry, error) {
	heads, err := c.Objects.List(ctx, map[string]string{LabelPart: partHead})
	if err != nil {
		return nil, fmt.Errorf("list journals in %s: %w", c.Objects.Where(), err)
	}
	var list []Entry
	for _, o := range heads {
		h, _, err := readHead(o)
		e := Entry{Rotation: h.Rotation, Cluster: h.Cluster, Spec: h.Spec, Started: h.Started, Modified: h.Modified, Status: h.Status,
			Events: h.Events, Size: h.Stored + size(o), Where: c.Objects.Where() + ", " + o.Name}
		if err != nil {
			e.Problem = err.Error()
			if e.Rotation == "" {
				e.Rotation = o.Labels[LabelRotation]
			}
		}
		list = append(list, e)
	}
	newestFirst(list)
	return list, nil
}

// Read implements Store.
func (c Cluster) Read(ctx context.Context, rotation string) ([]event.Event, error) {
	if err := checkID(rotation); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRotation, err)
	}
	// A writer may move the head's events into a chunk between the two looks; a
	// chunk that is missing then is there a moment later.
	var err error
	for range 2 {
		var s *stored
		if s, err = c.load(ctx, rotation); err == nil {
			if s == nil {
				return nil, fmt.Errorf("rotation %s in %s: %w", rotation, c.Objects.Where(), ErrNoRotation)
			}
			return s.events, nil
		}
		if _, corrupt := errors.AsType[*CorruptError](err); !corrupt {
			break
		}
	}
	return nil, err
}

// Prune implements Store. The caller holds the lock, so that no other journal is
// open.
func (c Cluster) Prune(ctx context.Context, keep int, open string) error {
	list, err := c.List(ctx)
	if err != nil || len(list) <= keep {
		return err
	}
	for _, e := range list[keep:] {
		if e.Rotation == open {
			continue
		}
		// Chunks first: what a crash leaves is then still listed, and goes next time.
		for _, part := range []string{partChunk, partHead} {
			if err := c.Objects.Delete(ctx, map[string]string{LabelPart: part, LabelRotation: slug(e.Rotation)}); err != nil {
				return fmt.Errorf("remove the old journal of %s: %w", e.Rotation, err)
			}
		}
	}
	return nil
}

// stored is a journal as it was read.
type stored struct {
	head   Object
	header header
	raw    []byte // lines of the head alone
	events []event.Event
	groups uint64
}

// load reads a rotation and checks all of it; nil: there is none.
func (c Cluster) load(ctx context.Context, rotation string) (*stored, error) {
	objects, err := c.Objects.List(ctx, map[string]string{LabelRotation: slug(rotation)})
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s in %s: %w", rotation, c.Objects.Where(), err)
	}
	s := &stored{}
	chunks := map[string]Object{}
	found := false
	for _, o := range objects {
		switch o.Labels[LabelPart] {
		case partHead:
			s.head, found = o, true
		case partChunk:
			chunks[o.Name] = o
		}
	}
	if !found {
		return nil, nil
	}
	where := func(name string) string { return c.Objects.Where() + ", " + name }
	if s.header, s.raw, err = readHead(s.head); err != nil {
		return nil, &CorruptError{Path: where(s.head.Name), Reason: err.Error()}
	}
	if s.header.Rotation != rotation {
		return nil, &CorruptError{Path: where(s.head.Name), Reason: fmt.Sprintf("it belongs to rotation %s, not to %s", s.header.Rotation, rotation)}
	}
	// From the last chunk back to the first: each names the one before.
	parts := make([][]byte, s.header.Chunks+1)
	parts[s.header.Chunks] = s.raw
	last := s.header.Last
	for n := s.header.Chunks; n > 0; n-- {
		name := chunkName(rotation, n, last)
		o, ok := chunks[name]
		if !ok {
			return nil, &CorruptError{Path: where(name), Reason: "this chunk is missing"}
		}
		prev, raw, err := readChunk(o)
		if err == nil && digest(prev, raw) != last {
			err = errors.New("its content does not match the digest in its name")
		}
		if err != nil {
			return nil, &CorruptError{Path: where(name), Reason: "this chunk is damaged: " + err.Error()}
		}
		parts[n-1], last = raw, prev
	}
	all := bytes.Join(parts, nil)
	content, err := scan(bytes.NewReader(all), where(s.head.Name))
	if corrupt, ok := errors.AsType[*CorruptError](err); ok {
		return nil, &CorruptError{Path: corrupt.Path, Reason: fmt.Sprintf("line %d of its events: %s", corrupt.Line, corrupt.Reason)}
	}
	if err == nil && content.size != int64(len(all)) {
		// Nothing here can be torn: an update is whole or was not made.
		err = &CorruptError{Path: where(s.head.Name), Reason: "its last group of events is not whole"}
	}
	if err != nil {
		return nil, err
	}
	s.events, s.groups = content.events, content.groups
	return s, nil
}

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

// take notes what a listing says.
func (h *header) take(events []event.Event) {
	e := Entry{Status: h.Status, Started: h.Started, Cluster: h.Cluster, Spec: h.Spec, Events: h.Events}
	e.take(events)
	h.Status, h.Started, h.Cluster, h.Spec, h.Events = e.Status, e.Started, e.Cluster, e.Spec, e.Events
	h.Modified = events[len(events)-1].Time
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

// sum is over the header without its sum, and the events' bytes.
func (h header) sum(blob []byte) string {
	h.Sum = ""
	raw, _ := json.Marshal(h) // no value here can fail
	d := sha256.New()
	d.Write(raw)
	d.Write(blob)
	return hex.EncodeToString(d.Sum(nil)[:16])
}

// readHead takes a head apart. The header is returned, as far as it can be
// read, with an error too.
func readHead(o Object) (header, []byte, error) {
	var h header
	if err := json.Unmarshal(o.Data[keyHeader], &h); err != nil {
		return header{}, nil, fmt.Errorf("its header cannot be read: %w", err)
	}
	if h.Format != format {
		return h, nil, fmt.Errorf("it has format %d, this rotator knows %d", h.Format, format)
	}
	blob := o.Data[keyEvents]
	if h.Sum != h.sum(blob) {
		return h, nil, errors.New("its content does not match its digest")
	}
	if h.Chunks < 0 || h.Chunks > maxChunks {
		return h, nil, fmt.Errorf("it names %d chunks", h.Chunks)
	}
	raw, err := inflate(blob)
	return h, raw, err
}

type chunkHeader struct {
	Format   int    `json:"format"`
	Rotation string `json:"rotation"`
	Number   int    `json:"number"`             // from 1
	Previous string `json:"previous,omitempty"` // digest of the chunk before
}

func readChunk(o Object) (previous string, raw []byte, err error) {
	var h chunkHeader
	if err := json.Unmarshal(o.Data[keyHeader], &h); err != nil {
		return "", nil, fmt.Errorf("its header cannot be read: %w", err)
	}
	if h.Format != format {
		return "", nil, fmt.Errorf("it has format %d, this rotator knows %d", h.Format, format)
	}
	raw, err = inflate(o.Data[keyEvents])
	return h.Previous, raw, err
}

// digest of a chunk: its lines and the digest of the chunk before.
func digest(previous string, raw []byte) string {
	d := sha256.New()
	fmt.Fprintf(d, "%s\n", previous)
	d.Write(raw)
	return hex.EncodeToString(d.Sum(nil)[:16])
}

func headName(rotation string) string { return "rotator." + slug(rotation) }

func chunkName(rotation string, number int, digest string) string {
	return fmt.Sprintf("%s.%05d.%s", headName(rotation), number, digest)
}

// plain are ids that can be a label's value and a part of a name as they are.
var plain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// slug stands for the rotation's id in names and labels: itself where that is
// allowed, else what is allowed of it and a digest.
func slug(rotation string) string {
	if plain.MatchString(rotation) {
		return rotation
	}
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(rotation))
	sum := sha256.Sum256([]byte(rotation))
	return strings.Trim(s[:min(len(s), 40)], "-") + "-" + hex.EncodeToString(sum[:8])
}

func checkID(rotation string) error {
	if !idPattern.MatchString(rotation) {
		return fmt.Errorf("rotation id %q: only letters, digits, dot, underscore and dash are allowed, at most 128, and a letter or digit first", rotation)
	}
	return nil
}

// size of an object's data.
func size(o Object) int64 {
	var n int64
	for k, v := range o.Data {
		n += int64(len(k) + len(v))
	}
	return n
}

func sameData(a, b Object) bool { return maps.EqualFunc(a.Data, b.Data, slices.Equal) }
