package workflowtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/workflowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type report struct {
	Sum int       `json:"sum"`
	At  time.Time `json:"at"`
}

// reportWorkflow has two steps, the second of which takes five seconds.
func reportWorkflow(opts ...pyworkflow.Option) *pyworkflow.Workflow[struct{}, report] {
	return pyworkflow.DefineFunc("daily_report", func(ctx context.Context) (report, error) {
		numbers, err := pyworkflow.Step(ctx, "fetch", func(context.Context) ([]int, error) { return []int{1, 2}, nil })
		if err != nil {
			return report{}, err
		}
		return pyworkflow.Step(ctx, "add", func(ctx context.Context) (report, error) {
			r := report{At: pyworkflow.RunInfo(ctx).Nominal}
			for _, n := range numbers {
				r.Sum += n
			}
			select {
			case <-ctx.Done():
				return r, context.Cause(ctx)
			case <-time.After(5 * time.Second):
				return r, nil
			}
		})
	}, opts...)
}

func registers(ws ...pyworkflow.Registrable) func(*pyworkflow.App) error {
	return func(app *pyworkflow.App) error { return app.Register(ws...) }
}

func nine(zone string) pyworkflow.Option {
	return pyworkflow.Schedule(pyworkflow.Cron("0 9 * * *"), pyworkflow.Timezone(zone))
}

func TestAMonthOfADailySchedule(t *testing.T) {
	began := time.Now()
	workflowtest.Run(t, registers(reportWorkflow(nine("UTC"))), func(t *testing.T, w *workflowtest.World) {
		w.Advance(30 * 24 * time.Hour)
		if want := time.Date(2000, 1, 31, 0, 0, 0, 0, time.UTC); !w.Now().Equal(want) {
			t.Errorf("it is %s, want %s", w.Now(), want)
		}
		runs, fates := w.Runs("auto_daily_report"), w.Fates("auto_daily_report")
		if len(runs) != 30 || len(fates) != 30 {
			t.Fatalf("%d runs, %d fates, want 30", len(runs), len(fates))
		}
		for i, r := range runs {
			want := time.Date(2000, 1, 1+i, 9, 0, 0, 0, time.UTC)
			late := r.StartedAt.Sub(want)
			if r.Status != schedules.RunCompleted || !r.NominalTime.Equal(want) || late < 0 || late > 10*time.Millisecond || fates[i].Fate != schedules.FateStarted {
				t.Errorf("run %d: %s, nominal %s, started %s late, %s", i, r.Status, r.NominalTime, late, fates[i].Fate)
			}
			if got := workflowtest.Result[report](w, r.RunID); got.Sum != 3 || !got.At.Equal(want) {
				t.Errorf("run %d gave %+v", i, got)
			}
		}
		if s := w.Schedule("auto_daily_report"); s.SuccessfulRuns != 30 || s.TotalRuns != 30 {
			t.Errorf("counters %d of %d", s.SuccessfulRuns, s.TotalRuns)
		}
	})
	t.Logf("took %s", time.Since(began))
}

func TestStubsAndRetries(t *testing.T) {
	down := errors.New("source is down")
	workflowtest.Run(t, registers(reportWorkflow()), func(t *testing.T, w *workflowtest.World) {
		w.StubStep("daily_report", "fetch", workflowtest.Return([]int{20, 22}))
		if got := workflowtest.Result[report](w, w.Start("daily_report", nil)); got.Sum != 42 {
			t.Errorf("sum %d, want 42", got.Sum)
		}
		w.StubStep("daily_report", "fetch", workflowtest.FailTimes(3, down)) // one call is counted already
		run := w.Wait(w.Start("daily_report", nil))
		if run.Status != schedules.RunCompleted || run.Steps[0].Attempt != 3 || w.Executed("daily_report", "fetch") != 4 {
			t.Errorf("%s, step %+v, %d executions", run.Status, run.Steps[0], w.Executed("daily_report", "fetch"))
		}
		w.StubStep("daily_report", "fetch", workflowtest.Fail(down))
		run = w.Wait(w.Start("daily_report", nil))
		if run.Status != schedules.RunFailed || run.Steps[0].Attempt != 1+pyworkflow.DefaultStepRetries || run.Error.Message != `step "fetch#1" failed 4 times: source is down` {
			t.Errorf("%s, %+v, %+v", run.Status, run.Error, run.Steps)
		}
		w.StubStep("daily_report", "fetch", nil)
		if got := workflowtest.Result[report](w, w.Start("daily_report", nil)); got.Sum != 3 {
			t.Errorf("sum %d without a stub, want 3", got.Sum)
		}
	})
}

func TestTypedStartAndWait(t *testing.T) {
	flow := reportWorkflow()
	workflowtest.Run(t, registers(flow), func(t *testing.T, w *workflowtest.World) {
		began := w.Now()
		out, err := flow.Run(w.Context(), w, struct{}{})
		if err != nil || out.Sum != 3 {
			t.Errorf("%+v, %v", out, err)
		}
		if took := w.Now().Sub(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("took %s of fake time", took)
		}
	})
}

func TestCrashes(t *testing.T) {
	for _, tc := range []struct {
		name       string
		crash      func(w *workflowtest.World)
		fetch, add int // executions
	}{
		{"after a step", func(w *workflowtest.World) { w.CrashAfterStep("daily_report", "fetch") }, 1, 1},
		{"in a step", func(w *workflowtest.World) { w.CrashInStep("daily_report", "fetch") }, 2, 1},
		{"after the last step", func(w *workflowtest.World) { w.CrashAfterStep("daily_report", "add") }, 1, 1},
		{"both", func(w *workflowtest.World) {
			w.CrashInStep("daily_report", "fetch")
			w.CrashAfterStep("daily_report", "fetch")
		}, 2, 1},
		{"at a time", func(w *workflowtest.World) {
			w.Advance(9*time.Hour + 3*time.Second)
			w.Crash()
		}, 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			workflowtest.Run(t, registers(reportWorkflow(nine("UTC"))), func(t *testing.T, w *workflowtest.World) {
				tc.crash(w)
				w.AdvanceTo(w.Now().Truncate(24 * time.Hour).Add(10 * time.Hour))
				runs := w.Runs("auto_daily_report")
				if len(runs) != 1 || runs[0].Status != schedules.RunCompleted || runs[0].Recoveries == 0 || runs[0].Attempt != 1 {
					t.Fatalf("runs %+v", runs)
				}
				if got := workflowtest.Result[report](w, runs[0].RunID).Sum; got != 3 {
					t.Errorf("sum %d", got)
				}
				if f, a := w.Executed("daily_report", "fetch"), w.Executed("daily_report", "add"); f != tc.fetch || a != tc.add {
					t.Errorf("fetch executed %d times, add %d, want %d and %d", f, a, tc.fetch, tc.add)
				}
				// The lease of 10 s and 3 s of doubt, then the step that is left.
				least := 13 * time.Second * time.Duration(runs[0].Recoveries)
				if took := runs[0].EndedAt.Sub(runs[0].StartedAt.Time); took < least || took > time.Minute {
					t.Errorf("took %s with %d recoveries", took, runs[0].Recoveries)
				}
			})
		})
	}
}

// In Berlin 02:30 does not exist on 2026-03-29 and comes twice on 2026-10-25.
func TestDaylightSaving(t *testing.T) {
	night := pyworkflow.Schedule(pyworkflow.Cron("30 2 * * *"), pyworkflow.Timezone("Europe/Berlin"))
	for _, tc := range []struct {
		day  time.Time
		want time.Time
	}{
		{time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},
		{time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)},
	} {
		t.Run(tc.want.Format(time.DateOnly), func(t *testing.T) {
			workflowtest.Run(t, registers(reportWorkflow(night)), func(t *testing.T, w *workflowtest.World) {
				w.Advance(24 * time.Hour)
				runs := w.Runs("auto_daily_report")
				if len(runs) != 1 || !runs[0].NominalTime.Equal(tc.want) {
					t.Errorf("%d runs: %+v, want one at %s", len(runs), runs, tc.want)
				}
			}, workflowtest.WithNow(tc.day))
		})
	}
}

// slow takes 25 seconds, its schedule comes every 10.
func slow(policy schedules.OverlapPolicy) *pyworkflow.Workflow[struct{}, int] {
	return pyworkflow.DefineFunc("slow", func(ctx context.Context) (int, error) {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(25 * time.Second):
			return 1, nil
		}
	}, pyworkflow.Schedule(pyworkflow.Cron("*/10 * * * * *"), pyworkflow.Overlap(policy)))
}

func TestOverlapPolicies(t *testing.T) {
	for policy, want := range map[schedules.OverlapPolicy]string{
		pyworkflow.OverlapSkip:        "started skipped skipped started skipped",
		pyworkflow.OverlapBufferOne:   "started started skipped buffered skipped",
		pyworkflow.OverlapBufferAll:   "started started buffered buffered buffered",
		pyworkflow.OverlapCancelOther: "started started started started started",
		pyworkflow.OverlapAllowAll:    "started started started started started",
	} {
		t.Run(string(policy), func(t *testing.T) {
			workflowtest.Run(t, registers(slow(policy)), func(t *testing.T, w *workflowtest.World) {
				w.Advance(54 * time.Second)
				got := ""
				for i, f := range w.Fates("auto_slow") {
					if i > 0 {
						got += " "
					}
					got += string(f.Fate)
				}
				if got != want {
					t.Errorf("fates %q, want %q", got, want)
				}
				active := 0
				for _, r := range w.Runs("auto_slow") {
					if !r.Status.Ended() {
						active++
					}
				}
				if most := map[bool]int{true: 3, false: 1}[policy == pyworkflow.OverlapAllowAll]; active != most {
					t.Errorf("%d runs are active, want %d", active, most)
				}
			})
		})
	}
}

func TestCancelAndTrigger(t *testing.T) {
	workflowtest.Run(t, registers(slow(pyworkflow.OverlapSkip)), func(t *testing.T, w *workflowtest.World) {
		first := w.Trigger("auto_slow")
		if first.Outcome != schedules.FateStarted {
			t.Fatalf("outcome %+v", first)
		}
		if second := w.Trigger("auto_slow"); second.Outcome != schedules.FateSkipped || second.Reason != "overlap" {
			t.Errorf("outcome %+v", second)
		}
		if _, err := w.Client().CancelRun(w.Context(), string(first.RunID), "no longer wanted"); err != nil {
			t.Fatal(err)
		}
		began := w.Now()
		run := w.Wait(string(first.RunID))
		if run.Status != schedules.RunCancelled || run.Error == nil || w.Now().Sub(began) > 2*time.Second {
			t.Errorf("%s %+v after %s", run.Status, run.Error, w.Now().Sub(began))
		}
	})
}

func TestWaitForABufferedTrigger(t *testing.T) {
	workflowtest.Run(t, registers(slow(pyworkflow.OverlapBufferOne)), func(t *testing.T, w *workflowtest.World) {
		w.Trigger("auto_slow")
		second := w.Trigger("auto_slow")
		if second.Outcome != schedules.FateBuffered {
			t.Fatalf("outcome %+v", second)
		}
		if run := w.Wait(string(second.RunID)); run.Status != schedules.RunCompleted || w.Now().Sub(time.Date(2000, 1, 1, 0, 0, 50, 0, time.UTC)).Abs() > 2*time.Second {
			t.Errorf("%s at %s", run.Status, w.Now())
		}
	})
}

func TestOutages(t *testing.T) {
	hourly := func(c schedules.Catchup) pyworkflow.Option {
		return pyworkflow.Schedule(pyworkflow.Cron("0 * * * *"), pyworkflow.Catchup(c))
	}
	for catchup, want := range map[schedules.Catchup]string{
		schedules.CatchupOne: "started missed missed missed started", schedules.CatchupNone: "started missed missed missed missed",
	} {
		t.Run(string(catchup), func(t *testing.T) {
			workflowtest.Run(t, registers(reportWorkflow(hourly(catchup))), func(t *testing.T, w *workflowtest.World) {
				w.Advance(90 * time.Minute)
				w.Down(4 * time.Hour)
				if at := time.Date(2000, 1, 1, 5, 30, 0, 0, time.UTC); w.Now().Sub(at).Abs() > time.Second {
					t.Errorf("it is %s, want %s", w.Now(), at)
				}
				w.Advance(time.Minute)
				got := ""
				for _, f := range w.Fates("auto_daily_report") {
					got += " " + string(f.Fate)
				}
				if got != " "+want {
					t.Errorf("fates %q, want %q", got, want)
				}
			})
		})
	}
}

// A run that an outage meets goes on afterwards: no failed attempt, no step again.
func TestRunsGoOnAfterAnOutage(t *testing.T) {
	workflowtest.Run(t, registers(reportWorkflow()), func(t *testing.T, w *workflowtest.World) {
		id := w.Start("daily_report", nil)
		w.Advance(2 * time.Second)
		w.Down(time.Hour)
		run := w.Wait(id)
		if run.Status != schedules.RunCompleted || run.Attempt != 1 || w.Executed("daily_report", "fetch") != 1 || w.Executed("daily_report", "add") != 2 {
			t.Errorf("%+v", run)
		}
	})
}

// What others in the bubble do while Advance passes idle time happens at its time.
func TestActsOfOthersWhileTimePasses(t *testing.T) {
	workflowtest.Run(t, registers(reportWorkflow()), func(t *testing.T, w *workflowtest.World) {
		done := make(chan error, 1)
		go func() {
			<-time.After(5 * time.Hour)
			_, err := w.Client().StartRun(w.Context(), "daily_report", nil, pyworkflow.StartOptions{})
			done <- err
		}()
		w.Advance(24 * time.Hour)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		runs := w.Runs("")
		if len(runs) != 1 || runs[0].EndedAt.Sub(runs[0].CreatedAt.Time) > 2*time.Minute {
			t.Errorf("runs %+v", runs)
		}
	})
}

func TestCreatedSchedulesAndTheirInputs(t *testing.T) {
	double := pyworkflow.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	workflowtest.Run(t, registers(double), func(t *testing.T, w *workflowtest.World) {
		_, err := w.Client().CreateSchedule(w.Context(), client.CreateRequest{ID: "twice", Workflow: "double",
			Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 12 * * mon"}, Input: []byte("21")}})
		if err != nil {
			t.Fatal(err)
		}
		w.Advance(7 * 24 * time.Hour) // 2000-01-01 is a Saturday
		runs := w.Runs("twice")
		if len(runs) != 1 || workflowtest.Result[int](w, runs[0].RunID) != 42 || runs[0].NominalTime.Weekday() != time.Monday {
			t.Errorf("runs %+v", runs)
		}
	})
}

func TestEventsAndOnRunEnd(t *testing.T) {
	var ends []pyworkflow.RunEnded
	flow := pyworkflow.DefineFunc("talk", func(ctx context.Context) (struct{}, error) {
		pyworkflow.Logger(ctx).Info("hello", "n", 1)
		return struct{}{}, nil
	})
	register := func(app *pyworkflow.App) error {
		app.OnRunEnd(func(_ context.Context, e pyworkflow.RunEnded) { ends = append(ends, e) })
		return app.Register(flow)
	}
	workflowtest.Run(t, register, func(t *testing.T, w *workflowtest.World) {
		id := w.Start("talk", nil)
		w.Wait(id)
		said := 0
		for _, e := range w.Events(id) {
			if e.Kind == "log" && e.Message == "hello" {
				said++
			}
		}
		if said != 1 || len(ends) != 1 || ends[0].RunID != id {
			t.Errorf("said %d times, ends %+v", said, ends)
		}
	})
}
