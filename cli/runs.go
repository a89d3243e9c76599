package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newRuns(p *program) *cobra.Command {
	return group("runs", "List, show, cancel and repeat runs", newRunsList(p), newRunsShow(p), newRunsLogs(p), newRunsCancel(p), newRunsAgain(p))
}

func newRunsList(p *program) *cobra.Command {
	var f client.RunFilter
	var status string
	var page pageFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List runs, the newest first",
		Example: "  pyworkflow runs list --schedule auto_daily_report\n  pyworkflow runs list --status failed --since 1d --output json",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOfFlag(cmd, "status", "pending", "running", "retrying", "completed", "failed", "cancelled"); err != nil {
				return err
			}
			if err := page.check(); err != nil {
				return err
			}
			f.Status = schedules.RunStatus(status)
			return p.withClient(cmd, reads, func(c *client.Client) error {
				got, err := c.ListRuns(cmd.Context(), f, page.PageRequest)
				if err != nil {
					return err
				}
				return p.print(got, func() error { return p.printRuns(c, got) })
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.Workflow, "workflow", "", "only those of this workflow")
	fs.StringVar(&f.ScheduleID, "schedule", "", "only those of this schedule")
	fs.StringVar(&status, "status", "", "only those of this status: pending, running, retrying, completed, failed or cancelled")
	fs.Var(timeValue{at: &f.Since, ago: p.now}, "since", "created at or after this time (RFC 3339, or how long ago: 30m, 1d)")
	page.register(fs)
	return cmd
}

func (p *program) printRuns(c *client.Client, page client.Page[client.Run]) error {
	t := table{columns: []string{"run", "workflow", "schedule", "status", "trigger", "nominal time", "started", "took", "attempt", "worker"}}
	for _, r := range page.Items {
		t.add(r.RunID, r.Workflow, string(r.ScheduleID), string(r.Status), string(r.Trigger), stamp(r.NominalTime), p.when(r.StartedAt), took(r.StartedAt, r.EndedAt),
			strconv.Itoa(r.Attempt), string(r.Worker))
	}
	if len(page.Items) > 0 {
		if err := p.printTable(t); err != nil {
			return err
		}
	}
	p.pageNote(c, "runs", len(page.Items), page.NextCursor)
	return nil
}

func newRunsShow(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "show RUN",
		Short:   "Show all that is known of a run, its steps included",
		Example: "  pyworkflow runs show run_5e0123456789abcdef0123 --output json",
		Args:    takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				r, err := c.GetRun(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return p.print(r, func() error { return p.printRun(r) })
			})
		},
	}
}

func (p *program) printRun(r client.Run) error {
	failure, stack := "", ""
	if r.Error != nil {
		failure, stack = fmt.Sprintf("%s (%s)", r.Error.Message, r.Error.Kind), string(r.Error.Stack)
	}
	optional := func(m json.RawMessage) string {
		if string(m) == "null" {
			return ""
		}
		return string(m)
	}
	some := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	err := p.printPairs(
		"run", r.RunID,
		"workflow", r.Workflow,
		"schedule", string(r.ScheduleID),
		"status", string(r.Status),
		"trigger", string(r.Trigger),
		"nominal time", stamp(r.NominalTime),
		"created", p.whenExact(r.CreatedAt),
		"started", p.whenExact(r.StartedAt),
		"ended", p.whenExact(r.EndedAt),
		"took", took(r.StartedAt, r.EndedAt),
		"attempt", strconv.Itoa(r.Attempt),
		"dispatch", strconv.Itoa(r.Dispatch),
		"recoveries", some(r.Recoveries),
		"queue", r.Queue,
		"worker", string(r.Worker),
		"input", optional(r.Input),
		"result", optional(r.Result),
		"error", failure,
	)
	if err != nil {
		return err
	}
	if len(r.Steps) > 0 {
		t := table{columns: []string{"step", "status", "attempt", "started", "took", "result"}}
		for _, s := range r.Steps {
			result := optional(s.Result)
			if s.Error != nil {
				result = s.Error.Message
			}
			t.add(s.Key, string(s.Status), strconv.Itoa(s.Attempt), stamp(s.StartedAt), took(s.StartedAt, s.EndedAt), result)
		}
		if err := p.section(t); err != nil {
			return err
		}
	}
	if stack != "" {
		_, err = fmt.Fprintf(p.stdout, "\n%s\n", visibleLines(stack))
	}
	return err
}

func newRunsLogs(p *program) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:     "logs RUN",
		Short:   "Show the events of a run",
		Long:    "Shows what happened to a run, and what its code logged, oldest first. With --follow new lines are shown until the run has ended; as JSON, one object a line then.",
		Example: "  pyworkflow runs logs run_5e0123456789abcdef0123 --follow",
		Args:    takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				if follow {
					return c.FollowEvents(cmd.Context(), args[0], p.printEvent)
				}
				events, _, err := c.RunEvents(cmd.Context(), args[0], 0)
				if err != nil {
					return err
				}
				return p.print(client.Page[client.Event]{Items: events}, func() error {
					for _, e := range events {
						p.printEvent(e)
					}
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the run has ended")
	return cmd
}

func (p *program) printEvent(e client.Event) {
	if p.global.Output == "json" {
		line, err := json.Marshal(e)
		if err != nil {
			line = []byte("{}") // not reached: it was stored as JSON
		}
		fmt.Fprintln(p.stdout, string(line))
		return
	}
	text := fmt.Sprintf("%s  %-8s %-5s %s", e.At.UTC().Format("2006-01-02T15:04:05.000Z"), e.Kind, e.Level, oneLine(e.Message))
	for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
		v, err := json.Marshal(e.Attrs[k])
		if err != nil {
			continue // not reached: it was stored as JSON
		}
		text += visible(fmt.Sprintf("  %s=%s", k, v))
	}
	fmt.Fprintln(p.stdout, text)
}

func newRunsCancel(p *program) *cobra.Command {
	var reason string
	var wait bool
	cmd := &cobra.Command{
		Use:   "cancel RUN...",
		Short: "Ask runs to cancel",
		Long: `Asks runs to cancel. A run that no worker holds ends at once; a running one sees it within a second and has its cancel grace to end. What has ended stays as
it is.`,
		Example: `  pyworkflow runs cancel run_5e0123456789abcdef0123 --reason "wrong input" --wait`,
		Args:    takes("RUN..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, changes, func(c *client.Client) error {
				done := []client.Run{}
				var failed []error
				for _, id := range args { // all are asked before any is waited for
					r, err := c.CancelRun(cmd.Context(), id, reason)
					if err != nil {
						failed = append(failed, err)
						continue
					}
					done = append(done, r)
				}
				for i := 0; wait && i < len(done); i++ {
					r, err := c.WaitRun(cmd.Context(), done[i].RunID)
					if err != nil {
						failed = append(failed, err)
						continue // shown as it was when it was asked
					}
					done[i] = r
				}
				if len(done) > 0 {
					if err := p.printCancelled(len(args) == 1, done); err != nil {
						return err
					}
				}
				return p.several(cmd, failed)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until they have ended")
	return cmd
}

func (p *program) printCancelled(single bool, runs []client.Run) error {
	return p.print(one(single, runs), func() error {
		t := table{columns: []string{"run", "status", "ended"}}
		for _, r := range runs {
			ended := p.when(r.EndedAt)
			if r.EndedAt.IsZero() {
				ended = "asked to cancel"
			}
			t.add(r.RunID, string(r.Status), ended)
		}
		return p.printTable(t)
	})
}

// printable is a key as it can stand in a line.
func printable(key string) string {
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` || len(key) > 80 {
		return shorten(quoted, 80)
	}
	return key
}

// argInput is the input that --input or --arg flags give; nil when none was given.
func argInput(cmd *cobra.Command, args []string) (json.RawMessage, error) {
	input, err := jsonFlag(cmd.Flags(), "input")
	if err != nil || len(args) == 0 {
		return input, err
	}
	if input != nil {
		return nil, config.Usagef("--input, --arg: exclude each other; give the whole input, or its fields one by one")
	}
	fields := map[string]json.RawMessage{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		switch {
		case !ok || key == "":
			return nil, config.Usagef("--arg %q: must be key=value, such as count=3 or name='\"text\"'", shorten(a, 80))
		case !json.Valid([]byte(value)):
			return nil, config.Usagef("--arg %q: %q is not JSON; write text in quotes, such as %s='%q'", shorten(a, 80), shorten(value, 80), printable(key), shorten(value, 80))
		case fields[key] != nil:
			return nil, config.Usagef("--arg %q: %s is given twice", shorten(a, 80), printable(key))
		}
		fields[key] = json.RawMessage(value)
	}
	return json.Marshal(fields)
}
