package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rotatord/rotator/core/event"
)

// Folder is the store in a local folder, one file for each rotation. Several
// clusters may share it. The folder is made by the first Open.
type Folder struct{ Path string }

var _ Store = Folder{}

// Open implements Store. A file that another process of this machine writes is
// ErrInUse.
func (f Folder) Open(_ context.Context, rotation string) (Log, error) {
	d, err := OpenDir(f.Path, rotation)
	if err != nil {
		return nil, err // and not a nil *Dir in an interface
	}
	return folderLog{d}, nil
}

type folderLog struct{ *Dir }

// Close has nothing to wait for: every Append is synced.
func (l folderLog) Close(context.Context) error { return l.Dir.Close() }

// Read implements Store.
func (f Folder) Read(_ context.Context, rotation string) ([]event.Event, error) {
	if !idPattern.MatchString(rotation) {
		return nil, fmt.Errorf("rotation %q: %w", rotation, ErrNoRotation)
	}
	path := filepath.Join(f.Path, rotation+suffix)
	events, err := ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("rotation %s in %s: %w", rotation, f.Path, ErrNoRotation)
	}
	return events, err
}

// List implements Store. It reads every file; a folder that does not exist
// holds none. A damaged file is listed with its problem.
func (f Folder) List(ctx context.Context) ([]Entry, error) {
	list, err := f.files()
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		events, err := ReadDir(list[i].Where)
		if err != nil {
			list[i].Problem = err.Error()
		}
		list[i].take(events)
	}
	return list, nil
}

// Prune implements Store. A journal that another process of this machine writes
// is kept too.
func (f Folder) Prune(_ context.Context, keep int, open string) error {
	list, err := f.files()
	if err != nil {
		return err
	}
	if len(list) <= keep {
		return nil
	}
	for _, e := range list[keep:] {
		if e.Rotation == open || inUse(e.Where) {
			continue
		}
		if err := os.Remove(e.Where); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove old journals: %w", explain(err, e.Where))
		}
	}
	return nil
}

// remove removes a rotation's journal, which nobody writes.
func (f Folder) remove(rotation string) error {
	path := filepath.Join(f.Path, rotation+suffix)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove journal: %w", explain(err, path))
	}
	return nil
}

// files lists the journals by name, time and size alone.
func (f Folder) files() ([]Entry, error) {
	files, err := os.ReadDir(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", explain(err, f.Path))
	}
	var list []Entry
	for _, file := range files {
		id, ok := strings.CutSuffix(file.Name(), suffix)
		if !ok || !idPattern.MatchString(id) || !file.Type().IsRegular() {
			continue
		}
		info, err := file.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list journals: %w", explain(err, f.Path))
		}
		list = append(list, Entry{Rotation: id, Where: filepath.Join(f.Path, file.Name()), Modified: info.ModTime(), Size: info.Size()})
	}
	newestFirst(list)
	return list, nil
}
