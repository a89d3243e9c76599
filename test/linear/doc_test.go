// Package linear checks that what many processes do to one schedule at the same time comes out as if they had done it one after another, in an order
// that agrees with when each of them asked and was answered (linearizability), on a real redis-server and on SQLite.
//
// Several clients, beats and workers, each with connections, a client and an engine of its own, act at random on a few schedules. A recorder between engine and
// store writes down every call that reads or changes a schedule or a run, with its answer; what the caller was told in the end is added. porcupine then looks for an order,
// per schedule, in which each answer is right. What is right says a model (model_test.go, acts_test.go, runs_test.go) that was written from the rules and shares no code
// with package schedules: were schedules.Decide its own judge, a mistake in it would find itself correct.
//
// Two things are taken from the record as witnesses, since the rules leave them open: the time a decision was made for, and the revision it was
// computed on. The second makes the check stricter, not laxer (two commits on one revision are refused, whatever they wrote), and the search
// short. An answer that was lost, because the connection was cut or the caller gave up, leaves open whether and when the call took effect.
//
// TestChecker… run the same against stores with a fault built in, and see the checker refuse: a checker that cannot fail proves nothing.
//
//	go test ./test/linear -histories 5000 -seed 17
package linear
