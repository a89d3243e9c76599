//go:build unix

package cli

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// TestRedisLostAndBack takes Redis away from a worker with a beat in the middle of a run: the run ends, the schedule goes on, no tick is lost without a fate.
func TestRedisLostAndBack(t *testing.T) {
	server := redistest.Start(t, redistest.AppendOnly())
	cmd, stdout, stderr := startApp(t, "--redis-url", server.URL(), "worker", "run", "--beat")
	awaitLine(t, stdout, "completed  auto_pulse")
	start, startOut, startErr := startApp(t, "--redis-url", server.URL(), "workflows", "run", "lab_sleep", "--input", `{"for": "2s"}`)
	if code := exitCode(t, start, startOut, startErr); code != 0 {
		t.Fatalf("workflows run exits with %d", code)
	}
	awaitLine(t, stdout, "started    lab_sleep")
	server.Kill()
	awaitLine(t, stderr, "the store does not answer")
	server.Restart()
	awaitLine(t, stderr, "the store answers again")
	awaitLine(t, stdout, "completed  lab_sleep")
	awaitLine(t, stdout, "completed  auto_pulse")
	deadline := time.Now().Add(20 * time.Second)
	for { // started ticks are counted whole seconds apart
		got := runCommand(t, &program{}, "--redis-url", server.URL(), "schedules", "history", "auto_pulse", "--output", "plain")
		if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); got.code == 0 && gapless(t, lines) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("ticks lack a fate:\n%s", got.stdout)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd, stdout, stderr); code != 0 {
		t.Errorf("exits with %d", code)
	}
}

// TestRedisThatDoesNotAnswer: a frozen server keeps its connections open and says nothing.
func TestRedisThatDoesNotAnswer(t *testing.T) {
	server := redistest.Start(t)
	server.Pause()
	defer server.Resume()
	began := time.Now()
	for _, args := range [][]string{{"schedules", "list"}, {"worker", "run"}} {
		refused(t, runCommand(t, &program{}, append([]string{"--redis-url", server.URL()}, args...)...), 1, []string{"cannot use redis at " + server.URL(), "no answer within 2s"})
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("two commands took %s", took)
	}
}

// gapless reports whether the nominal times, the newest first, are a second apart each.
func gapless(t *testing.T, lines []string) bool {
	t.Helper()
	var last time.Time
	for _, line := range lines {
		nominal, _, _ := strings.Cut(line, "\t")
		at, err := time.Parse(time.RFC3339, nominal)
		if err != nil {
			t.Fatal(err)
		}
		if !last.IsZero() && last.Sub(at) != time.Second {
			return false
		}
		last = at
	}
	return len(lines) > 2
}
