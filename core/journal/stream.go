package journal

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// maxInflated bounds what an object may unpack to: 32 KiB of events do not
// unpack to more than some hundred KiB.
const maxInflated = 64 << 20

// stream is a gzip file that grows: each add costs what it adds, and after each
// the whole is a valid file. (To compress the whole head anew for each Append
// would cost 5 ms of CPU a thousand times a minute.)
type stream struct {
	raw []byte
	out bytes.Buffer // deflated, up to a sync marker
	w   *flate.Writer
	crc uint32
}

// gzipHeader: deflate, no name, no time, an unknown system; see RFC 1952.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// emptyBlock ends a deflate stream at a byte's boundary: a last block, with
// fixed codes, that holds nothing.
var emptyBlock = []byte{0x03, 0x00}

func newStream() *stream {
	s := &stream{}
	s.w, _ = flate.NewWriter(&s.out, flate.DefaultCompression) // fails only for an unknown level
	return s
}

// add appends to the stream. What bytes returned before, and raw as it was,
// stay as they are.
func (s *stream) add(p []byte) {
	if len(p) == 0 {
		return
	}
	s.raw = append(s.raw, p...)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	_, _ = s.w.Write(p) // a buffer does not fail
	_ = s.w.Flush()
}

// bytes is the stream as a gzip file, in memory of its own.
func (s *stream) bytes() []byte {
	out := slices.Concat(gzipHeader, s.out.Bytes(), emptyBlock)
	out = binary.LittleEndian.AppendUint32(out, s.crc)
	return binary.LittleEndian.AppendUint32(out, uint32(len(s.raw)))
}

// inflate unpacks a gzip file.
func inflate(p []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return nil, fmt.Errorf("its events are not gzip: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err != nil {
		return nil, fmt.Errorf("its events cannot be unpacked: %w", err)
	}
	if len(raw) > maxInflated {
		return nil, fmt.Errorf("its events unpack to more than %d bytes", maxInflated)
	}
	return raw, nil
}
