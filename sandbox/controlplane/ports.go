package controlplane

import (
	"fmt"
	"net"
	"strconv"
)

// listen opens the API server's port itself and hands the open listener on, so
// that no other process can take the port in between.
func listen(port int) (net.Listener, int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, 0, fmt.Errorf("port of the API server: %w", err)
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}

// freePort finds a port that is free now; somebody else may take it before it
// is used.
func freePort() (int, error) {
	l, port, err := listen(0)
	if err != nil {
		return 0, err
	}
	return port, l.Close()
}
