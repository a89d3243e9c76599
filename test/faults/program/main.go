// Command program is the command line with the fault suite's workflows inside: the worker and beat processes that the suite starts and breaks.
package main

import (
	"os"

	"github.com/pyworkflow-go/pyworkflow/cli"
	"github.com/pyworkflow-go/pyworkflow/test/faults/lab"
)

func main() { os.Exit(cli.Main(lab.Register)) }
