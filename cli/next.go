package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func newSchedulesNext(p *program) *cobra.Command {
	var spec specFlags
	var req client.TicksRequest
	cmd := &cobra.Command{
		Use:   "next [ID]",
		Short: "Show the next ticks of a spec, or of a stored schedule",
		Long: `Shows the nominal times to come: of the spec that the flags give, which needs no store, or of the schedule with the given id. An interval without
--start-at is counted from --after; runs are taken to last no time.`,
		Example: `  pyworkflow schedules next --cron "0 9 * * mon-fri" --timezone America/New_York
  pyworkflow schedules next --calendar "day_of_month=last hour=18" --count 12
  pyworkflow schedules next --interval 90m --start-at 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00Z
  pyworkflow schedules next auto_daily_report --output json`,
		Args: takes("[ID]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("count") && req.Count < 1 {
				return &schedules.FieldError{Field: "count", Value: cmd.Flags().Lookup("count").Value.String(), Problem: "must be 1 or more"}
			}
			ticks, err := p.nextTicks(cmd, args, &spec, req)
			if err != nil {
				return err
			}
			return p.print(ticks, func() error { return p.printTicks(ticks) })
		},
	}
	fs := cmd.Flags()
	spec.register(fs)
	fs.Var(timeValue{at: &req.After}, "after", "ticks strictly after this time (RFC 3339, default now)")
	fs.IntVar(&req.Count, "count", 0, "how many at most (default 5; with --until as many as there are, up to 10000)")
	fs.Var(timeValue{at: &req.Until}, "until", "only ticks before this time (RFC 3339)")
	return cmd
}

func (p *program) nextTicks(cmd *cobra.Command, args []string, spec *specFlags, req client.TicksRequest) ([]client.Tick, error) {
	if len(args) == 0 {
		s, err := spec.spec()
		if err != nil {
			return nil, err
		}
		return client.Preview(s, req, p.now())
	}
	if spec.changed(cmd.Flags()) {
		return nil, config.Usagef("schedules next: give an id or a spec, not both: leave out %q, or the flags of the spec", args[0])
	}
	var ticks []client.Tick
	err := p.withClient(cmd, reads, func(c *client.Client) (err error) {
		ticks, err = c.NextTicks(cmd.Context(), args[0], req)
		return err
	})
	return ticks, err
}

func (p *program) printTicks(ticks []client.Tick) error {
	t := table{columns: []string{"nominal time", "local time", "weekday", "in"}}
	for _, tick := range ticks {
		t.add(stamp(tick.NominalTime), tick.LocalTime.Format(time.RFC3339Nano), tick.LocalTime.Weekday().String(), p.when(tick.NominalTime))
	}
	if len(ticks) == 0 {
		p.note("no tick")
	}
	return p.printTable(t)
}
