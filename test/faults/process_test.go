//go:build unix

package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// role is what a process does.
type role string

const (
	beatRole   role = "beat"   // scheduler run
	workerRole role = "worker" // worker run
	bothRole   role = "both"   // worker run --beat
)

// kills names the fault of ending a process of the role.
func (r role) kills() string {
	if r == beatRole {
		return check.FaultKillBeat
	}
	return check.FaultKillWorker
}

// process is a place in the world that the supervisor keeps a process in.
type process struct {
	w    *world
	name string
	role role
	args []string
	env  []string // besides the world's

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{}
	lives  int
	ending bool // asked to stop: do not start it anew
	armed  bool // with failpoints
	frozen bool
	left   chan struct{} // closed when nobody supervises it any more
}

// start starts the process, with failpoints when arm is not empty.
func (p *process) start(arm string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lives++
	p.armed, p.frozen = arm != "", false
	out, err := os.Create(filepath.Join(p.w.dir, fmt.Sprintf("%s.%d.log", p.name, p.lives)))
	if err != nil {
		return err
	}
	args := []string{"worker", "run"}
	switch p.role {
	case beatRole:
		args = []string{"scheduler", "run"}
	case bothRole:
		args = append(args, "--beat")
	}
	cmd := exec.Command(p.w.bin, append(args, p.args...)...)
	cmd.Dir = p.w.dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(),
		"PYWORKFLOW_RUNTIME=asynq", "PYWORKFLOW_REDIS_URL="+p.w.urlFor(p.role), "PYWORKFLOW_NAMESPACE="+p.w.namespace, "PYWORKFLOW_LOG_LEVEL="+p.w.logLevel,
		"FAULTS_LOG_DIR="+p.w.logs, "PYWORKFLOW_FAILPOINTS="+arm, "PYWORKFLOW_FAILPOINT_LOG="+p.w.failpoints, "GORACE=halt_on_error=1 exitcode=66")
	cmd.Env = append(cmd.Env, p.env...)
	dieWithParent(cmd)
	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal of a parent's death follows the thread
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait()
		close(done)
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.done = cmd, done
	return nil
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || isClosed(p.done) {
		return 0
	}
	return p.cmd.Process.Pid
}

// live reports whether the process runs and is not frozen.
func (p *process) live() bool {
	pid := p.pid()
	p.mu.Lock()
	defer p.mu.Unlock()
	return pid != 0 && !p.frozen
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would; the supervisor starts another.
func (p *process) kill(note string) {
	pid := p.pid()
	if pid == 0 {
		return
	}
	p.mu.Lock()
	wasFrozen := p.frozen
	p.mu.Unlock()
	if wasFrozen {
		return
	}
	p.w.fault(p.role.kills(), pid, note)()
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// freeze stops the process until the returned function is called.
func (p *process) freeze(note string) (thaw func()) {
	pid := p.pid()
	if pid == 0 {
		return func() {}
	}
	p.mu.Lock()
	p.frozen = true
	p.mu.Unlock()
	end := p.w.fault(check.FaultFreeze, pid, string(p.role)+" "+note)
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	return func() {
		end()
		_ = syscall.Kill(pid, syscall.SIGCONT)
		p.mu.Lock()
		p.frozen = false
		p.mu.Unlock()
	}
}

// stop asks the process to end and waits; it is not started anew.
func (p *process) stop() {
	p.mu.Lock()
	p.ending = true
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil || isClosed(done) {
		return
	}
	if p.role != workerRole && !isClosed(p.w.mending) {
		defer p.w.fault(check.FaultStopBeat, cmd.Process.Pid, "")()
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		p.w.find("stuck", "%s (pid %d) did not stop within 60 s of SIGTERM", p.name, cmd.Process.Pid)
		_ = cmd.Process.Kill()
		<-done
	}
}

// end kills the process for good.
func (p *process) end() {
	p.mu.Lock()
	p.ending = true
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-done
	}
}

// keep has the process supervised.
func (p *process) keep() {
	left := make(chan struct{})
	p.mu.Lock()
	p.left = left
	p.mu.Unlock()
	go func() {
		defer close(left)
		p.supervise()
	}()
}

// supervise starts the process anew whenever it ends, as an operator's supervisor would, until it was asked to stop.
func (p *process) supervise() {
	for {
		p.mu.Lock()
		done := p.done
		p.mu.Unlock()
		select {
		case <-done:
		case <-p.w.over:
			return
		}
		p.mu.Lock()
		ending, state := p.ending, p.cmd.ProcessState
		p.mu.Unlock()
		if ending {
			return
		}
		if state.ExitCode() == 1 && (p.w.away() || strings.Contains(p.tail(), "cannot use Redis")) {
			p.w.hit("start refused: Redis does not answer") // and said so: whoever started it tries again
		} else if status, ok := state.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			p.w.find("crash", "%s (pid %d) ended by itself: %s; its log ends with: %s", p.name, state.Pid(), state, p.tail())
			return
		}
		pause(p.w.over, p.w.between(200*time.Millisecond, 1500*time.Millisecond))
		if isClosed(p.w.over) {
			return
		}
		if err := p.start(p.w.arm(p)); err != nil {
			p.w.find("crash", "start %s anew: %v", p.name, err)
			return
		}
	}
}

// away reports whether Redis did not answer a moment ago.
func (w *world) away() bool {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.scene.Faults, func(f check.Fault) bool {
		return (f.Kind == check.FaultRedis || f.Kind == check.FaultFailover) && (f.Ended.Equal(f.Began) || f.Ended.After(now.Add(-5*time.Second)))
	})
}

// tail is the end of what the process has printed.
func (p *process) tail() string {
	b, err := os.ReadFile(filepath.Join(p.w.dir, fmt.Sprintf("%s.%d.log", p.name, p.lives)))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-3000):])
}

// pause waits for d or until over is closed.
func pause(over <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}

// watchFailpoints turns what processes did to themselves into faults: it counts kills, and thaws what froze itself once its leases have run out.
func (w *world) watchFailpoints() {
	var read int
	for !isClosed(w.mending) {
		pause(w.mending, 20*time.Millisecond)
		f, err := os.Open(w.failpoints)
		if err != nil {
			continue // nothing happened yet
		}
		lines := bufio.NewScanner(f)
		for n := 0; lines.Scan(); n++ {
			if n < read {
				continue
			}
			read++
			part := strings.Fields(lines.Text())
			if len(part) != 4 {
				read-- // being written
				break
			}
			pid, _ := strconv.Atoi(part[1])
			p := w.byPID(pid)
			if p == nil {
				continue
			}
			w.hit("failpoint " + part[2] + " " + part[3])
			if part[3] == "kill" {
				w.fault(p.role.kills(), pid, "at "+part[2])()
				continue
			}
			thaw := p.freeze("at " + part[2])
			w.faulting.Go(func() {
				pause(w.mending, w.between(12*time.Second, 16*time.Second))
				thaw()
			})
		}
		_ = f.Close()
	}
}
