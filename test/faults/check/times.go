package check

import (
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// times measures how long it took to get over faults, and how late ticks started without any.
func (j *judge) times() {
	if j.Stepped {
		return
	}
	for _, f := range j.Faults {
		switch f.Kind {
		case FaultKillWorker, FaultFreeze:
			j.resumed(f)
		case FaultKillBeat:
			if late, ok := j.handover(f); ok && j.alone(f) {
				j.report.Handover = append(j.report.Handover, late)
			}
		case FaultStopBeat:
			if late, ok := j.handover(f); ok && j.alone(f) {
				j.report.Stopped = append(j.report.Stopped, late)
			}
		case FaultRedis, FaultFailover:
			j.back(f)
		}
	}
	j.late()
}

// resumed takes the time from the loss of a worker until each of its runs was executed again. A frozen worker that woke before its leases ended lost none.
func (j *judge) resumed(f Fault) {
	for _, x := range j.execs {
		if x.PID != f.PID || x.At.After(f.Began) || x.next.IsZero() || !x.next.After(f.Began) {
			continue
		}
		r := j.stock.runs[x.Run]
		if !x.end.IsZero() && !x.end.After(x.next) || r != nil && r.Mut.Ended.Before(f.Began) && r.Mut.Status.Ended() || j.away(f.Began, x.next) {
			continue
		}
		j.report.Recovered++
		j.report.Resume = append(j.report.Resume, x.next.Sub(f.Began))
	}
}

// within is how soon after the loss of a beat a tick must be due to have been its.
const within = 5 * time.Second

// handover takes the lateness of the latest decided tick among those first due, per schedule, after a beat was lost: it was the lost beat's.
func (j *judge) handover(f Fault) (worst time.Duration, found bool) {
	for _, s := range j.stock.schedules {
		if d, ok := j.definition(s); !ok || !d.Exact || s.Rec.Created.After(f.Began) {
			continue
		}
		for i := range s.Fates {
			t := due(s, s.Fates[i].nominal())
			if !onTime(&s.Fates[i]) || !t.After(f.Began) {
				continue
			}
			if late := s.Fates[i].At.Sub(t); t.Before(f.Began.Add(within)) && !j.away(f.Began, s.Fates[i].At.Time) {
				worst, found = max(worst, late), true
			}
			break
		}
	}
	return worst, found
}

// alone reports whether no other process was lost around the time that one was, so that others were there to take over, and lateness is of this loss alone.
func (j *judge) alone(f Fault) bool {
	return !slices.ContainsFunc(j.Faults, func(o Fault) bool {
		lost := o.Kind == FaultKillBeat || o.Kind == FaultKillWorker || o.Kind == FaultFreeze || o.Kind == FaultStopBeat
		return lost && o != f && j.within(o, f.Began.Add(-within), f.Ended.Add(within))
	})
}

// back takes the time from the return of Redis to the first start of a run that was made since.
func (j *judge) back(f Fault) {
	for _, x := range j.execs {
		r := j.stock.runs[x.Run]
		if x.At.Before(f.Ended) || r == nil || !r.Fix.Trigger.Regular() || r.Fix.Created.Before(f.Ended) {
			continue
		}
		if !j.away(f.Ended.Add(time.Millisecond), x.At) {
			j.report.Back = append(j.report.Back, x.At.Sub(f.Ended))
		}
		return
	}
}

// late takes how late runs of ticks that had not to wait began in their workers, far from all faults.
func (j *judge) late() {
	for _, s := range j.stock.schedules {
		for i := range s.Fates {
			f := &s.Fates[i]
			list := j.byRun[f.RunID]
			if !onTime(f) || f.Fate != schedules.FateStarted || len(list) == 0 {
				continue
			}
			from, at := f.nominal(), list[0].At
			if slices.ContainsFunc(j.Faults, func(o Fault) bool { return !o.Began.After(at) && o.Ended.Add(calm).After(from) }) {
				continue
			}
			j.report.Late = append(j.report.Late, at.Sub(due(s, from)))
		}
	}
}
