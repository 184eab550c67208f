package host

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

const (
	// minSecret keeps short values ("true", "1234") from being masked all over
	// the logs.
	minSecret = 6
	// maxLine is how much of one line is looked at at once. A secret that lies
	// across the border of two parts of a longer line is not masked.
	maxLine = 64 << 10
	// tailLines are kept of a driver's stderr, to be shown when it dies.
	tailLines = 20
	// tailWidth limits each of them.
	tailWidth = 500
	// lineWidth limits what is shown of a first line that is no driver's.
	lineWidth = 100
)

// masker replaces secrets.
type masker struct{ replacer *strings.Replacer }

func newMasker(secrets []string) masker {
	var forms []string
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		forms = append(forms, s)
		// Log lines are JSON: line breaks, quotes and backslashes look different.
		if quoted, err := json.Marshal(s); err == nil {
			if inner := string(quoted[1 : len(quoted)-1]); inner != s {
				forms = append(forms, inner)
			}
		}
	}
	// Longer first: of two secrets of which one begins with the other, the
	// replacer takes the one that comes first.
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, "[secret]")
	}
	return masker{strings.NewReplacer(pairs...)}
}

func (m masker) mask(s string) string { return m.replacer.Replace(s) }

// tail keeps the last lines that were added. Safe for concurrent use.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	line = strings.TrimRight(line, "\r\n")
	if strings.TrimSpace(line) == "" {
		return
	}
	if len(line) > tailWidth {
		line = line[:tailWidth] + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
	t.lines = append(t.lines, line)
}

// last returns the lines for a person: of JSON log lines the message and what
// was added to it.
func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, l := range t.lines {
		var entry map[string]any
		if json.Unmarshal([]byte(l), &entry) != nil || entry["@message"] == nil {
			out = append(out, l)
			continue
		}
		if level := entry["@level"]; level == "trace" || level == "debug" {
			continue // go-plugin's own chatter
		}
		text, _ := entry["@message"].(string)
		for _, k := range slices.Sorted(maps.Keys(entry)) {
			if !strings.HasPrefix(k, "@") {
				value, err := json.Marshal(entry[k])
				if err == nil {
					text += " " + k + "=" + string(value)
				}
			}
		}
		out = append(out, text)
	}
	return out
}

// lineFilter reads lines, masks secrets in them and keeps the last.
type lineFilter struct {
	src   *bufio.Reader
	close io.Closer
	mask  masker
	tail  *tail
	buf   string

	end  sync.Once
	over chan struct{} // closed when no line follows
}

func newLineFilter(src io.ReadCloser, m masker, t *tail) *lineFilter {
	return &lineFilter{src: bufio.NewReaderSize(src, maxLine), close: src, mask: m, tail: t, over: make(chan struct{})}
}

func (f *lineFilter) Read(p []byte) (int, error) {
	if f.buf == "" {
		line, err := f.src.ReadSlice('\n')
		if len(line) == 0 || (err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull)) {
			f.ends()
			return 0, err
		}
		f.buf = f.mask.mask(string(line))
		f.tail.add(f.buf)
	}
	n := copy(p, f.buf)
	f.buf = f.buf[n:]
	return n, nil
}

func (f *lineFilter) Close() error {
	f.ends()
	return f.close.Close()
}

func (f *lineFilter) ends() { f.end.Do(func() { close(f.over) }) }

// firstLine reads on, and keeps the first line: go-plugin's handshake.
type firstLine struct {
	io.ReadCloser

	mu   sync.Mutex
	line []byte
	done bool
}

func (f *firstLine) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done && n > 0 {
		chunk, _, found := strings.Cut(string(p[:n]), "\n")
		f.line = append(f.line, chunk...)
		f.done = found || len(f.line) > maxLine
	}
	return n, err
}

// get returns the line, whole or as far as it was read.
func (f *firstLine) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.TrimSpace(string(f.line))
}
