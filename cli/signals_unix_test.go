//go:build unix

package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startApp starts the program app of the scripts as a process of its own.
func startApp(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, exe)
	cmd.Args = append([]string{"app"}, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out), bufio.NewReader(errs)
}

// awaitLine reads until a line has the words in it.
func awaitLine(t *testing.T, from *bufio.Reader, words string) {
	t.Helper()
	for {
		line, err := from.ReadString('\n')
		if strings.Contains(line, words) {
			return
		}
		if err != nil {
			t.Fatalf("no line with %q: %v", words, err)
		}
	}
}

func exitCode(t *testing.T, cmd *exec.Cmd, rest ...io.Reader) int {
	t.Helper()
	for _, r := range rest {
		_, _ = io.Copy(io.Discard, r) // Wait wants it read
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  syscall.Signal
		second syscall.Signal // 0: none
		sleep  string
		code   int
	}{
		{"interrupt drains", syscall.SIGINT, 0, "2s", 0},
		{"terminate drains", syscall.SIGTERM, 0, "2s", 0},
		{"second interrupt ends at once", syscall.SIGINT, syscall.SIGINT, "50s", 130},
		{"second terminate ends at once", syscall.SIGTERM, syscall.SIGTERM, "50s", 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd, stdout, stderr := startApp(t, "--storage-path", "data", "scheduler", "run", "--poll-interval", "0.1")
			awaitLine(t, stdout, "activated")
			client, clientOut, clientErr := startApp(t, "--storage-path", cmd.Dir+"/data", "workflows", "run", "lab_sleep",
				"--input", `{"for": "`+c.sleep+`", "ignore_cancel": true}`)
			if code := exitCode(t, client, clientOut, clientErr); code != 0 {
				t.Fatalf("workflows run exits with %d", code)
			}
			awaitLine(t, stdout, "started    lab_sleep")
			if err := cmd.Process.Signal(c.first); err != nil {
				t.Fatal(err)
			}
			awaitLine(t, stderr, "draining")
			if c.second != 0 {
				if err := cmd.Process.Signal(c.second); err != nil {
					t.Fatal(err)
				}
			} else {
				awaitLine(t, stdout, "completed  lab_sleep")
			}
			if code := exitCode(t, cmd, stdout, stderr); code != c.code {
				t.Errorf("exits with %d, want %d", code, c.code)
			}
		})
	}
}

// A run that this process executes, since no scheduler lives, may end while the process drains: then it was no failure.
func TestInterruptWhileExecutingHere(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := startApp(t, "--storage-path", "data", "workflows", "run", "lab_sleep", "--input", `{"for": "10s"}`, "--wait")
	data := cmd.Dir + "/data"
	for listed := false; !listed; {
		list, out, errs := startApp(t, "--storage-path", data, "--output", "plain", "runs", "list", "--status", "running")
		line, _ := out.ReadString('\n') // none yet
		listed = strings.Contains(line, "lab_sleep")
		if code := exitCode(t, list, out, errs); code != 0 {
			t.Fatalf("runs list exits with %d", code)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, stderr, "draining")
	awaitLine(t, stdout, `{"slept":"10s"}`)
	if code := exitCode(t, cmd, stdout, stderr); code != 0 {
		t.Errorf("exits with %d, want 0", code)
	}
}
