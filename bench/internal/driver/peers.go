package driver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/judge"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/role"
)

// asynqSystem is asynq's own Scheduler and Server.
type asynqSystem struct{}

func (asynqSystem) launch(ctx context.Context, w *world) (registration, error) {
	if err := w.openRedis(ctx); err != nil {
		return registration{}, err
	}
	args := []string{role.AsynqScheduler, "-redis", w.url, "-n", strconv.Itoa(w.load.Schedules)}
	first := time.Now()
	if w.load.Burst { // its cron knows no seconds
		first = time.Now().Add(5 * time.Second).Truncate(time.Minute).Add(time.Minute)
		args = append(args, "-at", strconv.FormatInt(first.UnixMilli(), 10))
	} else {
		args = append(args, "-period", w.load.Period.String())
	}
	for range w.load.Processes {
		if _, err := w.start(ctx, workerRole, role.AsynqWorker, "-redis", w.url, "-concurrency", strconv.Itoa(w.concurrency)); err != nil {
			return registration{}, err
		}
	}
	_, err := w.start(ctx, beatRole, args...)
	if !w.load.Burst {
		first = w.firstTick(time.Now())
	}
	return registration{first: first}, inTime(w, first, err)
}

// started: the queue is first in, first out, so when as many tasks have been taken as were put in for the ticks up to an instant, it was those.
func (asynqSystem) started(ctx context.Context, w *world, g judge.Grid) (tally, error) {
	enqueued, err := w.countBefore(ctx, beatRole, g.End)
	earlier, err2 := w.countBefore(ctx, beatRole, g.Begin)
	taken, err3 := w.countBefore(ctx, workerRole, g.End)
	return tally{all: taken, window: min(taken, enqueued) - min(taken, earlier)}, errors.Join(err, err2, err3)
}

func (asynqSystem) fires(w *world) ([]fires.Fire, error) {
	enqueued, err := readAll[fires.Enqueued](w, beatRole)
	if err != nil {
		return nil, err
	}
	taken, err := readAll[fires.Taken](w, workerRole)
	if err != nil {
		return nil, err
	}
	return judge.Join(enqueued, taken), nil
}

// gocronSystem is gocron in one process, without Redis.
type gocronSystem struct{}

func (gocronSystem) launch(ctx context.Context, w *world) (registration, error) {
	args := []string{role.Gocron, "-n", strconv.Itoa(w.load.Schedules)}
	first := w.firstTick(time.Now().Add(5 * time.Second))
	switch {
	case w.load.Burst:
		first = first.Add(5 * time.Second)
		args = append(args, "-at", strconv.FormatInt(first.UnixMilli(), 10))
	case w.load.Spread:
		args = append(args, "-spread", "-start", strconv.FormatInt(first.UnixMilli(), 10), "-period", w.load.Period.String())
	default:
		args = append(args, "-period", w.load.Period.String())
	}
	_, err := w.start(ctx, workerRole, args...)
	return registration{first: first}, inTime(w, first, err)
}

func (gocronSystem) started(ctx context.Context, w *world, g judge.Grid) (tally, error) {
	return ours{}.started(ctx, w, g)
}

func (gocronSystem) fires(w *world) ([]fires.Fire, error) { return ours{}.fires(w) }

// inTime refuses a burst that is due before everything was ready.
func inTime(w *world, first time.Time, err error) error {
	if left := time.Until(first); err == nil && w.load.Burst && left < 500*time.Millisecond {
		return fmt.Errorf("starting took too long: the burst is due in %s", left.Round(time.Millisecond))
	}
	return err
}
