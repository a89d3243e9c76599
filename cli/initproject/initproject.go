// Package initproject makes a new project: a package of workflows with a test, a program, a config file, and a compose file. It writes files and nothing
// else: it runs no go and asks no network.
package initproject

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
)

const pyworkflow = "github.com/pyworkflow-go/pyworkflow"

// goVersion is what go.mod asks for where no clone says it; a test holds it to this module's own.
const goVersion = "1.26.0"

//go:embed all:template
var templates embed.FS

// targets are the templates whose files have another name than they.
var targets = map[string]string{"gitignore": ".gitignore", "dockerignore": ".dockerignore"}

// Options says what to make. Dir is required.
type Options struct {
	Dir    string // created when it does not exist; else it must be empty, but for .git
	Base   string // what a relative Dir is relative to; empty: the working directory
	Module string // path of the Go module; empty: the name of the folder
	// Version of pyworkflow to require, such as v1.2.3; empty: one that no proxy has, because the program was built from a clone.
	Version string
	// Checkout is the folder of the clone to build with where Version is empty; empty: none is known, and the user has to say.
	Checkout string
}

// Project is what was made.
type Project struct {
	Dir    string   `json:"dir"`
	Module string   `json:"module"`
	Files  []string `json:"files"` // below Dir, slash-separated, sorted
	Next   []string `json:"next"`  // commands that lead on, in order
}

// values are what templates see.
type values struct {
	Module, Go, Pyworkflow, Version, Checkout string
	Indirect                                  []string
}

// Create makes a project, or leaves everything as it was. Errors are one line; those that the user can mend are a *config.UsageError.
func Create(o Options) (Project, error) {
	dir := o.Dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(o.Base, dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, fmt.Errorf("find folder %s: %w", o.Dir, err)
	}
	existed, err := checkFolder(o.Dir, dir)
	if err != nil {
		return Project{}, err
	}
	v := values{Module: o.Module, Go: goVersion, Pyworkflow: pyworkflow, Version: o.Version}
	if v.Module == "" {
		v.Module = filepath.Base(dir)
	}
	if err := checkModule(v.Module, o.Module != ""); err != nil {
		return Project{}, err
	}
	files := map[string][]byte{}
	if o.Version == "" {
		v.Version = "v0.0.0"
		if o.Checkout != "" {
			if files["go.sum"], err = v.fromCheckout(o.Checkout); err != nil {
				return Project{}, err
			}
		}
	}
	if err := v.render(files); err != nil {
		return Project{}, err
	}
	if err := write(dir, existed, files); err != nil {
		return Project{}, err
	}
	p := Project{Dir: o.Dir, Module: v.Module, Next: o.next(existed)}
	for name := range files {
		p.Files = append(p.Files, name)
	}
	slices.Sort(p.Files)
	return p, nil
}

// checkModule refuses what is no module path; given: the user named it.
func checkModule(name string, given bool) error {
	err := module.CheckImportPath(name)
	if first, _, _ := strings.Cut(name, "/"); err == nil && (slices.Contains(standard, first) || name == pyworkflow || strings.HasPrefix(name, pyworkflow+"/")) {
		err = errors.New("is the name of packages that Go or pyworkflow has already")
	}
	if err == nil {
		return nil
	}
	problem := strings.TrimPrefix(err.Error(), fmt.Sprintf("malformed import path %q: ", name))
	if given {
		return config.Usagef("--module-path %q: %s; write one such as example.com/reports", name, problem)
	}
	return config.Usagef("the folder's name %q is no module path (%s): give one with --module-path, such as example.com/reports", name, problem)
}

// standard are the first parts of the standard library's import paths, where go looks first.
var standard = []string{"archive", "bufio", "builtin", "bytes", "cmd", "cmp", "compress", "container", "context", "crypto", "database", "debug", "embed", "encoding", "errors",
	"expvar", "flag", "fmt", "go", "hash", "html", "image", "index", "internal", "io", "iter", "log", "main", "maps", "math", "mime", "net", "os", "path", "plugin", "reflect",
	"regexp", "runtime", "slices", "sort", "std", "strconv", "strings", "structs", "sync", "syscall", "testing", "text", "time", "unicode", "unique", "unsafe", "vendor", "weak"}

// mostNamed is how many names of what is in the way are told.
const mostNamed = 5

// checkFolder refuses a folder that holds something; existed is false when there is none.
func checkFolder(shown, dir string) (existed bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return false, config.Usagef("%s is a file: name a folder that is new or empty", shown)
		}
		return false, fmt.Errorf("read folder %s: %w", shown, err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != ".git" {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return true, nil
	}
	more := ""
	if n := len(names) - mostNamed; n > 0 {
		names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
	}
	return true, config.Usagef("%s is not empty: %s%s in the way; name a folder that is new or empty", shown, strings.Join(names, ", "), more+map[bool]string{true: " is", false: " are"}[len(names) == 1])
}

// fromCheckout takes from a clone what lets go build with it at once, without a network: its requirements and their sums.
func (v *values) fromCheckout(checkout string) (sums []byte, err error) {
	name := filepath.Join(checkout, "go.mod")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the clone of pyworkflow: %w", err)
	}
	mod, err := modfile.ParseLax(name, data, nil)
	if err != nil {
		return nil, fmt.Errorf("read the clone of pyworkflow: %w", err)
	}
	v.Checkout = modfile.AutoQuote(checkout)
	if mod.Go != nil {
		v.Go = mod.Go.Version
	}
	for _, r := range mod.Require {
		v.Indirect = append(v.Indirect, r.Mod.Path+" "+r.Mod.Version)
	}
	slices.Sort(v.Indirect)
	sums, err = os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		return nil, fmt.Errorf("read the clone of pyworkflow: %w", err)
	}
	return sums, nil
}

// render adds what the templates make.
func (v *values) render(files map[string][]byte) error {
	err := fs.WalkDir(templates, "template", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := templates.ReadFile(name)
		if err != nil {
			return err
		}
		t, err := template.New(name).Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, v); err != nil {
			return err
		}
		target := strings.TrimSuffix(strings.TrimPrefix(name, "template/"), ".tmpl")
		if other, ok := targets[target]; ok {
			target = other
		}
		files[target] = out.Bytes()
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the files: %w", err)
	}
	return nil
}

// write writes all files, or none.
func write(dir string, existed bool, files map[string][]byte) (err error) {
	var made []string // in the order they were made
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("write the project: %w", err)
		for _, name := range slices.Backward(made) {
			if removed := os.Remove(name); removed != nil {
				err = errors.Join(err, removed)
			}
		}
	}()
	mkdir := func(name string) error {
		var missing []string
		for at := name; ; at = filepath.Dir(at) {
			if _, err := os.Stat(at); err == nil {
				break
			}
			missing = append(missing, at)
		}
		for _, at := range slices.Backward(missing) {
			if err := os.Mkdir(at, 0o777); err != nil {
				return err
			}
			made = append(made, at)
		}
		return nil
	}
	if !existed {
		if err := mkdir(dir); err != nil {
			return err
		}
	}
	for name, content := range files {
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := mkdir(filepath.Dir(target)); err != nil {
			return err
		}
		f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		made = append(made, target)
		_, err = f.Write(content)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// next are the commands that lead on.
func (o Options) next(existed bool) []string {
	var out []string
	if !existed || filepath.Clean(o.Dir) != "." {
		out = append(out, "cd "+shellQuoted(o.Dir))
	}
	switch {
	case o.Version != "":
		out = append(out, "go mod tidy")
	case o.Checkout == "":
		out = append(out, "go mod edit -replace "+pyworkflow+"=/path/to/your/clone", "go mod tidy")
	}
	out = append(out, "go test ./...", "go run . scheduler run")
	if o.Version == "" {
		return append(out, "go mod vendor", "docker compose up --build")
	}
	return append(out, "docker compose up --build")
}

// shellQuoted writes a word for a shell.
func shellQuoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./+:@~", r) || r > 127
	}
	if strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// Checkout finds a clone of pyworkflow: the one that the source file was compiled from, as far as the program tells, else the one that holds the folder. Empty: none.
func Checkout(source, folder string) string {
	for _, from := range []string{filepath.Dir(filepath.FromSlash(source)), folder} {
		if !filepath.IsAbs(from) { // a program that was built with -trimpath does not tell
			continue
		}
		for at := from; ; at = filepath.Dir(at) {
			if data, err := os.ReadFile(filepath.Join(at, "go.mod")); err == nil && modfile.ModulePath(data) == pyworkflow {
				return at
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return ""
}
