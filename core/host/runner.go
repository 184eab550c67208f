package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/rotatord/rotator/drivers/sdk"
)

// drainAfterExit is how long the output of a driver that has ended is still
// read. Without a bound, a process that it left behind would hold the pipes
// open, and its end would go unnoticed.
const drainAfterExit = time.Second

// executable runs a driver's process for go-plugin. Unlike go-plugin's own
// runner it gives the driver no stdin, a process group of its own (a Ctrl-C at
// the terminal is the host's to handle) which it kills whole, and a pipe by
// which the driver learns that the host is gone; and it sees the output before
// go-plugin does.
type executable struct {
	cmd    *exec.Cmd
	name   string
	stdout *firstLine
	stderr *lineFilter
	tail   *tail

	hostPipe *os.File // write end; held open as long as the driver may run
	exited   chan struct{}
	err      error // of Wait; valid once exited is closed
	killing  sync.Once
	killed   atomic.Bool // by us
}

var _ runner.Runner = (*executable)(nil)

// newExecutable prepares to run the file, which it closes once it has started,
// or failed to. pinned means that the very content of file is to be run,
// whatever its path names by then.
func newExecutable(file *os.File, name string, pinned bool, env []string, m masker) (*executable, error) {
	e := &executable{name: name, tail: &tail{}, exited: make(chan struct{})}
	e.cmd = &exec.Cmd{Path: file.Name(), Args: []string{name}, Env: append(env, sdk.EnvHostPipe+"=3")}
	ownGroup(e.cmd)

	stdout, stdoutW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stderr, stderrW, err := os.Pipe()
	if err != nil {
		closeAll(stdout, stdoutW)
		return nil, err
	}
	hostR, hostW, err := os.Pipe()
	if err != nil {
		closeAll(stdout, stdoutW, stderr, stderrW)
		return nil, err
	}
	e.stdout = &firstLine{ReadCloser: stdout}
	e.stderr = newLineFilter(stderr, m, e.tail)
	e.hostPipe = hostW
	e.cmd.Stdout, e.cmd.Stderr = stdoutW, stderrW
	e.cmd.ExtraFiles = []*os.File{hostR} // 3
	if pinned {
		if path, ok := pathOfDescriptor(4); ok {
			e.cmd.Path = path
			e.cmd.ExtraFiles = append(e.cmd.ExtraFiles, file) // 4
		}
	}
	return e, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // pipes without data: nothing to lose
	}
}

// Start starts the process and a goroutine that waits for its end.
func (e *executable) Start(context.Context) error {
	err := e.cmd.Start()
	// These ends are the child's.
	closeAll(e.cmd.Stdout.(*os.File), e.cmd.Stderr.(*os.File), e.cmd.ExtraFiles[0])
	if err != nil {
		e.err = err
		close(e.exited)
		closeAll(e.hostPipe)
		_ = e.stderr.Close() // nothing was written, and nobody reads
		return err
	}
	go func() {
		e.err = e.cmd.Wait()
		closeAll(e.hostPipe)
		close(e.exited)
		time.Sleep(drainAfterExit)
		_ = e.stdout.Close() // whoever still reads gets an error, as is meant
		_ = e.stderr.Close()
	}()
	return nil
}

// Wait waits for the process to end.
func (e *executable) Wait(context.Context) error {
	<-e.exited
	return e.err
}

// Kill kills the process and its children.
func (e *executable) Kill(context.Context) error {
	if e.cmd.Process == nil || !e.alive() {
		return nil
	}
	e.killing.Do(func() {
		e.killed.Store(true)
		killGroup(e.cmd.Process)
	})
	return nil
}

func (e *executable) alive() bool {
	select {
	case <-e.exited:
		return false
	default:
		return true
	}
}

// end says how the process ended, for a person.
func (e *executable) end() string {
	if e.alive() {
		return "it runs"
	}
	if s := e.cmd.ProcessState; s != nil {
		return "it ended with " + s.String()
	}
	return fmt.Sprintf("it did not start: %v", e.err)
}

// lastWords are the last lines of a process that has ended. What it wrote just
// before is waited for: as long as that may take to be read, drainAfterExit at most.
func (e *executable) lastWords() []string {
	<-e.stderr.over
	return e.tail.last()
}

func (e *executable) Stdout() io.ReadCloser           { return e.stdout }
func (e *executable) Stderr() io.ReadCloser           { return e.stderr }
func (e *executable) Name() string                    { return e.name }
func (e *executable) Diagnose(context.Context) string { return "" }

func (e *executable) ID() string {
	if e.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(e.cmd.Process.Pid)
}

// Host and driver see the same file system.
func (e *executable) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}
func (e *executable) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
