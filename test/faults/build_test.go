//go:build unix

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// variant says how the program is built.
type variant struct {
	race    bool
	overlay string // a file for `go build -overlay`; empty: none
}

// builds keeps what was built by this process.
var builds struct {
	mu  sync.Mutex
	dir string
	bin map[variant]string

	clock string // the overlay of package time; empty: not written yet
}

// folder is where what is built lies until this process ends. builds.mu is held.
func folder(tb testing.TB) string {
	tb.Helper()
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "faults")
		if err != nil {
			tb.Fatal(err)
		}
		builds.dir, builds.bin = dir, map[variant]string{}
	}
	return builds.dir
}

// build gives the path of the lab's program, built with failpoints.
func build(tb testing.TB, v variant) string {
	tb.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if bin := builds.bin[v]; bin != "" {
		return bin
	}
	bin := filepath.Join(folder(tb), fmt.Sprintf("program%d", len(builds.bin)))
	args := []string{"build", "-trimpath", "-tags", "failpoints", "-o", bin} // compiled as for the other tests, so that they share it
	env := append(os.Environ(), "CGO_ENABLED=0")
	if v.race {
		args, env = append(args, "-race"), append(os.Environ(), "CGO_ENABLED=1")
	}
	if v.overlay != "" {
		args = append(args, "-overlay", v.overlay)
	}
	cmd := exec.Command("go", append(args, "./program")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go %s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	builds.bin[v] = bin
	return bin
}

func removeBuilds() {
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir)
	}
}
