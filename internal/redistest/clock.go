package redistest

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// FakeClock lets the test move the server's wall clock by StepClock. A small C library, built when the server starts, does it, so it needs Linux and
// a C compiler (`make deps` installs one). Timers that run on the monotonic clock go on undisturbed, as on a host whose clock is stepped.
func FakeClock() Option { return func(c *config) { c.fakeClock = true } }

// StepClock moves the server's wall clock forward, or back if by is negative, at once. Steps add up, and a restart keeps them. It fails the test
// unless the server was started with FakeClock.
func (s *Server) StepClock(by time.Duration) {
	s.tb.Helper()
	if s.clock == nil {
		s.tb.Fatalf("step the clock of redis-server on %s: start it with redistest.FakeClock()", s.Addr())
	}
	if err := s.clock.step(by); err != nil {
		s.tb.Fatalf("step the clock of redis-server on %s: %v", s.Addr(), err)
	}
}

// clock is the file that says how far a server's clock is off, and the library that reads it.
type clock struct {
	file, library string

	mu     sync.Mutex
	offset time.Duration
}

func newClock(dir string) (*clock, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("FakeClock works on Linux only")
	}
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	c := &clock{file: filepath.Join(dir, "clock"), library: filepath.Join(dir, "clock.so")}
	cc, err := compiler()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(cc, "-O1", "-shared", "-fPIC", "-o", c.library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build its clock: %w\n%s", err, out)
	}
	return c, c.step(0)
}

// compiler finds what tools/deps.sh takes for a C compiler.
func compiler() (string, error) {
	for _, name := range []string{"cc", "gcc", "clang"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("FakeClock needs a C compiler: run `make deps`")
}

func (c *clock) step(by time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.OpenFile(c.file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	c.offset += by
	// The server sees the file as memory: eight aligned bytes change at once.
	_, err = f.Write(binary.NativeEndian.AppendUint64(nil, uint64(c.offset)))
	return errors.Join(err, f.Close())
}

func (c *clock) env() []string {
	return append(os.Environ(), "LD_PRELOAD="+c.library, "REDISTEST_CLOCK="+c.file)
}
