// Package modbuild turns `--module PKG` into a program: the command line together with the workflows of one Go package.
//
//	PKG ──locate──► folder, module, import path ──check──► func Register(app *pyworkflow.App) error
//	                        │
//	                        ▼
//	  cache folder of PKG: go.mod, go.sum  copies, which `go build -modfile` may complete
//	                       main.go         package main; func main() { os.Exit(cli.Main(workflows.Register)) }
//	                       overlay.json    puts main.go into a folder inside the user's module, for go build's eyes only
//	                       program         what go build wrote, kept for the next time
//	                        │
//	                        ▼
//	  Exec(program): on Unix it takes this process's place, elsewhere it runs as a child
//
// The program is built in the user's module, as if its main package were part of it: internal packages, replace directives,
// relative ones too, and a workspace count as they do for the user's own `go build`. Nothing is written into the user's folders.
//
// The package runs the go command and reads files. It parses no flags and knows nothing of stores and runtimes.
package modbuild
