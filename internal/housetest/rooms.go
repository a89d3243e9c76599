// Package housetest holds the code against the architecture: which of the project's packages may import which, and what the pure core may
// not touch. It reads source files only; third-party dependencies and style are the linter's (.golangci.yml).
package housetest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/pyworkflow-go/pyworkflow"

// room is a folder of the house, its subfolders included unless they are rooms themselves.
type room struct {
	folder string   // "." is the root package
	may    []string // rooms that its code may import; "*": all but the kept ones
	test   []string // rooms that its tests may import besides; "*": all
	why    string   // what the rule is good for, as the end of a sentence
}

// table is docs/architecture.md's table of rooms. The room of a file is the longest folder that holds it.
var table = []room{
	{".", []string{"schedules"}, []string{"*"},
		"every program that defines workflows pulls the root package in, so it stays tiny"},
	{"schedules", nil, nil,
		"the domain is pure: state and now in, decisions out"},
	{"store", []string{".", "schedules"}, []string{"*"},
		"the contract knows the domain and no implementation"},
	{"store/redisstore", []string{".", "schedules", "store", "internal/redisurl", "internal/redisrights", "internal/roundtrip"}, []string{"*"},
		"a store commits what others decided, so it knows the contract and the domain alone"},
	{"store/sqlitestore", []string{".", "schedules", "store"}, []string{"*"},
		"a store commits what others decided, so it knows the contract and the domain alone"},
	{"store/storetest", []string{".", "schedules", "store"}, []string{"*"},
		"the contract's tests favour no implementation"},
	{"engine", []string{".", "schedules", "store"}, []string{"*"},
		"deciding and committing needs the domain and the contract alone; transports and stores are wired in by cli"},
	{"beat", []string{".", "schedules", "store", "engine"}, []string{"*"},
		"beat and worker never call each other: the store is the only way between them"},
	{"worker", []string{".", "schedules", "store", "engine", "internal/redisrights", "internal/roundtrip"}, []string{"*"},
		"beat and worker never call each other: the store is the only way between them"},
	{"client", []string{".", "schedules", "store", "engine"}, []string{"*"},
		"a program that only asks for acts pulls in no beat, worker or store implementation"},
	{"alert", []string{".", "schedules", "store", "engine", "beat", "client"}, []string{"*"},
		"it tells of what the engine and the beat commit and find, and knows no store implementation and no flags"},
	{"workflowtest", []string{"*"}, []string{"*"}, ""},
	{"web", []string{".", "schedules", "client"}, []string{"*"},
		"the page shows what the client can do and nothing more"},
	{"metrics", []string{"*"}, []string{"*"}, ""},
	{"cli", []string{"*", "examples/healthcheck", "examples/dailyreport"}, []string{"*"}, ""}, // "dev" has these examples inside
	{"cmd", []string{".", "cli"}, []string{"*"},
		"main is three lines; everything else lives in cli"},
	{"examples", []string{"*"}, []string{"*"}, ""},
	{"examples/healthcheck", []string{"."}, []string{"*"},
		"it shows what a user's package is like, and every pyworkflow has it inside"},
	{"examples/dailyreport", []string{"."}, []string{"*"},
		"it shows what a user's package is like, and every pyworkflow has it inside"},
	{"bench", []string{"*"}, []string{"*"}, ""},
	{"test", []string{"*"}, []string{"*"}, ""},
	{"internal/failpoint", nil, nil,
		"everybody may import it, so it imports nobody"},
	{"internal/nearest", nil, nil,
		"everybody may import it, so it imports nobody"},
	{"internal/stephook", nil, nil,
		"everybody may import it, so it imports nobody"},
	{"internal/redisurl", nil, []string{"*"},
		"it reads a URL for whoever connects to Redis, and knows nothing else"},
	{"internal/redisrights", nil, []string{"*"},
		"it asks a Redis about rights for whoever connects to it, and knows nothing else"},
	{"internal/roundtrip", nil, nil,
		"it gathers calls for whoever makes them, and knows nothing of servers"},
	{"internal/redistest", nil, nil,
		"it is a helper of everybody's tests"},
	{"internal/housetest", nil, nil,
		"it reads the code from outside"},
}

// kept are the rooms that no room's code may import unless its row names them: what only tests need, and what nothing imports.
var kept = []string{"store/storetest", "internal/redistest", "internal/housetest", "workflowtest", "cmd", "examples", "examples/healthcheck", "examples/dailyreport", "bench", "test"}

// open are the rooms that every room's code may import: small, pure, and without imports of ours.
var open = []string{"internal/failpoint", "internal/nearest", "internal/stephook"}

// pureBans are what package schedules may not import, exactly or below, with the reason.
var pureBans = map[string]string{
	"os": "does no I/O", "net": "does no I/O", "syscall": "does no I/O", "io/ioutil": "does no I/O", "database": "does no I/O",
	"log": "does not log (log/slog included)", "math/rand": "answers the same to the same question", "crypto/rand": "answers the same to the same question",
}

// clockReads are the functions of package time that read or wait for the host's clock, or depend on its zone.
var clockReads = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local"}

// file is one parsed source file, its path slash-separated below the root.
type file struct {
	path string
	fset *token.FileSet
	ast  *ast.File
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// sources parses every Go file below root, other modules' folders, testdata and hidden folders excepted.
func sources(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if p != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, p+"/go.mod"); p != "." && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f := file{path: p, fset: token.NewFileSet()}
		if f.ast, err = parser.ParseFile(f.fset, p, src, parser.SkipObjectResolution); err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// faults says in one sentence each what a file does that the house forbids.
func faults(f file) []string {
	var out []string
	here, ok := roomOf(filepath.ToSlash(filepath.Dir(f.path)))
	if !ok {
		return []string{fmt.Sprintf("%s lies in no room: give its folder a row in the table of internal/housetest and docs/architecture.md", f.path)}
	}
	for _, spec := range f.ast.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{fmt.Sprintf("%s: import %s: %v", f.path, spec.Path.Value, err)}
		}
		at := f.fset.Position(spec.Pos())
		if fault := here.objects(f, imp); fault != "" {
			out = append(out, fmt.Sprintf("%s:%d: %s", at.Filename, at.Line, fault))
		}
	}
	if here.folder == "schedules" && !f.test() {
		out = append(out, clockFaults(f)...)
	}
	return out
}

// objects says why the room's file f may not import imp, "" when it may.
func (r room) objects(f file, imp string) string {
	folder, ours := ourFolder(imp)
	switch {
	case !ours && r.folder == "." && !f.test() && strings.Contains(strings.Split(imp, "/")[0], "."):
		return fmt.Sprintf("the root package imports %s, and it may import the standard library alone: %s", imp, r.why)
	case !ours && r.folder == "schedules" && !f.test():
		for ban, why := range pureBans {
			if imp == ban || strings.HasPrefix(imp, ban+"/") {
				return fmt.Sprintf("schedules imports %s: package schedules %s", imp, why)
			}
		}
		return ""
	case !ours:
		return ""
	}
	to, ok := roomOf(folder)
	if !ok {
		return fmt.Sprintf("it imports %s, which lies in no room: give its folder a row in the table", imp)
	}
	if to.folder == r.folder || slices.Contains(r.may, to.folder) || slices.Contains(open, to.folder) {
		return ""
	}
	if f.test() {
		if slices.Contains(r.test, "*") {
			return ""
		}
		return fmt.Sprintf("a test of %s imports %s: %s", r.name(), imp, r.why)
	}
	if slices.Contains(kept, to.folder) {
		return fmt.Sprintf("%s imports %s, which no other room's code may import: it is for tests, or stands at the end of the chain", r.name(), imp)
	}
	if slices.Contains(r.may, "*") {
		return ""
	}
	return fmt.Sprintf("%s may not import %s: %s", r.name(), imp, r.why)
}

func (r room) name() string {
	if r.folder == "." {
		return "the root package"
	}
	return r.folder
}

// clockFaults finds uses of the host's clock.
func clockFaults(f file) []string {
	var out []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clockReads, sel.Sel.Name) {
			at := f.fset.Position(sel.Pos())
			out = append(out, fmt.Sprintf("%s:%d: package schedules uses time.%s: it has no clock and no host's zone; now is an argument", at.Filename, at.Line, sel.Sel.Name))
		}
		return true
	})
	return out
}

// ourFolder returns the folder below the root that an import path of ours names.
func ourFolder(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// roomOf returns the room that a folder belongs to.
func roomOf(folder string) (room, bool) {
	var best room
	found := false
	for _, r := range table {
		in := folder == r.folder || r.folder != "." && strings.HasPrefix(folder, r.folder+"/")
		if in && (!found || len(r.folder) > len(best.folder)) {
			best, found = r, true
		}
	}
	return best, found
}
