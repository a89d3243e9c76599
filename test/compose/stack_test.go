//go:build compose && unix

package compose

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	root         = "../.."
	buildTimeout = 15 * time.Minute // with cold caches, on a busy machine
	stepTimeout  = 2 * time.Minute
	pollEvery    = 300 * time.Millisecond
)

// stack is one compose project and the images made for it.
type stack struct {
	project    string
	command    []string // docker compose, or docker-compose
	env        []string
	goImage    string
	redisImage string
	token      string // of the dashboard
	port       string // where it is published
}

func newStack(t *testing.T) *stack {
	s := &stack{project: "pyworkflow-test-" + strings.ToLower(rand.Text()[:8])}
	s.docker(t, "version")
	s.command = []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		s.command = []string{"docker-compose"}
	}
	t.Cleanup(func() { s.remove(t) })

	s.goImage, s.redisImage = os.Getenv("GO_IMAGE"), os.Getenv("REDIS_IMAGE")
	s.token, s.port = rand.Text(), freePort(t)
	s.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.project, "COMPOSE_PROFILES=dashboard", "PYWORKFLOW_DASHBOARD_TOKEN="+s.token, "DASHBOARD_PORT="+s.port)
	// Unoptimized code compiles in half the time.
	s.env = append(s.env, `GOFLAGS="-gcflags=all=-N -l"`)
	if s.goImage == "" {
		s.goImage = s.project + "-go"
		s.standIn(t, s.goImage, goFiles(t))
		s.env = append(s.env, "GO_IMAGE="+s.goImage, "GOPROXY=file://"+proxyDir, "GOSUMDB=off")
	}
	if s.redisImage == "" {
		s.redisImage = s.project + "-redis"
		s.standIn(t, s.redisImage, redisFiles(t), "WORKDIR /data")
		s.env = append(s.env, "REDIS_IMAGE="+s.redisImage)
	}
	return s
}

// build makes the image of the services.
func (s *stack) build(t *testing.T) {
	t.Helper()
	began := time.Now()
	s.run(t, buildTimeout, nil, s.command, "build")
	t.Logf("%5.1f s for the image", time.Since(began).Seconds())
}

func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, stepTimeout, nil, s.command, args...)
}

func (s *stack) docker(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, stepTimeout, nil, []string{"docker"}, args...)
}

// cli runs pyworkflow inside a service's container.
func (s *stack) cli(t *testing.T, service string, args ...string) string {
	t.Helper()
	return s.docker(t, append([]string{"exec", s.container(t, service), "/pyworkflow"}, args...)...)
}

func (s *stack) container(t *testing.T, service string) string {
	t.Helper()
	id := strings.TrimSpace(s.docker(t, "ps", "-aq", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service="+service))
	if id == "" || strings.Contains(id, "\n") {
		t.Fatalf("containers of service %s: %q, want one", service, id)
	}
	return id
}

func (s *stack) inspect(t *testing.T, service, format string) string {
	t.Helper()
	return strings.TrimSpace(s.docker(t, "inspect", "--format", format, s.container(t, service)))
}

// await polls until ok says yes; past the deadline it fails the test.
func (s *stack) await(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %s for %s", limit, what)
		case <-tick.C:
		}
	}
	t.Logf("%5.1f s for %s", time.Since(began).Seconds(), what)
}

// run executes a command in the checkout and returns its standard output; a failure fails the test with all that it printed.
func (s *stack) run(t *testing.T, limit time.Duration, stdin *os.File, command []string, args ...string) string {
	t.Helper()
	out, err := s.try(limit, stdin, command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *stack) try(limit time.Duration, stdin *os.File, command []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	argv := append(command[1:len(command):len(command)], args...)
	cmd := exec.CommandContext(ctx, command[0], argv...)
	cmd.Dir, cmd.Env = root, s.env
	if stdin != nil {
		cmd.Stdin = stdin
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// docker-compose leaves the building to a child: past the limit both must go.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w (limit %s)\n%s%s", command[0], strings.Join(argv, " "), err, limit, out.String(), errs.String())
	}
	return out.String(), nil
}

// remove takes down what the test made: containers, networks, volumes, images.
func (s *stack) remove(t *testing.T) {
	if s.env == nil {
		return
	}
	if t.Failed() {
		if logs, err := s.try(stepTimeout, nil, s.command, "logs", "--no-color", "--tail", "60"); err == nil {
			t.Logf("what the containers said last:\n%s", logs)
		}
	}
	if _, err := s.try(stepTimeout, nil, s.command, "down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "5"); err != nil {
		t.Errorf("take the stack down: %v", err)
	}
	for _, image := range []string{s.goImage, s.redisImage} {
		if strings.HasPrefix(image, s.project) {
			s.removeImage(t, image)
		}
	}
}

// removeImage removes a stand-in and the layers that were built on it, which nothing names any more.
func (s *stack) removeImage(t *testing.T, image string) {
	docker := []string{"docker"}
	id, err := s.try(stepTimeout, nil, docker, "image", "ls", "-q", "--no-trunc", image)
	if id = strings.TrimSpace(id); err != nil || id == "" {
		return // never made
	}
	nameless, err := s.try(stepTimeout, nil, docker, "image", "ls", "-q", "--no-trunc", "--filter", "dangling=true")
	if err != nil {
		t.Error(err)
	}
	for _, leaf := range strings.Fields(nameless) {
		layers, err := s.try(stepTimeout, nil, docker, "history", "-q", "--no-trunc", leaf)
		if err == nil && strings.Contains(layers, id) {
			if _, err := s.try(stepTimeout, nil, docker, "image", "rm", leaf); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := s.try(stepTimeout, nil, docker, "image", "rm", image); err != nil {
		t.Error(err)
	}
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ask sends a request to the dashboard and returns the status of the answer.
func (s *stack) ask(t *testing.T, path, token string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+s.port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
