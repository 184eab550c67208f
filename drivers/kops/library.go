package kops

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"k8s.io/klog/v2"

	"github.com/rotatord/rotator/drivers/sdk"
)

// The kops library's calls take no context and try again for minutes against
// an endpoint that is dead. Each runs on a goroutine of its own, so that the
// driver answers when its caller's deadline has passed; what was begun goes on
// meanwhile, and is harmless because calls state goals.

// maxStray is how many calls may go on after their callers have left. Beyond
// it new calls are refused: the library hangs, and a driver that is started
// again does not remember.
const maxStray = 16

// callers bounds the calls of the library that nobody waits for any more.
type callers struct {
	mu    sync.Mutex
	stray int
}

// call runs f, which takes no context, and waits for it no longer than ctx. An
// f that is left behind must not write to anything that its caller reads.
func call[T any](ctx context.Context, c *callers, what string, f func() (T, error)) (T, error) {
	var zero T
	c.mu.Lock()
	hangs := c.stray >= maxStray
	c.mu.Unlock()
	if hangs {
		return zero, sdk.Errorf(codes.Unavailable, "%s: %d earlier calls of the kops library have not come back: check that the cloud's endpoint can be reached", what, maxStray)
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1) // so that a call that was left behind can end
	left := false                // guarded by c.mu
	go func() {
		v, err := guard(f)
		done <- answer{v, err}
		c.mu.Lock()
		defer c.mu.Unlock()
		if left {
			c.stray--
		}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case a := <-done: // it came in while we were about to leave
		return a.value, a.err
	default:
	}
	left = true
	c.stray++
	return zero, sdk.Errorf(codes.DeadlineExceeded, "%s: the kops library did not answer in time: %v", what, context.Cause(ctx))
}

// guard turns a panic into an error: kops' clients of the state store panic on
// objects of a kind that they do not expect, and a driver that dies of what is
// in a file would die of it again.
func guard[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = sdk.Errorf(codes.Internal, "the kops library panicked: %v", p)
		}
	}()
	return f()
}

// QuietLibrary keeps the library's log off stderr, where the host expects JSON
// lines: what matters in it comes back as an error too. For the executable; it
// changes the process' global logger, and with the first Configure its stdout.
func QuietLibrary() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	quiet.Store(true)
}

var quiet atomic.Bool

// quietStdout drops what the library prints from now on: its dry runs print all
// that they find, the users' own scripts included, and the host would log it.
// Before the first call stdout is the plugin's, for its handshake.
var quietStdout = sync.OnceFunc(func() {
	if !quiet.Load() {
		return
	}
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stdout = null
	}
})
