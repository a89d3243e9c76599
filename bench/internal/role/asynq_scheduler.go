package role

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

const asynqTask = "bench"

// asynqScheduler is asynq's own Scheduler with so many entries that all tick in the same phase, or all once at a whole minute.
//
// An entry does not know the nominal time of its tick. It is taken to be the last instant of the grid before the job of the tick began, so a job that begins more than a
// period late counts as the next tick in time and its own as lost: that favours asynq's lateness, and shows in what is lost. Ticks that the
// scheduler leaves out, since it was still busy with the ones before, are lost.
func asynqScheduler(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(AsynqScheduler, flag.ContinueOnError)
	url := fs.String("redis", "", "URL")
	n := fs.Int("n", 0, "entries")
	period := fs.Duration("period", time.Second, "of each")
	at := fs.Int64("at", 0, "ms since 1970 of the only tick, a whole minute; 0: tick each period")
	if err := fs.Parse(args); err != nil {
		return err
	}
	opt, err := asynq.ParseRedisURI(*url)
	if err != nil {
		return fmt.Errorf("parse %s: %w", *url, err)
	}
	rec, err := newRecorder[fires.Enqueued]()
	if err != nil {
		return err
	}
	grid := period.Milliseconds()
	spec := "@every " + period.String()
	if *at != 0 {
		t := time.UnixMilli(*at).UTC()
		spec, grid = fmt.Sprintf("%d %d %d %d *", t.Minute(), t.Hour(), t.Day(), t.Month()), time.Minute.Milliseconds()
	}
	// Before and after an enqueueing the hooks are called by the same goroutine, but nothing else ties them together. Jobs of one entry that overlap may swap their
	// times, which changes no sum.
	under := make([]pendingTimes, *n)
	failed := &firstFailure{}
	s := asynq.NewScheduler(opt, &asynq.SchedulerOpts{
		LogLevel: asynq.ErrorLevel,
		PreEnqueueFunc: func(t *asynq.Task, _ []asynq.Option) {
			if i, err := strconv.Atoi(string(t.Payload())); err == nil {
				under[i].push(floor(time.Now(), 0, grid))
			}
		},
		PostEnqueueFunc: func(info *asynq.TaskInfo, err error) {
			if err != nil {
				failed.note(err)
				return
			}
			i, err := strconv.Atoi(string(info.Payload))
			if err != nil {
				return
			}
			rec.Add(fires.Enqueued{Key: keyOf(info.ID), Index: int64(i), Nominal: under[i].pop()})
		},
	})
	for i := range *n {
		if _, err := s.Register(spec, asynq.NewTask(asynqTask, []byte(strconv.Itoa(i)))); err != nil {
			return fmt.Errorf("register entry %d: %w", i, err)
		}
	}
	if *at == 0 { // "@every" counts from the start: begin in the first second of the grid, so that all ticks lie on it
		if err := until(ctx, time.UnixMilli(floor(time.Now(), 0, grid)+grid+20)); err != nil {
			return err
		}
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("start the scheduler: %w", err)
	}
	if err := rec.ready(); err != nil {
		return err
	}
	<-ctx.Done()
	// There is no Shutdown: it waits for every task on its way and deletes the history of each entry, one by one, in a Redis that is thrown away anyhow.
	failed.tell()
	return rec.close(nil)
}

// pendingTimes are the nominal times of an entry's ticks that are being enqueued.
type pendingTimes struct {
	mu    sync.Mutex
	times []int64
}

func (p *pendingTimes) push(ms int64) {
	p.mu.Lock()
	p.times = append(p.times, ms)
	p.mu.Unlock()
}

func (p *pendingTimes) pop() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.times) == 0 {
		return 0
	}
	ms := p.times[0]
	p.times = append(p.times[:0], p.times[1:]...)
	return ms
}

// firstFailure keeps the first error of many, and their number.
type firstFailure struct {
	mu  sync.Mutex
	err error
	n   int
}

func (f *firstFailure) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.err == nil {
		f.err = err
	}
}

func (f *firstFailure) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n > 0 {
		fmt.Fprintf(os.Stderr, "%d tasks were not enqueued, the first because of: %v\n", f.n, f.err)
	}
}

// keyOf reads a UUID.
func keyOf(id string) (k fires.Key) {
	_, _ = hex.Decode(k[:], []byte(strings.ReplaceAll(id, "-", ""))) // another form gives zeros, which no task has
	return k
}
