package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// What the checker allows for, besides what the rules say.
const (
	// restSlack is how shortly before the rest a tick of a schedule that is still active may come due without having its fate yet.
	restSlack = 3 * time.Second
	// cancelBound is what the rules promise, cancelSlack what a busy machine may add unless the scene says otherwise: a heartbeat every second, and the log's sync.
	cancelBound = time.Second
	cancelSlack = time.Second
	// asynqSlack is how long asynq itself may take to look after a message whose worker was killed: its lease of 30 s and its look every minute.
	asynqSlack = 2 * time.Minute
	// estimateLag is how far behind the store's clock the time of a run's end may be: a process knows that clock from its last answer.
	estimateLag = 100 * time.Millisecond
	// claimed is how long before its first line an execution may have claimed its run.
	claimed = time.Second
	// calm is how long after a fault nothing is measured as ordinary lateness.
	calm = 15 * time.Second
)

// judge is a scene with all that was read of it.
type judge struct {
	Scene
	stock    *stock
	execs    []*execution               // by start
	byRun    map[string][]*execution    // by start
	acts     map[string][]Act           // by schedule id, by Began
	defs     map[string][]Definition    // by schedule id, by Created
	allowed  map[string]bool            // runs that may overlap others by name
	index    map[string]map[string]bool // members of the sorted sets that were asked for, by key
	still    time.Time                  // by the clock of the workers' logs: when everything had come to rest
	report   Report
	findings []Finding
}

// Check judges a scene: what was found wrong, the worst kinds first, and what was counted. The error is about reading. It only reads.
func Check(ctx context.Context, s Scene) (Report, []Finding, error) {
	j := &judge{Scene: s, byRun: map[string][]*execution{}, acts: map[string][]Act{}, defs: map[string][]Definition{}, allowed: map[string]bool{}}
	j.report.Fates = map[string]int{}
	var err error
	if j.stock, err = readStock(ctx, s.Redis, s.Namespace); err != nil {
		return j.report, nil, err
	}
	if j.execs, err = readLogs(s.Logs); err != nil {
		return j.report, nil, err
	}
	j.prepare()
	for _, text := range j.stock.broken {
		j.find(time.Time{}, KindLeftover, "record cannot be read: %s", text)
	}
	for _, sch := range j.stock.schedules {
		j.ticks(sch)
		j.pairs(sch)
		j.order(sch)
		j.counters(sch)
	}
	j.ends()
	j.answers()
	j.executions()
	j.fences()
	j.overlaps()
	j.steps()
	j.cancels()
	j.leftovers()
	j.times()
	if err := j.views(ctx); err != nil {
		return j.report, nil, err
	}
	slices.SortStableFunc(j.findings, func(a, b Finding) int {
		if a.Kind != b.Kind {
			return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
		}
		return strings.Compare(a.Text, b.Text)
	})
	return j.report, j.findings, nil
}

// kinds are the kinds of findings, the worst first.
var kinds = []string{KindDoubled, KindLost, KindOverlap, KindStuck, KindStep, KindStray, KindOrder, KindCancel, KindCounter, KindLeftover}

// find notes a finding about what happened at an instant (zero: at none). What happened while Redis may have lost writes is counted apart.
func (j *judge) find(at time.Time, kind, format string, args ...any) {
	if j.lossy(at, at) {
		j.report.RedisLost++
		return
	}
	switch kind {
	case KindLost:
		j.report.Lost++
	case KindDoubled:
		j.report.Doubled++
	}
	j.findings = append(j.findings, Finding{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// lossy reports whether Redis may have lost something that was written between two instants.
func (j *judge) lossy(from, to time.Time) bool {
	return !to.IsZero() && slices.ContainsFunc(j.Losses, func(l Loss) bool { return !to.Before(l.From) && !from.After(l.To) })
}

// prepare makes the indexes that the checks share.
func (j *judge) prepare() {
	for _, a := range j.Acts {
		j.acts[a.Schedule] = append(j.acts[a.Schedule], a)
		if !a.Allow {
			continue
		}
		if a.Run != "" {
			j.allowed[a.Run] = true
		}
		for _, id := range a.Runs {
			j.allowed[id] = true
		}
	}
	for _, list := range j.acts {
		slices.SortStableFunc(list, func(a, b Act) int { return a.Began.Compare(b.Began) })
	}
	for _, d := range j.Definitions {
		j.defs[d.ID] = append(j.defs[d.ID], d)
	}
	for _, list := range j.defs {
		slices.SortStableFunc(list, func(a, b Definition) int { return a.Created.Compare(b.Created) })
	}
	for _, x := range j.execs {
		j.byRun[x.Run] = append(j.byRun[x.Run], x)
		last := x.lines[len(x.lines)-1].At
		if last.After(j.still) {
			j.still = last
		}
		if !x.end.IsZero() {
			continue
		}
		for _, f := range j.Faults {
			if f.Kind != FaultKillWorker || f.PID != x.PID {
				continue
			}
			if at := f.Began; j.Stepped || at.Before(last) { // its line was on the way to the disk
				x.killed = last
			} else {
				x.killed = at
			}
		}
	}
	if !j.Stepped {
		j.still = j.Rest
	}
	for _, list := range j.byRun {
		for i := range len(list) - 1 {
			list[i].next = list[i+1].At
		}
	}
}

// hit reports whether something was done to a process between two instants, or shortly before: between the claim of a run and its first line.
func (j *judge) hit(pid int, from, to time.Time) bool {
	from = from.Add(-claimed)
	return slices.ContainsFunc(j.Faults, func(f Fault) bool { return f.PID == pid && pid != 0 && j.within(f, from, to) })
}

// away reports whether Redis did not answer some time between two instants.
func (j *judge) away(from, to time.Time) bool {
	return slices.ContainsFunc(j.Faults, func(f Fault) bool { return (f.Kind == FaultRedis || f.Kind == FaultFailover) && j.within(f, from, to) })
}

// within reports whether a fault touches the time between two instants of the workers' logs. Where the store's clock stepped nobody knows: it does.
func (j *judge) within(f Fault, from, to time.Time) bool {
	return j.Stepped || !f.Began.After(to) && !f.Ended.Before(from)
}

// definition gives what the driver created an incarnation as. Of one that it did not name, such as the second under an id, the record tells.
func (j *judge) definition(s *schedule) (Definition, bool) {
	var best Definition
	nearest := time.Second // the driver may not know better when an id was created anew
	for _, d := range j.defs[s.Rec.ID] {
		if gap := s.Rec.Created.Sub(d.Created).Abs(); gap < nearest {
			best, nearest = d, gap
		}
	}
	if nearest < time.Second {
		return best, true
	}
	d := Definition{ID: s.Rec.ID, Workflow: s.Rec.Workflow, Overlap: string(s.Rec.Overlap), Created: s.Rec.Created.Time, End: s.Rec.Spec.EndAt}
	if from, to := j.life(s); slices.ContainsFunc(j.acts[s.Rec.ID], func(a Act) bool {
		return a.What == ActUpdate && !a.Ended.Before(from) && !a.Began.After(to)
	}) {
		return d, false
	}
	every, err := time.ParseDuration(s.Rec.Spec.Interval)
	if err != nil {
		return d, false
	}
	d.Kind, d.Every = KindCompletion, every
	if s.Rec.Spec.IntervalFrom == schedules.FromStart {
		d.Kind = KindStart
	}
	return d, true
}

// life gives from when to when an incarnation was the current one of its id.
func (j *judge) life(s *schedule) (from, to time.Time) {
	from, to = s.Rec.Created.Time, j.Rest
	for _, o := range j.stock.schedules {
		if o.Rec.ID == s.Rec.ID && o.Rec.Created.After(from) {
			to = earliest(to, o.Rec.Created.Time)
		}
	}
	return from, to
}

// trimmed reports whether retention may have taken runs of the schedule away: the newest 1,000 of an id stay.
func (j *judge) trimmed(s *schedule) bool {
	var total int64
	for _, o := range j.stock.schedules {
		if o.Rec.ID == s.Rec.ID {
			total += o.Tally.Total
		}
	}
	return total > 1000
}

// exclusive reports whether at most one run of the incarnation may be active at a time, from when on: under an exclusive policy, since the end of the last
// change to it.
func (j *judge) exclusive(s *schedule) (since time.Time, ok bool) {
	all := string(schedules.OverlapAllowAll)
	d, known := j.definition(s)
	since, ok = s.Rec.Created.Time, d.Overlap != all
	from, to := j.life(s)
	for _, a := range j.acts[s.Rec.ID] {
		elsewhere := !j.Stepped && (a.Ended.Before(from) || a.Began.After(to)) // where the clock steps nobody knows
		if a.What != ActUpdate || elsewhere || a.Overlap == "" && (a.Spec || a.Every != 0) {
			continue
		}
		if !known { // the record has the last policy, not the first
			ok, known = false, true
		}
		switch now := a.Overlap != all; {
		case j.Stepped: // nobody knows which runs were started before the change
			return since, false
		case a.Overlap == "", a.Err != "" && now != ok: // one or the other
			ok = false
		case now != ok:
			ok, since = now, a.Ended
		}
	}
	return since, ok
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
