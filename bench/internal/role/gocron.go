package role

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

// gocronRole schedules and executes in this one process, without Redis. A job is not told its nominal time: it is taken to be the last instant of its grid before it
// began.
func gocronRole(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(Gocron, flag.ContinueOnError)
	n := fs.Int("n", 0, "jobs")
	period := fs.Duration("period", time.Second, "of each")
	spread := fs.Bool("spread", false, "spread phases over the period")
	start := fs.Int64("start", 0, "ms since 1970: the first tick of spread jobs")
	at := fs.Int64("at", 0, "ms since 1970 of the only tick; 0: tick each period")
	if err := fs.Parse(args); err != nil {
		return err
	}
	rec, err := newRecorder[fires.Fire]()
	if err != nil {
		return err
	}
	s, err := gocron.NewScheduler(gocron.WithLocation(time.UTC))
	if err != nil {
		return fmt.Errorf("make the scheduler: %w", err)
	}
	grid := period.Milliseconds()
	for i := range *n {
		var phase int64
		var def gocron.JobDefinition
		var opts []gocron.JobOption
		nominal := func(now time.Time) int64 { return floor(now, phase, grid) }
		switch {
		case *at != 0:
			def = gocron.OneTimeJob(gocron.OneTimeJobStartDateTime(time.UnixMilli(*at)))
			nominal = func(time.Time) int64 { return *at }
		case *spread:
			phase = int64(i) * grid / int64(*n)
			def = gocron.DurationJob(*period)
			opts = append(opts, gocron.WithStartAt(gocron.WithStartDateTime(time.UnixMilli(*start+phase))))
		default:
			def = gocron.CronJob(fmt.Sprintf("*/%d * * * * *", int(period.Seconds())), true)
		}
		job := func() {
			now := time.Now()
			rec.Add(fires.Fire{Index: int64(i), Nominal: nominal(now), Start: now.UnixNano()})
		}
		if _, err := s.NewJob(def, gocron.NewTask(job), opts...); err != nil {
			return fmt.Errorf("add job %d: %w", i, err)
		}
	}
	s.Start()
	if err := rec.ready(); err != nil {
		return err
	}
	<-ctx.Done()
	return rec.close(nil) // jobs under way end with the process
}
