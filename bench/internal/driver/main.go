// Package driver runs the loads: for each load and system it starts a redis-server, registers the schedules, starts the processes, measures a window, waits until late
// starts have come, stops everything, and judges what was recorded.
package driver

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/report"
)

// Main runs the benchmark and returns the exit code: 0 done, 1 failed or the guard found something, 2 wrong usage, 130 interrupted.
func Main(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{options: o, stdout: stdout, progress: newProgress(stderr)}
	if o.guard {
		err = b.guardAll(ctx)
	} else {
		err = b.all(ctx)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted; all processes were ended")
		return 130
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// bench is one call of the program.
type bench struct {
	options
	stdout   io.Writer
	progress *progress
	results  []report.Result
}

// all runs every load, in each round on each system after the other. What was measured before an error is told all the same.
func (b *bench) all(ctx context.Context) error {
	began := time.Now()
	total := b.rounds * len(b.loads) * len(b.systems)
	b.progress.say("%d load(s), %d round(s), up to %d measurements of about %s each", len(b.loads), b.rounds, total, (b.warmUp + b.measured + 10*time.Second).Round(time.Second))
	var failed []error
	for round := 1; round <= b.rounds; round++ {
		for _, l := range b.loads {
			for _, system := range b.systems {
				if !slices.Contains(l.Systems, system) {
					continue
				}
				if err := b.one(ctx, l, system, round); err != nil {
					err = fmt.Errorf("load %s on %s: %w", l.Name, system, err)
					if ctx.Err() != nil {
						return errors.Join(err, b.tell(began))
					}
					b.progress.say("%v", err)
					failed = append(failed, err)
				}
			}
		}
	}
	return errors.Join(append(failed, b.tell(began))...)
}

// one measures a load on a system.
func (b *bench) one(ctx context.Context, l load.Load, system string, round int) error {
	b.progress.label = fmt.Sprintf("%s %s", l.Name, system)
	if b.rounds > 1 {
		b.progress.label += fmt.Sprintf(" round %d", round)
	}
	r, err := measure(ctx, b.options, l, system, b.progress)
	if err != nil {
		return err
	}
	r.Round = round
	b.results = append(b.results, r)
	b.progress.say("p50 %.1f ms, p99 %.1f ms, max %.1f ms; %d of %d started, %d lost, %d doubled; CPU %.3f s per 1,000", r.P50, r.P99, r.Max, r.Started, r.Expected, r.Lost, r.Doubled, r.CPUSum)
	if b.json == "" {
		return nil
	}
	return r.Append(b.json)
}

// tell writes the tables.
func (b *bench) tell(began time.Time) error {
	if len(b.results) == 0 {
		return nil
	}
	var text bytes.Buffer
	report.Write(&text, b.results[0].Machine.Words(began), b.results, load.Asynq)
	if _, err := b.stdout.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	if b.table == "" {
		return nil
	}
	if err := os.WriteFile(b.table, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	return nil
}
