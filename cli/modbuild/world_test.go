package modbuild

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// TestMain also plays the programs that TestExec starts.
func TestMain(m *testing.M) {
	switch os.Getenv("MODBUILD_TEST") {
	case "exec":
		_ = os.Setenv("MODBUILD_TEST", "inside")
		code, err := Exec(os.Args[0], []string{"pyworkflow", "a b", "c"}, os.Environ())
		fmt.Fprintln(os.Stderr, err)
		os.Exit(code)
	case "inside":
		fmt.Printf("inside %v, again %v, pid %d, args %q\n", Inside(), Inside(), os.Getpid(), os.Args)
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// world is a folder of modules: pw stands in for pyworkflow, small enough to build in no time, with a dependency only its cli
// package has.
type world struct {
	t     *testing.T
	root  string
	cache string
}

const (
	appMod    = "module example.com/app\n\ngo 1.26\n\nrequire github.com/pyworkflow-go/pyworkflow v0.0.0\n\nreplace github.com/pyworkflow-go/pyworkflow => ../pw\n"
	workflows = `package workflows

import "github.com/pyworkflow-go/pyworkflow"

// Register is what --module asks for.
func Register(app *pyworkflow.App) error { app.Names = append(app.Names, "hello"); return nil }
`
)

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("GOPROXY", "off") // whatever is needed is in the module cache, since this package is built from it
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "")
	w := &world{t: t, root: filepath.Join(t.TempDir(), "my projects"), cache: filepath.Join(t.TempDir(), "my cache")}
	w.write("pw/app.go", "package pyworkflow\n\ntype App struct{ Names []string }\n")
	w.write("pw/cli/cli.go", `package cli

import (
	"fmt"
	"os"

	"github.com/pyworkflow-go/pyworkflow"
	"golang.org/x/mod/semver"
)

func Main(register func(*pyworkflow.App) error) int {
	app := &pyworkflow.App{}
	if err := register(app); err != nil {
		return 1
	}
	fmt.Println(app.Names, os.Args[1:], semver.Major("v7.1.0"))
	return 5
}
`)
	version, sums := dependency(t, "golang.org/x/mod")
	w.write("pw/go.mod", "module github.com/pyworkflow-go/pyworkflow\n\ngo 1.26\n\nrequire golang.org/x/mod "+version+"\n")
	w.write("pw/go.sum", sums)
	w.write("app/go.mod", appMod)
	return w
}

// dependency returns the version of a module this repository uses, and its lines of go.sum.
func dependency(t *testing.T, path string) (version, sums string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range file.Require {
		if r.Mod.Path == path {
			version = r.Mod.Version
		}
	}
	data, err = os.ReadFile(filepath.Join(repository(t), "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, path+" "+version) {
			sums += line
		}
	}
	if version == "" || sums == "" {
		t.Fatalf("this repository does not use %s", path)
	}
	return version, sums
}

// publishModule puts a folder into a module proxy on disk as a version of pyworkflow, and returns its lines of go.sum.
func publishModule(t *testing.T, proxy, folder, version string) (sums string) {
	t.Helper()
	v := module.Version{Path: pyworkflowPath, Version: version}
	dir := filepath.Join(proxy, filepath.FromSlash(v.Path), "@v")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, v, folder); err != nil {
		t.Fatal(err)
	}
	goMod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		".info": fmt.Appendf(nil, `{"Version": %q}`, version), ".mod": goMod, ".zip": archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, version+name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	zipSum, err := dirhash.HashZip(filepath.Join(dir, version+".zip"), dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	modSum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(goMod)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", v.Path, version, zipSum, v.Path, version, modSum)
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (w *world) path(name string) string { return filepath.Join(w.root, filepath.FromSlash(name)) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o777); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// files returns every file's content.
func (w *world) files() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// build builds and checks that nothing in the world has changed by it.
func (w *world) build(opt Options) (string, error) {
	w.t.Helper()
	before := w.files()
	opt.cacheDir = w.cache
	opt.Dir = w.path(opt.Dir)
	binary, err := Build(w.t.Context(), opt)
	if after := w.files(); !maps.Equal(before, after) {
		for path := range after {
			if before[path] != after[path] {
				w.t.Errorf("the build wrote %s:\n%s", path, after[path])
			}
		}
	}
	return binary, err
}

// mustRun builds, runs the program and returns what it printed.
func (w *world) mustRun(opt Options, args ...string) string {
	w.t.Helper()
	binary, err := w.build(opt)
	if err != nil {
		w.t.Fatalf("build %s in %s: %v", opt.Package, opt.Dir, err)
	}
	return w.output(binary, args...)
}

// output runs a program that must exit with 5, as the stand-in for cli.Main does.
func (w *world) output(binary string, args ...string) string {
	w.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		w.t.Fatalf("%s: %v, want exit code 5\n%s", binary, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// watched calls a function whenever something is written to it.
type watched struct {
	text  strings.Builder
	wrote func(text string)
}

func (w *watched) Write(p []byte) (int, error) {
	w.text.Write(p)
	w.wrote(string(p))
	return len(p), nil
}
