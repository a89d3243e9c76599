package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	// MaxPerSchedule is the most schedules that Config.PerSchedule may name.
	MaxPerSchedule = 10_000

	maxWorkflows = 500
	maxQueues    = 200
	// other is the label of what is beyond a bound.
	other = "other"
)

// Config holds what a Metrics is made of. The zero value is good.
type Config struct {
	Version string // of the program
	// PerSchedule is how many schedules get series of their own (pyworkflow_schedule_*), the first that are heard of; those after them are counted as "other".
	// Zero: none do. At most MaxPerSchedule.
	PerSchedule int
	// State reads what is the same for all processes, at most once every 5 s, when somebody scrapes. Nil: it is not shown.
	State StateReader
	Log   *slog.Logger // nil: discards
}

// Metrics counts. It is an engine.Witness and a worker.Observer that is told of steps, and safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	state    *stateCollector
	parts    *partsCollector

	workflows, queues, schedules *bounded
	known                        sync.Map // pairs of workflow and queue whose counters are there

	ticks, blocked                                *prometheus.CounterVec
	lateness, startLateness                       *prometheus.HistogramVec
	dispatchLag                                   *prometheus.HistogramVec
	swept, unsent                                 *prometheus.CounterVec
	created, ended, attempts, retries, recoveries *prometheus.CounterVec
	returned, resent, abandoned                   *prometheus.CounterVec
	queueTime, runTime, stepTime                  *prometheus.HistogramVec
	storeTime                                     *prometheus.HistogramVec
	storeErrors, storeConflicts                   *prometheus.CounterVec
	scheduleTicks, scheduleEnded                  *prometheus.CounterVec
}

// Buckets in seconds: of what should be moments, and of what may last.
var (
	moments = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600}
	lasting = []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}
	calls   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
)

// New checks the configuration. Call Close when nobody scrapes any more.
func New(cfg Config) (*Metrics, error) {
	if cfg.PerSchedule < 0 || cfg.PerSchedule > MaxPerSchedule {
		return nil, fmt.Errorf("metrics: Config.PerSchedule %d is not possible; write a number from 0 to %d", cfg.PerSchedule, MaxPerSchedule)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(), log: cfg.Log,
		workflows: newBounded(maxWorkflows), queues: newBounded(maxQueues), schedules: newBounded(cfg.PerSchedule),
	}
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pyworkflow_" + name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	spread := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pyworkflow_" + name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.ticks = count("ticks_total", "Fates decided by this process. A tick that waited counts as buffered, and once more when it is started or dropped.", "workflow", "fate")
	m.blocked = count("schedules_blocked_total", "Times that ticks of a schedule were skipped behind one run, three or more.", "workflow")
	m.lateness = spread("tick_lateness_seconds", "Between the nominal time of a regular tick and its decision; schedules with jitter are left out, they are late on purpose.", moments, "workflow")
	m.startLateness = spread("run_start_lateness_seconds", "Between the nominal time of a regular tick and the first claim of its run: jitter, waiting behind another run and the queue included.", moments, "workflow")
	m.dispatchLag = spread("dispatch_lag_seconds", "Between the commit that sends a run to a worker and the transport having its message, where one process did both.", moments, "queue")
	m.swept = count("dispatch_swept_total", "Messages that a keeper sent because their own process had not within a second.", "queue")
	m.unsent = count("dispatch_failures_total", "Messages that the transport did not take; they are sent again.", "queue")
	m.created = count("runs_created_total", "Runs created by this process.", "workflow", "queue", "trigger")
	m.ended = count("runs_ended_total", "Runs whose end this process recorded.", "workflow", "queue", "status")
	m.attempts = count("run_attempts_total", "Attempts that ended on this worker; refused: the run had passed to somebody else.", "workflow", "outcome")
	m.retries = count("run_retries_total", "Attempts that failed and are followed by another one.", "workflow")
	m.recoveries = count("run_recoveries_total", "Runs taken from a worker that stopped renewing its lease, whether they went to another one or failed.", "workflow")
	m.returned = count("run_returns_total", "Runs given back by a worker that lacks their workflow.", "workflow")
	m.resent = count("run_resends_total", "Runs sent anew because the transport had lost their message.", "workflow")
	m.abandoned = count("runs_abandoned_total", "Runs whose code ignored its cancelled context and was left behind by this worker.", "workflow")
	m.queueTime = spread("run_queue_seconds", "Between the creation of a run and its first claim.", moments, "queue")
	m.runTime = spread("run_duration_seconds", "Between the first claim of a run and its end.", lasting, "workflow")
	m.stepTime = spread("step_duration_seconds", "How long a step took, its retries included. Steps whose recorded result was used are not counted.", lasting, "workflow", "status")
	m.storeTime = spread("store_call_seconds", "How long calls of the store took.", calls, "op")
	m.storeErrors = count("store_errors_total", "Calls of the store that failed: no answer in time, or a refusal by the server.", "op")
	m.storeConflicts = count("store_conflicts_total", "Commits that lost a race or were fenced off: no fault, they are decided anew or refused for good.", "op")
	if cfg.PerSchedule > 0 {
		m.scheduleTicks = count("schedule_ticks_total", "As pyworkflow_ticks_total, by schedule.", "schedule", "fate")
		m.scheduleEnded = count("schedule_runs_ended_total", "As pyworkflow_runs_ended_total, by schedule.", "schedule", "status")
	}
	m.parts = &partsCollector{}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pyworkflow_build_info", Help: "Always 1; its labels say what runs."}, []string{"version", "go_version"})
	build.WithLabelValues(cfg.Version, runtime.Version()).Set(1)
	m.registry.MustRegister(build, m.parts, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if cfg.State != nil {
		m.state = newStateCollector(cfg.State, cfg.Log, m.queues, m.Know)
		m.registry.MustRegister(m.state)
	}
	return m, nil
}

// Know makes the counters of a workflow, whose runs go to that queue (empty: the default one), begin at zero now: a counter that begins with its first event hides that event from rates. What
// is met is known from then on.
func (m *Metrics) Know(workflow, queue string) {
	type pair struct{ workflow, queue string }
	if queue == "" {
		queue = schedules.DefaultQueue
	}
	p := pair{m.workflows.label(workflow), m.queues.label(queue)}
	if _, before := m.known.LoadOrStore(p, true); before {
		return
	}
	for _, fate := range []schedules.FateKind{schedules.FateStarted, schedules.FateBuffered, schedules.FateSkipped, schedules.FateMissed, schedules.FateDropped} {
		m.ticks.WithLabelValues(p.workflow, string(fate))
	}
	for _, status := range []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled} {
		m.ended.WithLabelValues(p.workflow, p.queue, string(status))
	}
	for _, v := range []*prometheus.CounterVec{m.blocked, m.retries, m.recoveries, m.returned, m.resent, m.abandoned} {
		v.WithLabelValues(p.workflow)
	}
	m.swept.WithLabelValues(p.queue)
	m.unsent.WithLabelValues(p.queue)
}

// Handler answers scrapes. It is to be mounted at /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: scrapeLog{m.log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// Gatherer gives the registry for who wants the numbers otherwise than over HTTP.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Close waits for a reading of the state under way. Calling it twice is harmless.
func (m *Metrics) Close() {
	if m.state != nil {
		m.state.close()
	}
}

// scrapeLog writes what goes wrong with a page to the log.
type scrapeLog struct{ log *slog.Logger }

// Println logs at level warn.
func (l scrapeLog) Println(v ...any) {
	l.log.Warn("metrics are not complete", "error", fmt.Sprint(v...))
}

// bounded lets through the first so many names.
type bounded struct {
	most int
	mu   sync.RWMutex
	seen map[string]bool
}

func newBounded(most int) *bounded { return &bounded{most: most, seen: make(map[string]bool)} }

// label gives the name, or "other" when it is one too many.
func (b *bounded) label(name string) string {
	b.mu.RLock()
	known, full := b.seen[name], len(b.seen) >= b.most
	b.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= b.most && !b.seen[name] {
		return other
	}
	b.seen[name] = true
	return name
}
