package redistest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// startTimeout bounds how long a server may take until it answers.
	startTimeout = 20 * time.Second
	// stopTimeout bounds how long a server may take to stop when asked to, before it is killed.
	stopTimeout = 10 * time.Second
	pollEvery   = 5 * time.Millisecond
)

// Option changes how a server is started.
type Option func(*config)

type config struct {
	first     string // a configuration file that the server may rewrite, ahead of args; empty: none
	args      []string
	fakeClock bool

	rewritable bool   // it gets a file first of its own
	text       string // what is in there at the start
}

// AppendOnly keeps every acknowledged write on disk (appendfsync always), so that it survives Kill and Restart.
func AppendOnly() Option { return Args("--appendonly", "yes", "--appendfsync", "always") }

// Args adds arguments to redis-server's command line, such as "--maxmemory", "10mb".
func Args(args ...string) Option {
	return func(c *config) { c.args = append(c.args, args...) }
}

// Server is a running redis-server. Its methods may be called from several goroutines, those that can fail the test only from the test's own.
type Server struct {
	tb     testing.TB
	bin    string
	dir    string
	port   int
	config config
	clock  *clock // nil: the host's
	log    *os.File
	shared bool

	mu   sync.Mutex
	proc *process // nil when not running
}

// process is one life of a server. Done is closed when it has ended.
type process struct {
	os   *os.Process
	done chan struct{}
}

// Start starts a server that lives until the test ends. It keeps nothing on disk unless AppendOnly is given.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := newServer(tb, lookup(tb), tb.TempDir(), opts)
	tb.Cleanup(s.close)
	if s.config.fakeClock {
		c, err := newClock(s.dir)
		if err != nil {
			tb.Fatalf("start redis-server: %v", err)
		}
		s.clock = c
	}
	if err := s.writeConfig(); err != nil {
		tb.Fatalf("start redis-server: %v", err)
	}
	if err := s.startOnFreePort(); err != nil {
		tb.Fatalf("start redis-server: %v", err)
	}
	return s
}

func newServer(tb testing.TB, bin, dir string, opts []Option) *Server {
	var c config
	for _, o := range opts {
		o(&c)
	}
	return &Server{tb: tb, bin: bin, dir: dir, config: c}
}

func lookup(tb testing.TB) string {
	tb.Helper()
	name := os.Getenv("REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	bin, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%s is not installed: run `make deps`, or set REDIS_SERVER to the program's path", name)
	}
	return bin
}

// Namespace returns a random name that keeps a test's keys apart from all others'.
func Namespace(tb testing.TB) string {
	tb.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "t" + hex.EncodeToString(b[:])
}

// Addr returns host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL returns redis://host:port/0.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Client returns a client of database 0, closed when tb ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// PID returns the process id, 0 when the server is not running.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.os.Pid
}

// Kill ends the server at once, as a crash would (SIGKILL), and waits until it is gone. A stopped server stays stopped.
func (s *Server) Kill() {
	s.tb.Helper()
	s.refuseShared("Kill")
	s.kill()
}

// Stop asks the server to shut down and waits until it is gone. A stopped server stays stopped.
func (s *Server) Stop() {
	s.tb.Helper()
	s.refuseShared("Stop")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	p := s.proc
	s.proc = nil
	_ = terminate(p.os)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.os.Kill()
		<-p.done
		s.tb.Errorf("redis-server %d did not stop within %s", p.os.Pid, stopTimeout)
	}
}

// Restart starts the server anew on its old port and folder; it stops it first when it runs.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.tb.Fatalf("restart redis-server on %s: %v", s.Addr(), err)
	}
}

// Pause freezes the server (SIGSTOP): connections stay open, nothing is answered until Resume.
func (s *Server) Pause() {
	s.tb.Helper()
	s.refuseShared("Pause")
	s.signal("pause", pause)
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.tb.Helper()
	s.refuseShared("Resume")
	s.signal("resume", resume)
}

func (s *Server) signal(verb string, send func(*os.Process) error) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		s.tb.Fatalf("%s redis-server: it is not running", verb)
	}
	if err := send(s.proc.os); err != nil {
		s.tb.Fatalf("%s redis-server: %v", verb, err)
	}
}

func (s *Server) refuseShared(verb string) {
	s.tb.Helper()
	if s.shared {
		s.tb.Fatalf("%s of the shared redis-server would break other tests: use redistest.Start", verb)
	}
}

func (s *Server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	_ = s.proc.os.Kill() // works on a paused process, too
	<-s.proc.done
	s.proc = nil
}

// close kills the server and frees what it held.
func (s *Server) close() {
	s.kill()
	if s.log != nil {
		_ = s.log.Close()
	}
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		f, err := os.Create(filepath.Join(s.dir, "redis.log"))
		if err != nil {
			return err
		}
		s.log = f
	}
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--daemonize", "no", "--loglevel", "notice",
	}, s.config.args...)
	if s.config.first != "" {
		args = append([]string{s.config.first}, args...)
	}
	cmd := exec.Command(s.bin, args...)
	if s.clock != nil {
		cmd.Env = s.clock.env()
	}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	if err := s.awaitReady(p); err != nil {
		_ = p.os.Kill()
		<-p.done
		return err
	}
	s.proc = p
	return nil
}

// launch starts cmd on a thread that lives as long as the process: the kernel's parent-death signal follows the thread, not the process.
func launch(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	started := make(chan error, 1)
	p := &process{done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.os = cmd.Process
		started <- nil
		_ = cmd.Wait() // how it ended shows in the log
		close(p.done)
	}()
	return p, <-started
}

// awaitReady returns when this very process answers, so that a stranger on the same port is never taken for it.
func (s *Server) awaitReady(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, PoolSize: 1})
	defer func() { _ = c.Close() }()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	want := fmt.Sprintf("process_id:%d\r\n", p.os.Pid)
	for {
		// PING says LOADING while an append-only file is read; INFO would answer already.
		if c.Ping(ctx).Err() == nil {
			info, err := c.Info(ctx, "server").Result()
			if err == nil && strings.Contains(info, want) {
				return nil
			}
			if err == nil {
				return errPortTaken
			}
		}
		select {
		case <-p.done:
			if strings.Contains(s.logTail(), "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("it ended at once; its log ends with:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("no answer on %s within %s; its log ends with:\n%s", s.Addr(), startTimeout, s.logTail())
		case <-tick.C:
		}
	}
}

// logTail returns the end of what the server has printed. It reads through the open file: the folder of the shared server is gone.
func (s *Server) logTail() string {
	const most = 2000
	st, err := s.log.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(0, st.Size()-most)
	b := make([]byte, st.Size()-from)
	n, _ := s.log.ReadAt(b, from)
	return string(b[:n])
}
