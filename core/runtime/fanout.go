package runtime

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/event"
)

const (
	// sinkQueue bounds the Steps that wait for one sink: minutes of a busy
	// rotation, at some KiB each.
	sinkQueue = 1024
	// sinkPatience is how long the rotation waits, in all, for a sink whose
	// queue is full, and at the end for one that still has events to take. A
	// terminal that somebody has paused must not hold up a rotation for good.
	sinkPatience = 5 * time.Second
)

// fanOut hands events to the sinks: to each in order, on a goroutine of its
// own, through a bounded queue. A sink that falls behind by more than its queue
// and sinkPatience, or that panics, gets nothing further: its stream ends, but
// it never has a gap.
type fanOut struct {
	sinks []*sinkRunner
	log   *slog.Logger
}

type sinkRunner struct {
	name  string
	queue chan []event.Event
	idle  chan struct{} // closed when its goroutine has ended
	cut   bool
	slack time.Duration // of sinkPatience, what is left
}

func newFanOut(sinks []Sink, log *slog.Logger) *fanOut {
	f := &fanOut{log: log}
	for _, s := range sinks {
		r := &sinkRunner{
			name:  fmt.Sprintf("%T", s),
			queue: make(chan []event.Event, sinkQueue),
			idle:  make(chan struct{}),
			slack: sinkPatience,
		}
		f.sinks = append(f.sinks, r)
		go r.run(s, log)
	}
	return f
}

func (r *sinkRunner) run(s Sink, log *slog.Logger) {
	defer close(r.idle)
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a sink: it gets no further events; this is a bug, please report it",
				"sink", r.name, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	for events := range r.queue {
		s.Publish(events)
	}
}

// publish hands the events to all sinks.
func (f *fanOut) publish(events []event.Event) {
	if len(events) == 0 {
		return
	}
	for _, r := range f.sinks {
		if r.cut {
			continue
		}
		select {
		case r.queue <- events:
			continue
		case <-r.idle:
			r.cut = true // it has said why
			continue
		default:
		}
		began := time.Now()
		timer := time.NewTimer(r.slack)
		select {
		case r.queue <- events:
		case <-r.idle:
			r.cut = true
		case <-timer.C:
			r.cut = true
			f.log.Error("a sink does not take its events; it gets no further ones", "sink", r.name, "first-missing", events[0].Seq)
		}
		timer.Stop()
		r.slack = max(0, r.slack-time.Since(began))
	}
}

// close waits until all sinks have taken what they were handed, at most
// sinkPatience in all.
func (f *fanOut) close() {
	for _, r := range f.sinks {
		close(r.queue)
	}
	var wg sync.WaitGroup
	for _, r := range f.sinks {
		wg.Go(func() {
			timer := time.NewTimer(sinkPatience)
			defer timer.Stop()
			select {
			case <-r.idle:
			case <-timer.C:
				f.log.Error("a sink has not taken all its events; what it shows may lack the end", "sink", r.name)
			}
		})
	}
	wg.Wait()
}
