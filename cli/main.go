package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // zones, whatever the host has

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/modbuild"
	"github.com/pyworkflow-go/pyworkflow/metrics/tracing"
)

// Main runs the command line on the process's arguments and returns the exit code: 0 done, 1 failed, 2 wrong usage or input, 3 not found, 4 conflict or a skipped
// trigger, 130 after a second interrupt. register adds the program's workflows; nil when it has none. The first SIGINT or SIGTERM lets a
// long-running command drain; the second ends at once.
//
// Call it first thing: where the arguments hold a password (--redis-url with one), the process starts anew without it, so that the list of processes does
// not show it.
func Main(register func(*pyworkflow.App) error) int {
	args := veilProcess(os.Stderr)
	inside := modbuild.Inside() // it takes its mark out of the environment, which nobody has read yet
	p := &program{
		register: register, inside: inside, args: args,
		stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, now: time.Now,
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	code := make(chan int, 1)
	go func() { code <- p.run(ctx, args[1:]) }()
	select {
	case c := <-code:
		return c
	case <-signals:
		cancel(errInterrupted)
	}
	select {
	case c := <-code:
		return c
	case <-signals:
		return exitSecondInterrupt
	}
}

const exitSecondInterrupt = 130

// errInterrupted is the cause of a context that the first signal ended.
var errInterrupted = errors.New("interrupted")

// program is one run of the command line.
type program struct {
	register func(*pyworkflow.App) error // nil: no workflows inside
	inside   bool                        // this program was built for --module and must not build it again
	args     []string                    // of the process, its name first
	stdout   io.Writer
	stderr   io.Writer
	env      func(string) (string, bool)
	dir      string // working directory; empty: the process's own
	now      func() time.Time

	defaultRedis string // looked at when storage is not chosen; empty: config.DefaultRedisURL

	global   *config.Global
	limits   limitFlags
	settings *config.Settings
	log      *slog.Logger
	tracer   *tracing.Tracer // nil: nothing is traced
	app      *pyworkflow.App
}

// run executes the arguments and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	p.stopTracing()
	return p.report(cmd, args, err)
}

// newLog makes the logger that the settings ask for.
func (p *program) newLog() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.global.LogLevel)); err != nil {
		level = slog.LevelInfo // not reached: the flag takes four words only
	}
	opts := &slog.HandlerOptions{Level: level}
	if p.global.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(p.stderr, opts))
}
