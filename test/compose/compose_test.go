//go:build compose && unix

// Package compose brings docker-compose.yml up for real, in a project of its own, and takes it down with everything it made. No registry is
// asked: the base images are stand-ins made from this machine's files, unless GO_IMAGE and REDIS_IMAGE name real ones. It is run by
// `make compose-test` and needs Linux and a Docker engine.
package compose

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	declared = "auto_minute_health_check" // what the example declares: every minute
	quick    = "quick"                    // ours: every 2 s
)

func TestStack(t *testing.T) {
	s := newStack(t)
	s.build(t)
	s.compose(t, "up", "-d")
	services := []string{"redis", "beat", "worker-1", "worker-2", "dashboard"}
	for _, service := range services {
		s.await(t, time.Minute, service+" to be healthy", func() bool {
			return s.inspect(t, service, "{{.State.Health.Status}}") == "healthy"
		})
	}

	s.cli(t, "worker-1", "schedules", "create", "minute_health_check", "--id", quick, "--interval", "2s", "--interval-from", "start")
	s.await(t, 30*time.Second, "a quick run to complete", func() bool { return s.completed(t, quick, time.Time{}) })
	// The declared one fires on the full minute.
	s.await(t, 90*time.Second, "a run of "+declared+" to complete", func() bool { return s.completed(t, declared, time.Time{}) })

	for token, want := range map[string]int{s.token: http.StatusOK, "": http.StatusUnauthorized, "wrong": http.StatusUnauthorized} {
		if got := s.ask(t, "/api/v1/schedules/"+quick, token); got != want {
			t.Errorf("the dashboard answers %d to the token %q, want %d", got, token, want)
		}
	}

	// A lost host: the worker does not come back. A crashed beat: its restart policy brings it back.
	s.docker(t, "kill", s.container(t, "worker-1"))
	s.crash(t, "beat")
	killed := time.Now()
	s.await(t, time.Minute, "a quick run of after the kills to complete", func() bool { return s.completed(t, quick, killed) })
	if got := s.inspect(t, "worker-1", "{{.State.Running}}"); got != "false" {
		t.Errorf("worker-1 runs (%s) though its host is lost: the test proves nothing about the others", got)
	}
	s.await(t, time.Minute, "the crashed beat to be healthy again", func() bool {
		return s.inspect(t, "beat", "{{.RestartCount}} {{.State.Health.Status}}") == "1 healthy"
	})

	// What is asked to stop drains and ends well, within the grace period.
	s.compose(t, "stop", "beat", "worker-2", "dashboard")
	for _, service := range []string{"beat", "worker-2", "dashboard"} {
		if got := s.inspect(t, service, "{{.State.ExitCode}}"); got != "0" {
			t.Errorf("%s ended with code %s when asked to stop, want 0", service, got)
		}
	}
}

// completed says whether a run of the schedule with a nominal time after that instant has completed.
func (s *stack) completed(t *testing.T, schedule string, after time.Time) bool {
	t.Helper()
	out := s.cli(t, "worker-2", "runs", "list", "--schedule", schedule, "--status", "completed", "--output", "json")
	var list struct{ Items []run }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("runs list says %q: %v", out, err)
	}
	return slices.ContainsFunc(list.Items, func(r run) bool { return r.Status == "completed" && r.NominalTime.After(after) })
}

// run is what the test reads of a run's JSON.
type run struct {
	Status      string    `json:"status"`
	NominalTime time.Time `json:"nominal_time"`
}

// crash ends a service's process as a fault would, not as an operator does: its restart policy applies. Killing takes another container
// in the host's process namespace, since a process 1 cannot be killed from within its own and the test may lack the right to.
func (s *stack) crash(t *testing.T, service string) {
	t.Helper()
	pid := s.inspect(t, service, "{{.State.Pid}}")
	s.docker(t, "run", "--rm", "--pid=host", "--network=none", "--user=0", "--entrypoint=/bin/sh", s.goImage, "-c", "kill -9 "+strings.TrimSpace(pid))
}
