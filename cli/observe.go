package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/metrics"
	"github.com/pyworkflow-go/pyworkflow/metrics/tracing"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

const (
	// flushTimeout bounds how long a command that ends waits for the last spans to be taken.
	flushTimeout = 3 * time.Second
	// exportWarn is the least time between two warnings that spans were not taken.
	exportWarn = time.Minute
)

// observe makes the metrics of a long-running command. It puts them before the session's store and among the observers of what wire makes afterwards. A schedule
// counts as overdue when it is due for longer than overdueAfter; 0 is the beat's own default.
func (s *session) observe(perSchedule int, overdueAfter time.Duration) (*metrics.Metrics, error) {
	if overdueAfter <= 0 {
		overdueAfter = beat.DefaultOverduePolls * beat.DefaultPollInterval
	}
	queues, _ := s.transport.(metrics.Queues)
	m, err := metrics.New(metrics.Config{Version: version(), PerSchedule: perSchedule, State: metrics.ReadState(s.store, queues, overdueAfter), Log: s.p.log})
	if err != nil {
		return nil, err
	}
	for _, w := range s.p.app.Workflows() {
		m.Know(w.Name, w.Options.Queue)
	}
	s.metrics, s.store = m, m.Store(s.store)
	return m, nil
}

// observers are those of every engine of the session: who is told of ends, and what it is watched with.
func (s *session) observers() []engine.Observer {
	all := []engine.Observer{s.ends}
	if s.metrics != nil {
		all = append(all, s.metrics)
	}
	if s.p.tracer != nil {
		all = append(all, s.p.tracer)
	}
	return all
}

// workerTracer is the worker's; nil when nothing is traced.
func (p *program) workerTracer() worker.Tracer {
	if p.tracer == nil {
		return nil
	}
	return p.tracer
}

// watchParts shows the parts of the process among the metrics.
func (ps *parts) watchParts(m *metrics.Metrics) {
	if ps.beat != nil {
		m.WatchLoop("beat", ps.beat)
	}
	m.WatchLoop("keeper", ps.keeper)
	if ps.worker != nil {
		m.WatchWorker(ps.worker)
	}
}

// workerObservers tells each.
type workerObservers []worker.Observer

// Claimed tells each.
func (all workerObservers) Claimed(r schedules.Run) {
	for _, o := range all {
		o.Claimed(r)
	}
}

// Attempted tells each.
func (all workerObservers) Attempted(r schedules.Run, o schedules.Outcome, took time.Duration, recorded bool) {
	for _, each := range all {
		each.Attempted(r, o, took, recorded)
	}
}

// Abandoned tells each.
func (all workerObservers) Abandoned(r schedules.Run) {
	for _, o := range all {
		o.Abandoned(r)
	}
}

// Stepped tells those that want to know.
func (all workerObservers) Stepped(r schedules.Run, s schedules.Step, took time.Duration, err error) {
	for _, o := range all {
		if steps, ok := o.(worker.StepObserver); ok {
			steps.Stepped(r, s, took, err)
		}
	}
}

// perSchedule is a flag that takes how many schedules are named in metrics.
type perSchedule struct{ to *int }

// String gives the number.
func (v perSchedule) String() string {
	if v.to == nil {
		return "0"
	}
	return strconv.Itoa(*v.to)
}

// Type names the kind of value for help.
func (v perSchedule) Type() string { return "number" }

// Set checks the number.
func (v perSchedule) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > metrics.MaxPerSchedule {
		return fmt.Errorf("must be a number of schedules from 0 to %d", metrics.MaxPerSchedule)
	}
	*v.to = n
	return nil
}

// metricsFlag sets how many schedules are named in metrics.
func metricsFlag(cmd *cobra.Command, to *int) {
	cmd.Flags().Var(perSchedule{to}, "metrics-per-schedule", "so many schedules, the first that are heard of, get metrics of their own at /metrics; the rest is counted as \"other\" (default none)")
	cmd.Flags().Lookup("metrics-per-schedule").DefValue = "0" // which help leaves out
	config.OptIn(cmd.Flags(), config.Plain, "metrics-per-schedule")
}

// startTracing traces what the command does if OpenTelemetry's variables ask for it, as part of the trace that TRACEPARENT names.
func (p *program) startTracing(cmd *cobra.Command) error {
	t, err := tracing.FromEnvironment(cmd.Context(), version())
	if err != nil {
		return config.Usagef("%s", oneLine(err.Error()))
	}
	if t == nil {
		return nil
	}
	p.tracer, p.log = t, slog.New(t.Log(p.log.Handler()))
	otel.SetTracerProvider(t.Provider()) // user code's own spans
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(&exportLog{log: p.log})
	if parent, ok := p.env("TRACEPARENT"); ok && parent != "" {
		cmd.SetContext(t.Caller(cmd.Context(), parent))
	}
	return nil
}

// stopTracing hands over the last spans, for a while.
func (p *program) stopTracing() {
	if p.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := p.tracer.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		p.log.Warn("the last spans were not taken", "error", err)
	}
}
