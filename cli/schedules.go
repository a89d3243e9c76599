package cli

import (
	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newSchedules(p *program) *cobra.Command {
	return group("schedules", "Create, change, trigger and read schedules",
		newSchedulesList(p), newSchedulesShow(p), newSchedulesCreate(p), newSchedulesUpdate(p),
		newSchedulesAct(p, "pause", "Let no regular tick come due until the schedule is resumed",
			"Active runs go on, triggers and backfills work. Regular ticks that wait for a run are held.", true),
		newSchedulesAct(p, "resume", "Let regular ticks come due again, from now on",
			"Nothing that was due while the schedule was paused is started, but for what was waiting already.", true),
		newSchedulesAct(p, "delete", "Delete a schedule; its record is kept under status deleted",
			"Waiting ticks are dropped, active runs go on. A schedule that is declared in code cannot be deleted: pause it, or take it out of the code.", false),
		newSchedulesAct(p, "reset", "Return a declared schedule to what the code says",
			"What people changed by hand since the activation is undone; status, note and counters stay.", false),
		newSchedulesTrigger(p), newSchedulesBackfill(p), newSchedulesHistory(p), newSchedulesNext(p), newSchedulesActivate(p),
		newSchedulesApply(p),
	)
}

func newSchedulesList(p *program) *cobra.Command {
	var f client.ScheduleFilter
	var status string
	var page pageFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List schedules",
		Example: `  pyworkflow schedules list
  pyworkflow schedules list --status paused
  pyworkflow schedules list --workflow daily_report --output json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOfFlag(cmd, "status", "active", "paused", "finished", "deleted"); err != nil {
				return err
			}
			if err := page.check(); err != nil {
				return err
			}
			f.Status = schedules.Status(status)
			return p.withClient(cmd, reads, func(c *client.Client) error {
				got, err := c.ListSchedules(cmd.Context(), f, page.PageRequest)
				if err != nil {
					return err
				}
				return p.print(got, func() error { return p.printSchedules(c, got) })
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.Workflow, "workflow", "", "only those of this workflow")
	fs.StringVar(&status, "status", "", "only those of this status: active, paused, finished or deleted")
	page.register(fs)
	return cmd
}

func newSchedulesShow(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show all that is known of a schedule",
		Long:    "Shows the record, its counters, active and waiting runs, what blocks it, its next 5 ticks and its last 10 fates.",
		Example: "  pyworkflow schedules show auto_daily_report\n  pyworkflow schedules show auto_daily_report --output json",
		Args:    takes("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withClient(cmd, reads, func(c *client.Client) error {
				d, err := c.GetSchedule(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return p.print(d, func() error { return p.printScheduleDetail(d) })
			})
		},
	}
}

func newSchedulesHistory(p *program) *cobra.Command {
	var f client.FateFilter
	var fate, cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show what became of every tick of a schedule",
		Long: `Shows the fate of every tick, the newest nominal time first: started, buffered (it waits), dropped, skipped or missed, why, and which
run was in the way.`,
		Example: `  pyworkflow schedules history auto_daily_report --fate skipped
  pyworkflow schedules history auto_daily_report --start 2026-03-01T00:00:00Z --end 2026-03-02T00:00:00Z --output json`,
		Args: takes("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOfFlag(cmd, "fate", "started", "buffered", "dropped", "skipped", "missed"); err != nil {
				return err
			}
			if !f.Start.IsZero() && !f.End.IsZero() && !f.End.After(f.Start) {
				return &schedules.FieldError{Field: "end", Value: stamp(client.Time{Time: f.End}), Problem: "must be later than --start " + stamp(client.Time{Time: f.Start})}
			}
			if limit < 0 {
				return &schedules.FieldError{Field: "limit", Value: cmd.Flags().Lookup("limit").Value.String(), Problem: "must be 1 or more"}
			}
			f.Fate = schedules.FateKind(fate)
			return p.withClient(cmd, reads, func(c *client.Client) error {
				got, err := history(cmd, c, args[0], f, client.PageRequest{Cursor: cursor, Limit: limit})
				if err != nil {
					return err
				}
				return p.print(got, func() error {
					if err := p.printFates(got.Items); err != nil {
						return err
					}
					p.pageNote(c, "fates", len(got.Items), got.NextCursor)
					return nil
				})
			})
		},
	}
	fs := cmd.Flags()
	fs.Var(timeValue{at: &f.Start, ago: p.now}, "start", "nominal times from here on, inclusive (RFC 3339, or how long ago: 1h)")
	fs.Var(timeValue{at: &f.End, ago: p.now}, "end", "nominal times before this one (RFC 3339, or how long ago: 1h)")
	fs.StringVar(&fate, "fate", "", "only ticks with this fate: started, buffered, dropped, skipped or missed")
	fs.IntVar(&limit, "limit", 0, "how many to list at most (default all)")
	fs.StringVar(&cursor, "cursor", "", "go on from here: the next_cursor of the list before")
	return cmd
}

// history reads one page, or, without a limit, all there is.
func history(cmd *cobra.Command, c *client.Client, id string, f client.FateFilter, req client.PageRequest) (client.Page[client.Fate], error) {
	if req.Limit > 0 {
		return c.ListHistory(cmd.Context(), id, f, req)
	}
	all := client.Page[client.Fate]{Items: []client.Fate{}}
	for req.Limit = 1000; ; {
		got, err := c.ListHistory(cmd.Context(), id, f, req)
		if err != nil {
			return all, err
		}
		all.Items = append(all.Items, got.Items...)
		if got.NextCursor == "" {
			return all, nil
		}
		req.Cursor = string(got.NextCursor)
	}
}
