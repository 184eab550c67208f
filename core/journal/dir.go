package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/rotatord/rotator/core/event"
)

const suffix = ".jsonl"

// Dir is the journal of one rotation in a local folder: the file
// ROTATION.jsonl, readable and writable by its owner alone. It is safe for
// concurrent use.
type Dir struct {
	path string

	mu     sync.Mutex
	file   *os.File
	groups uint64
	seq    uint64 // of the last event
	broken error  // the first failure; every later Append answers it

	past []event.Event // what was there when it was opened
}

// OpenDir opens the journal of a rotation, and makes the folder and the file
// where they are missing. What a crash left half written at the end of the
// file is cut off. A damaged file is a *CorruptError; a file that another
// process writes is ErrInUse.
func OpenDir(dir, rotation string) (*Dir, error) {
	if err := checkID(rotation); err != nil {
		return nil, err
	}
	if err := makeFolder(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open journal: %s: it cannot be made there: choose another folder with journal.dir: %w", dir, err)
	} else if err != nil {
		return nil, fmt.Errorf("open journal: %w", explain(err, dir))
	}
	path := filepath.Join(dir, rotation+suffix)
	_, err := os.Lstat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", explain(err, path))
	}
	d := &Dir{path: path, file: f}
	if err := d.load(); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	if fresh {
		// A file is only durable once its name is.
		if err := syncFolder(dir); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("open journal: %w", explain(err, dir))
		}
	}
	return d, nil
}

// load locks the file, reads where it ends, and cuts a torn tail.
func (d *Dir) load() error {
	if err := lock(d.file); err != nil {
		return fmt.Errorf("open journal %s: %w", d.path, err)
	}
	c, err := scan(d.file, d.path)
	if err != nil {
		return err
	}
	d.groups, d.seq, d.past = c.groups, lastSeq(c.events, nil), c.events
	info, err := d.file.Stat()
	if err != nil {
		return fmt.Errorf("open journal: %w", explain(err, d.path))
	}
	if info.Size() == c.size {
		return nil
	}
	if err := d.file.Truncate(c.size); err != nil {
		return fmt.Errorf("cut the torn end of the journal: %w", explain(err, d.path))
	}
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("cut the torn end of the journal: %w", explain(err, d.path))
	}
	return nil
}

// Past returns the events that were there when the journal was opened.
func (d *Dir) Past() []event.Event { return d.past }

// Path of the file.
func (d *Dir) Path() string { return d.path }

// Append writes the events as one group and returns once it is durable: all of
// them or, after an error, none that a later reader would see as committed
// unless the disk holds them whole. Sequence numbers must rise. After a failed
// write or sync the state of the file is not known, so that every later Append
// answers the same error; opening the journal anew finds out.
func (d *Dir) Append(ctx context.Context, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	var buf []byte
	seq := d.seq
	for i, e := range events {
		if e.Seq <= seq {
			return fmt.Errorf("journal %s: event %d comes after event %d", d.path, e.Seq, seq)
		}
		seq = e.Seq
		var err error
		buf, err = appendLine(buf, record{Group: d.groups + 1, Line: i + 1, Of: len(events), Event: e})
		if err != nil {
			return fmt.Errorf("journal %s: %w", d.path, err)
		}
	}
	if _, err := d.file.Write(buf); err != nil {
		return d.fail("write", err)
	}
	if err := d.file.Sync(); err != nil {
		return d.fail("sync", err)
	}
	d.groups++
	d.seq = seq
	return nil
}

func (d *Dir) fail(act string, err error) error {
	d.broken = fmt.Errorf("%s journal: %w", act, explain(err, d.path))
	return d.broken
}

// Close releases the file. Later Appends fail. It may be called again.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	if d.broken == nil {
		d.broken = fmt.Errorf("journal %s is closed", d.path)
	}
	return err
}

func inUse(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(lock(f), ErrInUse)
}

// makeFolder makes the folder for its owner alone, and its name durable. A
// folder that exists is left as it is.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(filepath.Clean(dir)))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems cannot sync a folder and say so; their names are durable
	// with the file, or never.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// explain adds what to do about an error of the file system.
func explain(err error, path string) error {
	var hint string
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "the disk or the quota is full: free space there, or choose another folder with journal.dir"
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: choose another folder with journal.dir"
	case errors.Is(err, fs.ErrPermission):
		hint = "this user may not write there: change the owner or the mode, or choose another folder with journal.dir"
	case errors.Is(err, fs.ErrNotExist):
		hint = "no such rotation has a journal there"
	case errors.Is(err, syscall.ENOTDIR):
		hint = "it, or a folder above it, is a file: journal.dir must be a folder"
	case errors.Is(err, io.ErrShortWrite):
		hint = "the file was written in part"
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %s: %w", path, hint, err)
}
