//go:build unix

package modbuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "MODBUILD_TEST=exec")
	cmd.Stdout = &out
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("got %v, want exit code 7", err)
	}
	want := fmt.Sprintf("inside true, again false, pid %d, args [\"pyworkflow\" \"a b\" \"c\"]\n", cmd.Process.Pid)
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
	if Inside() {
		t.Error("Inside() without Exec")
	}
}

func TestExecOfNothing(t *testing.T) {
	if _, err := Exec(filepath.Join(t.TempDir(), "absent"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// standInGo puts a go command into PATH that answers `go env` and then does what the script says.
func standInGo(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\nif [ \"$1\" = env ]; then echo '{\"GOVERSION\": \"go1.26\"}'; exit 0; fi\n" + script
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestCancelEndsGo(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	standInGo(t, "echo 'go: downloading example.com/x v1.0.0' >&2\nexec sleep 100\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &watched{wrote: func(text string) {
		if strings.HasPrefix(text, "go: ") {
			cancel()
		}
	}}
	start := time.Now()
	_, err := Build(ctx, Options{Package: "./workflows", Dir: w.path("app"), Stderr: stderr, quiet: time.Hour, cacheDir: w.cache})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 50*time.Second {
		t.Errorf("go went on for %v", took)
	}
	if want := "building ./workflows (the first time takes about a minute)\ngo: downloading example.com/x v1.0.0\n"; stderr.text.String() != want {
		t.Errorf("said %q, want %q", stderr.text.String(), want)
	}
}

func TestWaitingForAnotherBuildCanBeCancelled(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	standInGo(t, "echo 'go: downloading example.com/x v1.0.0' >&2\nexec sleep 100\n")
	first, endFirst := context.WithCancel(t.Context())
	defer endFirst()
	second, endSecond := context.WithCancel(t.Context())
	defer endSecond()
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := Build(first, Options{Package: "./workflows", Dir: w.path("app"), Stderr: &watched{wrote: func(text string) {
			if strings.HasPrefix(text, "go: ") {
				close(started)
			}
		}}, quiet: time.Hour, cacheDir: w.cache})
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("the first build ended: %v", err)
	}
	// The second one says that it waits, which is where it is cancelled.
	_, err := Build(second, Options{Package: "./workflows", Dir: w.path("app"), Stderr: &watched{wrote: func(string) { endSecond() }}, quiet: time.Millisecond, cacheDir: w.cache})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "wait for another build of ./workflows") {
		t.Errorf("got %v", err)
	}
	endFirst()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestToolchainThatFails(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\necho some noise >&2\necho go: toolchain not available >&2\nexit 1\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := w.build(Options{Package: "./workflows", Dir: "app"})
	var te *ToolchainError
	if want := "but " + filepath.Join(dir, "go") + " fails (go: toolchain not available)"; !errors.As(err, &te) || te.Problem != want {
		t.Errorf("got %T: %v, want a ToolchainError: %s", err, err, want)
	}
}
