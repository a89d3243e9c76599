package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func resolved(t *testing.T, args []string, env map[string]string, file string) *Settings {
	t.Helper()
	dir := t.TempDir()
	if file != "" {
		writeFile(t, filepath.Join(dir, FileName), file)
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	GlobalFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(fs, environment(env), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChoose(t *testing.T) {
	const url = "redis://h:1/2"
	for _, test := range []struct {
		args      string
		worker    bool
		runtime   Runtime
		storage   string
		byDefault bool
		sources   string // of runtime and storage
	}{
		{args: "", runtime: Local, storage: "./workflow_data", byDefault: true, sources: "default; default"},
		{args: "--storage-path d", runtime: Local, storage: "d", sources: "default; default"},
		{args: "--runtime local", runtime: Local, storage: "./workflow_data", sources: "flag --runtime; default"},
		{args: "--storage sqlite", runtime: Local, storage: "./workflow_data", sources: "default; flag --storage"},
		{args: "--storage redis", runtime: Local, storage: DefaultRedisURL, sources: "default; flag --storage"},
		{args: "--runtime asynq", runtime: Asynq, storage: DefaultRedisURL, sources: "flag --runtime; default, as the runtime is asynq"},
		{args: "--redis-url " + url, runtime: Asynq, storage: url, sources: "default, as a Redis URL is given; default, as a Redis URL is given"},
		{args: "--redis-url " + url + " --runtime local", runtime: Local, storage: url, sources: "flag --runtime; default, as a Redis URL is given"},
		{args: "--redis-url " + url + " --runtime local --storage sqlite", runtime: Local, storage: "./workflow_data", sources: "flag --runtime; flag --storage"},
		{worker: true, runtime: Asynq, storage: DefaultRedisURL, sources: "default, as a worker takes its runs from asynq; default, as the runtime is asynq"},
		{worker: true, args: "--redis-url " + url, runtime: Asynq, storage: url, sources: "default, as a worker takes its runs from asynq; default, as a Redis URL is given"},
	} {
		s := resolved(t, strings.Fields(test.args), nil, "")
		run, store, err := choose(s, test.worker)
		if err != nil {
			t.Errorf("%q: %v", test.args, err)
			continue
		}
		if run != test.runtime || store.String() != test.storage || store.ByDefault != test.byDefault || (store.Redis == nil) != (store.Kind == SQLite) {
			t.Errorf("%q: %s, %s %s, by default %v", test.args, run, store.Kind, store, store.ByDefault)
		}
		a, _ := s.Lookup("runtime")
		b, _ := s.Lookup("storage")
		if got := a.Source.String() + "; " + b.Source.String(); got != test.sources {
			t.Errorf("%q: sources %q, want %q", test.args, got, test.sources)
		}
		if a.Shown != string(run) || b.Shown != string(store.Kind) {
			t.Errorf("%q: config show would say %s, %s", test.args, a.Shown, b.Shown)
		}
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, test := range []struct {
		args   string
		env    map[string]string
		file   string
		worker bool
		want   string
	}{
		{args: "--runtime asynq --storage sqlite",
			want: "the asynq runtime (flag --runtime) cannot keep its records in sqlite (flag --storage): workers share them through Redis; use --storage redis, or --runtime local"},
		{args: "--storage sqlite", env: map[string]string{"PYWORKFLOW_REDIS_URL": "redis://h"},
			want: "the asynq runtime (default, as a Redis URL is given) cannot keep its records in sqlite (flag --storage)"},
		{worker: true, file: "storage: sqlite\n", want: "the asynq runtime (default, as a worker takes its runs from asynq) cannot keep its records in sqlite (file "},
		{worker: true, args: "--runtime local", want: `--runtime local: a worker takes its runs from asynq's queues; to execute runs in this process use "scheduler run"`},
		{worker: true, env: map[string]string{"PYWORKFLOW_RUNTIME": "local"}, want: `PYWORKFLOW_RUNTIME local: a worker takes`},
		{args: "--redis-url http://u:hunter2@h --runtime local --storage sqlite", want: "--redis-url: http://u:***@h: must begin with redis://"},
		{args: "--redis-url localhost:6379", want: "--redis-url: localhost:6379: must be a URL such as redis://localhost:6379/0"},
		{file: "redis_url: redis://u:hunter2@h:x\n", want: "FILE:1: redis_url: redis://***: the host must be"},
		{args: "--storage-path=", want: "--storage-path is empty"},
	} {
		s := resolved(t, strings.Fields(test.args), test.env, test.file)
		_, _, err := choose(s, test.worker)
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: got %v, want a UsageError", test.args, err)
			continue
		}
		got := err.Error()
		if s.File() != "" {
			got = strings.ReplaceAll(got, s.File()+":", "FILE:")
		}
		if !strings.HasPrefix(got, test.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%q:\ngot  %s\nwant %s", test.args, got, test.want)
		}
	}
}
