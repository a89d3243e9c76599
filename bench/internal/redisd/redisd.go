// Package redisd starts redis-servers of the benchmark's own, single or as a cluster, which keep nothing on disk, and reads what they count. It touches no other server.
package redisd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/proc"
)

const (
	portTries    = 10
	startTimeout = 20 * time.Second
)

// Server is a running redis-server.
type Server struct {
	*proc.Process
	addr   string
	client *redis.Client
}

// Start starts a server on a free loopback port, with its log and whatever else it writes in dir. The arguments are further ones of redis-server.
func Start(ctx context.Context, dir string, args ...string) (*Server, error) {
	name := os.Getenv("REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	bin, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w: run `make deps` in the project, or set REDIS_SERVER to the program's path", err)
	}
	for range portTries {
		var s *Server
		if s, err = startOnce(ctx, bin, dir, args); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("start redis-server: %w", err)
}

func startOnce(ctx context.Context, bin, dir string, more []string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--daemonize", "no", "--loglevel", "warning", "--logfile", ""}
	p, err := proc.Start(proc.Spec{Name: "redis", Path: bin, Args: append(args, more...), Dir: dir})
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, addr: "127.0.0.1:" + strconv.Itoa(port)}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr, PoolSize: 1, DisableIdentity: true})
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	want := fmt.Sprintf("process_id:%d\r\n", p.PID()) // a stranger on the same port is never taken for it
	err = p.Await(ctx, "an answer", func() (bool, error) {
		info, err := s.client.Info(ctx, "server").Result()
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		if !strings.Contains(info, want) {
			return false, errors.New("somebody else has the port")
		}
		return true, nil
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// freePort draws a port below those that systems give to outgoing connections. That of a node's cluster bus, busOffset above it, is free as well.
func freePort() (int, error) {
	const first, end, busOffset = 10_000, 20_000, 10_000
	for range portTries {
		port := first + rand.IntN(end-first)
		if free(port) && free(port+busOffset) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 in %d tries", portTries)
}

func free(port int) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Addr is host:port.
func (s *Server) Addr() string { return s.addr }

// Close kills the server.
func (s *Server) Close() {
	_ = s.client.Close()
	s.Kill()
}
