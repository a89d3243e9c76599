package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// confirm asks before an act on many. Only a person at a terminal is asked: a script has said what it wants, and so has --yes.
func (p *program) confirm(cmd *cobra.Command, yes bool, format string, args ...any) error {
	in := cmd.InOrStdin()
	if yes || !isTerminal(in) || !isTerminal(p.stderr) {
		return nil
	}
	fmt.Fprintf(p.stderr, format+" [y/N] ", args...)
	answer := make(chan string, 1)
	go func() { // ends with the answer, or with the process
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- line
	}()
	select {
	case <-cmd.Context().Done():
		fmt.Fprintln(p.stderr)
		return errInterrupted
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return &exitError{client.CodeFailed, "not confirmed: nothing was done"}
	}
}
