package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

func newScheduler(p *program) *cobra.Command {
	return group("scheduler", "Start runs when their schedules are due", newSchedulerRun(p))
}

// newBeat is the other name of the scheduler.
func newBeat(p *program) *cobra.Command {
	c := group("beat", "The same as scheduler", newSchedulerRun(p))
	c.Hidden = true
	return c
}

func newSchedulerRun(p *program) *cobra.Command {
	v := serving{name: "scheduler", beat: true, concurrency: worker.DefaultConcurrency, drainTimeout: worker.DefaultDrainTimeout}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start runs when their schedules are due",
		Long: `In the local runtime this process schedules and executes: no Redis needed. In the asynq runtime it is a stand-alone beat that puts due runs into queues for
workers; any number of beats may run. The schedules that the workflows declare are activated first.

The first Ctrl+C or SIGTERM lets running runs end (at most 25s, what is left goes on elsewhere or at the next start); the second ends at once.`,
		Example: `  pyworkflow --module ./workflows scheduler run
  pyworkflow --module ./workflows scheduler run --duration 60
  pyworkflow --redis-url redis://redis:6379/0 beat run --poll-interval 10`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPolling(cmd, v); err != nil {
				return err
			}
			if err := v.alerts.check(cmd); err != nil {
				return err
			}
			if err := checkDuration(cmd, v.duration); err != nil {
				return err
			}
			s, err := p.open(cmd.Context(), creates, false)
			if err != nil {
				return err
			}
			defer s.close()
			v.work = s.runtime == config.Local
			return p.serve(cmd.Context(), s, v)
		},
	}
	fs := cmd.Flags()
	config.SecondsVar(fs, &v.pollInterval, "poll-interval", beat.DefaultPollInterval, "how late a change made elsewhere is seen at most: 10, 0.5 or 10s")
	overdueAfterFlag(fs, &v.overdueAfter)
	config.SecondsVar(fs, &v.duration, "duration", time.Duration(0), "run so long, let runs end, exit 0: 60, 0.5 or 10m (default until a signal)")
	fs.Lookup("duration").DefValue = "0" // which help leaves out
	config.OptIn(fs, config.Plain, "poll-interval", "overdue-after", "duration")
	httpListenFlag(cmd, &v.listen)
	metricsFlag(cmd, &v.perSchedule)
	v.alerts.register(fs)
	return cmd
}
