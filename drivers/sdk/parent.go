package sdk

import (
	"io"
	"os"
	"strconv"
	"time"
)

// parentPoll is how often the parent is looked at where the host gives no pipe.
const parentPoll = time.Second

// waitForHostToDie returns when the host is gone. A host that is killed cannot
// tell its drivers, and go-plugin leaves them running for ever.
//
// The pipe of EnvHostPipe answers at once and through wrapper scripts. Without
// one (another host than rotatord) a change of the parent's id answers; a
// system without either runs until the host ends the driver.
func waitForHostToDie() {
	if fd, err := strconv.Atoi(os.Getenv(EnvHostPipe)); err == nil && fd > 2 {
		if f := os.NewFile(uintptr(fd), "host pipe"); f != nil {
			closeOnExec(fd)
			if _, err := io.Copy(io.Discard, f); err == nil {
				return
			}
			// Not a pipe that can be read: fall back.
		}
	}
	first := os.Getppid()
	for os.Getppid() == first {
		time.Sleep(parentPoll)
	}
}
