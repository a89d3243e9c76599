package client_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// Open a store and choose the runtime. Here: records in a folder, runs executed in this process.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()

	st, err := sqlitestore.Open(ctx, sqlitestore.Config{Dir: filepath.Join(dir, "workflow_data")})
	check(err)
	defer func() { check(st.Close()) }()
	eng, err := engine.New(engine.Config{Store: st, Dispatcher: localtransport.New()}) // the local runtime
	check(err)
	c, err := client.New(client.Config{Store: st, Engine: eng})
	check(err)

	list, err := c.ListSchedules(ctx, client.ScheduleFilter{}, client.PageRequest{})
	check(err)
	fmt.Println(filepath.Base(c.Describe()), "holds", len(list.Items), "schedules")
	// Output: workflow_data holds 0 schedules
}

// Records on Redis, runs executed by any number of workers, of which this process has one.
func ExampleNew_redis() {
	ctx, stop := context.WithCancel(context.Background())
	report := pyworkflow.DefineFunc("daily_report", func(context.Context) (string, error) { return "sent", nil })
	app := pyworkflow.NewApp()
	check(app.Register(report))

	addr, namespace := exampleRedis() // such as localhost:6379 and default
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { check(rdb.Close()) }()
	st, err := redisstore.New(rdb, redisstore.Config{Namespace: namespace})
	check(err)
	defer func() { check(st.Close()) }()
	transport, err := asynqtransport.New(asynqtransport.Config{Client: rdb, Namespace: namespace}) // the distributed runtime
	check(err)
	eng, err := engine.New(engine.Config{Store: st, Dispatcher: transport})
	check(err)
	c, err := client.New(client.Config{Store: st, Engine: eng, App: app})
	check(err)
	w, err := worker.New(worker.Config{App: app, Store: st, Engine: eng, Transport: transport})
	check(err)
	var working sync.WaitGroup
	working.Go(func() { check(w.Run(ctx)) })

	run, err := report.Start(ctx, c, struct{}{})
	check(err)
	result, err := run.Wait(ctx)
	check(err)
	fmt.Println(result)
	stop()
	working.Wait()
	// Output: sent
}

// exampleRedis gives the address of a redis-server for examples, and a namespace on it.
func exampleRedis() (addr, namespace string) {
	var tb exampleTB
	return redistest.Shared(tb).Addr(), redistest.Namespace(tb)
}

// exampleTB stands for the test that an example does not have.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper()                           {}
func (exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Give the schedules that are declared in code their records.
func ExampleClient_Activate() {
	dailyReport := pyworkflow.DefineFunc("daily_report", func(context.Context) (string, error) { return "sent", nil },
		pyworkflow.Schedule(pyworkflow.Cron("0 9 * * *"), pyworkflow.Timezone("Europe/Berlin")))
	app := pyworkflow.NewApp()
	check(app.Register(dailyReport))
	c, done := openExample(app)
	defer done()

	a, err := c.Activate(context.Background(), app, client.ActivateOptions{})
	check(err)
	fmt.Printf("Activated %d schedule(s)\n", a.Count())
	fmt.Println("created:", a.Created)
	// Output:
	// Activated 1 schedule(s)
	// created: [auto_daily_report]
}

// Create a schedule at run time.
func ExampleClient_CreateSchedule() {
	c, done := openExample(minuteApp())
	defer done()

	s, err := c.CreateSchedule(context.Background(), client.CreateRequest{
		ID:       "local_minute_schedule",
		Workflow: "minute_task",
		Definition: schedules.Definition{
			Spec:    schedules.Spec{Cron: "* * * * *"},
			Overlap: schedules.OverlapSkip,
		},
	})
	check(err)
	fmt.Println("Created schedule:", s.ScheduleID)
	fmt.Println("First run at:", s.NextRunTime)
	// Output:
	// Created schedule: local_minute_schedule
	// First run at: 2024-01-15 10:01:00 +0000 UTC
}

// Create many schedules at once, one for each customer, say.
func ExampleClient_CreateSchedules() {
	c, done := openExample(minuteApp())
	defer done()

	var reqs []client.CreateRequest
	for _, customer := range []string{"ada", "grace", "ada"} {
		reqs = append(reqs, client.CreateRequest{
			ID: "report_" + customer, Workflow: "minute_task",
			Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 9 * * *"}},
		})
	}
	for _, made := range c.CreateSchedules(context.Background(), reqs...) {
		if made.Err != nil {
			fmt.Println("not created:", made.Err)
			continue
		}
		fmt.Println(made.Schedule.ScheduleID, made.Schedule.NextRunTime)
	}
	// Output:
	// report_ada 2024-01-16 09:00:00 +0000 UTC
	// report_grace 2024-01-16 09:00:00 +0000 UTC
	// not created: schedule "report_ada" already exists
}

// Create a schedule, or make the one there is what is wanted: safe to call at every start of a program.
func ExampleClient_EnsureSchedule() {
	ctx := context.Background()
	c, done := openExample(minuteApp())
	defer done()

	ensure := func(interval string) {
		s, err := c.EnsureSchedule(ctx, client.CreateRequest{ID: "sync", Workflow: "minute_task",
			Definition: schedules.Definition{Spec: schedules.Spec{Interval: interval}}})
		check(err)
		fmt.Println(s.Spec.Interval, "version", s.Version)
	}
	ensure("5m")
	ensure("5m")
	ensure("10m")
	// Output:
	// 5m version 1
	// 5m version 1
	// 10m version 2
}

// List schedules by status and by workflow.
func ExampleClient_Schedules() {
	ctx := context.Background()
	c, done := openExample(minuteApp())
	defer done()
	for _, id := range []string{"a", "b"} {
		_, err := c.CreateSchedule(ctx, client.CreateRequest{ID: id, Workflow: "minute_task",
			Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 9 * * *"}}})
		check(err)
	}
	_, err := c.Pause(ctx, "b", nil)
	check(err)

	for s, err := range c.Schedules(ctx, client.ScheduleFilter{Status: schedules.StatusActive}) {
		check(err)
		fmt.Printf("%s: %s\n", s.ScheduleID, s.Workflow)
		fmt.Printf("  Next run: %s\n", s.NextRunTime)
		fmt.Printf("  Runs: %d/%d\n", s.SuccessfulRuns, s.TotalRuns)
	}
	n := 0
	for _, err := range c.Schedules(ctx, client.ScheduleFilter{Workflow: "minute_task"}) {
		check(err)
		n++
	}
	fmt.Println("of minute_task:", n)
	// Output:
	// a: minute_task
	//   Next run: 2024-01-16 09:00:00 +0000 UTC
	//   Runs: 0/0
	// of minute_task: 2
}

// Start a run of a schedule now. The overlap policy decides when one is active already.
func ExampleClient_Trigger() {
	ctx := context.Background()
	c, done := openExample(minuteApp())
	defer done()
	_, err := c.CreateSchedule(ctx, client.CreateRequest{ID: "sync", Workflow: "minute_task",
		Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 9 * * *"}}})
	check(err)

	first, err := c.Trigger(ctx, "sync", client.TriggerRequest{})
	check(err)
	fmt.Println(first.Outcome)
	second, err := c.Trigger(ctx, "sync", client.TriggerRequest{})
	check(err)
	fmt.Println(second.Outcome, second.Reason, string(first.RunID) == second.BlockedBy)
	third, err := c.Trigger(ctx, "sync", client.TriggerRequest{Overlap: schedules.OverlapAllowAll})
	check(err)
	fmt.Println(third.Outcome)
	// Output:
	// started
	// skipped overlap true
	// started
}

// Run the ticks of a past range.
func ExampleClient_Backfill() {
	ctx := context.Background()
	c, done := openExample(minuteApp())
	defer done()
	_, err := c.CreateSchedule(ctx, client.CreateRequest{ID: "hourly_sync_schedule", Workflow: "minute_task",
		Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 * * * *"}}})
	check(err)

	// Runs that should have occurred during downtime.
	res, err := c.Backfill(ctx, "hourly_sync_schedule", client.BackfillRequest{
		Start: time.Date(2024, 1, 14, 0, 0, 0, 0, time.UTC),
		End:   time.Date(2024, 1, 14, 12, 0, 0, 0, time.UTC),
	})
	check(err)
	fmt.Printf("Created %d backfill runs\n", len(res.RunIDs))

	plan, err := c.PlanBackfill(ctx, "hourly_sync_schedule", client.BackfillRequest{ // a dry run of what is missing
		Start:       time.Date(2024, 1, 14, 10, 0, 0, 0, time.UTC),
		End:         time.Date(2024, 1, 14, 14, 0, 0, 0, time.UTC),
		MissingOnly: true,
	})
	check(err)
	for _, t := range plan.NominalTimes {
		fmt.Println("missing:", t)
	}
	// Output:
	// Created 12 backfill runs
	// missing: 2024-01-14 12:00:00 +0000 UTC
	// missing: 2024-01-14 13:00:00 +0000 UTC
}

// Compute when a spec ticks next; no store is needed.
func ExamplePreview() {
	now := time.Date(2026, 3, 8, 6, 0, 0, 0, time.UTC)
	ticks, err := client.Preview(schedules.Spec{Cron: "0 9 * * mon-fri", Timezone: "America/New_York"}, client.TicksRequest{Count: 2}, now)
	check(err)
	for _, t := range ticks {
		fmt.Println(t.NominalTime.Format(time.RFC3339), t.LocalTime.Format(time.RFC3339))
	}
	// Output:
	// 2026-03-09T13:00:00Z 2026-03-09T09:00:00-04:00
	// 2026-03-10T13:00:00Z 2026-03-10T09:00:00-04:00
}

// minuteApp has one workflow.
func minuteApp() *pyworkflow.App {
	app := pyworkflow.NewApp()
	check(app.Register(pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "done", nil })))
	return app
}

// openExample makes a client of a store in memory whose clock stands at 2024-01-15 10:00:30.
func openExample(app *pyworkflow.App) (*client.Client, func()) {
	clock := func() time.Time { return time.Date(2024, 1, 15, 10, 0, 30, 0, time.UTC) }
	st, err := sqlitestore.Open(context.Background(), sqlitestore.Config{Memory: true, Clock: clock})
	check(err)
	c, err := client.New(client.Config{Store: st, App: app})
	check(err)
	return c, func() { check(st.Close()) }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
