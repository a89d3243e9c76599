package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// Errors fail, warnings only with --strict; the findings are printed either way.
func TestDoctorExits(t *testing.T) {
	for _, c := range []struct {
		args         []string
		code, strict int
		want         string
	}{
		{[]string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"}, 0, 1, "eviction\twarning\t"},
		{[]string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "1gb"}, 1, 1, "eviction\terror\t"},
		{[]string{"--replicaof", "127.0.0.1 1"}, 1, 1, "role\terror\t"},
	} {
		url := redistest.Start(t, redistest.Args(c.args...)).URL()
		if got := runCommand(t, &program{}, "--redis-url", url, "doctor", "--output", "plain"); got.code != c.code || !strings.Contains(got.stdout, c.want) {
			t.Errorf("%q: exit %d, %s%s", c.args, got.code, got.stdout, got.stderr)
		}
		if got := runCommand(t, &program{}, "--redis-url", url, "doctor", "--output", "plain", "--strict"); got.code != c.strict || !strings.Contains(got.stdout, c.want) {
			t.Errorf("%q, strict: exit %d, %s%s", c.args, got.code, got.stdout, got.stderr)
		}
	}
}

// A process that starts says what is wrong with the store, and, once the others had time, with the work.
func TestWarningsAtStart(t *testing.T) {
	url := redistest.Start(t).URL()
	if got := runCommand(t, &program{}, "--redis-url", url, "schedules", "create", "nosuch", "--cron", "@daily", "--id", "lost", "--force"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, nil))
	p := &program{log: slog.New(slog.DiscardHandler)}
	root := newRoot(p)
	if err := root.ParseFlags([]string{"--redis-url", url}); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.settings, err = config.Resolve(root.Flags(), func(string) (string, bool) { return "", false }, t.TempDir(), flagSets(root)...); err != nil {
		t.Fatal(err)
	}
	s, err := p.open(t.Context(), creates, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.warnAtStart(t.Context(), log, 0)
	for _, want := range []string{"level=WARN msg=\"persistence: the server keeps nothing", "remedy=\"CONFIG SET appendonly yes",
		"nobody has ever announced workflow", "no live worker", "no live beat"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("%q is not in:\n%s", want, buf.String())
		}
	}
	if strings.Contains(buf.String(), "version") {
		t.Errorf("what is good is no warning:\n%s", buf.String())
	}
}
