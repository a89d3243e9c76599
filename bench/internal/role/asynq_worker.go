package role

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
)

// asynqWorker is asynq's own Server, tuned: an idle one looks for tasks every TaskCheckInterval. What else could be set is left as asynq has it.
func asynqWorker(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(AsynqWorker, flag.ContinueOnError)
	url := fs.String("redis", "", "URL")
	concurrency := fs.Int("concurrency", 50, "tasks at a time")
	check := fs.Duration("check", 10*time.Millisecond, "TaskCheckInterval")
	if err := fs.Parse(args); err != nil {
		return err
	}
	opt, err := asynq.ParseRedisURI(*url)
	if err != nil {
		return fmt.Errorf("parse %s: %w", *url, err)
	}
	rec, err := newRecorder[fires.Taken]()
	if err != nil {
		return err
	}
	s := asynq.NewServer(opt, asynq.Config{Concurrency: *concurrency, TaskCheckInterval: *check, LogLevel: asynq.ErrorLevel, ShutdownTimeout: 2 * time.Second})
	err = s.Start(asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		start := time.Now().UnixNano()
		id, _ := asynq.GetTaskID(ctx)
		rec.Add(fires.Taken{Key: keyOf(id), Start: start})
		return nil
	}))
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if err := rec.ready(); err != nil {
		return err
	}
	<-ctx.Done()
	s.Shutdown()
	return rec.close(nil)
}
