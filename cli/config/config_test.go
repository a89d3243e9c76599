package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// flagSet is a command with the global flags and a few of its own.
func flagSet(t *testing.T) (*pflag.FlagSet, *Global, *time.Duration) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	g := GlobalFlags(fs)
	var poll time.Duration
	SecondsVar(fs, &poll, "poll-interval", 5*time.Second, "")
	fs.Int("concurrency", 10, "")
	fs.Bool("beat", false, "")
	fs.StringSlice("queues", []string{"default"}, "")
	fs.String("api-token", "", "")
	fs.String("tls-cert", "", "")
	fs.String("id", "", "") // no setting
	OptIn(fs, Plain, "poll-interval", "concurrency", "beat", "queues")
	OptIn(fs, Secret, "api-token")
	OptIn(fs, Path, "tls-cert")
	return fs, g, &poll
}

func environment(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, FileName), "namespace: file\nruntime: local\nstorage: redis\n\npoll-interval: 7\n")
	fs, g, poll := flagSet(t)
	if err := fs.Parse([]string{"--namespace", "flag"}); err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(fs, environment(map[string]string{
		"PYWORKFLOW_NAMESPACE": "env", "PYWORKFLOW_RUNTIME": "asynq", "PYWORKFLOW_OUTPUT": "",
	}), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ name, value, source string }{
		{"namespace", "flag", "flag --namespace"},
		{"runtime", "asynq", "environment PYWORKFLOW_RUNTIME"},
		{"storage", "redis", "file " + file},
		{"poll-interval", "7s", "file " + file},
		{"concurrency", "10", "default"},
		{"output", "table", "default"}, // an empty variable is none
	} {
		got, ok := s.Lookup(want.name)
		if !ok || got.Value != want.value || got.Source.String() != want.source {
			t.Errorf("%s = %q from %q, want %q from %q", want.name, got.Value, got.Source, want.value, want.source)
		}
		if s.Given(want.name) != (want.source != "default") {
			t.Errorf("Given(%s) = %v", want.name, s.Given(want.name))
		}
	}
	if got, _ := s.Lookup("poll-interval"); got.Source.Line != 5 {
		t.Errorf("poll-interval from line %d, want 5", got.Source.Line)
	}
	if g.Namespace != "flag" || g.Runtime != "asynq" || g.Storage != "redis" || *poll != 7*time.Second {
		t.Errorf("the flags' variables hold %+v, %v", g, *poll)
	}
	if fs.Changed("runtime") {
		t.Error("a value from the environment passes for one from the command line")
	}
	if s.File() != file {
		t.Errorf("File() = %q, want %q", s.File(), file)
	}
	if _, ok := s.Lookup("id"); ok {
		t.Error("a flag that did not opt in is a setting")
	}
}

func TestPathsInTheFileAreRelativeToIt(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(below, 0o777); err != nil {
		t.Fatal(err)
	}
	abs := filepath.Join(root, "elsewhere")
	writeFile(t, filepath.Join(root, FileName), "module: ./workflows\nstorage_path: data\ntls_cert: "+abs+"\n")
	for _, test := range []struct{ dir, module, storage string }{
		{below, filepath.Join(root, "workflows"), filepath.Join(root, "data")},
		{root, "./workflows", "data"}, // nothing to resolve: as written
	} {
		fs, g, _ := flagSet(t)
		s, err := Resolve(fs, environment(nil), test.dir)
		if err != nil {
			t.Fatal(err)
		}
		if g.Module != test.module || g.StoragePath != test.storage || s.Value("tls-cert") != abs {
			t.Errorf("in %s: module %q, storage path %q, certificate %q", test.dir, g.Module, g.StoragePath, s.Value("tls-cert"))
		}
	}

	writeFile(t, filepath.Join(root, "a", FileName), "module: example.com/x/workflows\n")
	fs, g, _ := flagSet(t)
	if _, err := Resolve(fs, environment(nil), below); err != nil {
		t.Fatal(err)
	}
	if g.Module != "example.com/x/workflows" || g.StoragePath != DefaultStoragePath {
		t.Errorf("the nearest file must rule alone, import paths stay: module %q, storage path %q", g.Module, g.StoragePath)
	}
}

func TestValuesOfTheFile(t *testing.T) {
	for _, test := range []struct{ content, name, want string }{
		{"", "namespace", "default"},
		{"# nothing\n", "namespace", "default"},
		{"~\n", "namespace", "default"},
		{"namespace:\n", "namespace", "default"},
		{"namespace: 42\n", "namespace", "42"},
		{"beat: true\n", "beat", "true"},
		{"poll_interval: 0.5\n", "poll-interval", "500ms"},
		{"poll_interval: 1m\n", "poll-interval", "1m"},
		{"queues: a=6,b=3\n", "queues", "[a=6,b=3]"},
		{"queues: [a=6, b=3]\n", "queues", "[a=6,b=3]"},
		{"queues: {a: 6, b: 3}\n", "queues", "[a=6,b=3]"},
		{"namespace: &n x\nmodule: *n\n", "module", "x"},
		{"redis_url: \"redis://:p#w@h\"\n", "redis-url", "redis://:p#w@h"},
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, FileName), test.content)
		fs, _, _ := flagSet(t)
		s, err := Resolve(fs, environment(nil), dir)
		if err != nil {
			t.Errorf("%q: %v", test.content, err)
		} else if got := s.Value(test.name); got != test.want {
			t.Errorf("%q: %s = %q, want %q", test.content, test.name, got, test.want)
		}
	}
}

func TestErrorsNamePlaceValueAndRemedy(t *testing.T) {
	for _, test := range []struct {
		name, content string
		env           map[string]string
		want          string // FILE stands for the file's path
	}{
		{name: "unknown key", content: "runtime: local\nnamspace: x\n", want: `FILE:2: unknown key "namspace": did you mean namespace?`},
		{name: "unknown key in dashes", content: "redis-uri: x\n", want: `FILE:1: unknown key "redis-uri": did you mean redis_url?`},
		{name: "flag that is no setting", content: "id: x\n", want: `FILE:1: unknown key "id": the keys are `},
		{name: "twice", content: "poll_interval: 1\npoll-interval: 2\n", want: `FILE:2: key "poll-interval" is already set in line 1: keep one`},
		{name: "file value", content: "\n\nruntime: celery\n", want: `FILE:3: runtime: celery: must be local or asynq`},
		{name: "file duration", content: "poll_interval: soon\n", want: `FILE:1: poll_interval: soon: must be seconds, or a number with a unit: 10, 0.5, 10s or 1m30s`},
		{name: "file int", content: "concurrency: many\n", want: `FILE:1: concurrency: many: must be a whole number`},
		{name: "file nested", content: "queues:\n  a:\n    b: 1\n", want: `FILE:2: key "queues" must be a single value or a list of them`},
		{name: "file is a list", content: "- a\n", want: `FILE:1: must be lines such as "namespace: default"`},
		{name: "two documents", content: "runtime: local\n---\nruntime: asynq\n", want: `config file FILE: holds more than one document (---): keep one`},
		{name: "syntax", content: "runtime: local\n  x: [\n", want: `config file FILE: line 2: `},
		{name: "lines", content: "namespace: |\n  a\n  b\n", want: `FILE:1: namespace: "a\nb\n": must be 1 to 64`},
		{name: "env", env: map[string]string{"PYWORKFLOW_RUNTIME": "celery"}, want: `PYWORKFLOW_RUNTIME=celery: must be local or asynq`},
		{name: "env bool", env: map[string]string{"PYWORKFLOW_BEAT": "ja"}, want: `PYWORKFLOW_BEAT=ja: must be true or false`},
		{name: "env namespace", env: map[string]string{"PYWORKFLOW_NAMESPACE": "a b"}, want: `PYWORKFLOW_NAMESPACE=a b: must be 1 to 64 letters, digits, _, . or -, and begin with a letter or digit`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := writeFile(t, filepath.Join(dir, FileName), test.content)
			fs, _, _ := flagSet(t)
			_, err := Resolve(fs, environment(test.env), dir)
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a UsageError", err)
			}
			if want := strings.ReplaceAll(test.want, "FILE", file); !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestFileMayHoldKeysOfOtherCommands(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, FileName), "concurrency: 3\nnamespace: x\n")
	fs := pflag.NewFlagSet("list", pflag.ContinueOnError)
	GlobalFlags(fs)
	if _, err := Resolve(fs, environment(nil), dir); err == nil {
		t.Fatal("a key that no known command has is accepted")
	}
	worker, _, _ := flagSet(t)
	s, err := Resolve(fs, environment(map[string]string{"PYWORKFLOW_CONCURRENCY": "not ours"}), dir, worker)
	if err != nil {
		t.Fatal(err)
	}
	if s.Value("namespace") != "x" || s.Given("concurrency") {
		t.Errorf("namespace %q, concurrency given: %v", s.Value("namespace"), s.Given("concurrency"))
	}
}

func TestUnreadableFileIsNoSilence(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	fs, _, _ := flagSet(t)
	if _, err := Resolve(fs, environment(nil), dir); err == nil || !strings.HasPrefix(err.Error(), "config file "+path+": ") {
		t.Errorf("a folder with the file's name: %v", err)
	}
}

func TestShownValuesHideSecrets(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, FileName), "redis_url: redis://me:hunter2@h/0\napi_token: hunter2\n")
	fs, _, _ := flagSet(t)
	s, err := Resolve(fs, environment(nil), dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(s.All())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "hunter2") {
		t.Errorf("a secret shows: %s", out)
	}
	if !strings.Contains(string(out), `{"name":"redis-url","value":"redis://me:***@h/0","source":"file `) {
		t.Errorf("got %s", out)
	}
	if s.Value("api-token") != "hunter2" {
		t.Errorf("the value itself must stay: %q", s.Value("api-token"))
	}
	last := ""
	for _, setting := range s.All() {
		if setting.Name <= last {
			t.Errorf("%s after %s: not sorted", setting.Name, last)
		}
		last = setting.Name
	}
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "0.5": 500 * time.Millisecond, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "0": 0, "25ms": 25 * time.Millisecond,
	} {
		if got, err := ParseSeconds(text); err != nil || got != want {
			t.Errorf("ParseSeconds(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "-1s", "NaN", "Inf", "-Inf", "1e300", "10 s", "1d"} {
		if got, err := ParseSeconds(text); err == nil {
			t.Errorf("ParseSeconds(%q) = %v, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", 90 * time.Second: "1m30s", 2 * time.Hour: "2h", 10 * time.Second: "10s", 70 * time.Minute: "1h10m"} {
		if got := (*seconds)(&d).String(); got != want {
			t.Errorf("%v is shown as %q, want %q", d, got, want)
		}
	}
}

func TestNamespace(t *testing.T) {
	for _, name := range []string{"default", "a", "7", "prod.eu-1_x", strings.Repeat("x", 64)} {
		if err := CheckNamespace(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "-a", ".a", "_a", "a b", "a:b", "a{b}", "ä", "a\n", strings.Repeat("x", 65)} {
		if err := CheckNamespace(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestHelpShowsNoEmptyDefaults(t *testing.T) {
	fs, _, _ := flagSet(t)
	help := fs.FlagUsages()
	for _, want := range []string{"--runtime local|asynq", "(default 5s)", "--output table|json|plain", "(default default)"} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q:\n%s", want, help)
		}
	}
}
