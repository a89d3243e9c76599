//go:build unix

package modbuild

import (
	"fmt"
	"slices"
	"syscall"
)

// Exec goes on as the program: with args (its own name first) and env (os.Environ() as a rule), in which it leaves the mark that
// Inside looks for. The program takes this process's place, with its id, terminal and signals; Exec returns only when that fails.
func Exec(binary string, args, env []string) (exitCode int, err error) {
	err = syscall.Exec(binary, args, append(slices.Clip(env), insideVar+"=1"))
	return 1, fmt.Errorf("start %s: %w", binary, err)
}
