package check

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// pairs checks that every started fate has exactly one run, which names the tick, and every run of the schedule its fate.
func (j *judge) pairs(s *schedule) {
	fateOf := map[string]*fate{}
	trimmed := j.trimmed(s)
	for i := range s.Fates {
		f := &s.Fates[i]
		if f.Fate != schedules.FateStarted {
			if f.Fate == schedules.FateBuffered {
				j.find(f.nominal(), KindStuck, "schedule %s: tick %s (%s) still waits", s.ref(), clock(f.nominal()), f.Tick.Trigger)
			}
			continue
		}
		if other := fateOf[f.RunID]; other != nil {
			j.find(f.nominal(), KindDoubled, "schedule %s: ticks %s and %s are both started as %s", s.ref(), other.key, f.key, f.RunID)
			continue
		}
		fateOf[f.RunID] = f
		r := j.stock.runs[f.RunID]
		switch {
		case r == nil && trimmed:
		case r == nil:
			j.find(f.At.Time, KindLost, "schedule %s: tick %s was started as %s, and there is no such run", s.ref(), f.key, f.RunID)
		case r.ref() != s.ref() || !r.Fix.Nominal.Equal(f.nominal()) || r.Fix.Trigger != f.Tick.Trigger || r.Fix.Backfill != f.Tick.Backfill:
			j.find(f.At.Time, KindStray, "schedule %s: tick %s was started as %s, which says it is tick %s (%s) of %s", s.ref(), f.key, f.RunID,
				clock(r.Fix.Nominal.Time), r.Fix.Trigger, r.ref())
		}
	}
	runOf := map[int64]*run{}
	for _, r := range s.Runs {
		if r.Fix.Trigger.Regular() {
			ms := r.Fix.Nominal.UnixMilli()
			if other := runOf[ms]; other != nil {
				j.find(r.Fix.Created.Time, KindDoubled, "schedule %s: tick %s has two runs, %s and %s", s.ref(), clock(r.Fix.Nominal.Time), other.ID, r.ID)
			}
			runOf[ms] = r
		}
		if fateOf[r.ID] == nil && s.Tally.HistoryFrom.IsZero() {
			j.find(r.Fix.Created.Time, KindStray, "schedule %s: run %s (%s, nominal %s) has no fate that says it was started", s.ref(), r.ID, r.Fix.Trigger,
				clock(r.Fix.Nominal.Time))
		}
	}
}

// order checks that ticks which waited started in the order of their nominal times, by the workers' logs: regular ones, and manual ones among themselves.
func (j *judge) order(s *schedule) {
	if _, ok := j.exclusive(s); !ok || j.Stepped {
		return
	}
	waited := map[string]bool{}
	for i := range s.Fates {
		if f := &s.Fates[i]; f.Fate == schedules.FateStarted && f.Waited > 0 {
			waited[f.RunID] = true
		}
	}
	var latest [2]*run
	for _, x := range j.firsts(s) {
		r := j.stock.runs[x.Run]
		if !waited[r.ID] || r.Fix.Backfill != "" || j.allowed[r.ID] {
			continue
		}
		kind := 0
		if r.Fix.Trigger == schedules.TriggerManual {
			kind = 1
		}
		if last := latest[kind]; last != nil && r.Fix.Nominal.Before(last.Fix.Nominal.Time) {
			j.find(x.At, KindOrder, "schedule %s: tick %s waited and started at %s, after the later tick %s", s.ref(), clock(r.Fix.Nominal.Time), clock(x.At),
				clock(last.Fix.Nominal.Time))
			continue
		}
		latest[kind] = r
	}
}

// firsts gives the first execution of each run of an incarnation, in order.
func (j *judge) firsts(s *schedule) []*execution {
	var out []*execution
	for _, r := range s.Runs {
		if list := j.byRun[r.ID]; len(list) > 0 {
			out = append(out, list[0])
		}
	}
	slices.SortStableFunc(out, func(a, b *execution) int { return a.At.Compare(b.At) })
	return out
}

// counters checks that the counters of an incarnation say what its history and its runs do.
func (j *judge) counters(s *schedule) {
	t := s.Tally
	say := func(name string, has, want int64) {
		if has != want {
			j.find(time.Time{}, KindCounter, "schedule %s: %s is %d, and should be %d", s.ref(), name, has, want)
		}
	}
	say("total_runs", t.Total, t.Successful+t.Failed+t.Cancelled+t.Active)
	say("active_runs", t.Active, 0)
	say("active runs of backfills", t.ActiveBackfill, 0)
	say("waiting regular ticks", t.WaitingRegular, 0)
	say("waiting manual ticks", t.WaitingManual, 0)
	if !j.trimmed(s) {
		n := byStatus(s.Runs)
		say("total_runs", t.Total, int64(len(s.Runs)))
		say("successful_runs", t.Successful, n[schedules.RunCompleted])
		say("failed_runs", t.Failed, n[schedules.RunFailed])
		say("cancelled_runs", t.Cancelled, n[schedules.RunCancelled])
	}
	if s.Tally.HistoryFrom.IsZero() {
		var skipped, missed, started int64
		for i := range s.Fates {
			f := &s.Fates[i]
			switch {
			case f.Fate == schedules.FateStarted:
				started++
			case !f.Tick.Trigger.Regular():
			case f.Fate == schedules.FateMissed:
				missed++
			case f.Fate != schedules.FateBuffered:
				skipped++
			}
		}
		say("skipped_runs", t.Skipped, skipped)
		say("missed_runs", t.Missed, missed)
		say("total_runs by the history", t.Total, started)
	}
}

func byStatus(runs []*run) map[schedules.RunStatus]int64 {
	n := map[schedules.RunStatus]int64{}
	for _, r := range runs {
		n[r.Mut.Status]++
	}
	return n
}

// ends checks that at rest nothing goes on, and takes the longest run.
func (j *judge) ends() {
	for _, r := range j.stock.runs {
		j.report.Runs++
		if !r.Mut.Status.Ended() {
			j.find(time.Time{}, KindStuck, "run %s of %s is %s, %s after its creation", r.ID, r.Fix.Workflow, r.Mut.Status, j.Rest.Sub(r.Fix.Created.Time))
			continue
		}
		if r.Mut.Status == schedules.RunCancelled {
			j.report.Cancelled++
		}
		if took := r.Mut.Ended.Sub(r.Fix.Created.Time); !j.Stepped {
			j.report.LongestRun = max(j.report.LongestRun, took)
		}
	}
	for _, b := range j.stock.backfills {
		if b.Row.Status != schedules.BackfillCompleted && b.Row.Status != schedules.BackfillCancelled {
			j.find(time.Time{}, KindStuck, "backfill %s is %s, %d of %d started", b.ID, b.Row.Status, b.Row.Started, b.Row.Count)
		}
		if b.Tally.Active != 0 {
			j.find(time.Time{}, KindCounter, "backfill %s: active_runs is %d, and should be 0", b.ID, b.Tally.Active)
		}
		if sum := b.Tally.Successful + b.Tally.Failed + b.Tally.Cancelled + b.Tally.Active; sum != b.Row.Started {
			j.find(time.Time{}, KindCounter, "backfill %s: %d of its runs ended, and %d were started", b.ID, sum, b.Row.Started)
		}
		if b.Row.Started+b.Row.Dropped != b.Row.Count {
			j.find(time.Time{}, KindCounter, "backfill %s: of %d ticks %d were started and %d dropped", b.ID, b.Row.Count, b.Row.Started, b.Row.Dropped)
		}
	}
	for key, n := range j.stock.lists {
		j.find(time.Time{}, KindStuck, "%s still holds %d waiting ticks", key, n)
	}
}

// answers checks what the driver was told against what is.
func (j *judge) answers() {
	dropped := map[string]map[string]int{} // schedule id → backfill id → dropped ticks; "": manual ones by run id
	trimmed := map[string]bool{}
	for _, s := range j.stock.schedules {
		m := dropped[s.Rec.ID]
		if m == nil {
			m = map[string]int{}
			dropped[s.Rec.ID] = m
		}
		trimmed[s.Rec.ID] = trimmed[s.Rec.ID] || !s.Tally.HistoryFrom.IsZero() || j.trimmed(s)
		for i := range s.Fates {
			if f := &s.Fates[i]; f.Fate == schedules.FateDropped && f.Tick.Backfill != "" {
				m[f.Tick.Backfill]++
			} else if f.Fate == schedules.FateDropped && f.Tick.Trigger == schedules.TriggerManual {
				m[""]++
			}
		}
	}
	for _, a := range j.Acts {
		if a.Err != "" || trimmed[a.Schedule] {
			continue
		}
		switch a.What {
		case ActTrigger:
			j.triggered(a, dropped[a.Schedule])
		case ActBackfill:
			gone := 0
			for _, id := range a.Runs {
				if j.stock.runs[id] == nil {
					gone++
				}
			}
			j.report.Backfilled += len(a.Runs)
			if drops := dropped[a.Schedule][a.Backfill]; gone != drops {
				j.find(a.Ended, KindLost, "backfill %s of schedule %s: of %d runs given %d are not there, and %d are recorded as dropped", a.Backfill, a.Schedule,
					len(a.Runs), gone, drops)
			}
		}
	}
}

// triggered checks one trigger's answer. Dropped ticks carry no run id, so they are used up one by one.
func (j *judge) triggered(a Act, dropped map[string]int) {
	j.report.Triggers++
	there := j.stock.runs[a.Run] != nil
	switch a.Outcome {
	case string(schedules.FateStarted):
		if !there {
			j.find(a.Ended, KindLost, "trigger of schedule %s at %s was answered with run %s, which is not there", a.Schedule, clock(a.Ended), a.Run)
		}
	case string(schedules.FateBuffered):
		if !there {
			if dropped[""]--; dropped[""] < 0 {
				j.find(a.Ended, KindLost, "trigger of schedule %s at %s waited as run %s, which neither started nor was dropped", a.Schedule, clock(a.Ended), a.Run)
			}
		}
	}
}

// views checks that a client is shown what lies in Redis: every schedule once, with its counters, and every row of its history.
func (j *judge) views(ctx context.Context) error {
	seen := map[string]bool{}
	for _, f := range []client.ScheduleFilter{{}, {Status: schedules.StatusDeleted}} {
		for v, err := range j.all(ctx, f) {
			if err != nil {
				return fmt.Errorf("list schedules: %w", err)
			}
			ref := v.Ref().String()
			s := j.stock.schedules[ref]
			if s == nil || seen[ref] {
				j.find(time.Time{}, KindStray, "schedule %s is listed twice, or without a record", ref)
				continue
			}
			seen[ref] = true
			t := s.Tally
			if v.TotalRuns != t.Total || v.SuccessfulRuns != t.Successful || v.FailedRuns != t.Failed || v.CancelledRuns != t.Cancelled ||
				v.SkippedRuns != t.Skipped || v.MissedRuns != t.Missed || v.ActiveRuns != t.Active || v.BufferedRuns != t.WaitingManual+t.WaitingRegular {
				j.find(time.Time{}, KindCounter, "schedule %s: a client is shown other counters than there are", ref)
			}
			if v.Status == schedules.StatusDeleted {
				continue
			}
			rows, err := j.history(ctx, v.ScheduleID)
			if err != nil {
				return err
			}
			if rows != len(s.Fates) {
				j.find(time.Time{}, KindLost, "schedule %s: a client is shown %d rows of its history of %d", ref, rows, len(s.Fates))
			}
		}
	}
	for id, inc := range j.stock.current {
		if ref := id + "@" + inc; !seen[ref] {
			j.find(time.Time{}, KindLost, "schedule %s is not listed", ref)
		}
	}
	return nil
}

func (j *judge) all(ctx context.Context, f client.ScheduleFilter) func(yield func(client.Schedule, error) bool) {
	return func(yield func(client.Schedule, error) bool) {
		page := client.PageRequest{Limit: 1000}
		for {
			got, err := j.Client.ListSchedules(ctx, f, page)
			if err != nil {
				yield(client.Schedule{}, err)
				return
			}
			for _, s := range got.Items {
				if !yield(s, nil) {
					return
				}
			}
			if got.NextCursor == "" {
				return
			}
			page.Cursor = string(got.NextCursor)
		}
	}
}

// history counts the rows of a schedule's history as a client is shown them.
func (j *judge) history(ctx context.Context, id string) (int, error) {
	rows := 0
	page := client.PageRequest{Limit: 1000}
	for {
		got, err := j.Client.ListHistory(ctx, id, client.FateFilter{}, page)
		if err != nil {
			return rows, fmt.Errorf("list history of schedule %s: %w", id, err)
		}
		rows += len(got.Items)
		if got.NextCursor == "" {
			return rows, nil
		}
		page.Cursor = string(got.NextCursor)
	}
}
