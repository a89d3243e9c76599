// Command program is the command line with one workflow inside that writes down what it executes: the processes of the tests of upgrading, which build it
// as one release and as the two after it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli"
)

// Environment variables that the program reads.
const (
	release = "UPGRADE_RELEASE" // its name, for the log
	journal = "UPGRADE_LOG"     // a file that gets a line "<release> <run id>" for every execution
)

func main() {
	os.Exit(cli.Main(func(app *pyworkflow.App) error { return app.Register(pyworkflow.DefineFunc("witness", witness)) }))
}

func witness(ctx context.Context) (any, error) {
	f, err := os.OpenFile(os.Getenv(journal), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(f, "%s %s\n", os.Getenv(release), pyworkflow.RunInfo(ctx).RunID); err != nil {
		return nil, err
	}
	return nil, f.Close()
}
