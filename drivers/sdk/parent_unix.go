//go:build unix

package sdk

import "syscall"

// closeOnExec keeps the host's pipe out of the processes that a driver starts.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
