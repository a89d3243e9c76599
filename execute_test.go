package pyworkflow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// runtime executes workflows and keeps what they record.
type runtime struct {
	mu     sync.Mutex
	steps  []schedules.Step // last state of each key
	writes []string         // "key status attempt" of every record
	events []schedules.Event
	refuse error
	last   json.RawMessage
	slow   time.Duration // that a record takes
	log    *slog.Logger
}

func (r *runtime) record(_ context.Context, s schedules.Step) error {
	if r.slow > 0 {
		<-time.After(r.slow)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	r.writes = append(r.writes, fmt.Sprintf("%s %s %d", s.Key, s.Status, s.Attempt))
	for i := range r.steps {
		if r.steps[i].Key == s.Key {
			r.steps[i] = s
			return nil
		}
	}
	r.steps = append(r.steps, s)
	return nil
}

// exec executes w as one attempt of a run.
func exec[In, Out any](t *testing.T, ctx context.Context, r *runtime, w *pyworkflow.Workflow[In, Out], input string) schedules.Outcome {
	t.Helper()
	app := pyworkflow.NewApp()
	if err := app.Register(w); err != nil {
		t.Fatal(err)
	}
	run := schedules.Run{ID: "run_1", ScheduleID: "s", Workflow: w.Name(), Queue: "default", Trigger: schedules.TriggerSchedule,
		Nominal: time.Date(2026, 5, 4, 6, 17, 0, 0, time.UTC), Input: json.RawMessage(input), RunProgress: schedules.RunProgress{Attempt: 1, Dispatch: 1}}
	o, err := app.Execute(ctx, pyworkflow.Execution{Run: run, Steps: r.steps, Record: r.record, Log: r.log,
		Emit: func(e schedules.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		},
		LastResult: func(context.Context) (json.RawMessage, bool, error) { return r.last, r.last != nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestExecuteOutcomes(t *testing.T) {
	boom := errors.New("boom")
	cancelled := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	limit := fmt.Errorf("%w of 5s", pyworkflow.ErrTimeout)
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		fn    func(ctx context.Context, in struct{ N int }) (any, error)
		input string
		want  schedules.Outcome
	}{
		{"result", t.Context(), func(_ context.Context, in struct{ N int }) (any, error) { return in.N + 1, nil }, `{"N":1,"more":true}`,
			schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage("2")}},
		{"no input", t.Context(), func(_ context.Context, in struct{ N int }) (any, error) { return in.N, nil }, "", schedules.Outcome{Result: json.RawMessage("0")}},
		{"null input", t.Context(), func(_ context.Context, in struct{ N int }) (any, error) { return in.N, nil }, "null", schedules.Outcome{Result: json.RawMessage("0")}},
		{"error", t.Context(), func(context.Context, struct{ N int }) (any, error) { return nil, boom }, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "boom"}}},
		{"do not retry", t.Context(), func(context.Context, struct{ N int }) (any, error) {
			return nil, fmt.Errorf("order: %w", pyworkflow.NoRetry(boom))
		}, "", schedules.Outcome{Kind: schedules.OutcomeFailed, NoRetry: true, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "order: boom"}}},
		{"retry after", t.Context(), func(context.Context, struct{ N int }) (any, error) {
			return nil, pyworkflow.RetryAfter(boom, time.Hour)
		}, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, RetryAfter: time.Hour, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "boom"}}},
		{"do not retry wins", t.Context(), func(context.Context, struct{ N int }) (any, error) {
			return nil, pyworkflow.RetryAfter(pyworkflow.NoRetry(boom), time.Hour)
		}, "", schedules.Outcome{Kind: schedules.OutcomeFailed, NoRetry: true, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "boom"}}},
		{"bad input", t.Context(), func(context.Context, struct{ N int }) (any, error) { return nil, nil }, `{"N":"x"}`, schedules.Outcome{Kind: schedules.OutcomeFailed, NoRetry: true,
			Error: &schedules.RunError{Kind: schedules.ErrorInput, Message: `input {"N":"x"} does not fit: cannot unmarshal string into Go struct field .N of type int`}}},
		{"result that cannot be written", t.Context(), func(context.Context, struct{ N int }) (any, error) { return math.NaN(), nil }, "", schedules.Outcome{Kind: schedules.OutcomeFailed,
			NoRetry: true, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "encode result: json: unsupported value: NaN"}}},
		{"result too large", t.Context(), func(context.Context, struct{ N int }) (any, error) {
			return strings.Repeat("x", pyworkflow.MaxResult), nil
		}, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, NoRetry: true, Error: &schedules.RunError{Kind: schedules.ErrorFailed,
				Message: "result is too large: 1048578 bytes of JSON, at most 1048576 are kept (max_result); store it elsewhere and return its address"}}},
		{"timeout", cancelled(limit), func(ctx context.Context, _ struct{ N int }) (any, error) { return nil, ctx.Err() }, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorTimeout, Message: "took longer than its time limit of 5s"}}},
		{"timeout, result all the same", cancelled(limit), func(context.Context, struct{ N int }) (any, error) { return 1, nil }, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorTimeout, Message: "took longer than its time limit of 5s"}}},
		{"cancelled", cancelled(pyworkflow.ErrCancelled), func(ctx context.Context, _ struct{ N int }) (any, error) { return nil, context.Cause(ctx) }, "",
			schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorFailed, Message: "asked to cancel"}}},
		{"cancelled, result all the same", cancelled(pyworkflow.ErrCancelled), func(context.Context, struct{ N int }) (any, error) { return 1, nil }, "", schedules.Outcome{Result: json.RawMessage("1")}},
		{"shutdown", cancelled(pyworkflow.ErrShutdown), func(ctx context.Context, _ struct{ N int }) (any, error) { return nil, ctx.Err() }, "",
			schedules.Outcome{Kind: schedules.OutcomeHandedBack}},
		{"shutdown, result all the same", cancelled(pyworkflow.ErrShutdown), func(context.Context, struct{ N int }) (any, error) { return 1, nil }, "", schedules.Outcome{Result: json.RawMessage("1")}},
		{"lease lost", cancelled(pyworkflow.ErrLeaseLost), func(ctx context.Context, _ struct{ N int }) (any, error) { return nil, ctx.Err() }, "",
			schedules.Outcome{Kind: schedules.OutcomeHandedBack}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := exec(t, tc.ctx, &runtime{}, pyworkflow.Define("w", tc.fn), tc.input)
			gotJSON, _ := json.Marshal(got)
			wantJSON, _ := json.Marshal(tc.want)
			if string(gotJSON) != string(wantJSON) {
				t.Errorf("outcome\n got %s\nwant %s", gotJSON, wantJSON)
			}
		})
	}
}

func TestExecuteUnknownWorkflow(t *testing.T) {
	_, err := pyworkflow.NewApp().Execute(t.Context(), pyworkflow.Execution{Run: schedules.Run{ID: "run_1", Workflow: "w"}})
	if !errors.Is(err, pyworkflow.ErrUnknownWorkflow) {
		t.Errorf("error %v", err)
	}
}

func TestPanicFailsTheAttemptWithItsStack(t *testing.T) {
	o := exec(t, t.Context(), &runtime{}, pyworkflow.DefineFunc("w", func(context.Context) (int, error) { panic("ouch") }), "")
	if o.Kind != schedules.OutcomeFailed || o.NoRetry || o.Error.Kind != schedules.ErrorPanic || o.Error.Message != "panic: ouch" ||
		!strings.Contains(o.Error.Stack, "TestPanicFailsTheAttemptWithItsStack") {
		t.Errorf("outcome %+v, error %+v", o, o.Error)
	}
}

func TestARunMayAsk(t *testing.T) {
	var text bytes.Buffer
	r := &runtime{last: json.RawMessage(`{"n":41}`), log: slog.New(slog.NewTextHandler(&text, nil))}
	o := exec(t, t.Context(), r, pyworkflow.DefineFunc("w", func(ctx context.Context) (int, error) {
		info := pyworkflow.RunInfo(ctx)
		if info.RunID != "run_1" || info.ScheduleID != "s" || info.Workflow != "w" || info.Attempt != 1 || info.Nominal.Minute() != 17 || info.Trigger != schedules.TriggerSchedule {
			t.Errorf("info %+v", info)
		}
		last, ok, err := pyworkflow.LastResult[struct{ N int }](ctx)
		if !ok || err != nil {
			t.Errorf("last result: %v, %v", ok, err)
		}
		log := pyworkflow.Logger(ctx).With("a", 1).WithGroup("g").With("b", time.Second)
		log.Debug("not to be seen")
		log.Warn("be careful", "c", errors.New("boom"), "d", math.Inf(1), slog.Group("h", "e", map[string]int{"x": 1}), "f", make(chan int), "", "no key")
		return last.N + 1, nil
	}), "")
	if string(o.Result) != "42" {
		t.Errorf("outcome %+v", o)
	}
	if len(r.events) != 1 || r.events[0].Kind != "log" || r.events[0].Level != "warn" || r.events[0].Message != "be careful" {
		t.Fatalf("events %+v", r.events)
	}
	attrs, err := json.Marshal(r.events[0].Attrs)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(attrs); !strings.HasPrefix(got, `{"a":1,"g.b":"1s","g.c":"boom","g.d":"+Inf","g.f":"0x`) || !strings.HasSuffix(got, `","g.h.e":{"x":1}}`) {
		t.Errorf("attrs %s", got)
	}
	line := text.String()
	for _, want := range []string{"be careful", "run_id=run_1", "workflow=w", "attempt=1", "schedule_id=s", "a=1", "g.b=1s"} {
		if !strings.Contains(line, want) {
			t.Errorf("log %q lacks %q", line, want)
		}
	}
	if strings.Contains(line, "not to be seen") {
		t.Errorf("log %q has a debug line", line)
	}
}

func TestOutsideARun(t *testing.T) {
	ctx := t.Context()
	if info := pyworkflow.RunInfo(ctx); info != (pyworkflow.Info{}) {
		t.Errorf("info %+v", info)
	}
	if _, ok, err := pyworkflow.LastResult[int](ctx); ok || err != nil {
		t.Errorf("last result: %v, %v", ok, err)
	}
	if pyworkflow.Logger(ctx) == nil {
		t.Error("no logger")
	}
	calls := 0
	_, err := pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) {
		calls++
		return 0, errors.New("boom")
	})
	if calls != 1 || err == nil || err.Error() != "boom" {
		t.Errorf("step was called %d times, error %v", calls, err)
	}
}

func TestLastResultThatDoesNotFit(t *testing.T) {
	r := &runtime{last: json.RawMessage(`"text"`)}
	o := exec(t, t.Context(), r, pyworkflow.DefineFunc("w", func(ctx context.Context) (int, error) {
		n, _, err := pyworkflow.LastResult[int](ctx)
		return n, err
	}), "")
	if o.Error == nil || !strings.Contains(o.Error.Message, "decode last result of schedule s") {
		t.Errorf("outcome %+v", o)
	}
}

func TestTimeUnderSynctestIsFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := exec(t, t.Context(), &runtime{}, pyworkflow.DefineFunc("w", func(ctx context.Context) (int, error) {
			return pyworkflow.Step(ctx, "fetch", func(context.Context) (int, error) { return 0, errors.New("boom") },
				pyworkflow.StepBackoff(pyworkflow.Backoff{Initial: schedules.Duration(time.Second), Factor: 2}))
		}), "")
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("took %s; want 7s: 1 + 2 + 4", took)
		}
		if o.Error == nil || o.Error.Message != `step "fetch#1" failed 4 times: boom` {
			t.Errorf("outcome %+v", o.Error)
		}
	})
}
