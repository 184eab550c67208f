package main

import (
	"io"
	"os"
	"os/exec"
	"runtime"
)

// startSelf starts this executable once more, with env beside our own variables.
// Its signals are its own, so that a
// Ctrl-C at the terminal reaches it once, through us; where the system can, it is
// told to stop when we are killed.
func startSelf(args, env []string, stdout, stderr io.Writer) (child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = apart()
	p := &process{cmd: cmd, ended: make(chan int, 1)}
	started := make(chan error, 1)
	go func() {
		// The signal of a parent's death comes when the thread that started the child
		// ends: it is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait() // the exit code says it
		code := cmd.ProcessState.ExitCode()
		if code < 0 { // it was killed: what is under way is found again by the next run
			code = exitStopped
		}
		p.ended <- code
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

type process struct {
	cmd   *exec.Cmd
	ended chan int
}

func (p *process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }
func (p *process) Wait() int                { return <-p.ended }
