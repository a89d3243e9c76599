package driver

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
)

// options are the flags.
type options struct {
	loads    []load.Load
	guard    bool
	systems  []string
	rounds   int
	warmUp   time.Duration
	measured time.Duration
	settle   time.Duration

	concurrency int
	schedules   int
	stored      int
	catchup     string

	json, table, profiles, keep string

	guardFile string
	update    bool
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	names := fs.String("load", "L0,L1,L2,H", "what to measure, parted by commas: "+strings.Join(load.Names(), ", "))
	systems := fs.String("systems", strings.Join([]string{load.Ours, load.Asynq, load.Gocron}, ","), "on what")
	fs.IntVar(&o.rounds, "rounds", 1, "how often; the systems take turns")
	fs.DurationVar(&o.warmUp, "warmup", 15*time.Second, "how long ticks are left out first")
	fs.DurationVar(&o.measured, "measure", 45*time.Second, "how long is measured")
	fs.DurationVar(&o.settle, "settle", 30*time.Second, "how long late starts are waited for afterwards")
	fs.IntVar(&o.concurrency, "concurrency", 50, "runs at a time of each worker")
	fs.IntVar(&o.schedules, "schedules", 0, "how many tick, in place of the load's own number")
	fs.IntVar(&o.stored, "stored", 0, "how many are stored besides for load M, in place of 1,000,000")
	fs.StringVar(&o.catchup, "catchup", "all", "catchup of our schedules: all, so that each tick that is late has to start all the same; one; none")
	fs.StringVar(&o.json, "json", "", "file to which a JSON line is added for each measurement")
	fs.StringVar(&o.table, "table", "", "file for the tables, which go to standard output in any case")
	fs.StringVar(&o.profiles, "profile", "", "folder for CPU profiles of our processes over the measured time")
	fs.StringVar(&o.keep, "keep", "", "folder in which the logs of processes and the records of starts stay")
	fs.StringVar(&o.guardFile, "guard-file", "guard.json", "the limits of -load guard")
	fs.BoolVar(&o.update, "update", false, "with -load guard: write new limits")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q: nothing is expected behind the flags", fs.Arg(0))
	}
	o.systems = strings.Split(*systems, ",")
	for _, s := range o.systems {
		if !slices.Contains([]string{load.Ours, load.Asynq, load.Gocron}, s) {
			return o, fmt.Errorf("no system %q; there are %s, %s, %s", s, load.Ours, load.Asynq, load.Gocron)
		}
	}
	if o.rounds < 1 || o.warmUp < 0 || o.measured < time.Second || o.concurrency < 1 || o.schedules < 0 || o.stored < 0 {
		return o, fmt.Errorf("-rounds and -concurrency must be 1 or more, -measure 1s or more, and nothing below 0")
	}
	if *names == load.GuardName {
		o.guard, o.loads, o.systems = true, []load.Load{load.Guard()}, []string{load.Ours}
		return o, nil
	}
	var err error
	o.loads, err = load.Find(*names)
	for i := range o.loads {
		if l := &o.loads[i]; o.schedules > 0 {
			l.Schedules = o.schedules
			l.Text += fmt.Sprintf(" (here %d)", o.schedules)
		}
		if l := &o.loads[i]; o.stored > 0 && l.Stored > 0 {
			l.Stored = o.stored
			l.Text += fmt.Sprintf(" (here %d stored)", o.stored)
		}
	}
	return o, err
}
