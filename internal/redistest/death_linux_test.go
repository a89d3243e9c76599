package redistest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// TestServersDieWithTheProcess runs itself in a child, kills the child, and sees the child's servers go.
func TestServersDieWithTheProcess(t *testing.T) {
	const role = "REDISTEST_CHILD"
	if os.Getenv(role) != "" {
		fmt.Printf("servers %d %d\n", redistest.Shared(t).PID(), redistest.Start(t).PID())
		select {} // until killed
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), role+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }()
	defer func() { _ = child.Process.Kill() }()

	var shared, own int
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "servers ") {
			if _, err := fmt.Sscanf(lines.Text(), "servers %d %d", &shared, &own); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if shared == 0 || own == 0 {
		t.Fatalf("the child's servers: processes %d and %d, want two", shared, own)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{shared, own} {
		awaitGone(t, pid)
	}
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for running(pid) {
		select {
		case <-deadline:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("redis-server %d outlives its test process", pid)
		case <-tick.C:
		}
	}
}

// running tells a living process from none and from a dead one that nobody has waited for.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
