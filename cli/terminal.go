package cli

import (
	"os"

	"github.com/mattn/go-isatty"
)

// isTerminal reports whether a person is at the other end of a reader or writer.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
