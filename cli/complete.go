package cli

import (
	"context"
	_ "embed"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	// completeTimeout bounds how long somebody who has pressed Tab waits.
	completeTimeout = time.Second
	// completeMost is how many candidates are offered at most.
	completeMost = 200
)

// zoneNames are the zones that completion offers, one a line.
//
//go:embed zones.txt
var zoneNames string

// completer offers what could stand where the cursor is: what begins with prefix. It says nothing when it knows nothing.
type completer func(ctx context.Context, c *client.Client, prefix string) ([]string, error)

// addCompletions gives every argument and flag of the tree its completion: ids and names out of the store, words, folders; nothing where nothing is known, so that the shell
// does not offer file names.
func (p *program) addCompletions(root *cobra.Command) {
	for path, complete := range argCompletions {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil || cmd.CommandPath() != root.Name()+" "+path {
			panic("cli: completion for an unknown command " + path) // a mistake in the program, not in its use
		}
		cmd.ValidArgsFunction = p.completeArgs(cmd, complete)
	}
	p.completeBelow(root)
}

func (p *program) completeBelow(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, known := cmd.GetFlagCompletionFunc(f.Name); !known {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, p.completeFlag(cmd, f)) // it fails only where there is one
		}
	})
	for _, sub := range cmd.Commands() {
		p.completeBelow(sub)
	}
}

// argCompletions are those of arguments, by command.
var argCompletions = map[string]completer{
	"schedules show": anySchedule, "schedules update": anySchedule, "schedules trigger": anySchedule, "schedules backfill": anySchedule,
	"schedules history": anySchedule, "schedules next": anySchedule,
	"schedules pause": schedulesWhere(func(s client.Schedule) bool {
		return s.Status == schedules.StatusActive || s.Status == schedules.StatusFinished
	}),
	"schedules resume": schedulesWhere(func(s client.Schedule) bool { return s.Status == schedules.StatusPaused }),
	"schedules delete": schedulesWhere(func(s client.Schedule) bool { return !s.DeclaredInCode() }),
	"schedules reset":  schedulesWhere(func(s client.Schedule) bool { return len(s.Overridden) > 0 }),
	"schedules create": anyWorkflow, "workflows info": anyWorkflow, "workflows run": anyWorkflow,
	"runs show": anyRun, "runs logs": anyRun, "runs cancel": runsWhere(func(r client.Run) bool { return !r.Status.Ended() }),
	"runs again":     runsWhere(func(r client.Run) bool { return r.Status.Ended() }),
	"backfills show": backfillsWhere(func(client.Backfill) bool { return true }), "backfills cancel": backfillsWhere(func(b client.Backfill) bool { return !b.Ended() }),
	"queues pause":  queuesWhere(func(q client.Queue) bool { return !q.Paused }),
	"queues resume": queuesWhere(func(q client.Queue) bool { return q.Paused }),
}

// wordFlags are the flags that take one of a few words; those of --status depend on the command.
var wordFlags = map[string][]string{
	"runtime": {"local", "asynq"}, "storage": {"sqlite", "redis"}, "output": {"table", "json", "plain"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"},
	"overlap": {"skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"}, "catchup": {"one", "all", "none"}, "interval-from": {"completion", "start"},
	"fate": {"started", "buffered", "dropped", "skipped", "missed"},
	"cron": {"@hourly", "@daily", "@weekly", "@monthly", "@yearly"}, "alert-format": {"json", "slack"},
}

var statusWords = map[string][]string{
	"schedules": {"active", "paused", "finished", "deleted"},
	"runs":      {"pending", "running", "retrying", "completed", "failed", "cancelled"},
}

// storeFlags are the flags whose values the store knows.
var storeFlags = map[string]completer{"workflow": anyWorkflow, "schedule": anySchedule, "queue": anyQueue}

// fileFlags name files, folderFlags folders.
var (
	fileFlags   = []string{"out", "redis-password-file", "redis-tls-ca", "redis-tls-cert", "redis-tls-key", "dashboard-token-file", "alert-secret-file"}
	folderFlags = []string{"module", "storage-path"}
)

func (p *program) completeFlag(cmd *cobra.Command, f *pflag.Flag) cobra.CompletionFunc {
	words, ok := wordFlags[f.Name]
	if f.Name == "status" && cmd.HasParent() {
		words, ok = statusWords[cmd.Parent().Name()]
	}
	switch complete := storeFlags[f.Name]; {
	case ok:
		return func(_ *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, prefix) }), cobra.ShellCompDirectiveNoFileComp
		}
	case f.Name == "timezone":
		return func(_ *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return zones(prefix), cobra.ShellCompDirectiveNoFileComp
		}
	case f.Name == "file":
		return cobra.FixedCompletions([]string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt)
	case slices.Contains(folderFlags, f.Name):
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case slices.Contains(fileFlags, f.Name):
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	case complete != nil:
		return func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.candidates(cmd, complete, prefix), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cobra.NoFileCompletions
}

// zones are those that begin with the prefix, in any case.
func zones(prefix string) []string {
	var out []string
	for name := range strings.Lines(zoneNames) {
		if name = strings.TrimSpace(name); len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			out = append(out, name)
		}
	}
	return out
}

// completeArgs completes the arguments of a command: as many as it takes, none twice.
func (p *program) completeArgs(cmd *cobra.Command, complete completer) cobra.CompletionFunc {
	many := strings.HasSuffix(cmd.Use, "...")
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := slices.DeleteFunc(p.candidates(cmd, complete, prefix), func(item string) bool {
			id, _, _ := strings.Cut(item, "\t")
			return slices.Contains(args, id)
		})
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// candidates asks the store, within completeTimeout and without a word about what goes wrong: who presses Tab wants to type on.
func (p *program) candidates(cmd *cobra.Command, complete completer, prefix string) []string {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	settings, err := config.Resolve(cmd.Flags(), p.env, p.dir, flagSets(cmd.Root())...)
	if err != nil {
		return nil
	}
	p.settings, p.log, p.app = settings, slog.New(slog.DiscardHandler), pyworkflow.NewApp()
	redis.SetLogger(redisLog{p.log})
	if p.register != nil && p.register(p.app) != nil {
		return nil
	}
	s, err := p.open(ctx, reads, false)
	if err != nil {
		return nil
	}
	defer s.close()
	found, err := complete(ctx, s.client, prefix)
	if err != nil {
		return nil
	}
	for i, item := range found { // a description must not bring lines of its own
		id, about, _ := strings.Cut(item, "\t")
		found[i] = id + "\t" + visible(about)
	}
	return found
}

var anySchedule = schedulesWhere(func(client.Schedule) bool { return true })

func schedulesWhere(want func(client.Schedule) bool) completer {
	return func(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
		var out []string
		for s, err := range c.Schedules(ctx, client.ScheduleFilter{Search: prefix}) {
			if err != nil || len(out) == completeMost {
				return out, err
			}
			if strings.HasPrefix(s.ScheduleID, prefix) && want(s) {
				out = append(out, s.ScheduleID+"\t"+s.Workflow+", "+inLine(s.Spec))
			}
		}
		return out, nil
	}
}

func anyWorkflow(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
	ws, err := c.Workflows(ctx)
	var out []string
	for _, w := range ws {
		if strings.HasPrefix(w.Name, prefix) {
			out = append(out, w.Name+"\t"+string(w.Doc))
		}
	}
	return out, err
}

var anyRun = runsWhere(func(client.Run) bool { return true })

// runsWhere offers the newest runs.
func runsWhere(want func(client.Run) bool) completer {
	return func(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
		page, err := c.ListRuns(ctx, client.RunFilter{}, client.PageRequest{Limit: completeMost})
		var out []string
		for _, r := range page.Items {
			if strings.HasPrefix(r.RunID, prefix) && want(r) {
				out = append(out, r.RunID+"\t"+joined(r.Workflow, string(r.Status), stamp(r.CreatedAt)))
			}
		}
		return out, err
	}
}

func backfillsWhere(want func(client.Backfill) bool) completer {
	return func(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
		page, err := c.ListBackfills(ctx, "", client.PageRequest{Limit: completeMost})
		var out []string
		for _, b := range page.Items {
			if strings.HasPrefix(b.BackfillID, prefix) && want(b) {
				out = append(out, b.BackfillID+"\t"+joined(b.ScheduleID, string(b.Status), stamp(b.Start)))
			}
		}
		return out, err
	}
}

func queuesWhere(want func(client.Queue) bool) completer {
	return func(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
		queues, err := c.Queues(ctx)
		var out []string
		for _, q := range queues {
			if strings.HasPrefix(q.Name, prefix) && want(q) {
				out = append(out, q.Name)
			}
		}
		return out, err
	}
}

// anyQueue offers the queues that workflows and live workers name.
func anyQueue(ctx context.Context, c *client.Client, prefix string) ([]string, error) {
	ws, err := c.Workflows(ctx)
	if err != nil {
		return nil, err
	}
	procs, err := c.Processes(ctx)
	var names []string
	for _, w := range ws {
		names = append(names, w.Queue)
	}
	for _, p := range procs {
		names = append(names, p.Queues...)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" || !strings.HasPrefix(n, prefix) }), err
}
