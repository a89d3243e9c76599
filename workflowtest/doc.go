// Package workflowtest tests workflows and their schedules: the scheduler and the worker that run in production, on a store in memory, in fake time.
//
//	func TestDailyReport(t *testing.T) {
//		workflowtest.Run(t, workflows.Register, func(t *testing.T, w *workflowtest.World) {
//			w.StubStep("daily_report", "fetch", workflowtest.Return([]int{1, 2, 3}))
//			w.Advance(24 * time.Hour)
//			runs := w.Runs("auto_daily_report")
//			if len(runs) != 1 || workflowtest.Result[Report](w, runs[0].RunID).Sum != 6 {
//				t.Errorf("runs %+v", runs)
//			}
//		})
//	}
//
// Nothing of pyworkflow is imitated: what is declared in code is activated, ticks are decided, runs are claimed, executed, retried, cancelled and recovered by the
// same code as everywhere. Only what a test says is different: a stub stands in for a step, a process dies, or nothing runs for a while.
//
// # Time
//
// A World lives in a bubble of testing/synctest, and its rules hold: time.Now, timers and contexts of everything started in it, the workflows included, follow a
// clock that stands still while anything works and jumps when all wait. It begins at midnight UTC 2000-01-01, or at WithNow, and moves by Advance, AdvanceTo,
// Wait, Down, and whenever the test itself waits (a Handle's Wait, a timer). A month of a daily schedule passes in milliseconds; an hour in which code runs takes
// longer than one in which nothing does, since workers report every second.
//
// Code that waits for something outside the bubble, such as an answer from the network, holds the clock still: stub such steps. Waits between attempts have the
// jitter they have in production (pyworkflow.Fixed has none).
//
// # Crashes
//
// A process that crashes writes nothing any more, begins no step, and the contexts of its runs are cancelled; code between steps cannot be stopped as a kill would. Another
// process starts in its place at once. As in production it takes over what the dead one held when its lease has run out, 13 s later, and recorded steps are not executed again.
//
// # The race detector
//
// It works, but long simulations now and then crash the detector's own runtime (Go 1.26: "ThreadSanitizer: CHECK failed: tsan_rtl.cpp:346"), which says nothing about
// the code: simulate weeks without -race.
//
// The methods of a World are for the goroutine of the test. They fail the test rather than return errors; Client has every act and view with errors. When a
// test fails, what became of every tick and run is logged.
package workflowtest
