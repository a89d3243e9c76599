// Package tracing writes a trace of every run with OpenTelemetry, from its tick to its end, across processes.
//
//	run <workflow>           from the tick (or the start) to the end; written by whoever records the end
//	├─ tick | start | …      the decision and its commit; links to the caller's span, if there is one
//	├─ dispatch              the message goes to the transport; once per dispatch
//	├─ queue                 the message waits for a worker
//	├─ claim                 the worker makes the run its own
//	├─ attempt               the workflow's code, until its outcome is recorded; user code's spans nest here
//	│  └─ step <name>        a step's code, its retries included; user code's spans nest here
//	├─ recovery              a worker stopped renewing its lease; the keeper that took the run from it writes the lost attempt, too
//	└─ dispatch, queue, …    of the next attempt
//
// Nothing of this is stored. The ids of the trace, of its root and of its attempts are hashes of the run's id, so that any process, after any restart, writes into
// the same trace; a sampler that goes by the trace id (all the usual ones do) decides alike everywhere. Tasks carry a traceparent for other tooling.
package tracing
