// Package proxy is the network between rotatord and the API server: a TCP proxy
// on loopback that can be cut in two ways. It knows nothing of what it carries.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A Proxy listens from Listen on and carries connections while Serve runs. Its
// methods may be called from any goroutine.
type Proxy struct {
	port    int
	release func() // gives the port back
	failed  chan error
	wg      sync.WaitGroup

	mu       sync.Mutex
	target   string // empty until Serve
	listener net.Listener
	links    map[*link]struct{}
	held     chan struct{} // closed when data flows again; nil: it flows
	ended    bool
}

// Listen takes a port on loopback; 0 picks a free one. The port stays the
// proxy's own, even while connections to it are refused. The caller calls Serve.
func Listen(port int) (*Proxy, error) {
	port, release, err := reserve(port)
	if err != nil {
		return nil, fmt.Errorf("port of the way to the API server: %w", err)
	}
	p := &Proxy{port: port, release: release, links: map[*link]struct{}{}, failed: make(chan error, 1)}
	if p.listener, err = listen(port); err != nil {
		release()
		return nil, fmt.Errorf("port of the way to the API server: %w", err)
	}
	return p, nil
}

// Address is host:port.
func (p *Proxy) Address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// Serve carries connections to target (host:port) until ctx is done, then
// closes all of them and gives the port back. It is called once.
func (p *Proxy) Serve(ctx context.Context, target string) error {
	p.mu.Lock()
	p.target = target
	if p.listener != nil {
		p.accept(p.listener)
	}
	p.mu.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-p.failed:
	}
	p.mu.Lock()
	p.ended = true
	p.refuse()
	p.mu.Unlock()
	p.wg.Wait()
	p.release()
	return err
}

// Refuse resets all connections and refuses new ones, as an API server that
// restarts; Refuse(false) ends that.
func (p *Proxy) Refuse(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || on == (p.listener == nil) {
		return nil
	}
	if on {
		p.refuse()
		return nil
	}
	l, err := listen(p.port)
	if err != nil {
		return fmt.Errorf("open the way to the API server again: %w", err)
	}
	p.listener = l
	if p.target != "" {
		p.accept(l)
	}
	return nil
}

// refuse needs mu.
func (p *Proxy) refuse() {
	if p.listener != nil {
		_ = p.listener.Close() // nothing else is wanted of it
		p.listener = nil
	}
	for l := range p.links {
		l.reset()
	}
}

// Hold delivers nothing more in either direction and answers no new connection,
// and neither end learns of it: the network is cut. Hold(false) ends that; what
// both ends have sent meanwhile is delivered late then, as a network does that
// sends again what was lost.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// accept carries what comes to l until that is closed. It needs mu.
func (p *Proxy) accept(l net.Listener) {
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				p.fail(fmt.Errorf("the way to the API server: %w", err))
				return
			}
			p.carry(c.(*net.TCPConn))
		}
	})
}

func (p *Proxy) fail(err error) {
	select {
	case p.failed <- err:
	default: // one is enough to end it
	}
}

// dialTimeout bounds the connection to the target, which is on this machine.
const dialTimeout = 10 * time.Second

func (p *Proxy) carry(client *net.TCPConn) {
	l := &link{client: client, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.listener == nil {
		l.reset()
		return
	}
	p.links[l] = struct{}{}
	p.wg.Go(func() {
		defer func() {
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		}()
		if !p.flows(l) {
			return
		}
		s, err := net.DialTimeout("tcp", p.target, dialTimeout)
		if err != nil || !l.joined(s.(*net.TCPConn)) {
			l.reset()
			return
		}
		back := make(chan struct{})
		go func() {
			defer close(back)
			p.pump(l, l.client, l.server)
		}()
		p.pump(l, l.server, l.client)
		<-back
		l.reset()
	})
}

// flows waits while the network is cut. It returns false when the link is reset.
func (p *Proxy) flows(l *link) bool {
	for {
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-l.done:
			return false
		}
	}
}

// pump carries bytes one way until that way is closed.
func (p *Proxy) pump(l *link, to, from *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.flows(l) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				l.reset()
				return
			}
		}
		if err != nil {
			_ = to.CloseWrite() // the other way may go on
			return
		}
	}
}

// link is one connection and its other half.
type link struct {
	client, server *net.TCPConn
	mu             sync.Mutex
	done           chan struct{} // closed by reset
	isReset        bool
}

// joined takes the connection to the target, unless the link was reset.
func (l *link) joined(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isReset {
		closeHard(server)
		return false
	}
	l.server = server
	return true
}

// reset closes both halves so that the ends see a reset connection, not an end
// of data. After an orderly end of both there is nothing left to reset.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isReset {
		return
	}
	l.isReset = true
	close(l.done)
	closeHard(l.client)
	if l.server != nil {
		closeHard(l.server)
	}
}

func closeHard(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only for a connection that is closed
	_ = c.Close()
}
