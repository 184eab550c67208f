package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/event"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func makeEvents(from, n uint64) []event.Event {
	var list []event.Event
	for seq := from; seq < from+n; seq++ {
		list = append(list, event.Event{
			Seq: seq, Time: start.Add(time.Duration(seq) * time.Second), Kind: event.OpIntended,
			Rotation: "r1", Op: fmt.Sprint("op-", seq), Verb: "terminate", Message: "terminate i-1 <&> \u2028",
			Data: map[string]string{"from": "3", "to": "4"},
		})
	}
	return list
}

func open(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := OpenDir(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// write makes a journal of three groups, events 1-2, 3 and 4-6, and returns
// its path and its lines with their newlines.
func write(t *testing.T, dir string) (path string, lines []string) {
	t.Helper()
	d := open(t, dir)
	for _, group := range [][]event.Event{makeEvents(1, 2), makeEvents(3, 1), makeEvents(4, 3)} {
		if err := d.Append(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.SplitAfter(string(raw), "\n")
	return d.Path(), lines[:len(lines)-1]
}

func TestReadReturnsWhatWasAppended(t *testing.T) {
	path, lines := write(t, filepath.Join(t.TempDir(), "a", "b"))
	got, err := ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(makeEvents(1, 6), got); diff != "" {
		t.Error(diff)
	}
	for i, line := range lines {
		var parsed map[string]any
		if err := json.Unmarshal([]byte(line), &parsed); err != nil {
			t.Errorf("line %d is not JSON: %v", i+1, err)
		}
	}
}

func TestAppendGoesOnAfterReopening(t *testing.T) {
	dir := t.TempDir()
	path, _ := write(t, dir)
	d := open(t, dir)
	if err := d.Append(t.Context(), makeEvents(6, 1)); err == nil {
		t.Error("an event with a sequence number that is taken was appended")
	}
	if err := d.Append(t.Context(), makeEvents(7, 2)); err != nil {
		t.Fatal(err)
	}
	got, err := ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(makeEvents(1, 8), got); diff != "" {
		t.Error(diff)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	d := open(t, dir)
	for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, d.Path(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), info.Mode(), want)
		}
	}
}

// A crash may leave any prefix of the last group, and, because a disk writes
// blocks in any order, any damage within it.
func TestTornTailIsCut(t *testing.T) {
	_, lines := write(t, t.TempDir())
	head, tail := strings.Join(lines[:3], ""), strings.Join(lines[3:], "")
	flip := func(s string, at int) string {
		b := []byte(s)
		b[at] ^= 1
		return string(b)
	}
	cases := map[string]string{
		"first byte of the group only": head + tail[:1],
		"last newline missing":         head + tail[:len(tail)-1],
		"last line missing":            head + lines[3] + lines[4],
		"two lines missing":            head + lines[3],
		"zeros for the group":          head + strings.Repeat("\x00", len(tail)),
		"zeros in its first line":      head + strings.Repeat("\x00", len(lines[3])-1) + "\n" + lines[4] + lines[5],
		"a bit in its middle line":     head + lines[3] + flip(lines[4], 60) + lines[5],
		"a bit in its last line":       head + lines[3] + lines[4] + flip(lines[5], 60),
		"a huge line without end":      head + lines[3] + strings.Repeat("x", 3*maxLine),
	}
	// Every cut of the bytes too.
	for n := range len(tail) {
		cases[fmt.Sprintf("cut %d bytes into the group", n)] = head + tail[:n]
	}
	for name, raw := range cases {
		dir := t.TempDir()
		path := filepath.Join(dir, "r1.jsonl")
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadDir(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(makeEvents(1, 3), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if now, _ := os.ReadFile(path); string(now) != raw {
			t.Errorf("%s: reading changed the file", name)
		}
		d := open(t, dir)
		if now, _ := os.ReadFile(path); string(now) != head {
			t.Errorf("%s: opening left %d bytes, want the %d committed ones", name, len(now), len(head))
		}
		if err := d.Append(t.Context(), makeEvents(4, 1)); err != nil {
			t.Errorf("%s: append after the cut: %v", name, err)
		}
		_ = d.Close()
		if got, err := ReadDir(path); err != nil || len(got) != 4 {
			t.Errorf("%s: %d events after the cut and one more, error %v", name, len(got), err)
		}
	}
}

func TestDamageInACommittedGroupIsAnError(t *testing.T) {
	_, lines := write(t, t.TempDir())
	damaged := func(n int, edit func(string) string) string {
		l := append([]string(nil), lines...)
		l[n-1] = edit(l[n-1])
		return strings.Join(l, "")
	}
	cases := map[string]struct {
		raw  string
		line int
	}{
		"a bit of an event":         {damaged(1, func(s string) string { return s[:80] + "~" + s[81:] }), 1},
		"the last line of a group":  {damaged(2, func(s string) string { return s[:80] + "~" + s[81:] }), 2},
		"a group of one line":       {damaged(3, func(s string) string { return s[:80] + "~" + s[81:] }), 3},
		"a checksum":                {damaged(2, func(s string) string { return strings.Replace(s, `"crc32c":"`, `"crc32c":"z`, 1) }), 2},
		"a length":                  {damaged(3, func(s string) string { return strings.Replace(s, `"len":`, `"len":1`, 1) }), 3},
		"a line removed":            {damaged(2, func(string) string { return "" }), 2},
		"a group removed":           {damaged(3, func(string) string { return "" }), 3},
		"a line twice":              {damaged(1, func(s string) string { return s + s }), 2},
		"a committed group twice":   {damaged(3, func(s string) string { return s + s }), 4},
		"an empty line in between":  {damaged(2, func(s string) string { return "\n" + s }), 2},
		"a newline inside an event": {damaged(1, func(s string) string { return s[:50] + "\n" + s[50:] }), 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "r1.jsonl")
			if err := os.WriteFile(path, []byte(c.raw), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadDir(path)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("got %v, want a CorruptError", err)
			}
			if corrupt.Line != c.line || !strings.Contains(err.Error(), fmt.Sprintf("line %d", c.line)) {
				t.Errorf("got %v, want line %d", err, c.line)
			}
			if _, err := OpenDir(dir, "r1"); !errors.As(err, &corrupt) {
				t.Errorf("OpenDir answers %v, want a CorruptError", err)
			}
			if now, _ := os.ReadFile(path); string(now) != c.raw {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	if _, err := OpenDir(dir, "r1"); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestIDs(t *testing.T) {
	for id, ok := range map[string]bool{
		"r1": true, "2026-03-01t12.00.00z_ab": true, strings.Repeat("a", 128): true,
		"": false, ".": false, "..": false, ".hidden": false, "a/b": false, `a\b`: false, "a b": false,
		"a\n": false, "-x": false, "é": false, strings.Repeat("a", 129): false,
	} {
		dir := t.TempDir()
		d, err := OpenDir(dir, id)
		if (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
		if err == nil {
			_ = d.Close()
		} else if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%q: a file was made", id)
		}
	}
}

func TestAppendAfterAFailureAnswersTheSameError(t *testing.T) {
	d := open(t, t.TempDir())
	// Close the descriptor behind the journal's back: the next write fails.
	if err := d.file.Close(); err != nil {
		t.Fatal(err)
	}
	first := d.Append(t.Context(), makeEvents(1, 1))
	if first == nil || !strings.Contains(first.Error(), d.Path()) {
		t.Fatalf("got %v, want an error that names the file", first)
	}
	if again := d.Append(t.Context(), makeEvents(1, 1)); again != first {
		t.Errorf("got %v, want %v", again, first)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"disk full": {syscall.ENOSPC, "free space"},
		"quota":     {syscall.EDQUOT, "quota"},
		"read-only": {syscall.EROFS, "read-only"},
		"denied":    {syscall.EACCES, "may not write"},
		"a file":    {syscall.ENOTDIR, "must be a folder"},
	} {
		err := explain(&fs.PathError{Op: "write", Path: "/j/r1.jsonl", Err: c.err}, "/j/r1.jsonl")
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "/j/r1.jsonl") {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(file, "r1"); err == nil || !strings.Contains(err.Error(), "must be a folder") {
		t.Errorf("a file as the folder: %v", err)
	}
	if _, err := ReadDir(filepath.Join(t.TempDir(), "none.jsonl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestRetentionKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	const keep = 50
	var inUse *Dir
	for i := range keep + 5 {
		d, err := OpenDir(dir, fmt.Sprintf("r%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		at := start.Add(time.Duration(i) * time.Hour)
		if err := os.Chtimes(d.Path(), at, at); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			inUse = d // the oldest, but another process still writes it
			defer d.Close()
			continue
		}
		_ = d.Close()
	}
	other := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(other, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Folder{dir}).Prune(t.Context(), keep, "r54"); err != nil {
		t.Fatal(err)
	}
	list, err := Folder{dir}.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != keep+1 { // the one in use comes on top
		t.Fatalf("%d journals, want %d", len(list), keep+1)
	}
	if list[0].Rotation != "r54" || list[keep-1].Rotation != "r05" || list[keep].Where != inUse.Path() {
		t.Errorf("kept %v ... %v, %v", list[0].Rotation, list[keep-1].Rotation, list[keep].Rotation)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file that is no journal: %v", err)
	}
}

func TestListOfNoFolder(t *testing.T) {
	list, err := Folder{filepath.Join(t.TempDir(), "none")}.List(t.Context())
	if err != nil || list != nil {
		t.Errorf("%v, %v", list, err)
	}
}

func FuzzScan(f *testing.F) {
	line, err := appendLine(nil, record{Group: 1, Line: 1, Of: 1, Event: makeEvents(1, 1)[0]})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"crc32c":"00000000","len":0,}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := scan(bytes.NewReader(raw), "f")
		if err == nil && (c.size > int64(len(raw)) || (c.groups == 0) != (len(c.events) == 0)) {
			t.Errorf("%d bytes, %d groups, %d events of %d bytes", c.size, c.groups, len(c.events), len(raw))
		}
	})
}
