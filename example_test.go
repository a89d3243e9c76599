package pyworkflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

type order struct {
	ID     string
	Amount int
}

type receipt struct {
	OrderID string
	Paid    bool
}

func charge(ctx context.Context, o order) (receipt, error) {
	if o.Amount <= 0 {
		return receipt{}, pyworkflow.NoRetry(fmt.Errorf("order %s has nothing to pay", o.ID))
	}
	return receipt{OrderID: o.ID, Paid: true}, nil
}

// A workflow with typed input and output.
func ExampleDefine() {
	chargeOrder := pyworkflow.Define("charge_order", charge,
		pyworkflow.MaxRetries(3), pyworkflow.RetryBackoff(pyworkflow.Exponential(time.Second, time.Minute)),
		pyworkflow.Timeout(5*time.Minute), pyworkflow.Queue("payments"))

	app := pyworkflow.NewApp()
	if err := app.Register(chargeOrder); err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range app.Workflows() {
		fmt.Println(w.Name, "on queue", w.Options.Queue, "with", w.Options.MaxRetries, "retries")
	}
	// Output: charge_order on queue payments with 3 retries
}

func dailyReport(context.Context) (map[string]string, error) {
	return map[string]string{"status": "sent"}, nil
}

// A workflow that runs every day at 9 in Berlin.
func ExampleDefineFunc() {
	report := pyworkflow.DefineFunc("daily_report", dailyReport,
		pyworkflow.Schedule(pyworkflow.Cron("0 9 * * *"), pyworkflow.Timezone("Europe/Berlin")))

	app := pyworkflow.NewApp()
	if err := app.Register(report); err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range app.Schedules() {
		fmt.Println(s.ID, s.Definition.Spec.Cron, s.Definition.Spec.Timezone)
	}
	// Output: auto_daily_report 0 9 * * * Europe/Berlin
}

func show(w pyworkflow.Registrable) {
	app := pyworkflow.NewApp()
	if err := app.Register(w); err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range app.Schedules() {
		fmt.Println(s.ID, s.Definition.Overlap)
	}
}

// An interval: the first run at once, each next one five minutes after the end of the one before. If one takes longer, one more follows it.
func ExampleEvery() {
	show(pyworkflow.DefineFunc("sync_data", nothing,
		pyworkflow.Schedule(pyworkflow.Every("5m"), pyworkflow.Overlap(pyworkflow.OverlapBufferOne))))
	// Output: auto_sync_data buffer_one
}

// On the 1st and the 15th of every month at midnight, and on new year's eve at noon.
func ExampleCalendar() {
	show(pyworkflow.DefineFunc("billing", nothing,
		pyworkflow.Schedule(pyworkflow.Calendar(
			pyworkflow.CalendarSpec{DayOfMonth: "1,15"},
			pyworkflow.CalendarSpec{Month: "dec", DayOfMonth: "31", Hour: "12"},
		), pyworkflow.Overlap(pyworkflow.OverlapBufferAll))))
	// Output: auto_billing buffer_all
}

// Several schedules of one workflow, each with an input of its own.
func ExampleNamed() {
	type region struct{ Name string }
	refresh := func(context.Context, region) (struct{}, error) { return struct{}{}, nil }
	show(pyworkflow.Define("refresh_cache", refresh,
		pyworkflow.Schedule(pyworkflow.Every("10m"), pyworkflow.Input(region{"eu"}), pyworkflow.Overlap(pyworkflow.OverlapCancelOther)),
		pyworkflow.Schedule(pyworkflow.Every(time.Hour), pyworkflow.Input(region{"us"}), pyworkflow.Overlap(pyworkflow.OverlapAllowAll), pyworkflow.Named("us"))))
	// Output:
	// auto_refresh_cache cancel_other
	// auto_refresh_cache_us allow_all
}

// Two steps. If the worker dies after the first, the run goes on elsewhere with its recorded result.
func ExampleStep() {
	checkServices := func(context.Context) (map[string]string, error) {
		return map[string]string{"api": "healthy"}, nil
	}
	check := func(ctx context.Context) (string, error) {
		status, err := pyworkflow.Step(ctx, "check_services", checkServices)
		if err != nil {
			return "", err
		}
		return pyworkflow.Step(ctx, "record_metrics", func(context.Context) (string, error) {
			return "recorded " + status["api"], nil
		}, pyworkflow.StepRetries(5), pyworkflow.StepTimeout(10*time.Second))
	}

	fmt.Println(check(context.Background())) // outside a run, steps just execute
	// Output: recorded healthy <nil>
}

// Steps in a loop over things that have ids keep their results when the order changes.
func ExampleStepKey() {
	ctx := context.Background()
	for _, o := range []order{{"a-1", 10}, {"b-2", 20}} {
		r, err := pyworkflow.Step(ctx, "charge", func(ctx context.Context) (receipt, error) { return charge(ctx, o) }, pyworkflow.StepKey(o.ID))
		fmt.Println(r, err)
	}
	// Output:
	// {a-1 true} <nil>
	// {b-2 true} <nil>
}

// An error that says when to try again.
func ExampleRetryAfter() {
	call := func(context.Context) (int, error) {
		return 0, pyworkflow.RetryAfter(errors.New("too many requests"), time.Minute)
	}
	_, err := pyworkflow.Step(context.Background(), "call", call)
	fmt.Println(err)
	// Output: too many requests
}

// What a run may ask: here only what changed since the schedule's last success is fetched.
func ExampleLastResult() {
	type progress struct{ Until time.Time }
	fetch := func(ctx context.Context) (progress, error) {
		last, ok, err := pyworkflow.LastResult[progress](ctx)
		if err != nil {
			return progress{}, err
		}
		if !ok {
			pyworkflow.Logger(ctx).Debug("first run: everything is fetched")
		}
		_ = last.Until
		return progress{Until: pyworkflow.RunInfo(ctx).Nominal}, nil
	}
	got, err := fetch(context.Background())
	fmt.Println(got.Until.IsZero(), err)
	// Output: true <nil>
}

// A program is told when a run ends.
func ExampleApp_OnRunEnd() {
	app := pyworkflow.NewApp()
	app.OnRunEnd(func(_ context.Context, e pyworkflow.RunEnded) {
		fmt.Println(e.Workflow, e.Status, string(e.Result))
	})

	// A runtime does this:
	_ = app.TellRunEnd(context.Background(), schedules.Run{ID: "run_1", Workflow: "daily_report",
		RunProgress: schedules.RunProgress{Status: schedules.RunCompleted, Result: []byte(`{"status":"sent"}`)}})
	// Output: daily_report completed {"status":"sent"}
}

// Starting a run by hand and waiting for its typed result; the client of package client is a Starter.
func ExampleWorkflow_Start() {
	chargeOrder := pyworkflow.Define("charge_order", charge)
	var client pyworkflow.Starter = &starter{result: []byte(`{"OrderID":"a-1","Paid":true}`)}

	ctx := context.Background()
	run, err := chargeOrder.Start(ctx, client, order{"a-1", 10}, pyworkflow.IdempotencyKey("a-1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := run.Wait(ctx)
	fmt.Println(run.ID(), got.Paid, err)
	// Output: run_1 true <nil>
}
