package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

func newWorker(p *program) *cobra.Command {
	return group("worker", "Run workers, and list those that live", newWorkerRun(p), newWorkerList(p))
}

func newWorkerRun(p *program) *cobra.Command {
	v := serving{name: "worker", work: true, pollInterval: beat.DefaultPollInterval}
	queues := queuesValue{&v.queues}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run workflows from asynq queues",
		Long: `Runs workflows that schedules, triggers and "workflows run" put into queues on Redis. Any number of workers may run; with --beat any number of them may also
schedule. The first Ctrl+C or SIGTERM takes no more runs and lets running ones go on for --drain-timeout, then hands them to other workers; the second ends at once.`,
		Example: `  pyworkflow --module ./workflows worker run --beat
  pyworkflow --module ./workflows --redis-url redis://redis:6379/0 worker run --concurrency 4 --queues critical=6,default=3`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v.concurrency < 1 {
				return config.Usagef("--concurrency %q: must be 1 or more", strconv.Itoa(v.concurrency))
			}
			if err := checkPolling(cmd, v); err != nil {
				return err
			}
			if err := v.alerts.check(cmd); err != nil {
				return err
			}
			s, err := p.open(cmd.Context(), creates, true)
			if err != nil {
				return err
			}
			defer s.close()
			return p.serve(cmd.Context(), s, v)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&v.beat, "beat", false, "schedule as well")
	fs.IntVar(&v.concurrency, "concurrency", worker.DefaultConcurrency, "runs at a time")
	fs.Var(queues, "queues", "queues to serve and their weights: a=6,b=3 (default every queue that its workflows name)")
	config.SecondsVar(fs, &v.pollInterval, "poll-interval", beat.DefaultPollInterval, "how late a change made elsewhere is seen at most: 10, 0.5 or 10s")
	overdueAfterFlag(fs, &v.overdueAfter)
	config.SecondsVar(fs, &v.drainTimeout, "drain-timeout", worker.DefaultDrainTimeout, "how long running runs may go on after a signal")
	config.OptIn(fs, config.Plain, "beat", "concurrency", "queues", "poll-interval", "overdue-after", "drain-timeout")
	httpListenFlag(cmd, &v.listen)
	metricsFlag(cmd, &v.perSchedule)
	v.alerts.register(fs)
	return cmd
}

// overdueAfterFlag sets the watchdog's bound.
func overdueAfterFlag(fs *pflag.FlagSet, to *time.Duration) {
	config.SecondsVar(fs, to, "overdue-after", time.Duration(0), "by how much a schedule may be overdue before that is warned of, counted and mended: 15 or 15s (default three poll intervals)")
	fs.Lookup("overdue-after").DefValue = "0" // which help leaves out
}

func checkPolling(cmd *cobra.Command, v serving) error {
	if v.pollInterval < beat.MinPollInterval {
		return config.Usagef("--poll-interval %q: must be %s or more", schedules.Duration(v.pollInterval), beat.MinPollInterval)
	}
	if cmd.Flags().Changed("overdue-after") && v.overdueAfter <= v.pollInterval {
		return config.Usagef("--overdue-after %q: must be more than the poll interval, %s", schedules.Duration(v.overdueAfter), schedules.Duration(v.pollInterval))
	}
	return nil
}

// queuesValue is a flag that takes queues and weights.
type queuesValue struct{ to *map[string]int }

func (q queuesValue) Type() string { return "queues" }

func (q queuesValue) String() string {
	if q.to == nil {
		return ""
	}
	return queueText(*q.to)
}

func (q queuesValue) Set(text string) error {
	queues := map[string]int{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, weighed := strings.Cut(strings.TrimSpace(part), "=")
		weight := 1
		if weighed {
			var err error
			if weight, err = strconv.Atoi(number); err != nil || weight < 1 || weight > 1000 {
				return fmt.Errorf("weight %q of queue %q must be from 1 to 1000", number, name)
			}
		}
		if err := schedules.ValidateQueue(name); err != nil {
			return err
		}
		if _, twice := queues[name]; twice {
			return errors.New("queue " + strconv.Quote(name) + " is named twice")
		}
		queues[name] = weight
	}
	*q.to = queues
	return nil
}

// queueText writes queues in the form of the flag, the heaviest first.
func queueText(queues map[string]int) string {
	names := slices.Collect(maps.Keys(queues))
	slices.SortFunc(names, func(a, b string) int {
		if queues[a] != queues[b] {
			return queues[b] - queues[a]
		}
		return strings.Compare(a, b)
	})
	even := len(slices.Compact(slices.Sorted(maps.Values(queues)))) == 1
	for i, n := range names {
		if !even {
			names[i] = fmt.Sprintf("%s=%d", n, queues[n])
		}
	}
	return strings.Join(names, ",")
}

func newWorkerList(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List live workers and beats",
		Long:    "Lists the processes that execute runs or schedule: host, process id, since when, what each is running, and which shards a beat holds.",
		Example: "  pyworkflow worker list\n  pyworkflow worker list --output json",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				procs, err := c.Processes(cmd.Context())
				if err != nil {
					return err
				}
				return p.print(client.Page[client.Process]{Items: procs}, func() error { return p.printProcesses(c, procs) })
			})
		},
	}
}

func (p *program) printProcesses(c *client.Client, procs []client.Process) error {
	t := table{columns: []string{"host", "pid", "role", "since", "running", "queues", "shards", "runs"}}
	for _, proc := range procs {
		running := ""
		if proc.Capacity > 0 {
			running = fmt.Sprintf("%d/%d", len(proc.Running), proc.Capacity)
		}
		t.add(proc.Host, strconv.Itoa(proc.PID), strings.Join(proc.Roles, "+"), p.when(proc.StartedAt), running, strings.Join(proc.Queues, ","), numbers(proc.Shards),
			strings.Join(proc.Running, " "))
	}
	if len(procs) > 0 {
		return p.printTable(t)
	}
	p.pageNote(c, "live workers", 0, "")
	return nil
}

// numbers writes sorted numbers, runs of them as ranges: 0-3,7.
func numbers(ns []int) string {
	var parts []string
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		part := strconv.Itoa(ns[i])
		if j > i {
			part += "-" + strconv.Itoa(ns[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
