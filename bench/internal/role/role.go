// Package role is what the processes of the benchmark do that the driver starts: the program itself under another first argument. Each takes what it is to do from
// its arguments and where to write from the environment (Env), works until SIGTERM, and writes down what it started.
//
//	pyworkflow       the product's command line with the benchmark's workflow inside
//	asynq-scheduler  asynq's Scheduler
//	asynq-worker     asynq's Server
//	gocron           gocron v2: schedules and executes in one process
//	proxy            a network between the others and Redis
package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/probe"
)

// The names of the roles.
const (
	Pyworkflow     = "pyworkflow"
	AsynqScheduler = "asynq-scheduler"
	AsynqWorker    = "asynq-worker"
	Gocron         = "gocron"
	Proxy          = "proxy"
)

// The environment of a role.
const (
	EnvFires    = "BENCH_FIRES"    // the file for what was started
	EnvProbe    = "BENCH_PROBE"    // the file for the address of the probe
	EnvCapacity = "BENCH_CAPACITY" // how many starts to set memory aside for
)

// Run plays the role that the first argument names; ok is false when it names none.
func Run(args []string, stderr io.Writer) (code int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	var err error
	switch args[1] {
	case Pyworkflow:
		code, err = pyworkflowRole(args)
	case AsynqScheduler:
		err = untilSignal(args[2:], asynqScheduler)
	case AsynqWorker:
		err = untilSignal(args[2:], asynqWorker)
	case Gocron:
		err = untilSignal(args[2:], gocronRole)
	case Proxy:
		err = untilSignal(args[2:], proxyRole)
	default:
		return 0, false
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", args[1], err)
		code = 1
	}
	return code, true
}

// untilSignal runs a role with a context that ends with SIGINT or SIGTERM.
func untilSignal(args []string, run func(context.Context, []string) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args)
}

// recorder is a log of starts that the driver can look into.
type recorder[T fires.Entry] struct {
	*fires.Log[T]
	stop func()
}

func newRecorder[T fires.Entry]() (*recorder[T], error) {
	capacity, err := strconv.Atoi(os.Getenv(EnvCapacity))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", EnvCapacity, err)
	}
	return &recorder[T]{Log: fires.New[T](capacity), stop: func() {}}, nil
}

// ready tells the driver that the process works.
func (r *recorder[T]) ready() (err error) {
	r.stop, err = probe.Serve(os.Getenv(EnvProbe), r.CountBefore)
	return err
}

// close writes everything down.
func (r *recorder[T]) close(err error) error {
	r.stop()
	return errors.Join(err, r.Write(os.Getenv(EnvFires)))
}

// until waits for an instant.
func until(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// floor is the latest of the instants phase + k × period, in ms since 1970, that is not after at.
func floor(at time.Time, phase, period int64) int64 {
	since := at.UnixMilli() - phase
	return since - since%period + phase
}
