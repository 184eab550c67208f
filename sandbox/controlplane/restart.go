package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// endTimeout bounds how long an API server takes to end once it has lost all
// its connections: it lets requests that it works on finish, up to a minute.
const endTimeout = 90 * time.Second

// rebindTimeout bounds the wait for the port, which a connection of somebody
// else may have as its own for a moment.
const rebindTimeout = 20 * time.Second

// connections is a listener that knows what it has accepted, so that all of it
// can be cut at once, as when a process dies.
type connections struct {
	net.Listener
	mu   sync.Mutex
	open map[*tracked]struct{}
	cut  bool
}

type tracked struct {
	*net.TCPConn
	of *connections
}

func track(l net.Listener) *connections {
	return &connections{Listener: l, open: map[*tracked]struct{}{}}
}

// Accept implements net.Listener. After cutAll it resets whatever it accepts; the
// listener itself is the API server's to close, which panics where it is closed
// by others.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		t := &tracked{conn.(*net.TCPConn), c}
		c.mu.Lock()
		cut := c.cut
		if !cut {
			c.open[t] = struct{}{}
		}
		c.mu.Unlock()
		if !cut {
			return t, nil
		}
		t.reset()
	}
}

// Close implements net.Conn.
func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.TCPConn.Close()
}

func (t *tracked) reset() {
	_ = t.SetLinger(0) // fails only for a connection that is closed
	_ = t.TCPConn.Close()
}

// cutAll resets all connections, those to come included.
func (c *connections) cutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for t := range c.open {
		t.reset()
	}
	clear(c.open)
}

// startAPIServer runs one life of the API server on the listener. It does not
// wait until it is ready.
func (c *ControlPlane) startAPIServer(l net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	done, conns := make(chan struct{}), track(l)
	c.stopAPI, c.apiDone, c.conns = stop, done, conns
	c.run(ctx, "kube-apiserver", done, func() error { return runAPIServer(ctx, c.files, conns, c.etcdURL) })
}

// startScheduler runs one life of the scheduler.
func (c *ControlPlane) startScheduler() {
	ctx, stop := context.WithCancel(context.Background())
	c.stopSched, c.schedDone = stop, make(chan struct{})
	c.run(ctx, "kube-scheduler", c.schedDone, func() error { return runScheduler(ctx, c.files) })
}

// StopAPIServer ends the API server as if its process was killed: at once all
// connections are reset and new ones too, the components' own included. It
// returns once the API server has ended; etcd keeps the data. The scheduler ends
// and starts with it: it exits, and this process with it, when what it finds
// afterwards does not fit what it had seen before, and a kubelet would start it
// again. A second call does nothing.
func (c *ControlPlane) StopAPIServer() error {
	c.apiMu.Lock()
	defer c.apiMu.Unlock()
	if c.apiDown {
		return nil
	}
	c.apiDown = true
	c.stopSched()
	waitFor(c.schedDone, stopTimeout)
	c.conns.cutAll()
	c.stopAPI()
	select {
	case <-c.apiDone:
		return nil
	case <-time.After(endTimeout):
		return fmt.Errorf("the API server has not ended within %v; its log is %s", endTimeout, c.LogFile())
	}
}

// StartAPIServer starts it again, on the same port and with the same data, and
// returns once it is ready. Without StopAPIServer before it does nothing.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	c.apiMu.Lock()
	defer c.apiMu.Unlock()
	if !c.apiDown {
		return nil
	}
	select {
	case <-c.apiDone:
	default:
		return errors.New("the API server's earlier life has not ended")
	}
	deadline := time.Now().Add(rebindTimeout)
	for {
		l, _, err := listen(c.port)
		if err == nil {
			c.startAPIServer(l)
			c.apiDown = false
			if err := c.wait(ctx, "the API server to be ready again", c.ready); err != nil {
				return err
			}
			c.startScheduler()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("start the API server again: %w", err)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
