package pyworkflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func nothing(context.Context) (struct{}, error) { return struct{}{}, nil }

func TestRegisterSaysWhatIsWrong(t *testing.T) {
	long := strings.Repeat("x", 128)
	type order struct{ Amount int }
	takesOrder := func(context.Context, order) (struct{}, error) { return struct{}{}, nil }
	sched := func(spec pyworkflow.Spec, opts ...pyworkflow.ScheduleOption) pyworkflow.Registrable {
		return pyworkflow.DefineFunc("w", nothing, pyworkflow.Schedule(spec, opts...))
	}
	daily := pyworkflow.Cron("@daily")
	for _, tc := range []struct {
		name string
		defs []pyworkflow.Registrable
		want string // "": it is fine
	}{
		{"fine", []pyworkflow.Registrable{pyworkflow.DefineFunc("a.b:c-d_1", nothing)}, ""},
		{"longest name", []pyworkflow.Registrable{pyworkflow.DefineFunc(long, nothing)}, ""},
		{"empty name", []pyworkflow.Registrable{pyworkflow.DefineFunc("", nothing)}, `workflow "": is no workflow name; write up to 128 letters`},
		{"name with a blank", []pyworkflow.Registrable{pyworkflow.DefineFunc("a b", nothing)}, `workflow "a b": is no workflow name`},
		{"name with a leading dot", []pyworkflow.Registrable{pyworkflow.DefineFunc(".a", nothing)}, "is no workflow name"},
		{"name too long", []pyworkflow.Registrable{pyworkflow.DefineFunc(long+"x", nothing)}, "is no workflow name"},
		{"twice", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing), pyworkflow.DefineFunc("a", nothing)}, `workflow "a" is registered twice`},
		{"nil", []pyworkflow.Registrable{nil}, "Register was given nil"},
		{"nil workflow", []pyworkflow.Registrable{(*pyworkflow.Workflow[int, int])(nil)}, "nil *Workflow"},
		{"nil function", []pyworkflow.Registrable{pyworkflow.DefineFunc[int]("a", nil)}, "its function is nil"},
		{"input type", []pyworkflow.Registrable{pyworkflow.Define("a", func(context.Context, chan int) (int, error) { return 0, nil })}, "its input type chan int cannot travel as JSON"},
		{"result type", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", func(context.Context) (func(), error) { return nil, nil })}, "its result type func() cannot travel as JSON"},
		{"negative retries", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.MaxRetries(-1))}, "MaxRetries(-1) is negative"},
		{"negative timeout", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.Timeout(-time.Second))}, "Timeout(-1s) is negative"},
		{"negative recoveries", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.MaxRecoveries(-1))}, "MaxRecoveries(-1) is negative"},
		{"negative backoff", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.RetryBackoff(pyworkflow.Fixed(-1)))}, "backoff has a negative part"},
		{"bad queue", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.Queue("a b"))}, `queue "a b": must be 1 to 64 letters`},
		{"schedule", []pyworkflow.Registrable{sched(daily)}, ""},
		{"bad cron", []pyworkflow.Registrable{sched(pyworkflow.Cron("61 * * * *"))}, `schedule auto_w: cron "61 * * * *"`},
		{"interval without a unit", []pyworkflow.Registrable{sched(pyworkflow.Every("30"))}, `interval "30": needs a unit`},
		{"interval of half a second", []pyworkflow.Registrable{sched(pyworkflow.Every(500 * time.Millisecond))}, `interval "500ms"`},
		{"no calendar", []pyworkflow.Registrable{sched(pyworkflow.Calendar())}, "cron, interval, calendar"},
		{"unknown zone", []pyworkflow.Registrable{sched(daily, pyworkflow.Timezone("Mars/Olympus"))}, "Mars/Olympus"},
		{"unknown overlap", []pyworkflow.Registrable{sched(daily, pyworkflow.Overlap("sometimes"))}, `overlap "sometimes" is unknown`},
		{"unknown catchup", []pyworkflow.Registrable{sched(daily, pyworkflow.Catchup("some"))}, `catchup "some" is unknown`},
		{"no buffer", []pyworkflow.Registrable{sched(daily, pyworkflow.BufferLimit(0))}, "BufferLimit(0) leaves no room"},
		{"no grace", []pyworkflow.Registrable{sched(daily, pyworkflow.CancelGrace(0))}, "CancelGrace(0s)"},
		{"no window", []pyworkflow.Registrable{sched(daily, pyworkflow.CatchupWindow(0))}, "CatchupWindow(0s)"},
		{"bad schedule queue", []pyworkflow.Registrable{sched(daily, pyworkflow.Queue("a b"))}, `schedule auto_w: queue "a b"`},
		{"bad schedule name", []pyworkflow.Registrable{sched(daily, pyworkflow.Named("a b"))}, "schedule auto_w_a b: is no schedule id"},
		{"schedule id too long", []pyworkflow.Registrable{pyworkflow.DefineFunc(long, nothing, pyworkflow.Schedule(daily))}, "is no schedule id"},
		{"input that cannot be written", []pyworkflow.Registrable{sched(daily, pyworkflow.Input(make(chan int)))}, "encode Input"},
		{"input that does not fit", []pyworkflow.Registrable{pyworkflow.Define("w", takesOrder, pyworkflow.Schedule(daily, pyworkflow.Input("much")))}, `input "much" does not fit`},
		{"input that fits", []pyworkflow.Registrable{pyworkflow.Define("w", takesOrder, pyworkflow.Schedule(daily, pyworkflow.Input(order{3})))}, ""},
		{"two unnamed schedules", []pyworkflow.Registrable{pyworkflow.DefineFunc("w", nothing, pyworkflow.Schedule(daily), pyworkflow.Schedule(daily))},
			"two schedules have the id auto_w; tell them apart with Named"},
		{"two workflows, one schedule id", []pyworkflow.Registrable{pyworkflow.DefineFunc("a", nothing, pyworkflow.Schedule(daily, pyworkflow.Named("b"))),
			pyworkflow.DefineFunc("a_b", nothing, pyworkflow.Schedule(daily))}, `schedule id auto_a_b is declared by workflow "a" and by workflow "a_b"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			app := pyworkflow.NewApp()
			err := app.Register(tc.defs...)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, pyworkflow.ErrInvalid) {
				t.Fatalf("error %v; want ErrInvalid with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error is more than one line: %q", err)
			}
			if len(app.Workflows()) != 0 {
				t.Errorf("registered all the same: %v", app.Workflows())
			}
		})
	}
}

func TestRegisterTwiceInTwoCalls(t *testing.T) {
	app := pyworkflow.NewApp()
	w := pyworkflow.DefineFunc("w", nothing)
	if err := app.Register(w); err != nil {
		t.Fatal(err)
	}
	if err := app.Register(pyworkflow.DefineFunc("other", nothing), w); err == nil {
		t.Fatal("registered twice")
	}
	if _, ok := app.Workflow("other"); ok {
		t.Error("a refused call registered some of its workflows")
	}
}

func TestOptionsReachTheRecords(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := pyworkflow.DefineFunc("w", nothing, pyworkflow.Doc("Does nothing."), pyworkflow.MaxRetries(2), pyworkflow.RetryBackoff(pyworkflow.Fixed(3*time.Second)),
		pyworkflow.Timeout(time.Minute), pyworkflow.MaxRecoveries(0), pyworkflow.Queue("reports"),
		pyworkflow.Schedule(pyworkflow.Every(90*time.Minute), pyworkflow.IntervalFrom(pyworkflow.FromStart), pyworkflow.Overlap(pyworkflow.OverlapBufferAll),
			pyworkflow.BufferLimit(5), pyworkflow.CancelGrace(time.Second), pyworkflow.Catchup(pyworkflow.CatchupAll), pyworkflow.CatchupWindow(time.Hour),
			pyworkflow.Timezone("Europe/Berlin"), pyworkflow.StartAt(start), pyworkflow.EndAt(start.AddDate(1, 0, 0)), pyworkflow.Jitter(time.Second),
			pyworkflow.Queue("fast"), pyworkflow.Input(nil)),
		pyworkflow.Schedule(pyworkflow.Calendar(pyworkflow.CalendarSpec{DayOfMonth: "1,15"}), pyworkflow.Named("twice_a_month")))
	plain := pyworkflow.DefineFunc("plain", nothing)
	app := pyworkflow.NewApp()
	if err := app.Register(w, plain); err != nil {
		t.Fatal(err)
	}
	infos := app.Workflows()
	if len(infos) != 2 || infos[0].Name != "plain" || infos[1].Name != "w" {
		t.Fatalf("workflows %v", infos)
	}
	want := schedules.RunOptions{MaxRetries: 2, Backoff: schedules.Backoff{Initial: schedules.Duration(3 * time.Second), Factor: 1, Max: schedules.Duration(3 * time.Second)},
		Timeout: schedules.Duration(time.Minute), MaxRecoveries: 0, Queue: "reports"}
	if infos[1].Options != want || infos[1].Doc != "Does nothing." {
		t.Errorf("options %+v, doc %q", infos[1].Options, infos[1].Doc)
	}
	if o := infos[0].Options; o.MaxRetries != 0 || o.MaxRecoveries != 3 || o.Queue != "default" || o.Timeout != 0 {
		t.Errorf("defaults %+v", o)
	}
	if origin := infos[0].Origin; origin != "github.com/pyworkflow-go/pyworkflow" && origin != "github.com/pyworkflow-go/pyworkflow_test" {
		t.Errorf("origin %q", origin)
	}
	all := app.Schedules()
	if len(all) != 2 || all[0].ID != "auto_w" || all[1].ID != "auto_w_twice_a_month" || all[0].Workflow != "w" {
		t.Fatalf("schedules %+v", all)
	}
	got, err := json.Marshal(all[0].Definition)
	if err != nil {
		t.Fatal(err)
	}
	const wantJSON = `{"spec":{"cron":null,"interval":"1h30m","calendar":null,"interval_from":"start","timezone":"Europe/Berlin","start_at":"2026-01-01T00:00:00Z",` +
		`"end_at":"2027-01-01T00:00:00Z","jitter":"1s"},"overlap":"buffer_all","buffer_limit":5,"cancel_grace":"1s","catchup":"all","catchup_window":"1h","queue":"fast","input":null}`
	if string(got) != wantJSON {
		t.Errorf("definition\n got %s\nwant %s", got, wantJSON)
	}
}

func TestRunEndIsTold(t *testing.T) {
	app := pyworkflow.NewApp()
	if app.HasRunEndHooks() {
		t.Error("hooks before any was registered")
	}
	var told []pyworkflow.RunEnded
	app.OnRunEnd(func(context.Context, pyworkflow.RunEnded) { panic("first") })
	app.OnRunEnd(func(_ context.Context, e pyworkflow.RunEnded) { told = append(told, e) })
	run := schedules.Run{ID: "run_1", Workflow: "w", RunProgress: schedules.RunProgress{Status: schedules.RunCancelled, Attempt: 2,
		Error: &schedules.RunError{Kind: schedules.ErrorCancelled, Message: "cancelled: no more"}}}
	err := app.TellRunEnd(t.Context(), run)
	if err == nil || !strings.Contains(err.Error(), "panic: first") {
		t.Errorf("error %v", err)
	}
	if len(told) != 1 || told[0].RunID != "run_1" || told[0].Attempt != 2 || !errors.Is(told[0].Err, pyworkflow.ErrCancelled) {
		t.Fatalf("told %+v", told)
	}
	if want := "run run_1 of w cancelled: cancelled: no more"; told[0].Err.Error() != want {
		t.Errorf("error %q; want %q", told[0].Err, want)
	}
	run.Status, run.Error = schedules.RunCompleted, nil
	_ = app.TellRunEnd(t.Context(), run)
	if len(told) != 2 || told[1].Err != nil {
		t.Fatalf("told %+v", told)
	}
}

// starter is a Starter that runs nothing.
type starter struct {
	workflow string
	input    json.RawMessage
	opts     pyworkflow.StartOptions
	result   json.RawMessage
	err      error
}

func (s *starter) StartRun(_ context.Context, workflow string, input json.RawMessage, opts pyworkflow.StartOptions) (string, error) {
	s.workflow, s.input, s.opts = workflow, input, opts
	return "run_1", s.err
}

func (s *starter) AwaitRun(context.Context, string) (json.RawMessage, error) { return s.result, s.err }

func TestTypedStartAndWait(t *testing.T) {
	type in struct{ N int }
	type out struct{ Square int }
	square := pyworkflow.Define("square", func(_ context.Context, v in) (out, error) { return out{v.N * v.N}, nil })
	s := &starter{result: json.RawMessage(`{"Square":9}`)}
	h, err := square.Start(t.Context(), s, in{3}, pyworkflow.Queue("fast"), pyworkflow.IdempotencyKey("k"))
	if err != nil {
		t.Fatal(err)
	}
	if h.ID() != "run_1" || s.workflow != "square" || string(s.input) != `{"N":3}` || s.opts != (pyworkflow.StartOptions{Queue: "fast", IdempotencyKey: "k"}) {
		t.Errorf("handle %v, starter %+v", h, s)
	}
	if got, err := h.Wait(t.Context()); err != nil || got.Square != 9 {
		t.Errorf("result %v, %v", got, err)
	}
	if got, err := square.Run(t.Context(), s, in{3}); err != nil || got.Square != 9 {
		t.Errorf("result %v, %v", got, err)
	}
	s.result = json.RawMessage(`"nine"`)
	if _, err := square.Handle(s, "run_2").Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "decode result of run run_2") {
		t.Errorf("error %v", err)
	}
	s.err = errors.New("away")
	if _, err := square.Start(t.Context(), s, in{3}); !errors.Is(err, s.err) || !strings.Contains(err.Error(), "start workflow square") {
		t.Errorf("error %v", err)
	}
	if _, err := square.Handle(s, "run_2").Wait(t.Context()); !errors.Is(err, s.err) {
		t.Errorf("error %v", err)
	}
}
