package aws

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/rotatord/rotator/sandbox/control"
)

// provoked gathers the actions that tests called with success, through clients whose answers are held against AWS's
// models. An action that no test calls has a wire format that nobody checked.
var provoked provokedActions

type provokedActions struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (p *provokedActions) note(s control.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	for _, c := range s.Calls {
		failed := int64(0)
		for _, n := range c.Errors {
			failed += n
		}
		if c.Calls > failed {
			p.seen[c.Service+":"+c.Action] = true
		}
	}
}

// missing lists the actions that are simulated and were never called.
func (p *provokedActions) missing() (out []string) {
	for _, s := range services {
		for _, name := range slices.Sorted(maps.Keys(s.actions)) {
			if !p.seen[s.name+":"+name] {
				out = append(out, s.name+":"+name)
			}
		}
	}
	return out
}

func TestMain(m *testing.M) {
	code := m.Run()
	// Only a run of all tests can say what all tests leave out.
	all := flag.Lookup("test.run").Value.String()
	if code == 0 && (all == "" || all == ".") && flag.Lookup("test.list").Value.String() == "" {
		if out := provoked.missing(); len(out) > 0 {
			fmt.Println("actions whose wire format no test checks:", out)
			code = 1
		}
	}
	os.Exit(code)
}
