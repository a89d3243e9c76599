// Package proc starts and ends the processes of the benchmark, and reads what the kernel knows of them. Every process is ended by its id, and dies with the driver.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Name string   // in messages, and of its log
	Path string   // the program
	Args []string // without its name
	Env  []string // besides the driver's own
	Dir  string   // where its log goes; what it prints on standard output goes nowhere
}

// Process is a started process.
type Process struct {
	name string
	log  string
	os   *os.Process
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// Start starts a process.
func Start(s Spec) (*Process, error) {
	p := &Process{name: s.Name, log: filepath.Join(s.Dir, s.Name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stderr = log
	apart(cmd)
	started := make(chan error, 1)
	go func() {
		// The kernel's parent-death signal follows the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.os = cmd.Process
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.os.Pid }

// Name is the name it was given.
func (p *Process) Name() string { return p.name }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Died is the error for a process that ended though nobody asked it to.
func (p *Process) Died() error {
	<-p.done
	return fmt.Errorf("%s (process %d) ended by itself: %w; its log ends with:\n%s", p.name, p.PID(), orNil(p.err), p.LogTail())
}

func orNil(err error) error {
	if err == nil {
		return errors.New("exit code 0")
	}
	return err
}

// LogTail is the end of what it has printed on standard error.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// Stop asks the process to end (SIGTERM) and kills it when it has not in time.
func (p *Process) Stop(within time.Duration) error {
	_ = p.os.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("stop %s: %w; its log ends with:\n%s", p.name, p.err, p.LogTail())
		}
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("stop %s: it did not end within %s and was killed", p.name, within)
	}
}

// Kill ends the process at once and waits until it is gone. A second time does nothing.
func (p *Process) Kill() {
	_ = p.os.Kill() // it may have ended
	<-p.done
}

// Await waits until ready is true, the process dies, or the context ends. It looks every 10 ms.
func (p *Process) Await(ctx context.Context, what string, ready func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ready()
		if err != nil {
			return fmt.Errorf("await %s of %s: %w", what, p.name, err)
		}
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.Died()
		case <-ctx.Done():
			return fmt.Errorf("await %s of %s: %w; its log ends with:\n%s", what, p.name, context.Cause(ctx), p.LogTail())
		}
	}
}
