//go:build unix

package cli

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// veilProcess starts the process anew when its arguments hold a password, in its own place: id, terminal and files stay. It returns the true arguments.
func veilProcess(stderr io.Writer) []string {
	if text, ok := os.LookupEnv(veiledVar); ok {
		_ = os.Unsetenv(veiledVar) // programs that this one starts must not see it
		return unveil(os.Args, text)
	}
	shown, env, ok := veil(os.Args, os.Environ())
	if !ok {
		return os.Args
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, shown, env)
	}
	fmt.Fprintf(stderr, "the password of --redis-url, or the address of --alert-url, can be seen in the list of processes (%v): use PYWORKFLOW_REDIS_URL or --redis-password-file, PYWORKFLOW_ALERT_URL\n", err)
	return os.Args
}
