package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rotatord/rotator/core/event"
)

// The files of a report.
const (
	EventsFile  = "events.jsonl"
	SummaryFile = "summary.json"
)

// Files is a report in a folder: events.jsonl grows with the rotation, one
// event a line; summary.json is written by Close. Both belong to the last
// rotation that was reported there. It implements the runtime's Sink and is
// safe for concurrent use.
type Files struct {
	dir string

	mu     sync.Mutex
	events *os.File
	err    error // the first that happened; Close returns it
}

// OpenFiles makes the folder and starts an empty events.jsonl. Files are
// readable by their owner only: names of nodes and pods are nobody else's
// business.
func OpenFiles(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("report folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, EventsFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Chmod(0o600) // it may have been there with another mode
	}
	if err == nil {
		// A summary of an earlier rotation must not stand beside these events.
		err = os.Remove(filepath.Join(dir, SummaryFile))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, fmt.Errorf("report: %w", err)
	}
	return &Files{dir: dir, events: f}, nil
}

// Publish appends events. It keeps the first error for Close: a full disk must
// not stop a rotation whose journal is elsewhere.
func (f *Files) Publish(events []event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.events == nil {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			f.err = fmt.Errorf("report: event %d: %w", e.Seq, err)
			return
		}
	}
	if _, err := f.events.Write(b.Bytes()); err != nil {
		f.err = fmt.Errorf("report: %w", err)
	}
}

// Close writes s as summary.json, whole or not at all, and returns the first
// error of any write. Calling it again does nothing.
func (f *Files) Close(s Summary) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events == nil {
		return nil
	}
	err := f.events.Close()
	f.events = nil
	return errors.Join(f.err, err, f.writeSummary(s))
}

func (f *Files) writeSummary(s Summary) error {
	var b bytes.Buffer
	if err := s.WriteJSON(&b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	name := filepath.Join(f.dir, SummaryFile)
	if err := os.WriteFile(name+".tmp", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
