// Package metrics shows what a process does to Prometheus. A Metrics has a registry of its own and is wired in from outside: it observes an engine and a worker, stands
// in front of a store, and is asked for its page by whoever scrapes. It decides nothing, and what happens often costs it a counter.
//
// Three kinds of numbers are on the page:
//
//	counted here     ticks, runs, steps, messages: what this process decided, ended, executed, sent. Sum them over processes.
//	of this process  its beat, keeper and worker: shards held, polls, runs in hand.
//	of all           live processes, queues, outbox, overdue schedules: read from the store, every process shows the same. Take their maximum.
//
// Labels are bounded: workflows and queues up to a number, everything beyond it is "other"; never a run. Schedules are named only where Config.PerSchedule asks for
// it. docs/metrics.md lists every metric. Subpackage tracing is the same for OpenTelemetry's traces.
package metrics
