package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/metrics/tracing"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// newTracer makes a tracer that keeps what it writes.
func newTracer(t *testing.T, opts ...sdktrace.TracerProviderOption) (*tracing.Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	tracer := tracing.New(append(opts, sdktrace.WithSyncer(kept))...)
	t.Cleanup(func() { _ = tracer.Shutdown(context.Background()) })
	return tracer, kept
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are named %q among %v", len(found), name, names(spans))
	}
	return found[0]
}

func names(spans tracetest.SpanStubs) []string {
	var out []string
	for _, s := range spans {
		out = append(out, s.Name)
	}
	return out
}

func has(s tracetest.SpanStub, key, value string) bool {
	for _, a := range s.Attributes {
		if string(a.Key) == key && a.Value.String() == value {
			return true
		}
	}
	return false
}

func TestAStartLinksToItsCaller(t *testing.T) {
	ctx := context.Background()
	st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	tracer, kept := newTracer(t)
	eng, err := engine.New(engine.Config{Store: st, Observers: []engine.Observer{tracer}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Store: st, Engine: eng})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.PublishWorkflows(ctx, store.Workflow{Name: "flow"}); err != nil {
		t.Fatal(err)
	}
	var id string
	handler := tracer.Incoming(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Provider().Tracer("api").Start(r.Context(), "POST /runs")
		defer span.End()
		id, err = c.StartRun(ctx, "flow", nil, pyworkflow.StartOptions{})
	}))
	req := httptest.NewRequest(http.MethodPost, "/runs", nil)
	req.Header.Set("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	handler.ServeHTTP(httptest.NewRecorder(), req)
	if err != nil {
		t.Fatal(err)
	}
	spans := kept.GetSpans()
	caller, start := named(t, spans, "POST /runs"), named(t, spans, "start")
	if got := caller.SpanContext.TraceID().String(); got != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the caller's span is in trace %s", got)
	}
	if start.SpanContext.TraceID() != tracing.TraceID(id) || len(start.Links) != 1 || !start.Links[0].SpanContext.Equal(caller.SpanContext) {
		t.Errorf("the start is in trace %s and links to %+v", start.SpanContext.TraceID(), start.Links)
	}
	if len(caller.Events) != 1 || caller.Events[0].Name != "run started" {
		t.Errorf("the caller's span is told %+v", caller.Events)
	}
	// Nobody cancelled, nobody claimed: the request ends the run, and with it its trace.
	kept.Reset()
	if _, err := c.CancelRun(ctx, id, "enough"); err != nil {
		t.Fatal(err)
	}
	root := named(t, kept.GetSpans(), "run flow")
	if root.SpanContext.SpanID() != start.Parent.SpanID() || root.Parent.IsValid() || !has(root, "pyworkflow.status", "cancelled") {
		t.Errorf("root %s of %s, %v", root.SpanContext.SpanID(), start.Parent.SpanID(), root.Attributes)
	}
}

// running is a run in the hands of a worker.
func running(id string) schedules.Run {
	now := time.Now().UTC()
	r := schedules.NewRun(id, "flow", "default", nil, nil, now.Add(-30*time.Second))
	r.Status, r.Worker, r.StartedAt, r.Lease = schedules.RunRunning, "w", now.Add(-29*time.Second), now.Add(-5*time.Second)
	return r
}

func TestALostAttemptIsWrittenOnce(t *testing.T) {
	before := running("run_1")
	lost := schedules.LoseRun(before, time.Now().UTC())
	t.Run("its worker died", func(t *testing.T) {
		keeper, kept := newTracer(t)
		keeper.Moved(before, lost)
		spans := kept.GetSpans()
		attempt, recovery := named(t, spans, "attempt"), named(t, spans, "recovery")
		if !has(attempt, "pyworkflow.outcome", "lost") || attempt.Status.Code != codes.Error || !attempt.StartTime.Equal(before.StartedAt) || attempt.Parent.SpanID() != recovery.Parent.SpanID() || len(spans) != 2 {
			t.Errorf("%+v\n%+v", attempt, recovery)
		}
		worker, workers := newTracer(t) // wakes up late: same ids, and not written again
		ctx, ended := worker.Attempt(context.Background(), before, time.Time{}, time.Now())
		if got := trace.SpanContextFromContext(ctx); got.SpanID() != attempt.SpanContext.SpanID() || got.TraceID() != attempt.SpanContext.TraceID() {
			t.Errorf("the worker's attempt is %s, the keeper's %s", got.SpanID(), attempt.SpanContext.SpanID())
		}
		_, step := worker.Step(ctx, before, schedules.Step{Name: "fetch", Key: "fetch#1", Attempt: 1})
		step(schedules.Step{Attempt: 2}, errors.New("boom"))
		ended(before, schedules.Outcome{}, false)
		got := workers.GetSpans()
		if s := named(t, got, "step fetch"); s.Parent.SpanID() != attempt.SpanContext.SpanID() || s.Status.Description != "boom" || !has(s, "pyworkflow.attempt", "2") {
			t.Errorf("step %+v", s)
		}
		for _, s := range got {
			if s.Name == "attempt" {
				t.Error("the attempt is written twice")
			}
		}
	})
	t.Run("its own process takes it", func(t *testing.T) {
		both, kept := newTracer(t)
		_, ended := both.Attempt(context.Background(), before, time.Now().Add(-time.Second), time.Now())
		both.Moved(before, lost)
		ended(lost.Run, schedules.Outcome{}, false)
		if s := named(t, kept.GetSpans(), "attempt"); !has(s, "pyworkflow.outcome", "refused") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a run that was not running", func(t *testing.T) {
		pending := before
		pending.Status = schedules.RunPending
		c, _ := schedules.RequestCancel(pending, "", 0, time.Now())
		tr, kept := newTracer(t)
		tr.Moved(pending, c)
		if spans := kept.GetSpans(); len(spans) != 1 || spans[0].Name != "run flow" {
			t.Errorf("written: %v", names(spans))
		}
	})
}

func TestAttemptsSayHowTheyEnded(t *testing.T) {
	failed := &schedules.RunError{Kind: schedules.ErrorPanic, Message: "oh <b>no</b>", Stack: "main.go:1"}
	for name, c := range map[string]struct {
		status  schedules.RunStatus
		outcome schedules.Outcome
		code    codes.Code
	}{
		"completed":   {schedules.RunCompleted, schedules.Outcome{Kind: schedules.OutcomeCompleted}, codes.Ok},
		"failed":      {schedules.RunFailed, schedules.Outcome{Kind: schedules.OutcomeFailed, Error: failed}, codes.Error},
		"cancelled":   {schedules.RunCancelled, schedules.Outcome{Kind: schedules.OutcomeFailed, Error: failed}, codes.Unset},
		"handed_back": {schedules.RunPending, schedules.Outcome{Kind: schedules.OutcomeHandedBack}, codes.Unset},
	} {
		t.Run(name, func(t *testing.T) {
			tr, kept := newTracer(t)
			r := running("run_2")
			_, ended := tr.Attempt(context.Background(), r, time.Now(), time.Now())
			r.Status = c.status
			ended(r, c.outcome, true)
			s := named(t, kept.GetSpans(), "attempt")
			if !has(s, "pyworkflow.outcome", name) || s.Status.Code != c.code {
				t.Errorf("%v %v", s.Attributes, s.Status)
			}
			if name == "failed" && (s.Status.Description != failed.Message || len(s.Events) != 1 || len(s.Events[0].Attributes) != 3) {
				t.Errorf("%v %v", s.Status, s.Events)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	tr, kept := newTracer(t)
	a, b := store.Message{RunID: "run_a", Dispatch: 1, Queue: "q"}, store.Message{RunID: "run_b", Dispatch: 2, Queue: "q"}
	tr.Dispatched([]store.Message{a, b}, []store.Message{a}, time.Time{}, time.Now())
	for _, s := range kept.GetSpans() {
		taken := has(s, "pyworkflow.run_id", "run_a")
		if want := map[bool]codes.Code{true: codes.Unset, false: codes.Error}[taken]; s.Status.Code != want || !has(s, "pyworkflow.swept", "true") {
			t.Errorf("%v %v", s.Attributes, s.Status)
		}
	}
	if len(kept.GetSpans()) != 2 {
		t.Errorf("%d spans", len(kept.GetSpans()))
	}
	h := tr.Headers(a)
	if want := "00-" + tracing.TraceID("run_a").String() + "-"; !strings.HasPrefix(h["traceparent"], want) || !strings.HasSuffix(h["traceparent"], "-01") || len(h) != 1 {
		t.Errorf("headers %v, want %s…", h, want)
	}
	if again := tr.Headers(a); again["traceparent"] != h["traceparent"] {
		t.Errorf("%v, then %v", h, again)
	}
}

// A sampler that goes by the trace id decides alike in every process, for all spans of a run.
func TestARunIsSampledWhole(t *testing.T) {
	sampled := 0
	for i := range 200 {
		run := running("run_" + strings.Repeat("x", i+1))
		verdicts := map[int]bool{}
		for range 2 {
			tr, kept := newTracer(t, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.5))))
			ctx, ended := tr.Attempt(context.Background(), run, time.Now(), time.Now())
			_, user := tr.Provider().Tracer("user").Start(ctx, "user")
			user.End()
			end := run
			end.Status, end.EndedAt = schedules.RunCompleted, time.Now()
			tr.Moved(run, schedules.RunChange{Run: end})
			ended(end, schedules.Outcome{}, true)
			verdicts[len(kept.GetSpans())] = true
			if on := strings.HasSuffix(tr.Headers(store.Message{RunID: run.ID})["traceparent"], "-01"); on != (len(kept.GetSpans()) > 0) {
				t.Fatal("the header says otherwise")
			}
		}
		switch {
		case len(verdicts) != 1 || !verdicts[0] && !verdicts[5]:
			t.Fatalf("spans written in two processes: %v; want none or all 5", verdicts)
		case verdicts[5]:
			sampled++
		}
	}
	if sampled < 60 || sampled > 140 {
		t.Errorf("%d of 200 runs are sampled", sampled)
	}
}

func TestLogLinesNameTheTrace(t *testing.T) {
	tr, _ := newTracer(t)
	want := tracing.TraceID("run_1").String()
	ctx, span := tr.Provider().Tracer("x").Start(context.Background(), "s")
	defer span.End()
	for name, c := range map[string]struct {
		write func(l *slog.Logger)
		trace string
		span  bool
	}{
		"in the line":             {func(l *slog.Logger) { l.Info("m", "run_id", "run_1") }, want, false},
		"of the logger":           {func(l *slog.Logger) { l.With("a", 1).With("run_id", "run_1").Info("m") }, want, false},
		"once":                    {func(l *slog.Logger) { l.With("run_id", "run_1").Info("m", "run_id", "run_1") }, want, false},
		"of the context":          {func(l *slog.Logger) { l.InfoContext(ctx, "m") }, span.SpanContext().TraceID().String(), true},
		"no run":                  {func(l *slog.Logger) { l.Info("m", "schedule_id", "s") }, "", false},
		"an empty id":             {func(l *slog.Logger) { l.Info("m", "run_id", "") }, "", false},
		"a group behind":          {func(l *slog.Logger) { l.With("run_id", "run_1").WithGroup("g").Info("m", "b", 2) }, want, false},
		"somebody else's, nested": {func(l *slog.Logger) { l.WithGroup("g").Info("m", "run_id", "run_1") }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c.write(slog.New(tr.Log(slog.NewJSONHandler(&out, nil))))
			var line map[string]any
			if err := json.Unmarshal(out.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, out.String())
			}
			got, _ := line["trace_id"].(string)
			if _, span := line["span_id"]; got != c.trace || span != c.span || strings.Count(out.String(), "trace_id") > 1 {
				t.Errorf("line %s", out.String())
			}
		})
	}
	quiet := tr.Log(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelError}))
	if quiet.Enabled(ctx, slog.LevelInfo) {
		t.Error("the next handler's level is not asked for")
	}
}

func TestEnvironment(t *testing.T) {
	all := []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_SERVICE_NAME"}
	const there = "http://127.0.0.1:4318"
	for name, c := range map[string]struct {
		env  map[string]string
		on   bool
		says string
	}{
		"nothing":              {nil, false, ""},
		"an endpoint":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": there}, true, ""},
		"one for traces":       {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": there + "/v1/traces"}, true, ""},
		"the usual endpoint":   {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"none":                 {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": there}, false, ""},
		"disabled":             {map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": there}, false, ""},
		"another exporter":     {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER="zipkin": only otlp and none are known`},
		"gRPC":                 {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": there, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL="grpc": only http/protobuf`},
		"an endpoint of none":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, false, `OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318": is no URL`},
		"protocol of our kind": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": there, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range all {
				t.Setenv(k, c.env[k])
			}
			tr, err := tracing.FromEnvironment(t.Context(), "1.2.3")
			if (tr != nil) != c.on || (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, %v", tr, err)
			}
			if tr != nil {
				if err := tr.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
