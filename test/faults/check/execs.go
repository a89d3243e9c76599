package check

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// executions checks that what is recorded as done was done, and that nothing was done for a run nobody knows.
func (j *judge) executions() {
	j.report.Executions = len(j.execs)
	for _, r := range j.stock.runs {
		if r.Mut.Status != schedules.RunCompleted {
			continue
		}
		if !slices.ContainsFunc(j.byRun[r.ID], func(x *execution) bool { return x.out == "ok" }) {
			j.find(r.Mut.Ended.Time, KindLost, "run %s of %s is recorded as completed, and no worker logged an execution that ended well", r.ID, r.Fix.Workflow)
		}
	}
	trimmed := map[string]bool{}
	for _, s := range j.stock.schedules {
		if j.trimmed(s) {
			trimmed[s.Rec.ID] = true
		}
	}
	for _, x := range j.execs {
		if j.stock.runs[x.Run] == nil && !trimmed[x.Schedule] {
			j.find(x.At, KindLost, "run %s of %s was executed at %s, and there is no such run", x.Run, x.Workflow, clock(x.At))
		}
	}
}

// fences checks that nobody but the worker that had a run recorded its end, unless it was cancelled or something had happened to that worker.
func (j *judge) fences() {
	if j.Stepped {
		return
	}
	for _, x := range j.execs {
		r := j.stock.runs[x.Run]
		if r == nil || r.Mut.Ended.IsZero() || x.end.IsZero() || !x.cancel.IsZero() || j.hit(x.PID, x.At, x.end) || j.away(x.At, x.end) {
			continue
		}
		if ended := r.Mut.Ended.Time; ended.Before(x.end.Add(-estimateLag)) && !ended.Before(x.At) {
			j.find(ended, KindFence, "run %s of %s was recorded as %s at %s while process %d, to which nothing had happened, executed it until %s",
				x.Run, x.Workflow, r.Mut.Status, clock(ended), x.PID, clock(x.end))
		}
	}
}

// overlaps checks, by the workers' own logs, that no two runs of an incarnation were executed at a time where that is promised, and no run by two.
func (j *judge) overlaps() {
	for _, s := range j.stock.schedules {
		since, ok := j.exclusive(s)
		if !ok {
			continue
		}
		var list []*execution
		for _, r := range s.Runs {
			if !j.allowed[r.ID] && !r.Fix.Created.Before(since) {
				list = append(list, j.byRun[r.ID]...)
			}
		}
		j.apart(s, list)
	}
	for _, list := range j.byRun {
		for i, x := range list[:len(list)-1] {
			j.handed(x, list[i+1])
		}
	}
}

// counts is until when an execution counts for its schedule: what it does after its run has ended or was given to another worker is its own.
func (j *judge) counts(x *execution) time.Time {
	end := earliest(x.until(j.still), x.next)
	r := j.stock.runs[x.Run]
	switch {
	case j.Stepped: // the record's times say nothing to the worker's clock
		end = earliest(end, x.cancel)
	case r != nil:
		end = earliest(end, r.Mut.Ended.Time)
	}
	return end
}

// apart checks that no two executions of different runs overlap.
func (j *judge) apart(s *schedule, list []*execution) {
	slices.SortStableFunc(list, func(a, b *execution) int { return a.At.Compare(b.At) })
	var last *execution // the one that lasts longest so far
	for _, x := range list {
		if last != nil && x.Run != last.Run && x.At.Before(j.counts(last)) && j.counts(x).After(x.At) {
			if j.lossy(last.At, x.At) {
				j.report.RedisLost++
			} else {
				j.find(x.At, KindOverlap, "schedule %s (%s): run %s began at %s while run %s was executed from %s to %s", s.ref(), s.Rec.Overlap, x.Run, clock(x.At),
					last.Run, clock(last.At), clock(j.counts(last)))
			}
		}
		if last == nil || j.counts(x).After(j.counts(last)) {
			last = x
		}
	}
}

// handed checks that a run was given to another execution only after the one before it ended, or when its worker was lost or had told its code to stop.
func (j *judge) handed(x, next *execution) {
	end := x.until(j.still)
	told := !x.cancel.IsZero() && !x.cancel.After(next.At) && !strings.Contains(x.cause, pyworkflow.ErrLeaseLost.Error())
	if !next.At.Before(end) || told || j.hit(x.PID, x.At, next.At) || j.away(x.At, next.At) {
		return
	}
	j.find(next.At, KindOverlap, "run %s of %s was executed again at %s by process %d while process %d, to which nothing had happened, executed it since %s",
		x.Run, x.Workflow, clock(next.At), next.PID, x.PID, clock(x.At))
}

// deed is one beginning of a step.
type deed struct {
	x    *execution
	at   time.Time
	done time.Time // since when the log shows that its result was recorded; zero: it does not
}

// steps checks that no step was executed again after its result was recorded, nor without something having happened to the execution it began in.
func (j *judge) steps() {
	for id, list := range j.byRun {
		for step, deeds := range begun(list) {
			j.report.Steps += len(deeds)
			for i, d := range deeds {
				for _, before := range deeds[:i] {
					zombie := !d.x.next.IsZero() && d.x.next.Before(d.at)
					if !before.done.IsZero() && before.done.Before(d.at) && !zombie {
						if j.lossy(before.at, before.done) {
							j.report.RedisLost++
							break
						}
						j.find(d.at, KindStep, "run %s: step %s was executed again at %s, though its result was recorded before %s", id, step, clock(d.at), clock(before.done))
						break
					}
				}
				if i == len(deeds)-1 || !d.done.IsZero() {
					continue
				}
				again := deeds[i+1]
				if d.x.cancel.IsZero() && !j.hit(d.x.PID, d.x.At, again.at) && !j.away(d.x.At, again.at) {
					j.find(again.at, KindStep, "run %s: step %s, begun at %s by process %d, was begun again at %s, though nothing had happened to that process",
						id, step, clock(d.at), d.x.PID, clock(again.at))
				}
			}
		}
	}
}

// begun gives every beginning of every step of a run, in order.
func begun(list []*execution) map[string][]deed {
	out := map[string][]deed{}
	for _, x := range list {
		for i, l := range x.lines {
			if l.What == LineStep {
				out[l.Step] = append(out[l.Step], deed{x: x, at: l.At, done: recorded(x.lines[i+1:], l.Step)})
			}
		}
	}
	for _, deeds := range out {
		slices.SortStableFunc(deeds, func(a, b deed) int { return a.at.Compare(b.at) })
	}
	return out
}

// recorded gives the instant from which the log shows that a step's result was recorded: after it was done the code went on to another step, or returned well.
func recorded(rest []Line, step string) time.Time {
	done := false
	for _, l := range rest {
		switch {
		case l.What == LineStepDone && l.Step == step:
			done = true
		case done && (l.What == LineStep && l.Step != step || l.What == LineEnd && l.Outcome == "ok"):
			return l.At
		}
	}
	return time.Time{}
}

// cancels checks that code of a live worker saw the request to cancel in time.
func (j *judge) cancels() {
	if j.Stepped {
		return
	}
	for _, r := range j.stock.runs {
		asked := r.Mut.CancelAt.Time
		if asked.IsZero() {
			continue
		}
		for _, x := range j.byRun[r.ID] {
			from := asked
			if x.At.After(from) { // claimed when it was asked, begun a moment later
				from = x.At
			}
			bound := from.Add(cancelBound + cmp.Or(j.Slack, cancelSlack))
			over := earliest(x.until(j.still), x.next)
			if !over.After(from) || !x.cancel.IsZero() && x.cancel.Before(asked) || j.hit(x.PID, x.At, bound) || j.away(asked.Add(-calm), bound) {
				continue
			}
			if !x.cancel.IsZero() {
				j.report.CancelSeen = append(j.report.CancelSeen, x.cancel.Sub(from))
			}
			seen := earliest(x.cancel, over)
			if seen.After(bound) {
				j.find(asked, KindCancel, "run %s of %s was asked to cancel at %s, and process %d saw it %s later, at %s", r.ID, r.Fix.Workflow, clock(asked), x.PID,
					seen.Sub(from).Round(time.Millisecond), clock(seen))
			}
		}
	}
}
