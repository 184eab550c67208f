package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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
