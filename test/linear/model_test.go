package linear

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The operations of a history: calls of the store, and what a caller was told.
const (
	opResolve = "resolve"    // which incarnation is current
	opLoad    = "load"       // read a schedule
	opActive  = "active"     // list active runs
	opGetRun  = "get run"    // read a run
	opSteps   = "steps"      // list the keys of a run's steps
	opCommit  = "commit"     // write what a decision or an act makes of a schedule
	opRefused = "refused"    // an act that was refused, or had nothing to change
	opClaim   = "claim"      // take a run
	opBeat    = "heartbeat"  // renew a run's lease
	opStep    = "step"       // record a step
	opEnd     = "commit run" // write a transition of a run
)

// code is how a call was answered.
type code string

const (
	ok       code = "ok"
	conflict code = "conflict"
	exists   code = "exists"
	notFound code = "not found"
	stale    code = "stale"
	canceled code = "held, asked to cancel"
	repeated code = "refused, the second time" // a report of a run's, made again after its connection broke: the first may have been taken
	lost     code = "answer lost"              // it may take effect at any time from the call on, or never
)

// view is what one sees of a schedule, in a read or in what is to be written.
type view struct {
	Status                                                schedules.Status
	Policy                                                schedules.OverlapPolicy
	Interval, Catchup                                     string
	Version, Revision                                     int64
	Total, Successful, Failed, Cancelled, Skipped, Lapsed int64 // Lapsed: missed
	Active, ActiveBackfill, WaitingRegular, WaitingManual int64
	Next                                                  int64 // the next nominal time in ms, 0: none
	Backfills                                             string
	Dropping, Asking                                      bool // batches of dropped ticks, of cancel requests, are to follow
}

// runView is what one sees of a run.
type runView struct {
	Status                        schedules.RunStatus
	Attempt, Dispatch, Recoveries int
	Revision                      int64
	Cancel                        bool
}

// begun is a run that a decision starts.
type begun struct {
	ID      string
	Trigger schedules.Trigger
}

// effects is what a decision was about to write: what the model must agree with.
type effects struct {
	After        view
	Started      []begun
	Buffered     []string // runs that the ticks put to wait will become
	Asked        []string // runs asked to cancel
	DropR, DropM int      // waiting ticks dropped
}

// input is what was asked.
type input struct {
	Op       string
	Inc      string // incarnation
	Act      act    // of a commit, or of what was refused
	Expect   int64  // revision
	Now      int64  // the time of the decision, in ms
	Writes   *effects
	Run      string
	Dispatch int
	Token    string // of a claim
	Key      string // of a step
	Kind     runKind
	Lapsed   bool // the lease had run out when the transition was computed
	RunAfter runView
}

// output is what was answered.
type output struct {
	Code code
	View view
	Run  runView
	IDs  []string // sorted, but steps
	Inc  string
	Told told // of an act
}

// told is what a caller heard of a trigger.
type told struct {
	Outcome schedules.FateKind
	RunID   string
}

// state is everything under one schedule id. A step never changes it, but makes a new one.
type state struct {
	current string
	scheds  map[string]sched
	runs    map[string]run
}

// sched is one incarnation.
type sched struct {
	view
	decided   int64 // nominal times up to here are decided
	waiting   []waiting
	backfills []backfill
	active    []string
}

// waiting is a tick that waits.
type waiting struct {
	id      string // of its run
	regular bool
	doomed  bool // to be dropped
}

// backfill is an unfinished one.
type backfill struct {
	id                      string
	count, started, dropped int64
	active, parallel        int64
	cancelling              bool
}

// run is one run.
type run struct {
	runView
	inc, backfill, token string
	unsent               bool
	deadline             int64 // of a cancel request
	steps                []string
}

func (s state) clone() state {
	return state{current: s.current, scheds: maps.Clone(s.scheds), runs: maps.Clone(s.runs)}
}

// model is the sequential specification of one schedule id and its runs.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{scheds: map[string]sched{}, runs: map[string]run{}} },
		Step: func(s, in, out any) (bool, any) {
			next, good := step(s.(state), in.(input), out.(output))
			return good, next
		},
		Equal:             func(a, b any) bool { return reflect.DeepEqual(a, b) },
		DescribeOperation: func(in, out any) string { return describe(in.(input), out.(output)) },
		DescribeState: func(s any) string {
			st := s.(state)
			return fmt.Sprintf("%s: %+v", st.current, st.scheds[st.current].view)
		},
	}
}

// step says whether out is a right answer to in as things stand, and how they stand after it.
func step(s state, in input, out output) (state, bool) {
	sc, known := s.scheds[in.Inc]
	r, started := s.runs[in.Run]
	switch in.Op {
	case opResolve:
		if out.Code == notFound {
			return s, s.current == ""
		}
		return s, s.current == out.Inc
	case opLoad:
		if out.Code == notFound {
			return s, !known
		}
		return s, known && sc.view == out.View
	case opActive:
		return s, slices.Equal(sc.active, out.IDs)
	case opGetRun:
		if out.Code == notFound {
			return s, !started
		}
		return s, started && r.runView == out.Run
	case opSteps:
		return s, slices.Equal(r.steps, out.IDs)
	case opRefused:
		return s, refusable(s, in, out)
	case opBeat:
		return s, heartbeat(r, in, out)
	}
	// What changes something: an answer that was lost leaves open whether it did, which is decided by the place it is given. It may always be
	// put last, where nobody looks any more.
	next, answer := s, notFound
	switch in.Op {
	case opCommit:
		next, answer = commit(s, in, out)
	case opClaim, opStep, opEnd:
		if started {
			next, answer = changeRun(s, r, in)
		}
	}
	switch out.Code {
	case lost, repeated:
		if answer != ok {
			return s, true
		}
		return next, true
	case ok:
		return next, answer == ok
	default:
		return s, answer == out.Code
	}
}

// refusable reports whether there was cause to say so.
func refusable(s state, in input, out output) bool {
	sc, known := s.scheds[in.Inc]
	if in.Act.kind == actCancelBackfill { // also of a deleted schedule
		i := slices.IndexFunc(sc.backfills, func(b backfill) bool { return b.id == in.Act.backfill })
		return out.Code == ok && known && (i < 0 || sc.backfills[i].cancelling)
	}
	switch {
	case out.Code == notFound:
		return !known || sc.Status == schedules.StatusDeleted
	case !known || sc.Status == schedules.StatusDeleted:
		return false
	case out.Code == conflict: // an update of another version
		return in.Act.version != 0 && in.Act.version != sc.Version
	}
	switch in.Act.kind { // nothing to change
	case actPause:
		return sc.Status == schedules.StatusPaused
	case actResume:
		return sc.Status != schedules.StatusPaused
	case actUpdate:
		return in.Act.policy == sc.Policy && in.Act.interval == sc.Interval && in.Act.catchup == sc.Catchup
	default:
		return false
	}
}

// describe names an operation and its answer in a line.
func describe(in input, out output) string {
	text := in.Op
	switch in.Op {
	case opCommit:
		text = fmt.Sprintf("%s %s@%s on revision %d at %d: %+v", in.Op, in.Act, in.Inc, in.Expect, in.Now, *in.Writes)
	case opRefused:
		text = fmt.Sprintf("%s: %s@%s", in.Op, in.Act, in.Inc)
	case opLoad:
		text = fmt.Sprintf("%s %s: %+v", in.Op, in.Inc, out.View)
	case opActive:
		text = fmt.Sprintf("%s of %s: %v", in.Op, in.Inc, out.IDs)
	case opResolve:
		text = fmt.Sprintf("%s: %q", in.Op, out.Inc)
	case opGetRun:
		text = fmt.Sprintf("%s %s: %+v", in.Op, in.Run, out.Run)
	case opSteps:
		text = fmt.Sprintf("%s of %s: %v", in.Op, in.Run, out.IDs)
	case opClaim, opBeat, opStep:
		text = fmt.Sprintf("%s %s dispatch %d %s%s", in.Op, in.Run, in.Dispatch, in.Token, in.Key)
	case opEnd:
		text = fmt.Sprintf("%s %s %s on revision %d at %d: %+v", in.Op, in.Run, in.Kind, in.Expect, in.Now, in.RunAfter)
	}
	if out.Told.Outcome != "" {
		text += fmt.Sprintf(" (told: %s %s)", out.Told.Outcome, out.Told.RunID)
	}
	return text + " -> " + string(out.Code)
}
