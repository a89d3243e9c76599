package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/examples/lab"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// TestMain makes two programs for scripts: pyworkflow, without workflows, and app, with those of the lab and one that is declared with a schedule.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait more than they compute; -parallel goes before it
		panic(err)
	}
	testscript.Main(leakFree{redistest.Main(m)}, map[string]func(){
		"pyworkflow": func() {
			if repo := os.Getenv("REPO"); repo != "" { // with -trimpath the program does not tell
				source = filepath.Join(filepath.FromSlash(repo), "cli", "init.go")
			}
			os.Exit(Main(nil))
		},
		"app":   func() { os.Exit(Main(registerTest)) },
		"fetch": func() { os.Exit(fetch(os.Args[1:])) },
	})
}

// leakFree fails when goroutines are left over.
type leakFree struct{ tests redistest.Runner }

func (l leakFree) Run() int {
	code := l.tests.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// fetch [-post] URL: what curl would do.
func fetch(args []string) int {
	method, url := http.MethodGet, args[len(args)-1]
	if args[0] == "-post" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusBadRequest {
		fmt.Fprintln(os.Stderr, res.Status)
		return 1
	}
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func registerTest(app *pyworkflow.App) error {
	if err := lab.Register(app); err != nil {
		return err
	}
	beat := func(context.Context) (string, error) { return "beaten", nil }
	return app.Register(pyworkflow.DefineFunc("pulse", beat, pyworkflow.Schedule(pyworkflow.Every("1s"), pyworkflow.IntervalFrom(pyworkflow.FromStart))))
}

func TestScripts(t *testing.T) {
	server := redistest.Shared(t)
	repo, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	goEnv := func(name string) string {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	cache, modules := goEnv("GOCACHE"), goEnv("GOMODCACHE")
	// Whoever builds this package has the modules with its imports, but not the go.mod of every module that those name, which a project outside needs.
	graph := exec.Command("go", "list", "-m", "all")
	graph.Dir = repo
	if out, err := graph.CombinedOutput(); err != nil {
		t.Logf("go list -m all: %v\n%s", err, out) // without a network, what is there may do
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"PYWORKFLOW_REDIS_URL", "PYWORKFLOW_NAMESPACE", "PYWORKFLOW_MODULE", "PYWORKFLOW_OUTPUT"} {
				env.Setenv(name, "")
			}
			env.Setenv("GORACE", "atexit_sleep_ms=0") // each command would end with a second of sleep
			env.Setenv("REDIS", server.URL())
			env.Setenv("NS", redistest.Namespace(t))
			env.Setenv("REPO", filepath.ToSlash(repo))
			env.Setenv("GOCACHE", cache)
			env.Setenv("GOMODCACHE", modules)
			env.Setenv("CGO_ENABLED", "0") // with the next one: --module and build compile everything once between them, and for the other tests
			env.Setenv("GOFLAGS", "-trimpath")
			env.Setenv("GOPROXY", "off") // all it takes is in the module cache by now
			env.Setenv("HOME", env.WorkDir)
			programs, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Setenv("BIN", programs)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"retry":    retry,
			"json":     checkJSON,
			"getjson":  getJSON,
			"oneline":  oneLineOut,
			"freeport": freePort,
			"ago":      ago,
		},
	})
}

// exits CODE PROGRAM ARG...: the program ends with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", args[1], got, want)
	}
}

// retry REGEXP PROGRAM ARG...: the program is run until it succeeds and its standard output matches.
func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: retry REGEXP PROGRAM ARG...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never said %q; last: %v\n%s%s", args[1], args[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// lookup finds a value in the last standard output by a path such as .items.0.run_id; "len" is the length of a list.
func lookup(ts *testscript.TestScript, path string) any {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("standard output is no JSON: %v\n%s", err, ts.ReadFile("stdout"))
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "."), ".") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[part]
			if !ok {
				ts.Fatalf("%s: there is no %s in %v", path, part, in)
			}
			v = next
		case []any:
			if part == "len" {
				v = len(in)
				continue
			}
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(in) {
				ts.Fatalf("%s: there is no %s in a list of %d", path, part, len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("%s: there is no %s in %v", path, part, v)
		}
	}
	return v
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// json PATH REGEXP: the value at the path of the last standard output matches wholly.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] json PATH REGEXP")
	}
	got := text(lookup(ts, args[0]))
	re, err := regexp.Compile("^(?:" + args[1] + ")$")
	ts.Check(err)
	if re.MatchString(got) == neg {
		ts.Fatalf("%s is %s, want (not: %v) %s", args[0], got, neg, args[1])
	}
}

// getjson VARIABLE PATH: the value at the path of the last standard output goes into the environment.
func getJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: getjson VARIABLE PATH")
	}
	ts.Setenv(args[0], text(lookup(ts, args[1])))
}

// oneline: the last command wrote nothing to standard output, and exactly one line to standard error.
func oneLineOut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: oneline")
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output is %q, want nothing", out)
	}
	if errs := ts.ReadFile("stderr"); strings.Count(errs, "\n") != 1 || strings.TrimSpace(errs) == "" {
		ts.Fatalf("standard error is %q, want one line", errs)
	}
}

// freeport VARIABLE: a loopback address that nobody listens on goes into the environment.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// ago VARIABLE DURATION: the time so long before now, in whole seconds, goes into the environment.
func ago(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ago VARIABLE DURATION")
	}
	d, err := time.ParseDuration(args[1])
	ts.Check(err)
	ts.Setenv(args[0], time.Now().UTC().Add(-d).Truncate(time.Second).Format(time.RFC3339))
}
