package modbuild

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBuildsPackagesWhereverTheyAre(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	w.write("app/a/internal/deep/w.go", workflows)
	w.write("app/w.go", workflows)
	w.write("pw/examples/healthcheck/w.go", workflows)
	w.write("lib/go.mod", strings.ReplaceAll(appMod, "example.com/app", "example.com/lib"))
	w.write("lib/flows/w.go", strings.ReplaceAll(workflows, "hello", "from lib"))
	w.write("user/go.mod", appMod+"\nrequire example.com/lib v0.0.0\n\nreplace example.com/lib => ../lib\n")
	w.write("user/u.go", "package user\n\nimport _ \"example.com/lib/flows\"\n")
	w.write("empty/x.txt", "")
	w.write("app/nested/go.mod", strings.ReplaceAll(strings.ReplaceAll(appMod, "app", "app/nested"), "../pw", "../../pw"))
	w.write("app/nested/w.go", workflows)
	if err := os.Symlink(w.path("app"), w.path("link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, dir, pkg, want string }{
		{"folder", "app", "./workflows", "[hello] [x y] v7"},
		{"folder above", "app/workflows", "../workflows", "[hello] [x y] v7"},
		{"here", "app/workflows", ".", "[hello] [x y] v7"},
		{"module's root", "app", ".", "[hello] [x y] v7"},
		{"internal", "app", "./a/internal/deep", "[hello] [x y] v7"},
		{"import path", "app", "example.com/app/workflows", "[hello] [x y] v7"},
		{"import path from below", "app/a", "example.com/app/workflows", "[hello] [x y] v7"},
		{"absolute, from outside any module", "empty", w.path("app/workflows"), "[hello] [x y] v7"},
		{"another module", "app", "../lib/flows", "[from lib] [x y] v7"},
		{"a dependency", "user", "example.com/lib/flows", "[from lib] [x y] v7"},
		{"module in a module", "app", "./nested", "[hello] [x y] v7"},
		{"pyworkflow itself", "pw", "./examples/healthcheck", "[hello] [x y] v7"},
		{"through a symbolic link", "link", "./workflows", "[hello] [x y] v7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := *w
			w.t = t
			if got := w.mustRun(Options{Package: test.pkg, Dir: test.dir}, "x", "y"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestBuildsAgainOnlyWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	var stderr bytes.Buffer
	opt := Options{Package: "./workflows", Dir: "app", Stderr: &stderr, quiet: time.Hour}
	first, err := w.build(opt)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	second, err := w.build(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("nothing to do takes %v", time.Since(start))
	after, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || !os.SameFile(before, after) {
		t.Error("the program was built again though nothing had changed")
	}

	w.write("app/workflows/w.go", strings.ReplaceAll(workflows, "hello", "changed"))
	if got := w.mustRun(opt); got != "[changed] [] v7" {
		t.Errorf("got %q after a change of the package", got)
	}
	w.write("pw/cli/cli.go", strings.ReplaceAll(w.files()[w.path("pw/cli/cli.go")], "v7.1.0", "v8.1.0"))
	if got := w.mustRun(opt); got != "[changed] [] v8" {
		t.Errorf("got %q after a change of what the package is replaced by", got)
	}
	if stderr.Len() > 0 {
		t.Errorf("a build that is quick said %q", stderr.String())
	}
	drafts, err := filepath.Glob(filepath.Join(filepath.Dir(first), "draft-*"))
	if err != nil || len(drafts) > 0 {
		t.Errorf("left behind: %v, %v", drafts, err)
	}
}

func TestSaysThatItBuilds(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	for _, want := range []string{
		"building ./workflows (the first time takes about a minute)\n",
		"building ./workflows\n",
	} {
		var stderr bytes.Buffer
		if _, err := w.build(Options{Package: "./workflows", Dir: "app", Stderr: &stderr, quiet: time.Nanosecond}); err != nil {
			t.Fatal(err)
		}
		if stderr.String() != want {
			t.Errorf("got %q, want %q", stderr.String(), want)
		}
	}
	var stderr bytes.Buffer
	if _, err := w.build(Options{Package: w.path("app/workflows"), Dir: "app", Stderr: &stderr, quiet: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	if want := "building ./workflows\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

func TestWorkspace(t *testing.T) {
	w := newWorld(t)
	// Without the workspace nothing of this can be found: no replace directives, no requirement of lib.
	w.write("app/go.mod", "module example.com/app\n\ngo 1.26\n\nrequire github.com/pyworkflow-go/pyworkflow v0.0.0\n")
	w.write("app/workflows/w.go", strings.ReplaceAll(workflows, `"hello"`, "lib.Name, other.Name")+
		"\nimport (\n\"example.com/lib\"\n\"example.com/other\"\n)\n")
	src := w.files()[w.path("app/workflows/w.go")]
	src = strings.ReplaceAll(src, "\nimport (\n\"example.com/lib\"\n\"example.com/other\"\n)\n", "")
	w.write("app/workflows/w.go", strings.ReplaceAll(src, "import \"", "import \"example.com/lib\"\nimport \"example.com/other\"\nimport \""))
	w.write("lib/go.mod", "module example.com/lib\n\ngo 1.26\n\nrequire example.com/other v1.0.0\n\nreplace example.com/other => ./missing\n")
	w.write("lib/lib.go", "package lib\n\nimport _ \"example.com/other\"\n\nconst Name = \"lib\"\n")
	w.write("vendored/other/go.mod", "module example.com/other\n")
	w.write("vendored/other/other.go", "package other\n\nconst Name = \"other\"\n")
	w.write("go.work", "go 1.26\n\nuse (\n\t./app\n\t./lib\n\t./pw\n)\n\nreplace example.com/other => ./vendored/other\n")
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[lib other] [] v7" {
		t.Errorf("got %q", got)
	}

	w.write("lib/flows/w.go", workflows)
	if got := w.mustRun(Options{Package: "example.com/lib/flows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("import path of another module of the workspace: got %q", got)
	}

	w.write("outside/go.mod", appMod)
	w.write("outside/w.go", workflows)
	if got := w.mustRun(Options{Package: "./outside", Dir: "."}); got != "[hello] [] v7" {
		t.Errorf("a module that is not in the workspace: got %q", got)
	}
}

func TestVendoredModule(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	w.write("app/cmd/main.go", mainText("example.com/app/workflows"))
	for _, args := range [][]string{{"mod", "tidy"}, {"mod", "vendor"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = w.path("app")
		cmd.Env = append(os.Environ(), "GOSUMDB=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	// With the vendor folder the module needs no other.
	for _, dir := range []string{"pw/cli", "pw/app.go"} {
		if err := os.RemoveAll(w.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("got %q", got)
	}
}

func TestVendorFolderWithoutTheCommandLine(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	cmd := exec.Command("go", "mod", "vendor")
	cmd.Dir = w.path("app")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go mod vendor: %v\n%s", err, out)
	}
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("got %q", got)
	}
}

// The usual case of a user: pyworkflow in some version from the module cache, and a go.sum that knows nothing of what only the
// command line needs.
func TestReleasedVersion(t *testing.T) {
	w := newWorld(t)
	proxy := t.TempDir()
	sums := publishModule(t, proxy, w.path("pw"), "v1.2.3")
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	modCache := strings.TrimSpace(string(out))
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw")
	t.Setenv("GOPROXY", "file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(modCache)+"/cache/download")
	// A checksum database that never answers.
	t.Setenv("GOSUMDB", "localhost.localdev/sumdb+00000c67+AcTrnkbUA+TU4heY3hkjiSES/DSQniBqIeQ/YppAUtK6 http://127.0.0.1:1")
	w.write("app/go.mod", "module example.com/app\n\ngo 1.26\n\nrequire github.com/pyworkflow-go/pyworkflow v1.2.3\n")
	w.write("app/go.sum", sums)
	w.write("app/workflows/w.go", workflows)
	cmd := exec.Command("go", "build", "./...") // as the user has done before
	cmd.Dir = w.path("app")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("got %q", got)
	}
	t.Setenv("GOPROXY", "off")
	w.cache = t.TempDir()
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("offline: got %q", got)
	}
}

func TestThisRepository(t *testing.T) {
	w := newWorld(t)
	w.write("app/go.mod", strings.ReplaceAll(appMod, "../pw", repository(t)))
	w.write("app/workflows/w.go", `package workflows

import "github.com/pyworkflow-go/pyworkflow"

func Register(app *pyworkflow.App) error { println("registered"); return nil }
`)
	binary, err := w.build(Options{Package: "./workflows", Dir: "app", mainText: func(importPath string) string {
		return `package main

import (
	"github.com/pyworkflow-go/pyworkflow"
	workflows "` + importPath + `"
)

func main() {
	if err := workflows.Register(new(pyworkflow.App)); err != nil {
		panic(err)
	}
}
`
	}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil || string(out) != "registered\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestTwoBuildsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	before := w.files()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			binary, err := Build(t.Context(), Options{Package: "./workflows", Dir: w.path("app"), cacheDir: w.cache})
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := exec.Command(binary).Output(); !strings.HasPrefix(string(out), "[hello]") {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
	wg.Wait()
	if len(w.files()) != len(before) {
		t.Error("the builds left files behind")
	}
}

func TestOutput(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	out := t.TempDir()
	binary, err := w.build(Options{Package: "./workflows", Dir: "app", Output: filepath.Join(out, "prog"), Static: true, Ldflags: "-X main.unused=1"})
	if err != nil {
		t.Fatal(err)
	}
	if binary != filepath.Join(out, "prog") {
		t.Errorf("wrote %s", binary)
	}
	if got := w.output(binary, "z"); got != "[hello] [z] v7" {
		t.Errorf("got %q", got)
	}
	checkSettings(t, binary, map[string]string{"CGO_ENABLED": "0", "-trimpath": "true"})

	rel, err := filepath.Rel(w.path("app"), out)
	if err != nil {
		t.Fatal(err)
	}
	bare := func(importPath string) string {
		return "package main\n\nimport _ \"" + importPath + "\"\n\nfunc main() {}\n"
	}
	t.Setenv("GOOS", "windows")
	if binary, err = w.build(Options{Package: "./workflows", Dir: "app", Output: filepath.Join(rel, "prog.exe"), mainText: bare}); err != nil {
		t.Fatal(err)
	}
	if binary != filepath.Join(out, "prog.exe") {
		t.Errorf("wrote %s, want it relative to the working directory", binary)
	}
	checkSettings(t, binary, map[string]string{"GOOS": "windows"})

	// What is to run here is built for here.
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("got %q", got)
	}
}

func checkSettings(t *testing.T, binary string, want map[string]string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is built with %s=%q, want %q", binary, key, got[key], value)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows+"\nvar x int = \"text\"\n")
	w.write("app/sub/x.txt", "")
	w.write("else/x.txt", "")
	w.write("app/parse/w.go", "package parse\n\nfunc Register( {\n")
	w.write("app/missing/w.go", strings.Replace(workflows, "import ", "import _ \"example.com/app/nowhere\"\nimport ", 1))
	const complaint = `cannot use "text" (untyped string constant) as int value in variable declaration`
	for _, test := range []struct {
		name, dir, pkg string
		want           []string
	}{
		{"module's root", "app", "./workflows", []string{"# example.com/app/workflows\nworkflows/w.go:8:13: " + complaint}},
		{"the package", "app/workflows", ".", []string{"./w.go:8:13: " + complaint}},
		{"beside it", "app/sub", "../workflows", []string{"../workflows/w.go:8:13: " + complaint}},
		{"elsewhere", "else", w.path("app/workflows"), []string{"../app/workflows/w.go:8:13: " + complaint}},
		{"syntax", "app", "./parse", []string{"parse/w.go:3:16: syntax error"}},
		{"missing import", "app", "./missing", []string{"missing/w.go:3:8: ", "example.com/app/nowhere"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := *w
			w.t = t
			_, err := w.build(Options{Package: test.pkg, Dir: test.dir})
			var ce *CompileError
			if !errors.As(err, &ce) {
				t.Fatalf("got %T: %v, want a CompileError", err, err)
			}
			for _, want := range test.want {
				if !strings.Contains(ce.Output, want) {
					t.Errorf("got  %s\nwant %s", ce.Output, want)
				}
			}
			if strings.Contains(ce.Output, w.cache) || strings.Contains(ce.Output, virtualDir) || strings.HasSuffix(ce.Output, "\n") {
				t.Errorf("the output speaks of files that nobody knows: %q", ce.Output)
			}
		})
	}
	w.write("app/go.mod", appMod+"nonsense here\n")
	_, err := w.build(Options{Package: "./workflows", Dir: "app"})
	var ce *CompileError
	if !errors.As(err, &ce) || !strings.Contains(err.Error(), "go.mod:8: unknown directive: nonsense") {
		t.Errorf("a broken go.mod: %T %v", err, err)
	}
}

func TestPackageErrors(t *testing.T) {
	w := newWorld(t)
	register := func(name, code string) {
		w.write("app/"+name+"/w.go", "package "+name+"\n\nimport \"github.com/pyworkflow-go/pyworkflow\"\n\nvar _ pyworkflow.App\n\n"+code+"\n")
	}
	register("none", "func Other() {}")
	register("lower", "func register(app *pyworkflow.App) error { return nil }")
	register("method", "type T struct{}\n\nfunc (T) Register(app *pyworkflow.App) error { return nil }")
	register("value", "func Register(app pyworkflow.App) error { return nil }")
	register("noerror", "func Register(app *pyworkflow.App) {}")
	register("noapp", "func Register() error { return nil }")
	register("generic", "func Register[T any](app *pyworkflow.App) error { return nil }")
	register("variable", "var Register = 7")
	register("strange", "type App struct{}\n\nfunc Register(app *App) error { return nil }")
	w.write("app/cmd/main.go", "package main\n\nfunc main() {}\n")
	w.write("app/two/a.go", "package a\n")
	w.write("app/two/b.go", "package b\n")
	w.write("app/onlytests/a_test.go", "package onlytests\n")
	w.write("app/workflows/w.go", workflows)
	w.write("app/plain/x.txt", "")
	w.write("bare/workflows/w.go", workflows)
	w.write("noline/go.mod", "go 1.26\n")
	const must = "func Register(app *pyworkflow.App) error"
	for _, test := range []struct{ dir, pkg, want string }{
		{"app", "./none", "package none has no Register: add " + must},
		{"app", "./method", "package method has no Register: add " + must},
		{"app", "./lower", "its func register is not exported"},
		{"app", "./value", "Register in w.go:7 has another signature: it must be " + must},
		{"app", "./noerror", "Register in w.go:7 has another signature"},
		{"app", "./noapp", "Register in w.go:7 has another signature"},
		{"app", "./generic", "Register in w.go:7 has another signature"},
		{"app", "./variable", "Register must be " + must + ": cannot use workflows.Register"},
		{"app", "./strange", "Register must be " + must + ": cannot use workflows.Register"},
		{"app", "./cmd", "is a program (package main), which can't be built into another: move Register to a package of its own"},
		{"app", "./two", "holds two packages, a (a.go) and b (b.go)"},
		{"app", "./onlytests", "there are only tests in"},
		{"app", "./plain", "there are no Go files in"},
		{"app", "./absent", "there is no folder " + w.path("app/absent")},
		{"app", "./workflows/w.go", "is a file: name the package's folder, workflows"},
		{"app", "workflows", "without ./ in front this is an import path: for the folder write ./workflows"},
		{"app", "nowhere", "module example.com/app provides no such package; for a folder write ./nowhere"},
		{"app", "fmt", "module example.com/app provides no such package"},
		{"app", "example.com/app/absent", "there is no folder " + w.path("app/absent")},
		{"app", "example.com/else/workflows", "module example.com/app can't provide it: "},
		{"app", "", "names no package"},
		{"bare", "./workflows", "is in no Go module: there is no go.mod in " + w.path("bare/workflows") + ` or above it; run "go mod init NAME"`},
		{"bare", "example.com/x/workflows", "an import path needs a Go module to look it up in"},
		{"noline", ".", "go.mod has no module line"},
	} {
		t.Run(test.pkg, func(t *testing.T) {
			w := *w
			w.t = t
			_, err := w.build(Options{Package: test.pkg, Dir: test.dir})
			var pe *PackageError
			if !errors.As(err, &pe) {
				t.Fatalf("got %T: %v, want a PackageError", err, err)
			}
			if !strings.HasPrefix(err.Error(), "--module ") || !strings.Contains(pe.Problem, test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestRegisterThroughAliasAndDotImport(t *testing.T) {
	w := newWorld(t)
	w.write("app/alias/w.go", "package alias\n\nimport py \"github.com/pyworkflow-go/pyworkflow\"\n\ntype App = py.App\n\nfunc Register(app *App) error { return nil }\n")
	w.write("app/dot/w.go", "package dot\n\nimport . \"github.com/pyworkflow-go/pyworkflow\"\n\nfunc Register(app *App) error { return nil }\n")
	w.write("app/named/w.go", "package named\n\nimport py \"github.com/pyworkflow-go/pyworkflow\"\n\nfunc Register(_ *py.App) (err error) { return nil }\n")
	w.write("app/variable/w.go", "package variable\n\nimport \"github.com/pyworkflow-go/pyworkflow\"\n\nvar Register = func(*pyworkflow.App) error { return nil }\n")
	for _, pkg := range []string{"./alias", "./dot", "./named", "./variable"} {
		if got := w.mustRun(Options{Package: pkg, Dir: "app"}); got != "[] [] v7" {
			t.Errorf("%s: got %q", pkg, got)
		}
	}
}

func TestBuildTags(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", "//go:build special\n\n"+workflows)
	w.write("app/workflows/doc.go", "package workflows\n")
	_, err := w.build(Options{Package: "./workflows", Dir: "app"})
	var pe *PackageError
	if !errors.As(err, &pe) || !strings.Contains(pe.Problem, "undefined: workflows.Register") {
		t.Errorf("without the tag: %v", err)
	}
	t.Setenv("GOFLAGS", "-tags=special")
	if got := w.mustRun(Options{Package: "./workflows", Dir: "app"}); got != "[hello] [] v7" {
		t.Errorf("with the tag: got %q", got)
	}
}

func TestNoToolchain(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	t.Setenv("PATH", t.TempDir())
	_, err := w.build(Options{Package: "./workflows", Dir: "app"})
	var te *ToolchainError
	if !errors.As(err, &te) {
		t.Fatalf("got %T: %v, want a ToolchainError", err, err)
	}
	const want = `--module needs the Go toolchain, and there is no go in PATH: install Go from https://go.dev/dl, or use a binary made by "pyworkflow build"`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestModuleForANewerGo(t *testing.T) {
	w := newWorld(t)
	t.Setenv("GOTOOLCHAIN", "local")
	w.write("app/go.mod", strings.Replace(appMod, "go 1.26", "go 1.999", 1))
	w.write("app/workflows/w.go", workflows)
	_, err := w.build(Options{Package: "./workflows", Dir: "app"})
	if err == nil || !strings.Contains(err.Error(), w.path("app/go.mod")+" requires go >= 1.999") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want go's line", err)
	}
}

func TestCancelledBeforeItBegins(t *testing.T) {
	w := newWorld(t)
	w.write("app/workflows/w.go", workflows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, Options{Package: "./workflows", Dir: w.path("app"), cacheDir: w.cache}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestPrune(t *testing.T) {
	all := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 31 * 24 * time.Hour, "new": time.Hour} {
		if err := os.Mkdir(filepath.Join(all, name), 0o777); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(all, name, "program")
		if err := os.WriteFile(program, nil, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(program, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	prune(all, now.Add(-cacheAge))
	if _, err := os.Stat(filepath.Join(all, "old")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one stays: %v", err)
	}
	if _, err := os.Stat(filepath.Join(all, "new", "program")); err != nil {
		t.Errorf("the new one is gone: %v", err)
	}
}
