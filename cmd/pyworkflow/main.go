// Command pyworkflow is the command line without workflows of its own; name their package with --module.
package main

import (
	"os"

	"github.com/pyworkflow-go/pyworkflow/cli"
)

func main() { os.Exit(cli.Main(nil)) }
