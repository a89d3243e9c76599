package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

// Loop is a Beat or a Keeper.
type Loop interface{ Stats() beat.Stats }

// Worker is a worker.Worker.
type Worker interface{ Stats() worker.Stats }

// WatchLoop shows a loop under a name, "beat" or "keeper", from now on.
func (m *Metrics) WatchLoop(name string, l Loop) {
	m.parts.mu.Lock()
	defer m.parts.mu.Unlock()
	m.parts.loops = append(m.parts.loops, namedLoop{name, l})
}

// WatchWorker shows the worker from now on.
func (m *Metrics) WatchWorker(w Worker) {
	m.parts.mu.Lock()
	defer m.parts.mu.Unlock()
	m.parts.worker = w
}

type namedLoop struct {
	name string
	loop Loop
}

// partsCollector shows the parts of this process as they are when it is asked.
type partsCollector struct {
	mu     sync.Mutex
	loops  []namedLoop
	worker Worker
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pyworkflow_"+name, help, labels, nil)
}

var (
	loopRunning  = describe("loop_running", "1 while the beat or keeper of this process runs.", "loop")
	loopAnswers  = describe("loop_store_answers", "1 while the store answers the beat or keeper of this process.", "loop")
	loopShards   = describe("loop_shards_held", "Shards whose lease the beat or keeper of this process holds.", "loop")
	loopArmed    = describe("loop_armed", "Entries that wait for their time in this process.", "loop")
	loopActed    = describe("loop_acted_total", "Due entries moved on.", "loop")
	loopFailed   = describe("loop_failed_total", "Due entries that could not be moved on; they are tried again.", "loop")
	loopErrors   = describe("loop_store_errors_total", "Calls of the store by the loop that failed.", "loop")
	loopLastPoll = describe("loop_last_poll_timestamp_seconds", "When the loop last polled a shard with success; 0: never.", "loop")
	loopPollTook = describe("loop_poll_seconds", "How long the last poll of a shard took.", "loop")
	loopOverdue  = describe("loop_overdue_total", "Schedules found overdue by more than the bound; by the keeper: because no beat is running.", "loop")
	loopMended   = describe("loop_mended_total", "By the beat: overdue schedules put right; by the keeper: index entries that did not fit their record.", "loop")

	workerRunning   = describe("worker_running_runs", "Runs that this worker holds.")
	workerCapacity  = describe("worker_capacity_runs", "Runs that this worker executes at a time at most.")
	workerAbandoned = describe("worker_abandoned_goroutines", "Code that ignores its cancelled context, was left behind, and still goes on.")
)

// Describe lists the metrics.
func (p *partsCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loopRunning, loopAnswers, loopShards, loopArmed, loopActed, loopFailed, loopErrors, loopLastPoll, loopPollTook, loopOverdue, loopMended,
		workerRunning, workerCapacity, workerAbandoned} {
		to <- d
	}
}

// Collect asks the parts.
func (p *partsCollector) Collect(to chan<- prometheus.Metric) {
	p.mu.Lock()
	loops, w := p.loops, p.worker
	p.mu.Unlock()
	for _, l := range loops {
		s := l.loop.Stats()
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l.name)
		}
		counter := func(d *prometheus.Desc, v int64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), l.name)
		}
		gauge(loopRunning, one(s.Running))
		gauge(loopAnswers, one(s.Answers))
		gauge(loopShards, float64(len(s.Shards)))
		gauge(loopArmed, float64(s.Armed))
		counter(loopActed, s.Acted)
		counter(loopFailed, s.Failed)
		counter(loopErrors, s.Errors)
		last := 0.0
		if !s.LastPoll.IsZero() {
			last = float64(s.LastPoll.UnixMilli()) / 1000
		}
		gauge(loopLastPoll, last)
		gauge(loopPollTook, s.PollTook.Seconds())
		counter(loopOverdue, s.Overdue)
		counter(loopMended, s.Mended)
	}
	if w != nil {
		s := w.Stats()
		to <- prometheus.MustNewConstMetric(workerRunning, prometheus.GaugeValue, float64(s.Running))
		to <- prometheus.MustNewConstMetric(workerCapacity, prometheus.GaugeValue, float64(s.Capacity))
		to <- prometheus.MustNewConstMetric(workerAbandoned, prometheus.GaugeValue, float64(s.Abandoned))
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
