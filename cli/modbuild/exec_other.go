//go:build !unix

package modbuild

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
)

// Exec goes on as the program: with args (its own name first) and env (os.Environ() as a rule), in which it leaves the mark that
// Inside looks for. The program runs as a child that has the terminal to itself; Exec returns its exit code when it has ended.
func Exec(binary string, args, env []string) (exitCode int, err error) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt) // Ctrl-C reaches the child by itself: it decides when to end
	defer signal.Stop(interrupts)

	cmd := &exec.Cmd{Path: binary, Args: args, Env: append(slices.Clip(env), insideVar+"=1"), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err = cmd.Run()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 1, fmt.Errorf("start %s: %w", binary, err)
}
