package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rotatord/rotator/core/event"
)

// ReadDir returns the events of the journal file at path, oldest first. A
// group that was not written to its end is left out; the file is not changed.
// Damage before that is a *CorruptError.
func ReadDir(path string) ([]event.Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", explain(err, path))
	}
	defer f.Close()
	c, err := scan(f, path)
	if err != nil {
		return nil, err
	}
	return c.events, nil
}

// content is what a file holds.
type content struct {
	events []event.Event
	groups uint64 // committed groups
	size   int64  // bytes of the committed groups; what follows is torn
}

// scan reads committed groups until the end or a torn group.
func scan(r io.Reader, path string) (content, error) {
	var (
		c      content
		in     = bufio.NewReaderSize(r, 64<<10)
		offset int64
		open   []event.Event // the group being read
		of     int           // its size
		torn   *CorruptError // the first damage
	)
	for n := 1; ; n++ {
		line, size, err := readLine(in)
		offset += size
		if err != nil && !errors.Is(err, io.EOF) {
			return content{}, fmt.Errorf("read journal: %w", explain(err, path))
		}
		if size == 0 {
			return c, nil // a group that is still open was torn
		}
		rec, bad := record{}, errors.New("no newline at its end")
		if err == nil {
			rec, bad = parseLine(line)
		}
		if torn != nil {
			// The damage is in the group after the last committed one. A record of
			// a later group proves that that group had been synced.
			if bad == nil && rec.Group != c.groups+1 {
				return content{}, torn
			}
			continue
		}
		if bad == nil {
			switch {
			case rec.Group != c.groups+1:
				bad = fmt.Errorf("group %d where %d is next", rec.Group, c.groups+1)
			case rec.Line != len(open)+1 || (of != 0 && rec.Of != of):
				bad = fmt.Errorf("line %d of %d in group %d where line %d is next", rec.Line, rec.Of, rec.Group, len(open)+1)
			case rec.Event.Seq <= lastSeq(c.events, open):
				bad = fmt.Errorf("event %d after event %d", rec.Event.Seq, lastSeq(c.events, open))
			}
			if bad != nil {
				// The line is whole and was written so: no torn write.
				return content{}, &CorruptError{Path: path, Line: n, Reason: bad.Error()}
			}
		}
		if bad != nil {
			torn = &CorruptError{Path: path, Line: n, Reason: bad.Error()}
			continue
		}
		open, of = append(open, rec.Event), rec.Of
		if rec.Line == rec.Of {
			c.events = append(c.events, open...)
			c.groups, c.size = rec.Group, offset
			open, of = nil, 0
		}
	}
}

func lastSeq(done, open []event.Event) uint64 {
	if len(open) > 0 {
		return open[len(open)-1].Seq
	}
	if len(done) > 0 {
		return done[len(done)-1].Seq
	}
	return 0
}

// readLine returns the next line without its newline, and its size with it. A
// line longer than maxLine is cut there: it cannot be a record. At the end of
// the file the error is io.EOF, with the unfinished line, if any.
func readLine(in *bufio.Reader) (line []byte, size int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		size += int64(len(part))
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return line, size, err
		}
		return line[:len(line)-1], size, nil
	}
}
