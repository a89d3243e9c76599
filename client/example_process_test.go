package client_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// Start a workflow by hand and wait for its typed result.
func ExampleClient_AwaitRun() {
	type order struct{ Items int }
	type receipt struct{ Total int }
	price := pyworkflow.Define("price", func(_ context.Context, o order) (receipt, error) { return receipt{Total: o.Items * 20}, nil })
	app := pyworkflow.NewApp()
	check(app.Register(price))
	ctx := context.Background()
	s := startService(ctx, app)
	defer s.stop()

	handle, err := price.Start(ctx, s.client, order{Items: 3})
	check(err)
	got, err := handle.Wait(ctx)
	check(err)
	fmt.Println("total:", got.Total)

	raw, err := s.client.AwaitRun(ctx, handle.ID()) // by its id, without types
	check(err)
	fmt.Println(string(raw))
	// Output:
	// total: 60
	// {"Total":60}
}

// Embed a worker and a beat in a service of one's own. On Redis the store and the transport are redisstore's and asynqtransport's; nothing else differs.
func Example_embedded() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticked := make(chan struct{}, 1)
	app := pyworkflow.NewApp()
	check(app.Register(pyworkflow.DefineFunc("collect_metrics", func(ctx context.Context) (string, error) {
		select {
		case ticked <- struct{}{}:
		default:
		}
		return "collected", nil
	}, pyworkflow.Schedule(pyworkflow.Every("1m")))))

	st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
	check(err)
	defer func() { check(st.Close()) }()
	transport := localtransport.New()
	eng, err := engine.New(engine.Config{Store: st, Dispatcher: transport})
	check(err)
	c, err := client.New(client.Config{Store: st, Engine: eng, App: app})
	check(err)
	w, err := worker.New(worker.Config{App: app, Store: st, Engine: eng, Transport: transport, Local: true})
	check(err)
	b, err := beat.New(beat.Config{Store: st, Engine: eng})
	check(err)
	k, err := beat.NewKeeper(beat.KeeperConfig{Store: st, Engine: eng}) // retries, cancel deadlines, lost workers
	check(err)
	_, err = c.Activate(ctx, app, client.ActivateOptions{})
	check(err)

	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{w.Run, b.Run, k.Run} {
		parts.Go(func() { check(run(ctx)) })
	}
	<-ticked // an interval's first run comes at once
	cancel() // drains
	parts.Wait()

	s, err := c.GetSchedule(context.Background(), "auto_collect_metrics")
	check(err)
	fmt.Printf("%d/%d\n", s.SuccessfulRuns, s.TotalRuns)
	// Output: 1/1
}

// Be told when a run ends.
func Example_runEnds() {
	ctx := context.Background()
	app := pyworkflow.NewApp()
	fetch := pyworkflow.DefineFunc("fetch", func(context.Context) (int, error) { return 42, nil })
	check(app.Register(fetch))
	told := make(chan string, 1)
	app.OnRunEnd(func(_ context.Context, e pyworkflow.RunEnded) {
		told <- fmt.Sprintf("%s %s: %s", e.Workflow, e.Status, e.Result)
	})
	s := startService(ctx, app)
	defer s.stop()

	_, err := fetch.Start(ctx, s.client, struct{}{})
	check(err)
	fmt.Println(<-told)
	// Output: fetch completed: 42
}

// A scheduler loop of one's own, in the place of a beat.
func ExampleClient_DueSchedules() {
	ctx := context.Background()
	now := time.Date(2024, 1, 15, 10, 0, 30, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true, Clock: clock})
	check(err)
	defer func() { check(st.Close()) }()
	c, err := client.New(client.Config{Store: st, App: minuteApp()})
	check(err)
	s, err := c.CreateSchedule(ctx, client.CreateRequest{ID: "local_minute_schedule", Workflow: "minute_task",
		Definition: schedules.Definition{Spec: schedules.Spec{Cron: "* * * * *"}, Overlap: schedules.OverlapAllowAll}})
	check(err)
	fmt.Println("First run at:", s.NextRunTime)

	for range 24 { // a real loop waits on a time.Ticker and looks at ctx.Done()
		due, err := c.DueSchedules(ctx)
		check(err)
		for _, s := range due {
			s, err := c.RunDue(ctx, s) // starts what its policy lets start, and sets the next run time
			check(err)
			fmt.Printf("[%s] Triggering: %s, next %s\n", clock().Format(time.TimeOnly), s.Workflow, s.NextRunTime.Format(time.TimeOnly))
		}
		mu.Lock()
		now = now.Add(5 * time.Second)
		mu.Unlock()
	}
	// Output:
	// First run at: 2024-01-15 10:01:00 +0000 UTC
	// [10:01:00] Triggering: minute_task, next 10:02:00
	// [10:02:00] Triggering: minute_task, next 10:03:00
}

// service is a worker of the local runtime and a client.
type service struct {
	client *client.Client
	stop   func()
}

func startService(ctx context.Context, app *pyworkflow.App) service {
	ctx, cancel := context.WithCancel(ctx)
	st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
	check(err)
	transport := localtransport.New()
	ends := worker.NewEnds(app, nil) // tells OnRunEnd's functions
	eng, err := engine.New(engine.Config{Store: st, Dispatcher: transport, Observers: []engine.Observer{ends}})
	check(err)
	c, err := client.New(client.Config{Store: st, Engine: eng, App: app})
	check(err)
	w, err := worker.New(worker.Config{App: app, Store: st, Engine: eng, Transport: transport, Local: true})
	check(err)
	var working sync.WaitGroup
	working.Go(func() { check(w.Run(ctx)) })
	return service{c, func() {
		cancel()
		working.Wait()
		ends.Close(time.Second)
		check(st.Close())
	}}
}
