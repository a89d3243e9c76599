// Package cli is the pyworkflow command line: cobra commands over package client, and the one place where the parts of the program are
// composed: settings are resolved, stores opened, runtimes chosen, workers and beats started, signals answered.
//
// A program with workflows of its own has a main of one line:
//
//	func main() { os.Exit(cli.Main(workflows.Register)) }
//
// The package decides nothing about schedules and runs: that is for package schedules, through client and engine.
package cli
