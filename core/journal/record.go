package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/rotatord/rotator/core/event"
)

// maxLine bounds one line in bytes. An event is a few hundred bytes; a line
// beyond this is damage, and reading must not follow it into memory.
const maxLine = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is one line: an event and its place in its group.
type record struct {
	Group uint64      `json:"group"`
	Line  int         `json:"line"` // from 1
	Of    int         `json:"of"`   // lines in the group
	Event event.Event `json:"event"`
}

// The envelope's fixed parts. Writing and reading it by hand keeps the
// checksummed bytes exactly those on the disk; the line as a whole is JSON all
// the same, for people with jq.
const (
	envCRC = `{"crc32c":"`
	envLen = `","len":`
)

// appendLine appends the record's line, newline included.
func appendLine(buf []byte, r record) ([]byte, error) {
	obj, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode event %d: %w", r.Event.Seq, err)
	}
	body := obj[1 : len(obj)-1]
	start := len(buf)
	buf = fmt.Appendf(buf, "%s%08x%s%d,", envCRC, crc32.Checksum(body, castagnoli), envLen, len(body))
	buf = append(buf, body...)
	buf = append(buf, '}', '\n')
	if n := len(buf) - start; n > maxLine {
		return nil, fmt.Errorf("event %d (%s) takes %d bytes, the limit is %d", r.Event.Seq, r.Event.Kind, n, maxLine)
	}
	return buf, nil
}

// parseLine reads a line without its newline. The error says what is wrong
// with it.
func parseLine(line []byte) (record, error) {
	rest, ok := bytes.CutPrefix(line, []byte(envCRC))
	if !ok || len(rest) < 8 {
		return record{}, fmt.Errorf("no checksum")
	}
	sum, err := strconv.ParseUint(string(rest[:8]), 16, 32)
	if err != nil {
		return record{}, fmt.Errorf("checksum is not hexadecimal")
	}
	rest, ok = bytes.CutPrefix(rest[8:], []byte(envLen))
	if !ok {
		return record{}, fmt.Errorf("no length")
	}
	digits, body, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return record{}, fmt.Errorf("no event")
	}
	n, err := strconv.ParseUint(string(digits), 10, 31)
	if err != nil {
		return record{}, fmt.Errorf("length is not a number")
	}
	body, ok = bytes.CutSuffix(body, []byte("}"))
	if !ok || uint64(len(body)) != n {
		return record{}, fmt.Errorf("%d bytes where the line says %d", len(body), n)
	}
	if got := crc32.Checksum(body, castagnoli); uint64(got) != sum {
		return record{}, fmt.Errorf("checksum %08x where the line says %08x", got, sum)
	}
	obj := make([]byte, 0, len(body)+2)
	obj = append(obj, '{')
	obj = append(obj, body...)
	obj = append(obj, '}')
	var r record
	if err := json.Unmarshal(obj, &r); err != nil {
		return record{}, fmt.Errorf("decode: %w", err)
	}
	if r.Group == 0 || r.Line < 1 || r.Line > r.Of {
		return record{}, fmt.Errorf("line %d of %d in group %d", r.Line, r.Of, r.Group)
	}
	return r, nil
}
