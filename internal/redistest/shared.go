package redistest

import (
	"os"
	"sync"
	"testing"
)

// shared is the process's one common server.
var shared struct {
	mu     sync.Mutex
	server *Server
}

// Shared returns the server that all tests of this process share, starting it when nobody has. It keeps nothing on disk. Use a Namespace of
// your own in it; Kill, Stop, Restart, Pause and Resume of it fail the test. Its waiting goroutine lives until the process ends or Main stops it.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		dir, err := os.MkdirTemp("", "redistest")
		if err != nil {
			tb.Fatalf("start redis-server: %v", err)
		}
		// Nothing is written there after the start, and a killed process could not remove it later.
		defer func() { _ = os.RemoveAll(dir) }()
		s := newServer(nil, lookup(tb), dir, nil)
		if err := s.startOnFreePort(); err != nil {
			s.close()
			tb.Fatalf("start redis-server: %v", err)
		}
		shared.server = s
	}
	s := shared.server
	return &Server{tb: tb, port: s.port, proc: s.proc, shared: true}
}

// Runner is the part of *testing.M that goleak.VerifyTestMain and testscript.Main ask for.
type Runner interface{ Run() int }

// Main wraps m so that the shared server is stopped once the tests have run.
func Main(m Runner) Runner { return runner{m} }

type runner struct{ m Runner }

func (r runner) Run() int {
	defer closeShared()
	return r.m.Run()
}

func closeShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.close()
		shared.server = nil
	}
}
