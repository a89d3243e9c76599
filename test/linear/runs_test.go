package linear

import (
	"slices"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// runKind is what a transition of a run is for.
type runKind string

const (
	runComplete runKind = "complete"
	runFail     runKind = "fail"
	runGiveBack runKind = "hand back"
	runLose     runKind = "lose"   // its worker is lost
	runReturn   runKind = "return" // its worker lacks the workflow
	runCancel   runKind = "cancel"
	runLook     runKind = "look" // its time has come
	runAnew     runKind = "anew" // its time has come, and its message is gone
)

// maxRetries is that of every run of a history.
const maxRetries = 1

// changeRun says what becomes of a claim, a step or a transition of a run as things stand, and how they stand after it.
func changeRun(s state, r run, in input) (state, code) {
	put := func(r run) state {
		next := s.clone()
		next.runs[in.Run] = r
		return next
	}
	current := r.Dispatch == in.Dispatch
	switch in.Op {
	case opClaim:
		switch {
		case current && r.Status == schedules.RunRunning && r.token == in.Token:
			return s, ok
		case !current || r.Status != schedules.RunPending || r.Cancel:
			return s, stale
		}
		r.Status, r.token = schedules.RunRunning, in.Token
		r.Revision++
		return put(r), ok
	case opStep:
		if !current || r.Status != schedules.RunRunning {
			return s, stale
		}
		if !slices.Contains(r.steps, in.Key) {
			r.steps = append(slices.Clone(r.steps), in.Key)
		}
		return put(r), ok
	}
	if r.Revision != in.Expect || r.Status.Ended() {
		return s, conflict
	}
	after, good := transition(r, in)
	after.Revision++
	if !good || after.runView != in.RunAfter {
		return s, "not what the rules say"
	}
	next := put(after)
	if after.Status.Ended() {
		next.scheds[after.inc] = ended(s.scheds[after.inc], in.Run, after)
	}
	return next, ok
}

// transition works out one transition of a run that has not ended.
func transition(r run, in input) (run, bool) {
	again := func() { // to a worker once more
		r.Status, r.token = schedules.RunPending, ""
		r.Dispatch++
		r.unsent = false
	}
	held := r.Status == schedules.RunRunning && r.Dispatch == in.Dispatch
	switch in.Kind {
	case runComplete:
		r.Status = schedules.RunCompleted
		return r, held
	case runFail:
		switch {
		case r.Cancel:
			r.Status = schedules.RunCancelled
		case r.Attempt <= maxRetries:
			again()
			r.Status, r.unsent = schedules.RunRetrying, true
			r.Attempt++
		default:
			r.Status = schedules.RunFailed
		}
		return r, held
	case runGiveBack:
		if again(); r.Cancel {
			r.Status = schedules.RunCancelled
			r.Dispatch--
		}
		return r, held
	case runLose:
		switch {
		case r.Cancel:
			r.Status = schedules.RunCancelled
		case r.Recoveries >= schedules.DefaultMaxRecoveries:
			r.Status = schedules.RunFailed
		default:
			again()
			r.Recoveries++
		}
		return r, held
	case runReturn:
		pending := r.Status == schedules.RunPending && r.Dispatch == in.Dispatch
		if r.Cancel {
			r.Status = schedules.RunCancelled
		} else {
			again()
			r.unsent = true
		}
		return r, pending
	case runCancel:
		if r.Cancel { // whoever asked has watched its lease run out
			watched := r.Status == schedules.RunRunning
			r.Status = schedules.RunCancelled
			return r, watched
		}
		if r.Cancel, r.deadline = true, in.Now+cancelGrace.Milliseconds(); r.Status != schedules.RunRunning {
			r.Status = schedules.RunCancelled
		}
		return r, true
	}
	switch { // its time has come
	case r.Cancel && r.Status == schedules.RunRunning && in.Now >= r.deadline && in.Lapsed: // its worker may not have heard of it
	case r.Cancel && (r.Status != schedules.RunRunning || in.Now >= r.deadline):
		r.Status = schedules.RunCancelled
	case r.Status == schedules.RunRunning:
	case r.Status == schedules.RunRetrying || r.unsent:
		r.Status, r.unsent = schedules.RunPending, false
	case in.Kind == runAnew:
		again()
	}
	return r, true
}

// ended is a schedule after the end of one of its runs.
func ended(sc sched, id string, r run) sched {
	sc.active = slices.DeleteFunc(slices.Clone(sc.active), func(a string) bool { return a == id })
	sc.Active--
	sc.Revision++
	switch r.Status {
	case schedules.RunCompleted:
		sc.Successful++
	case schedules.RunFailed:
		sc.Failed++
	default:
		sc.Cancelled++
	}
	if r.backfill != "" {
		sc.ActiveBackfill--
		sc.backfills = slices.Clone(sc.backfills)
		for i := range sc.backfills {
			if sc.backfills[i].id == r.backfill {
				sc.backfills[i].active--
			}
		}
	}
	return sc
}

// heartbeat reports whether a heartbeat was answered rightly.
func heartbeat(r run, in input, out output) bool {
	held := r.Status == schedules.RunRunning && r.Dispatch == in.Dispatch
	switch out.Code {
	case ok:
		return held && !r.Cancel
	case canceled:
		return held && r.Cancel
	default:
		return !held
	}
}
