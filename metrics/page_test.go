package metrics_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/metrics"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

var update = flag.Bool("update", false, "rewrite the table in docs/metrics.md")

const docFile = "../docs/metrics.md"

type loop struct{}

func (loop) Stats() beat.Stats {
	return beat.Stats{Running: true, Answers: true, Shards: []int{1, 2}, Armed: 3, LastPoll: time.UnixMilli(1500), PollTook: time.Millisecond, Acted: 4, Failed: 5, Errors: 6, Overdue: 7, Mended: 8}
}

type hands struct{}

func (hands) Stats() worker.Stats { return worker.Stats{Running: 1, Capacity: 2, Abandoned: 3} }

func readSomething(context.Context) (metrics.State, error) {
	return metrics.State{Schedules: map[string]int64{"active": 3}, ActiveRuns: 4, Workers: 1, Beats: 2, Running: 5, Capacity: 10, Outbox: 6, OutboxStuck: 1, Overdue: 1, MostOverdue: time.Minute,
		Queues:    []store.QueueState{{Queue: "default", Waiting: 7, Active: 1, Scheduled: 2, Retry: 3, Archived: 4, Oldest: 9 * time.Second, Paused: true}},
		Workflows: []store.Workflow{{Name: "announced", Options: schedules.RunOptions{Queue: "fast"}}}}, nil
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newMetrics(t *testing.T, cfg metrics.Config) *metrics.Metrics {
	t.Helper()
	m, err := metrics.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// run is a run of a schedule's tick at noon.
func run(status schedules.RunStatus) schedules.Run {
	r := schedules.Run{ID: "run_1", ScheduleID: "s", Workflow: "flow", Queue: "default", Trigger: schedules.TriggerSchedule, Nominal: noon, CreatedAt: noon.Add(20 * time.Millisecond)}
	r.Status, r.Attempt, r.Dispatch, r.StartedAt = status, 1, 1, noon.Add(120*time.Millisecond)
	if status.Ended() {
		r.EndedAt = r.StartedAt.Add(3 * time.Second)
	}
	return r
}

// everything lets every metric be seen once.
func everything(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := newMetrics(t, metrics.Config{Version: "1.2.3", PerSchedule: 1, State: readSomething})
	m.WatchLoop("beat", loop{})
	m.WatchWorker(hands{})
	c := schedules.Change{Now: noon, Schedule: schedules.Schedule{Record: schedules.Record{ID: "s", Workflow: "flow"}}, Fates: []schedules.Fate{
		{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: noon}, DecidedAt: noon.Add(20 * time.Millisecond), Fate: schedules.FateStarted}},
		Warnings: []schedules.Warning{{Kind: schedules.WarnBlocked}}}
	m.Decided(c)
	m.Created(t.Context(), []schedules.Run{run(schedules.RunPending)})
	m.Claimed(run(schedules.RunRunning))
	m.Stepped(run(schedules.RunRunning), schedules.Step{Name: "fetch"}, time.Second, nil)
	m.Attempted(run(schedules.RunCompleted), schedules.Outcome{Kind: schedules.OutcomeCompleted}, time.Second, true)
	m.RunChanged(schedules.RunChange{Run: run(schedules.RunCompleted)})
	m.Abandoned(run(schedules.RunRunning))
	msg := store.Message{RunID: "run_1", Dispatch: 1, Queue: "default"}
	m.Dispatched([]store.Message{msg}, []store.Message{msg}, time.Now(), time.Now())
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	counted := m.Store(st)
	_ = counted.Close()
	_, _ = counted.GetRun(t.Context(), "run_1")
	_ = m.Store(refuses{}).CommitRun(t.Context(), schedules.RunChange{})
	return m
}

type refuses struct{ store.Store }

func (refuses) CommitRun(context.Context, schedules.RunChange) error { return store.ErrConflict }

// page gathers, by the name of the metric.
func page(t *testing.T, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*dto.MetricFamily)
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// value gives one number: of a histogram how many were counted; 0 when there is none. Labels are "k=v".
func value(t *testing.T, m *metrics.Metrics, name string, labels ...string) float64 {
	t.Helper()
	var sum float64
	for _, one := range page(t, m)["pyworkflow_"+name].GetMetric() {
		fits := 0
		for _, l := range one.GetLabel() {
			if slices.Contains(labels, l.GetName()+"="+l.GetValue()) {
				fits++
			}
		}
		if fits == len(labels) {
			sum += one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// kind is what the documents say of a metric.
type kind struct {
	what   string // counter, gauge, histogram
	help   string
	labels []string
}

// kinds are all metrics of ours, as they are seen on a page; every one that is registered has to be on it.
func kinds(t *testing.T) map[string]kind {
	t.Helper()
	m := everything(t)
	out := make(map[string]kind)
	for name, f := range page(t, m) {
		k := kind{what: strings.ToLower(f.GetType().String()), help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			k.labels = append(k.labels, l.GetName())
		}
		out[name] = k
	}
	descs := make(chan *prometheus.Desc, 1000)
	m.Gatherer().(*prometheus.Registry).Describe(descs)
	close(descs)
	named := regexp.MustCompile(`fqName: "([^"]*)"`)
	for d := range descs {
		name := named.FindStringSubmatch(d.String())[1]
		if _, seen := out[name]; !seen && strings.HasPrefix(name, "pyworkflow_") {
			t.Errorf("metric %s is not on the page of a process in which everything has happened", name)
		}
	}
	return out
}

func TestDocumentListsEveryMetric(t *testing.T) {
	all := kinds(t)
	var rows []string
	for name, k := range all {
		if !strings.HasPrefix(name, "pyworkflow_") {
			continue
		}
		if k.what == "counter" != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, k.what)
		}
		labels := strings.Join(k.labels, ", ")
		if labels == "" {
			labels = "–"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", name, k.what, labels, k.help))
	}
	slices.Sort(rows)
	table := "| metric | kind | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
	text, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- metrics: made by go test ./metrics -update -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks its marks", docFile)
	}
	if *update {
		if err := os.WriteFile(docFile, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != table {
		t.Errorf("the table in %s is not what the registry says; run: go test ./metrics -run Document -update", docFile)
	}
}

func TestWhatIsCounted(t *testing.T) {
	m := everything(t)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "ticks_total", []string{"workflow=flow", "fate=started"}},
		{0, "ticks_total", []string{"workflow=flow", "fate=missed"}},
		{1, "schedule_ticks_total", []string{"schedule=s", "fate=started"}},
		{1, "schedules_blocked_total", []string{"workflow=flow"}},
		{1, "tick_lateness_seconds", []string{"workflow=flow"}},
		{1, "run_start_lateness_seconds", []string{"workflow=flow"}},
		{1, "run_queue_seconds", []string{"queue=default"}},
		{1, "dispatch_lag_seconds", []string{"queue=default"}},
		{1, "runs_created_total", []string{"workflow=flow", "queue=default", "trigger=schedule"}},
		{1, "runs_ended_total", []string{"workflow=flow", "queue=default", "status=completed"}},
		{1, "schedule_runs_ended_total", []string{"schedule=s", "status=completed"}},
		{1, "run_attempts_total", []string{"workflow=flow", "outcome=completed"}},
		{1, "run_duration_seconds", []string{"workflow=flow"}},
		{1, "step_duration_seconds", []string{"workflow=flow", "status=completed"}},
		{1, "runs_abandoned_total", []string{"workflow=flow"}},
		{1, "store_errors_total", []string{"op=get_run"}},
		{1, "store_conflicts_total", []string{"op=commit_run"}},
		{0, "store_errors_total", []string{"op=commit_run"}},
		{2, "loop_shards_held", []string{"loop=beat"}},
		{1.5, "loop_last_poll_timestamp_seconds", []string{"loop=beat"}},
		{7, "loop_overdue_total", []string{"loop=beat"}},
		{1, "worker_running_runs", nil},
		{7, "queue_messages", []string{"queue=default", "state=waiting"}},
		{9, "queue_oldest_seconds", []string{"queue=default"}},
		{60, "overdue_seconds", nil},
		{1, "state_up", nil},
		{1, "build_info", []string{"version=1.2.3"}},
	} {
		if got := value(t, m, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if _, ok := page(t, m)["go_goroutines"]; !ok {
		t.Error("the Go runtime is not shown")
	}
}

func TestFatesThatWaited(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	tick := schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: noon}
	decide := func(jitter schedules.Duration, f schedules.Fate) {
		f.Tick, f.DecidedAt = tick, noon.Add(time.Minute)
		s := schedules.Schedule{Record: schedules.Record{ID: "s", Workflow: "flow"}}
		s.Spec.Jitter = jitter
		m.Decided(schedules.Change{Schedule: s, Fates: []schedules.Fate{f}})
	}
	decide(0, schedules.Fate{Fate: schedules.FateStarted, Reason: schedules.ReasonOverlap}) // it waited
	decide(0, schedules.Fate{Fate: schedules.FateMissed})
	decide(schedules.Duration(time.Hour), schedules.Fate{Fate: schedules.FateStarted})
	if got := value(t, m, "tick_lateness_seconds"); got != 0 {
		t.Errorf("%v of them count as late", got)
	}
	decide(0, schedules.Fate{Fate: schedules.FateBuffered})
	if got := value(t, m, "tick_lateness_seconds"); got != 1 {
		t.Errorf("%v count as late", got)
	}
}

func TestTransitions(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	opts := schedules.RunOptions{MaxRetries: 1, MaxRecoveries: 1}
	held := run(schedules.RunRunning)
	held.Options = &opts
	pending := run(schedules.RunPending)
	pending.Sent, pending.Due = true, noon
	failed := schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Message: "no"}}
	m.Moved(held, schedules.EndAttempt(held, failed, opts, noon, 0))
	m.Moved(held, schedules.LoseRun(held, noon))
	often := held
	often.Recoveries = 1
	m.Moved(often, schedules.LoseRun(often, noon)) // it fails: recovered often enough
	gone, _ := schedules.RunDue(pending, true, noon.Add(time.Minute))
	m.Moved(pending, gone)
	m.Moved(held, schedules.EndAttempt(held, schedules.Outcome{Kind: schedules.OutcomeCompleted}, opts, noon, 0))
	m.Moved(held, schedules.EndAttempt(held, schedules.Outcome{Kind: schedules.OutcomeHandedBack}, opts, noon, 0))
	for name, want := range map[string]float64{"run_retries_total": 1, "run_recoveries_total": 2, "run_resends_total": 1, "run_returns_total": 0} {
		if got := value(t, m, name, "workflow=flow"); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestMessagesThatAreNotTaken(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	a, b, c := store.Message{RunID: "a", Queue: "x"}, store.Message{RunID: "b", Queue: "x"}, store.Message{RunID: "c", Queue: "y"}
	m.Dispatched([]store.Message{a, b, c}, []store.Message{b}, time.Time{}, time.Now())
	for _, q := range []struct {
		queue         string
		swept, failed float64
	}{{"x", 1, 1}, {"y", 0, 1}} {
		if s, f := value(t, m, "dispatch_swept_total", "queue="+q.queue), value(t, m, "dispatch_failures_total", "queue="+q.queue); s != q.swept || f != q.failed {
			t.Errorf("queue %s: %v swept, %v failed", q.queue, s, f)
		}
	}
	if got := value(t, m, "dispatch_lag_seconds"); got != 0 {
		t.Errorf("the lag of what others left is counted %v times", got)
	}
}

func TestLabelsAreBounded(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSchedule: 2})
	for i := range 2000 {
		r := run(schedules.RunCompleted)
		r.Workflow, r.Queue, r.ScheduleID = fmt.Sprint("flow", i), fmt.Sprint("queue", i), fmt.Sprint("schedule", i)
		m.Created(t.Context(), []schedules.Run{r})
		m.RunChanged(schedules.RunChange{Run: r})
	}
	labels := map[string]map[string]bool{}
	for _, f := range page(t, m) {
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				if labels[l.GetName()] == nil {
					labels[l.GetName()] = map[string]bool{}
				}
				labels[l.GetName()][l.GetValue()] = true
			}
		}
	}
	for name, most := range map[string]int{"workflow": 501, "queue": 201, "schedule": 3} {
		if n := len(labels[name]); n != most || !labels[name]["other"] {
			t.Errorf("%d values of %s, want %d with \"other\" among them", n, name, most)
		}
	}
	if got := value(t, m, "runs_ended_total"); got != 2000 {
		t.Errorf("%v runs are counted", got)
	}
	if got := value(t, newMetrics(t, metrics.Config{}), "schedule_ticks_total"); got != 0 {
		t.Error("schedules are named without being asked for")
	}
	for _, n := range []int{-1, metrics.MaxPerSchedule + 1} {
		if _, err := metrics.New(metrics.Config{PerSchedule: n}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n)) {
			t.Errorf("PerSchedule %d: %v", n, err)
		}
	}
}

func TestCountersBeginAtZero(t *testing.T) {
	m := newMetrics(t, metrics.Config{State: readSomething})
	m.Know("flow", "")
	page(t, m) // reads the state, which names another
	seen := map[string]bool{}
	for _, one := range page(t, m)["pyworkflow_runs_ended_total"].GetMetric() {
		var key []string
		for _, l := range one.GetLabel() {
			key = append(key, l.GetValue())
		}
		seen[strings.Join(key, " ")] = true
	}
	for _, want := range []string{"default failed flow", "default completed flow", "default cancelled flow", "fast failed announced"} {
		if !seen[want] {
			t.Errorf("%q is not among %v", want, seen)
		}
	}
}

// Every call that asks the store something is counted, also those that are added to the contract one day.
func TestEveryCallOfTheStoreIsCounted(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	counted := reflect.ValueOf(m.Store(st))
	contract := reflect.TypeFor[store.Store]()
	before := value(t, m, "store_call_seconds")
	for i := range contract.NumMethod() {
		method := contract.Method(i)
		if method.Type.NumIn() == 0 || method.Type.In(0) != reflect.TypeFor[context.Context]() || method.Name == "Listen" {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < method.Type.NumIn(); j++ {
			if method.Type.IsVariadic() && j == method.Type.NumIn()-1 {
				break
			}
			args = append(args, reflect.Zero(method.Type.In(j)))
		}
		counted.MethodByName(method.Name).Call(args)
		after := value(t, m, "store_call_seconds")
		if after != before+1 {
			t.Errorf("%s is counted %v times: add it to countedStore", method.Name, after-before)
		}
		before = after
	}
	if got := value(t, m, "store_errors_total"); got < 20 {
		t.Errorf("%v errors of a closed store", got)
	}
}

func TestWhatIsNoErrorOfTheStore(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	for _, err := range []error{nil, store.ErrNotFound, store.ErrExists, context.Canceled, store.BadCursor("x"), fmt.Errorf("read: %w", store.ErrNotFound)} {
		_ = m.Store(pings{err: err}).Ping(t.Context())
	}
	if got := value(t, m, "store_errors_total"); got != 0 {
		t.Errorf("%v", got)
	}
	_ = m.Store(pings{err: errors.New("i/o timeout")}).Ping(t.Context())
	_ = m.Store(pings{err: errors.New("gone")}).Listen(t.Context(), nil)
	if ping, listen := value(t, m, "store_errors_total", "op=ping"), value(t, m, "store_errors_total", "op=listen"); ping != 1 || listen != 1 {
		t.Errorf("ping %v, listen %v", ping, listen)
	}
}

type pings struct {
	store.Store
	err error
}

func (p pings) Ping(context.Context) error                     { return p.err }
func (p pings) Listen(context.Context, func(store.Wake)) error { return p.err }

func TestScrapesDoNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		var away atomic.Bool
		m, err := metrics.New(metrics.Config{State: func(ctx context.Context) (metrics.State, error) {
			n := reads.Add(1)
			if away.Load() {
				<-ctx.Done()
				return metrics.State{}, ctx.Err()
			}
			return metrics.State{ActiveRuns: n}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		wait := func(d time.Duration) { <-time.After(d) }
		scrape := func() (active float64, up float64, took time.Duration) {
			began := time.Now()
			rec := httptest.NewRecorder()
			m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if rec.Code != http.StatusOK {
				t.Fatalf("status %d", rec.Code)
			}
			took = time.Since(began)
			return value(t, m, "runs_active"), value(t, m, "state_up"), took
		}
		if active, up, _ := scrape(); active != 1 || up != 1 {
			t.Errorf("first: %v, up %v", active, up)
		}
		wait(4 * time.Second)
		if active, _, _ := scrape(); active != 1 || reads.Load() != 1 {
			t.Errorf("within five seconds: %v after %d readings", active, reads.Load())
		}
		wait(2 * time.Second)
		if active, _, _ := scrape(); active != 2 {
			t.Errorf("later: %v", active)
		}
		away.Store(true)
		wait(6 * time.Second)
		active, up, took := scrape()
		if active != 2 || up != 0 || took > time.Second {
			t.Errorf("while the store is away: %v, up %v, after %s", active, up, took)
		}
		wait(70 * time.Second)
		if active, up, _ := scrape(); active != 0 || up != 0 {
			t.Errorf("long away: %v, up %v; old numbers are shown", active, up)
		}
		away.Store(false)
		wait(6 * time.Second)
		if active, up, _ := scrape(); active == 0 || up != 1 {
			t.Errorf("back again: %v, up %v", active, up)
		}
	})
}

func TestStateOfAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		st, err := sqlitestore.Open(ctx, sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		for _, p := range []store.Process{{ID: "w", Worker: true, Capacity: 4, Running: []string{"a", "b"}}, {ID: "b", Beat: true}, {ID: "wb", Worker: true, Beat: true, Capacity: 2}} {
			if err := st.AnnounceProcess(ctx, p, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := st.CreateRun(ctx, schedules.NewRun(schedules.FreeRunID("x"), "flow", "", nil, nil, st.Estimate())); err != nil {
			t.Fatal(err)
		}
		read := metrics.ReadState(st, nil, 15*time.Second)
		s, err := read(ctx)
		if err != nil || s.Workers != 2 || s.Beats != 2 || s.Running != 2 || s.Capacity != 6 || s.ActiveRuns != 1 || s.Outbox != 1 || s.OutboxStuck != 0 || s.Overdue != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		c, err := schedules.Create(schedules.CreateRequest{ID: "s", Incarnation: "1", Workflow: "flow", Definition: schedules.Definition{Spec: schedules.Spec{Interval: "1h"}}}, st.Estimate())
		if err != nil {
			t.Fatal(err)
		}
		if errs := st.Commit(ctx, c); errs[0] != nil {
			t.Fatal(errs)
		}
		<-time.After(time.Minute)
		s, err = read(ctx)
		if err != nil || s.OutboxStuck != 1 || s.Overdue != 1 || s.MostOverdue < 59*time.Second || s.Schedules["active"] != 1 {
			t.Errorf("a minute later: %+v, %v", s, err)
		}
	})
}
