package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
)

func TestEveryCommandHasHelpAndExamples(t *testing.T) {
	var walk func(c *cobra.Command)
	count := 0
	walk = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" {
			return // cobra's own
		}
		if c.Short == "" {
			t.Errorf("%s: no short help", c.CommandPath())
		}
		if c.HasSubCommands() {
			for _, sub := range c.Commands() {
				walk(sub)
			}
			return
		}
		count++
		if !strings.Contains(c.Example, "pyworkflow") {
			t.Errorf("%s: no example", c.CommandPath())
		}
		if c.Args == nil {
			t.Errorf("%s: arguments are not checked", c.CommandPath())
		}
	}
	walk(newRoot(&program{}))
	if count < 30 {
		t.Errorf("only %d commands", count)
	}
}

// TestEveryArgumentCompletes walks the tree: a command that takes the name of something offers those there are.
func TestEveryArgumentCompletes(t *testing.T) {
	t.Parallel()
	free := map[string]bool{"init": true, "completion": true} // a folder that is not there yet; cobra's own
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		_, what, takes := strings.Cut(c.Use, " ")
		path := strings.TrimPrefix(c.CommandPath(), "pyworkflow ")
		if top, _, _ := strings.Cut(path, " "); c.HasSubCommands() || free[top] || top == "help" {
			return
		}
		if takes && argCompletions[path] == nil {
			t.Errorf("%s: %s has no completion", c.CommandPath(), what)
		}
		if c.ValidArgsFunction == nil {
			t.Errorf("%s: the shell would offer file names", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if _, ok := c.GetFlagCompletionFunc(f.Name); !ok && f.Name != "help" {
				t.Errorf("%s: --%s has no completion", c.CommandPath(), f.Name)
			}
		})
	}
	walk(newRoot(&program{}))
	if zones := zones("Europe/"); len(zones) < 40 {
		t.Errorf("zones of Europe: %q", zones)
	}
	for _, name := range zones("") {
		if _, err := time.LoadLocation(name); err != nil {
			t.Error(err)
		}
	}
}

func TestDefaultStorageLooksForWorkersOnRedis(t *testing.T) {
	server, namespace := redistest.Shared(t), redistest.Namespace(t)
	st, err := redisstore.New(server.Client(t), redisstore.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	list := func(args ...string) result {
		return runCommand(t, &program{defaultRedis: server.URL()}, append([]string{"--namespace", namespace, "schedules", "list"}, args...)...)
	}
	if got := list(); got.code != 0 {
		t.Errorf("nobody lives there: exit %d, %s", got.code, got.stderr)
	}
	if err := st.AnnounceProcess(t.Context(), store.Process{ID: "h:1:a", Host: "h", PID: 1, Worker: true}, time.Minute); err != nil {
		t.Fatal(err)
	}
	refused(t, list(), 2, []string{"--redis-url " + server.URL(), "--storage sqlite", "namespace " + namespace})
	for _, args := range [][]string{{"--storage", "sqlite"}, {"--storage-path", t.TempDir()}, {"--redis-url", server.URL()}} {
		if got := list(args...); got.code != 0 {
			t.Errorf("%q chooses: exit %d, %s", args, got.code, got.stderr)
		}
	}
}

func TestSettingsComeFromEnvironment(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"PYWORKFLOW_REDIS_URL": "redis://u:hush-hush@h:1/2", "PYWORKFLOW_NAMESPACE": "n1"}[name]
		return v, ok
	}
	got := runCommand(t, &program{env: env}, "config", "show", "--output", "plain", "--namespace", "n2")
	if got.code != 0 || strings.Contains(got.stdout+got.stderr, "hush") {
		t.Errorf("exit %d, %s%s", got.code, got.stdout, got.stderr)
	}
	for _, want := range []string{"namespace\tn2\tflag --namespace\n", "redis-url\tredis://u:***@h:1/2\tenvironment PYWORKFLOW_REDIS_URL\n", "runtime\tasynq\tdefault, as a Redis URL is given\n"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in %q", want, got.stdout)
		}
	}
}

func TestReadyBetweenSlowPolls(t *testing.T) {
	for _, c := range []struct {
		every, ago time.Duration
		ready      bool
	}{
		{5 * time.Second, 10 * time.Second, true},
		{5 * time.Second, 70 * time.Second, false},
		{2 * time.Minute, 110 * time.Second, true},
		{2 * time.Minute, 150 * time.Second, true}, // it may be late
		{2 * time.Minute, 190 * time.Second, false},
	} {
		stats := beat.Stats{Running: true, Answers: true, Shards: []int{0}, LastPoll: time.Now().Add(-c.ago)}
		if problems := idle("beat", stats, c.every); (len(problems) == 0) != c.ready {
			t.Errorf("polled %s ago, due every %s: %q", c.ago, c.every, problems)
		}
	}
}
