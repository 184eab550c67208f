package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// silence is how long a test waits to see that nothing comes.
const silence = 100 * time.Millisecond

// echoing runs a proxy before a server that sends back what it gets.
func echoing(t *testing.T) *Proxy {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	p, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, server.Addr().String()) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if c, err := net.Dial("tcp", p.Address()); err == nil {
			c.Close()
			t.Error("the port is open after the end")
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

// receive reads as many bytes as want has, within the time.
func receive(t *testing.T, c net.Conn, want string, within time.Duration) error {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		t.Fatalf("received %q, want %q", got, want)
	}
	return nil
}

const soon = 10 * time.Second

func echo(t *testing.T, c net.Conn, s string) {
	t.Helper()
	send(t, c, s)
	if err := receive(t, c, s, soon); err != nil {
		t.Fatal(err)
	}
}

func TestCarries(t *testing.T) {
	p := echoing(t)
	a, b := dial(t, p), dial(t, p)
	large := strings.Repeat("x", 1<<20)
	go func() { _, _ = a.Write([]byte(large)) }()
	echo(t, b, "beside")
	if err := receive(t, a, large, soon); err != nil {
		t.Fatal(err)
	}
	// One end that is done sending still receives.
	send(t, b, "last")
	if err := b.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, b, "last", soon); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after both ends are done: %v, want EOF", err)
	}
}

func TestRefuse(t *testing.T) {
	p := echoing(t)
	c := dial(t, p)
	echo(t, c, "before")
	for range 2 { // a goal: again changes nothing
		if err := p.Refuse(true); err != nil {
			t.Fatal(err)
		}
	}
	if err := receive(t, c, "x", soon); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection: %v, want a reset", err)
	}
	if _, err := net.Dial("tcp", p.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, want it refused", err)
	}
	if l, err := net.Listen("tcp4", p.Address()); err == nil {
		l.Close()
		t.Error("another program can take the port meanwhile")
	}
	for range 2 {
		if err := p.Refuse(false); err != nil {
			t.Fatal(err)
		}
	}
	echo(t, dial(t, p), "after")
}

func TestHold(t *testing.T) {
	p := echoing(t)
	open := dial(t, p)
	echo(t, open, "before")
	p.Hold(true)
	send(t, open, "late")
	if err := receive(t, open, "late", silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an open connection: %v, want silence", err)
	}
	fresh := dial(t, p)
	send(t, fresh, "hello")
	if err := receive(t, fresh, "hello", silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection: %v, want silence", err)
	}
	p.Hold(false)
	for c, want := range map[net.Conn]string{open: "late", fresh: "hello"} {
		if err := receive(t, c, want, soon); err != nil {
			t.Errorf("once the network is back: %v, want %q", err, want)
		}
	}
}

// What is held when the connections are reset is lost, and nothing waits on.
func TestRefuseWhileHeld(t *testing.T) {
	p := echoing(t)
	c := dial(t, p)
	echo(t, c, "before")
	p.Hold(true)
	send(t, c, "lost")
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	p.Hold(false)
	if err := receive(t, c, "lost", soon); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

func TestServerIsGone(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	p, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, gone.Addr().String()) }()
	c, err := net.Dial("tcp", p.Address())
	if err == nil { // the reset may come before or after Dial returns
		defer c.Close()
		err = receive(t, c, "x", soon)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPortIsTaken(t *testing.T) {
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(other.Addr().(*net.TCPAddr).Port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen = %v, want that the port is in use", err)
	}
}
