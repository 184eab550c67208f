package controlplane

import (
	"os"
	"syscall"
)

// lock takes an advisory lock on file, which the kernel releases when this
// process ends in whatever way.
func lock(file string) (release func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "lock", Path: file, Err: err}
	}
	return func() { _ = f.Close() }, nil
}
