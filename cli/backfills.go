package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
)

func newSchedulesBackfill(p *program) *cobra.Command {
	var req client.BackfillRequest
	var dryRun, wait bool
	cmd := &cobra.Command{
		Use:   "backfill ID",
		Short: "Run the ticks of a past range",
		Long: `Makes a run of every nominal time from --start up to but not including --end, the oldest first, one after another. It goes on by itself, while the schedule is
paused, too; several backfills of one schedule follow one another. The ids of its runs are given at once.`,
		Example: `  pyworkflow schedules backfill auto_hourly_sync --start 2026-01-15T00:00:00Z --end 2026-01-15T12:00:00Z --dry-run
  pyworkflow schedules backfill auto_hourly_sync --start 2026-01-15T00:00:00Z --missing-only --parallel 4 --wait`,
		Args: takes("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, value := range map[string]int{"parallel": req.Parallel, "max-runs": req.MaxRuns} {
				if cmd.Flags().Changed(name) && value < 1 {
					return config.Usagef("--%s %q: must be 1 or more", name, strconv.Itoa(value))
				}
			}
			switch {
			case req.End.IsZero() && req.Start.After(p.now()):
				return config.Usagef("--start %q: must not be later than now; what is to come runs by itself", stamp(client.Time{Time: req.Start}))
			case req.Start.IsZero():
				return config.Usagef("--start is required: the first nominal time of the range, such as 2026-01-15T00:00:00Z")
			case !req.End.IsZero() && !req.End.After(req.Start):
				return config.Usagef("--end %q: must be later than --start %s", stamp(client.Time{Time: req.End}), stamp(client.Time{Time: req.Start}))
			}
			if dryRun {
				return p.withClient(cmd, reads, func(c *client.Client) error {
					plan, err := c.PlanBackfill(cmd.Context(), args[0], req)
					if err != nil {
						return err
					}
					return p.print(plan, func() error { return p.printPlan(plan) })
				})
			}
			return p.withExecution(cmd, changes, scheduledBy(args[0]), func(x *execution) error {
				res, err := x.client.Backfill(cmd.Context(), args[0], req)
				if err != nil {
					return err
				}
				without := ""
				if req.MissingOnly {
					without = " is without a run"
				}
				return p.afterBackfill(cmd.Context(), x, res, wait, without)
			})
		},
	}
	fs := cmd.Flags()
	fs.Var(timeValue{at: &req.Start}, "start", "first nominal time, inclusive (RFC 3339)")
	fs.Var(timeValue{at: &req.End}, "end", "end of the range, exclusive (RFC 3339, default now)")
	fs.IntVar(&req.Parallel, "parallel", 1, "runs at a time")
	fs.IntVar(&req.MaxRuns, "max-runs", 1000, "refuse a range of more runs")
	fs.BoolVar(&req.MissingOnly, "missing-only", false, "leave out ticks that have a run")
	fs.BoolVar(&dryRun, "dry-run", false, "write nothing, show the nominal times")
	fs.BoolVar(&wait, "wait", false, "wait until the last run has ended; exit 1 unless all completed")
	return cmd
}

func (p *program) printPlan(plan client.BackfillPlan) error {
	var t table
	for _, at := range plan.NominalTimes {
		t.add(stamp(at))
	}
	if err := p.printTable(t); err != nil {
		return err
	}
	p.note("%d run(s); nothing was written", plan.Count)
	return nil
}

func (p *program) afterBackfill(ctx context.Context, x *execution, res client.BackfillResult, wait bool, without string) error {
	err := p.print(res, func() error {
		if res.Count == 0 {
			p.note("no nominal time in the range%s: nothing to run", without)
			return nil
		}
		return p.printPairs("backfill", string(res.BackfillID), "runs", strconv.Itoa(res.Count), "first run", res.RunIDs[0])
	})
	if err != nil || res.Count == 0 {
		return err
	}
	bf, ended, err := x.finishBackfill(ctx, string(res.BackfillID), wait)
	if err != nil || !wait || !ended {
		return err
	}
	if bf.Failed+bf.Cancelled+bf.Dropped > 0 {
		return &exitError{client.CodeFailed, fmt.Sprintf("backfill %s: %d failed, %d cancelled, %d never started of %d", bf.BackfillID, bf.Failed, bf.Cancelled, bf.Dropped, bf.Count)}
	}
	return nil
}

// finishBackfill sees a backfill through: where this process executes it, or wait says so, until it has ended.
func (x *execution) finishBackfill(ctx context.Context, id string, wait bool) (bf client.Backfill, ended bool, err error) {
	bar := x.p.newBar()
	defer bar.close()
	await := func(ctx context.Context) (err error) {
		bf, err = x.client.AwaitBackfill(ctx, id, bar.show)
		return err
	}
	if x.here {
		return bf, true, x.unfinished(x.executing(ctx, await), "backfill "+id)
	}
	if bf, err = x.client.GetBackfill(ctx, id); err != nil {
		return bf, false, err
	}
	if err := x.noteWaiting(ctx, string(bf.Queue)); err != nil {
		return bf, false, err
	}
	if !wait {
		return bf, false, nil
	}
	return bf, true, x.unfinished(await(ctx), "backfill "+id)
}

// bar shows how far a backfill is, on a terminal's last line.
type bar struct {
	p     *program
	shown *progressbar.ProgressBar // nil: nothing yet
}

func (p *program) newBar() *bar { return &bar{p: p} }

func (b *bar) show(bf client.Backfill) {
	if !isTerminal(b.p.stderr) || bf.Count == 0 {
		return
	}
	if b.shown == nil {
		b.shown = progressbar.NewOptions64(bf.Count, progressbar.OptionSetWriter(b.p.stderr), progressbar.OptionSetWidth(30), progressbar.OptionShowCount(),
			progressbar.OptionSetRenderBlankState(true), progressbar.OptionShowElapsedTimeOnFinish(), progressbar.OptionUseANSICodes(true))
	}
	text := "runs ended"
	if bf.Failed > 0 {
		text = fmt.Sprintf("runs ended, %d failed", bf.Failed)
	}
	b.shown.Describe(text)
	_ = b.shown.Set64(bf.Successful + bf.Failed + bf.Cancelled + bf.Dropped) // it fails beyond the end only
}

func (b *bar) close() {
	if b.shown != nil {
		_ = b.shown.Exit() // what is shown stays
		fmt.Fprintln(b.p.stderr)
	}
}

func newBackfills(p *program) *cobra.Command {
	var page pageFlags
	var schedule string
	list := &cobra.Command{
		Use:     "list",
		Short:   "List backfills, the newest first",
		Example: "  pyworkflow backfills list\n  pyworkflow backfills list --schedule auto_hourly_sync",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := page.check(); err != nil {
				return err
			}
			return p.withClient(cmd, reads, func(c *client.Client) error {
				got, err := c.ListBackfills(cmd.Context(), schedule, page.PageRequest)
				if err != nil {
					return err
				}
				return p.print(got, func() error {
					if len(got.Items) > 0 {
						if err := p.printTable(p.backfillTable(got.Items)); err != nil {
							return err
						}
					}
					p.pageNote(c, "backfills", len(got.Items), got.NextCursor)
					return nil
				})
			})
		},
	}
	list.Flags().StringVar(&schedule, "schedule", "", "only those of this schedule")
	page.register(list.Flags())
	return group("backfills", "List, show and cancel backfills", list,
		newBackfillsAct(p, "show", "Show a backfill and how far it is", reads, (*client.Client).GetBackfill),
		newBackfillsAct(p, "cancel", "Drop what a backfill has not started; its active runs go on", changes, (*client.Client).CancelBackfill))
}

func newBackfillsAct(p *program, verb, shortText string, mode openMode, act func(*client.Client, context.Context, string) (client.Backfill, error)) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " BACKFILL",
		Short:   shortText,
		Example: fmt.Sprintf("  pyworkflow backfills %s bf_5e0123456789abcdef0123", verb),
		Args:    takes("BACKFILL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, mode, func(c *client.Client) error {
				bf, err := act(c, cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return p.print(bf, func() error { return p.printBackfill(bf) })
			})
		},
	}
}

func (p *program) backfillTable(bfs []client.Backfill) table {
	t := table{columns: []string{"backfill", "schedule", "status", "start", "end", "ended/count", "active", "failed", "created"}}
	for _, b := range bfs {
		t.add(b.BackfillID, b.ScheduleID, string(b.Status), stamp(b.Start), stamp(b.End),
			fmt.Sprintf("%d/%d", b.Successful+b.Failed+b.Cancelled+b.Dropped, b.Count), strconv.FormatInt(b.Active, 10), strconv.FormatInt(b.Failed, 10), p.when(b.CreatedAt))
	}
	return t
}

func (p *program) printBackfill(b client.Backfill) error {
	return p.printPairs(
		"backfill", b.BackfillID,
		"schedule", b.ScheduleID,
		"workflow", b.Workflow,
		"status", string(b.Status),
		"range", stamp(b.Start)+" to "+stamp(b.End),
		"parallel", strconv.Itoa(b.Parallel),
		"runs", fmt.Sprintf("%d in all: %d waiting, %d active, %d successful, %d failed, %d cancelled, %d never started",
			b.Count, b.Waiting, b.Active, b.Successful, b.Failed, b.Cancelled, b.Dropped),
		"created", p.whenExact(b.CreatedAt),
		"ended", p.whenExact(b.EndedAt),
	)
}
