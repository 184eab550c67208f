package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
)

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

// take notes what a listing says.
func (h *header) take(events []event.Event) {
	e := Entry{Status: h.Status, Started: h.Started, Cluster: h.Cluster, Spec: h.Spec, Events: h.Events}
	e.take(events)
	h.Status, h.Started, h.Cluster, h.Spec, h.Events = e.Status, e.Started, e.Cluster, e.Spec, e.Events
	h.Modified = events[len(events)-1].Time
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

// size of an object's data.
func size(o Object) int64 {
	var n int64
	for k, v := range o.Data {
		n += int64(len(k) + len(v))
	}
	return n
}

func sameData(a, b Object) bool { return maps.EqualFunc(a.Data, b.Data, slices.Equal) }
