// Package worker executes runs. A Worker receives messages from a Transport, claims the runs they name from the store, calls the workflow's code under
// a context of its own, records its steps and its end, and keeps telling the store that it is alive.
//
//	transport ──message──► handle ──Claim──► store
//	                         │
//	                         ├─ code: App.Execute in a goroutine ──RecordStep, AppendEvents──► store
//	                         │     ▲ context cancelled: cancel request, time limit, shutdown, lease lost
//	every second: Heartbeat ─┴─────┘ one call for all runs the worker holds
//	                         │
//	                         └─ end: EndAttempt ──ChangeRun──► engine ──► store, next dispatch
//
// What a message says is not believed: the record of the run decides, and a dispatch is claimed once. What is reported about a run is fenced by
// its dispatch, so a worker that was taken for dead cannot spoil what another does. A worker without the run's workflow gives it back.
//
// The outcome of an attempt is not lost to an outage of the store: recording it is tried until it succeeds or another worker has the run. Code that ignores
// its cancelled context is left behind after a while: its slot is freed, its goroutine goes on, what it still reports is refused.
//
// Two transports are at hand: localtransport in this process, asynqtransport over Redis. The package decides nothing about schedules, and does not
// look after runs that no worker holds: that is the keeper's part, which every process with a worker composes too.
package worker
