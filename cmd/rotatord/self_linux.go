package main

import "syscall"

// apart puts a child into a process group of its own, and has it stopped when
// its parent is killed.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
