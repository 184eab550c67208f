package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve binds a port without listening on it: connections to it are refused,
// and no other program gets it. Those that set SO_REUSEPORT as well may listen
// on it beside.
func reserve(port int) (taken int, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	release = func() { _ = unix.Close(fd) }
	if err := share(fd); err != nil {
		release()
		return 0, nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		release()
		return 0, nil, fmt.Errorf("127.0.0.1:%d: %w", port, os.NewSyscallError("bind", err))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		release()
		return 0, nil, os.NewSyscallError("getsockname", err)
	}
	return name.(*unix.SockaddrInet4).Port, release, nil
}

// listen listens on a port that reserve took.
func listen(port int) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = share(int(fd)) }); err != nil {
			return err
		}
		return failed
	}}
	return c.Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
}

func share(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}
