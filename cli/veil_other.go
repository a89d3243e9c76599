//go:build !unix

package cli

import (
	"io"
	"os"
)

// veilProcess returns the true arguments. A process cannot start anew in its own place here: a password in the arguments stays there.
func veilProcess(io.Writer) []string {
	text, ok := os.LookupEnv(veiledVar)
	if !ok {
		return os.Args
	}
	_ = os.Unsetenv(veiledVar) // programs that this one starts must not see it
	return unveil(os.Args, text)
}
