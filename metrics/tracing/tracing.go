package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// scope names the library that writes the spans.
const scope = "github.com/pyworkflow-go/pyworkflow"

// Keys of the attributes of spans.
const (
	keyRun      = attribute.Key("pyworkflow.run_id")
	keySchedule = attribute.Key("pyworkflow.schedule_id")
	keyWorkflow = attribute.Key("pyworkflow.workflow")
	keyQueue    = attribute.Key("pyworkflow.queue")
	keyTrigger  = attribute.Key("pyworkflow.trigger")
	keyNominal  = attribute.Key("pyworkflow.nominal_time")
	keyBackfill = attribute.Key("pyworkflow.backfill_id")
	keyAttempt  = attribute.Key("pyworkflow.attempt")
	keyDispatch = attribute.Key("pyworkflow.dispatch")
	keyWorker   = attribute.Key("pyworkflow.worker")
	keyStatus   = attribute.Key("pyworkflow.status")
	keyOutcome  = attribute.Key("pyworkflow.outcome")
	keyRecovery = attribute.Key("pyworkflow.recoveries")
	keySwept    = attribute.Key("pyworkflow.swept") // a keeper sent it, whose own process had not
	keyStep     = attribute.Key("pyworkflow.step")
	keyStepKey  = attribute.Key("pyworkflow.step_key")
)

// Tracer writes traces. It is an engine.Witness and a worker.Tracer, and safe for concurrent use.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	carrier  propagation.TraceContext

	mu   sync.Mutex
	held map[dispatch]*attempt // attempts of this process that are not over
}

var (
	_ engine.Witness = (*Tracer)(nil)
	_ worker.Tracer  = (*Tracer)(nil)
)

// dispatch names an attempt: a dispatch is claimed once.
type dispatch struct {
	run    string
	number int
}

type attempt struct{ endedHere bool }

// New makes a Tracer with a provider of its own, on whose sampler, exporter and resource the options decide. Its ids are the Tracer's: an option that sets them is
// overridden.
func New(opts ...sdktrace.TracerProviderOption) *Tracer {
	p := sdktrace.NewTracerProvider(append(opts, sdktrace.WithIDGenerator(ids{}))...)
	return &Tracer{provider: p, tracer: p.Tracer(scope), held: make(map[dispatch]*attempt)}
}

// Provider is where user code's spans come from.
func (t *Tracer) Provider() trace.TracerProvider { return t.provider }

// Shutdown hands over what has not been and ends the Tracer, at the latest when ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// forced are ids that a span is to get.
type forced struct {
	trace trace.TraceID
	span  trace.SpanID
}

type forcedKey struct{}

// ids makes random ids unless the context says which.
type ids struct{}

// NewIDs gives the ids of a root span.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if f, ok := ctx.Value(forcedKey{}).(forced); ok {
		return f.trace, f.span
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, randomSpan()
}

// NewSpanID gives the id of a span with a parent.
func (ids) NewSpanID(ctx context.Context, of trace.TraceID) trace.SpanID {
	if f, ok := ctx.Value(forcedKey{}).(forced); ok && f.trace == of {
		return f.span
	}
	return randomSpan()
}

func randomSpan() (id trace.SpanID) {
	for !id.IsValid() {
		binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// TraceID is the id of a run's trace.
func TraceID(run string) (id trace.TraceID) {
	sum := sha256.Sum256([]byte("pyworkflow trace\x00" + run))
	copy(id[:], sum[:])
	return id
}

func spanID(of ...string) (id trace.SpanID) {
	h := sha256.New()
	for _, part := range of {
		_, _ = h.Write([]byte(part + "\x00")) // never fails
	}
	copy(id[:], h.Sum(nil))
	return id
}

func rootOf(run string) forced { return forced{TraceID(run), spanID("root", run)} }

func attemptOf(run string, number int) forced {
	return forced{TraceID(run), spanID("attempt", run, strconv.Itoa(number))}
}

// root is the context of a run's root span, whoever writes it, with the sampler's verdict.
func (t *Tracer) root(run string) trace.SpanContext {
	_, probe := t.tracer.Start(context.WithValue(context.Background(), forcedKey{}, rootOf(run)), "run", trace.WithNewRoot()) // never ended, so never written
	return probe.SpanContext().WithRemote(true)
}

// under gives a context in which spans become children of the run's root.
func (t *Tracer) under(ctx context.Context, run string) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, t.root(run))
}

// write writes a span that is over. end is now unless it is given, and never before start.
func (t *Tracer) write(parent context.Context, name string, start, end time.Time, opts ...trace.SpanStartOption) {
	if end.IsZero() {
		end = time.Now()
	}
	if end.Before(start) { // two clocks may differ a little
		start = end
	}
	_, span := t.tracer.Start(parent, name, append(opts, trace.WithTimestamp(start))...)
	span.End(trace.WithTimestamp(end))
}

// about are the attributes that tell a run.
func about(r *schedules.Run) []attribute.KeyValue {
	a := []attribute.KeyValue{keyRun.String(r.ID), keyWorkflow.String(r.Workflow), keyQueue.String(r.Queue), keyTrigger.String(string(r.Trigger))}
	if r.ScheduleID != "" {
		a = append(a, keySchedule.String(r.ScheduleID), keyNominal.String(r.Nominal.UTC().Format(time.RFC3339Nano)))
	}
	if r.BackfillID != "" {
		a = append(a, keyBackfill.String(r.BackfillID))
	}
	return a
}

// beginning is when a run's trace begins: at the nominal time of a tick that was decided in time, so that its lateness is seen; else with the run.
func beginning(r *schedules.Run) time.Time {
	if late := r.CreatedAt.Sub(r.Nominal); r.Trigger == schedules.TriggerSchedule && late > 0 && late <= schedules.LateAfter {
		return r.Nominal
	}
	return r.CreatedAt
}

// Decided does nothing: see Created.
func (t *Tracer) Decided(schedules.Change) {}

// RunChanged does nothing: see Moved.
func (t *Tracer) RunChanged(schedules.RunChange) {}

// Created writes what led to the runs. A span of the caller is linked to, and told of them.
func (t *Tracer) Created(ctx context.Context, runs []schedules.Run) {
	caller := trace.SpanFromContext(ctx)
	for i := range runs {
		r := &runs[i]
		name := "start"
		switch {
		case r.BackfillID != "":
			name = "backfill"
		case r.Trigger.Regular():
			name = "tick"
		case r.ScheduleID != "":
			name = "trigger"
		}
		opts := []trace.SpanStartOption{trace.WithAttributes(about(r)...)}
		if sc := caller.SpanContext(); sc.IsValid() && !r.Trigger.Regular() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
			caller.AddEvent("run started", trace.WithAttributes(keyRun.String(r.ID), attribute.String("pyworkflow.trace_id", TraceID(r.ID).String())))
		}
		t.write(t.under(context.Background(), r.ID), name, beginning(r), time.Time{}, opts...)
	}
}

// Dispatched writes the way of messages to the transport.
func (t *Tracer) Dispatched(msgs, sent []store.Message, written, began time.Time) {
	took := make(map[store.Message]bool, len(sent))
	for _, m := range sent {
		took[m] = true
	}
	from := began
	if !written.IsZero() {
		from = written
	}
	now := time.Now()
	for _, m := range msgs {
		_, span := t.tracer.Start(t.under(context.Background(), m.RunID), "dispatch", trace.WithTimestamp(from), trace.WithSpanKind(trace.SpanKindProducer),
			trace.WithAttributes(keyRun.String(m.RunID), keyDispatch.Int(m.Dispatch), keyQueue.String(m.Queue), keySwept.Bool(written.IsZero())))
		if !took[m] {
			span.SetStatus(codes.Error, "the transport did not take the message; it stays in the outbox")
		}
		span.End(trace.WithTimestamp(now))
	}
}

// Moved writes what befell a run: the loss of its worker, its end.
func (t *Tracer) Moved(before schedules.Run, c schedules.RunChange) {
	r := &c.Run
	over := r.Status.Ended() || r.Dispatch != before.Dispatch // of the attempt, if there was one
	if before.Status == schedules.RunRunning && over && !t.own(before.ID, before.Dispatch) {
		t.lost(&before, r)
	}
	if r.Status.Ended() {
		t.end(r)
	}
}

// own reports whether the attempt is this process's, and notes that its end was recorded here.
func (t *Tracer) own(run string, number int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.held[dispatch{run, number}]
	if a != nil {
		a.endedHere = true
	}
	return a != nil
}

// lost writes an attempt whose worker will not.
func (t *Tracer) lost(before, after *schedules.Run) {
	ctx := t.under(context.Background(), before.ID)
	renewed := before.Lease.Add(-schedules.Lease) // its last sign of life
	start := renewed
	if before.Dispatch == 1 {
		start = before.StartedAt
	}
	now := time.Now()
	_, span := t.tracer.Start(context.WithValue(ctx, forcedKey{}, attemptOf(before.ID, before.Dispatch)), "attempt", trace.WithTimestamp(start), trace.WithAttributes(
		append(about(before), keyAttempt.Int(before.Attempt), keyDispatch.Int(before.Dispatch), keyWorker.String(before.Worker), keyOutcome.String("lost"))...))
	span.AddEvent("lease last renewed", trace.WithTimestamp(renewed))
	span.SetStatus(codes.Error, "its worker stopped renewing the lease")
	span.End(trace.WithTimestamp(now))
	if after.Recoveries > before.Recoveries {
		t.write(ctx, "recovery", before.Lease, now, trace.WithAttributes(keyRun.String(before.ID), keyWorker.String(before.Worker), keyRecovery.Int(after.Recoveries)))
	}
}

// end writes the root span.
func (t *Tracer) end(r *schedules.Run) {
	start, end := beginning(r), r.EndedAt
	if end.Before(start) {
		end = start
	}
	_, span := t.tracer.Start(context.WithValue(context.Background(), forcedKey{}, rootOf(r.ID)), "run "+r.Workflow, trace.WithNewRoot(), trace.WithTimestamp(start),
		trace.WithAttributes(append(about(r), keyStatus.String(string(r.Status)), keyAttempt.Int(r.Attempt), keyRecovery.Int(r.Recoveries))...))
	switch {
	case r.Status == schedules.RunFailed && r.Error != nil:
		span.SetStatus(codes.Error, r.Error.Message)
	case r.Status == schedules.RunCompleted:
		span.SetStatus(codes.Ok, "")
	}
	span.End(trace.WithTimestamp(end))
}

// Attempt writes how the run came here and begins the attempt's span.
func (t *Tracer) Attempt(ctx context.Context, r schedules.Run, sent, received time.Time) (context.Context, func(schedules.Run, schedules.Outcome, bool)) {
	now := time.Now()
	root := t.under(ctx, r.ID)
	if sent.IsZero() && r.Dispatch == 1 {
		sent = r.CreatedAt
	}
	same := trace.WithAttributes(keyRun.String(r.ID), keyDispatch.Int(r.Dispatch), keyQueue.String(r.Queue))
	if !sent.IsZero() {
		t.write(root, "queue", sent, received, same)
	}
	t.write(root, "claim", received, now, same, trace.WithSpanKind(trace.SpanKindConsumer))
	key, mine := dispatch{r.ID, r.Dispatch}, &attempt{}
	t.mu.Lock()
	t.held[key] = mine
	t.mu.Unlock()
	_, span := t.tracer.Start(context.WithValue(root, forcedKey{}, attemptOf(r.ID, r.Dispatch)), "attempt", trace.WithTimestamp(now),
		trace.WithAttributes(append(about(&r), keyAttempt.Int(r.Attempt), keyDispatch.Int(r.Dispatch), keyWorker.String(r.Worker))...))
	return trace.ContextWithSpan(ctx, span), func(after schedules.Run, o schedules.Outcome, recorded bool) {
		t.mu.Lock()
		if t.held[key] == mine {
			delete(t.held, key)
		}
		known := recorded || mine.endedHere
		t.mu.Unlock()
		if !known { // somebody else took the run, and has written the attempt
			return
		}
		switch {
		case !recorded:
			span.SetAttributes(keyOutcome.String("refused"))
			span.SetStatus(codes.Error, "the run had ended, or passed to another worker")
		case o.Kind == schedules.OutcomeCompleted:
			span.SetAttributes(keyOutcome.String("completed"))
			span.SetStatus(codes.Ok, "")
		case after.Status == schedules.RunCancelled:
			span.SetAttributes(keyOutcome.String("cancelled"))
		case o.Kind == schedules.OutcomeFailed:
			span.SetAttributes(keyOutcome.String("failed"))
			if o.Error != nil {
				span.SetStatus(codes.Error, o.Error.Message)
				span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.type", o.Error.Kind), attribute.String("exception.message", o.Error.Message),
					attribute.String("exception.stacktrace", o.Error.Stack)))
			}
		default:
			span.SetAttributes(keyOutcome.String("handed_back"))
		}
		span.End()
	}
}

// Step begins a step's span.
func (t *Tracer) Step(ctx context.Context, r schedules.Run, s schedules.Step) (context.Context, func(schedules.Step, error)) {
	ctx, span := t.tracer.Start(ctx, "step "+s.Name, trace.WithAttributes(keyRun.String(r.ID), keyStep.String(s.Name), keyStepKey.String(s.Key)))
	return ctx, func(s schedules.Step, err error) {
		span.SetAttributes(keyAttempt.Int(s.Attempt))
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Headers are what a message carries for other tooling: the W3C trace context of its run's root span.
func (t *Tracer) Headers(m store.Message) map[string]string {
	h := propagation.MapCarrier{}
	t.carrier.Inject(t.under(context.Background(), m.RunID), h)
	return h
}

// Incoming takes the W3C trace context of requests over, so that what they start links to their callers.
func (t *Tracer) Incoming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(t.carrier.Extract(r.Context(), propagation.HeaderCarrier(r.Header))))
	})
}

// Caller takes a W3C trace context over from the text of a traceparent, such as that of an environment variable. One that cannot be read changes nothing.
func (t *Tracer) Caller(ctx context.Context, traceparent string) context.Context {
	return t.carrier.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// Log gives a handler that adds trace_id to lines within a span, or about a run (run_id), and hands them to next.
func (t *Tracer) Log(next slog.Handler) slog.Handler { return &logHandler{next: next} }
