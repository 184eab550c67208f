package observer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// auditEvent is what is read of a line of the API server's audit log.
type auditEvent struct {
	Stage string `json:"stage"`
	Verb  string `json:"verb"`
	User  struct {
		Username string `json:"username"`
	} `json:"user"`
	UserAgent string `json:"userAgent"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestReceived time.Time `json:"requestReceivedTimestamp"`
}

// auditReader folds an audit log that is still being written. It reads on from
// where it was, and leaves a line alone until it is whole.
type auditReader struct {
	file      string
	offset    int64
	evictions map[string]*EvictionCount
	deletes   map[string][]Deletion
	changes   map[string]int // changes of nodes by user
}

func newAuditReader(file string) *auditReader {
	r := &auditReader{file: file}
	r.clear()
	return r
}

func (r *auditReader) clear() {
	r.evictions, r.deletes, r.changes = map[string]*EvictionCount{}, map[string][]Deletion{}, map[string]int{}
}

// read takes in what was written since the last call.
func (r *auditReader) read() error {
	f, err := os.Open(r.file)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(r.offset, io.SeekStart); err != nil {
		return fmt.Errorf("audit log %s: %w", r.file, err)
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("audit log %s: %w", r.file, err)
		}
		r.offset += int64(len(line))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("audit log %s, the line that ends at byte %d: %w", r.file, r.offset, err)
		}
		r.add(e)
	}
}

func (r *auditReader) add(e auditEvent) {
	user, code := e.User.Username, e.ResponseStatus.Code
	switch e.ObjectRef.Resource + "/" + e.ObjectRef.Subresource {
	case "pods/eviction":
		c := r.evictions[user]
		if c == nil {
			c = &EvictionCount{User: user}
			r.evictions[user] = c
		}
		switch {
		case code >= 200 && code < 300:
			c.Allowed++
		case code == 429:
			c.Refused++
		default:
			c.Other++
		}
	case "pods/":
		if (e.Verb == "delete" || e.Verb == "deletecollection") && code >= 200 && code < 300 {
			r.deletes[user] = append(r.deletes[user], Deletion{
				Time: e.RequestReceived, User: user, UserAgent: e.UserAgent,
				Namespace: e.ObjectRef.Namespace, Pod: e.ObjectRef.Name,
			})
		}
	case "nodes/":
		if changes := e.Verb != "get" && e.Verb != "list" && e.Verb != "watch"; changes && code >= 200 && code < 300 {
			r.changes[user]++
		}
	}
}
