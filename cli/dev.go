package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/examples/dailyreport"
	"github.com/pyworkflow-go/pyworkflow/examples/healthcheck"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// examples are the workflows of a dev without a module.
var examples = []func(*pyworkflow.App) error{healthcheck.Register, dailyreport.Register}

func newDev(p *program) *cobra.Command {
	var page dashboardFlags
	v := serving{name: "scheduler", work: true, beat: true, concurrency: worker.DefaultConcurrency, drainTimeout: worker.DefaultDrainTimeout, pollInterval: beat.DefaultPollInterval,
		page: &page}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Scheduler, worker, dashboard and API in one process, for a laptop",
		Long: `Runs everything in this process on the embedded database: no Redis needed. The first line is the address of the dashboard; open it in a browser.

Without --module two examples are there to try: minute_health_check, every minute, and daily_report, which has no schedule yet and whose input can break it:
{"region": "north"} works, {"region": "nroth"} fails, "takes": "90s" makes it slow. "pyworkflow init DIR" makes a project of your own.

Records stay in --storage-path, for the next time and for the other commands. The first Ctrl+C lets running runs end (at most 25s), the second ends at once.`,
		Example: `  pyworkflow dev
  pyworkflow --module ./workflows dev
  pyworkflow --storage-path /tmp/try dev --listen 127.0.0.1:0 --duration 60`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDuration(cmd, v.duration); err != nil {
				return err
			}
			if err := v.alerts.check(cmd); err != nil {
				return err
			}
			runtime, _, err := config.Choose(p.settings)
			if err != nil {
				return err
			}
			if runtime != config.Local {
				return config.Usagef("dev: runs everything in this process, but the runtime is asynq (see \"pyworkflow config show\"): add --runtime local, or use \"worker run --beat\" and \"dashboard\"")
			}
			if p.register == nil {
				for _, register := range examples {
					if err := register(p.app); err != nil {
						return err
					}
				}
			}
			s, err := p.open(cmd.Context(), creates, false)
			if err != nil {
				return err
			}
			defer s.close()
			return p.serve(cmd.Context(), s, v)
		},
	}
	page.register(cmd)
	metricsFlag(cmd, &v.perSchedule)
	fs := cmd.Flags()
	config.SecondsVar(fs, &v.duration, "duration", time.Duration(0), "run so long, let runs end, exit 0: 60, 0.5 or 10m (default until a signal)")
	fs.Lookup("duration").DefValue = "0" // which help leaves out
	config.OptIn(fs, config.Plain, "duration")
	v.alerts.register(fs)
	return cmd
}

// openPage binds the dashboard of a long-running command and says where it is; nil when it has none.
func (p *program) openPage(s *session, f *dashboardFlags) (*webServer, error) {
	if f == nil {
		return nil, nil
	}
	w, err := p.listenWeb(s, f)
	if err != nil {
		return nil, err
	}
	p.greetWeb(s, w)
	return w, nil
}

// checkDuration refuses a --duration of nothing.
func checkDuration(cmd *cobra.Command, d time.Duration) error {
	if cmd.Flags().Changed("duration") && d <= 0 {
		return config.Usagef("--duration %q: must be more than 0", cmd.Flags().Lookup("duration").Value.String())
	}
	return nil
}
