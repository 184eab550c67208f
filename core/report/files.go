package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/rotatord/rotator/core/event"
)

// The files of a report.
const (
	EventsFile  = "events.jsonl"
	SummaryFile = "summary.json"
	JUnitFile   = "junit.xml"    // test cases, for the views of CI systems
	MetricsFile = "metrics.txt"  // OpenMetrics
	EnvFile     = "rotation.env" // NAME=value, for later steps of a pipeline
)

// Files is a report in a folder: events.jsonl grows with the rotation, one
// event a line; the other files are written by Close. All belong to the last
// rotation that was reported there. It implements the runtime's Sink and is
// safe for concurrent use.
type Files struct {
	dir   string
	junit JUnit

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
		// What an earlier rotation left must not stand beside these events.
		for _, name := range []string{SummaryFile, JUnitFile, MetricsFile, EnvFile} {
			if e := os.Remove(filepath.Join(dir, name)); err == nil && !errors.Is(e, os.ErrNotExist) {
				err = e
			}
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

// Recall counts what earlier runs of the rotation did in the files that sum it
// up; events.jsonl has this run's own events.
func (f *Files) Recall(past []event.Event) { f.junit.Publish(past) }

// Publish appends events. It keeps the first error for Close: a full disk must
// not stop a rotation whose journal is elsewhere.
func (f *Files) Publish(events []event.Event) {
	f.junit.Publish(events)
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

// Close writes what sums the rotation up, each file whole or not at all, and
// returns the errors of all writes. exitCode is the command's. Calling it again
// does nothing.
func (f *Files) Close(s Summary, exitCode int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events == nil {
		return nil
	}
	err := f.events.Close()
	f.events = nil
	return errors.Join(f.err, err, Keep(f.dir,
		File{SummaryFile, s.WriteJSON},
		File{JUnitFile, func(w io.Writer) error { return f.junit.Write(w, s) }},
		File{MetricsFile, func(w io.Writer) error { return s.WriteMetrics(w, exitCode) }},
		File{EnvFile, func(w io.Writer) error { return s.WriteEnv(w, exitCode) }}))
}

// File is one file of a report.
type File struct {
	Name  string
	Write func(io.Writer) error
}

// Keep writes files into a folder, which it makes where there is none: each whole
// or not at all, readable by its owner only. The error is that of all files.
func Keep(dir string, files ...File) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("report folder: %w", err)
	}
	var all error
	for _, f := range files {
		all = errors.Join(all, f.keep(dir))
	}
	return all
}

func (f File) keep(dir string) error {
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		return fmt.Errorf("report: %s: %w", f.Name, err)
	}
	name := filepath.Join(dir, f.Name)
	if err := os.WriteFile(name+".tmp", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
