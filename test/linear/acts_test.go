package linear

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// actKind is what a commit of a schedule is for.
type actKind string

const (
	actSettle         actKind = "settle" // what is due: a beat's decision, or what comes before an act
	actCreate         actKind = "create"
	actPause          actKind = "pause"
	actResume         actKind = "resume"
	actUpdate         actKind = "update"
	actTrigger        actKind = "trigger"
	actBackfill       actKind = "backfill"
	actCancelBackfill actKind = "cancel backfill"
	actDelete         actKind = "delete"
)

// act is one act on a schedule with its arguments.
type act struct {
	kind     actKind
	reason   string // of a settle before a pause or delete: its due ticks are missed
	policy   schedules.OverlapPolicy
	interval string
	catchup  string
	version  int64  // expected by an update, 0: any
	backfill string // id
	start    int64  // of a backfill, in ms
	end      int64
	parallel int64
}

func (a act) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s%s %s", a.kind, a.reason, a.policy, a.interval))
}

// What every schedule of a history has in common.
const (
	bufferLimit = 3
	cancelGrace = 5 * time.Second
	late        = 10_000 // ms: a tick up to this late simply starts
)

// gridStart is where every schedule's ticks are counted from: an hour before the clock's start, in ms.
var gridStart = clockStart.Add(-time.Hour).UnixMilli()

func everyMS(interval string) int64 {
	if interval == "2s" {
		return 2000
	}
	return 1000
}

// after is the first nominal time after t.
func after(interval string, t int64) int64 {
	n := everyMS(interval)
	return gridStart + ((t-gridStart)/n+1)*n
}

// decision is the working out of one commit.
type decision struct {
	state
	inc     string
	s       *sched
	now     int64
	w       *effects // what was written, taken as witness of ids and of the size of batches
	start   []begun  // what of it is not accounted for yet
	wait    []string
	ask     []string
	touched bool
	wrong   bool
	outcome told // of a trigger
}

// commit says what becomes of a commit as things stand, and how they stand after it.
func commit(s state, in input, out output) (state, code) {
	sc, known := s.scheds[in.Inc]
	if in.Act.kind == actCreate {
		cur, taken := s.scheds[s.current]
		if known || taken && cur.Status != schedules.StatusDeleted {
			return s, exists
		}
		sc = sched{view: view{Status: schedules.StatusActive, Policy: in.Act.policy, Interval: in.Act.interval, Catchup: in.Act.catchup, Version: 1,
			Next: after(in.Act.interval, in.Now-1)}, decided: in.Now - 1}
	} else if !known {
		return s, notFound
	} else if sc.Revision != in.Expect {
		return s, conflict
	}
	d := decision{state: s.clone(), inc: in.Inc, s: &sc, now: in.Now, w: in.Writes, start: in.Writes.Started, wait: in.Writes.Buffered, ask: in.Writes.Asked}
	sc.waiting, sc.backfills, sc.active = slices.Clone(sc.waiting), slices.Clone(sc.backfills), slices.Clone(sc.active)
	if in.Act.kind == actSettle {
		d.settle(in.Act.reason)
		d.wrong = d.wrong || !d.touched
	} else {
		if in.Act.kind != actCreate && !settled(s, sc, in) {
			return s, "not settled before the act"
		}
		d.act(in.Act)
	}
	sc.Revision++
	d.sum()
	switch {
	case d.wrong || len(d.start)+len(d.wait)+len(d.ask) > 0 || sc.view != in.Writes.After:
		return s, "not what the rules say"
	case in.Act.kind == actTrigger && out.Code == ok && out.Told != d.outcome:
		return s, "not what the caller was told"
	}
	d.scheds[in.Inc] = sc
	if in.Act.kind == actCreate {
		d.current = in.Inc
	}
	return d.state, ok
}

// settled reports whether nothing is due: what an act must find.
func settled(s state, sc sched, in input) bool {
	sc.waiting, sc.backfills, sc.active = slices.Clone(sc.waiting), slices.Clone(sc.backfills), slices.Clone(sc.active)
	d := decision{state: s.clone(), s: &sc, now: in.Now, w: &effects{}}
	d.settle("")
	return !d.touched
}

// sum brings the counts up to date with what is counted.
func (d *decision) sum() {
	s := d.s
	s.Active, s.ActiveBackfill, s.WaitingRegular, s.WaitingManual = int64(len(s.active)), 0, 0, 0
	for _, id := range s.active {
		if d.runs[id].backfill != "" {
			s.ActiveBackfill++
		}
	}
	for _, w := range s.waiting {
		if w.regular {
			s.WaitingRegular++
		} else {
			s.WaitingManual++
		}
	}
	ids := make([]string, len(s.backfills))
	for i, b := range s.backfills {
		ids[i] = b.id
	}
	s.Backfills = strings.Join(ids, " ")
}

// settle decides what is due.
func (d *decision) settle(reason string) {
	if d.s.Dropping && !d.drop() || d.s.Asking && !d.askAll() {
		return
	}
	if d.s.Policy == schedules.OverlapCancelOther {
		d.ticks(reason)
		d.release()
	} else {
		d.release()
		d.ticks(reason)
	}
	d.goOn()
}

// act does what an act says.
func (d *decision) act(a act) {
	s := d.s
	switch a.kind {
	case actCreate:
		return
	case actTrigger:
		d.overlap(false, cmp.Or(a.policy, s.Policy))
		d.wrong = d.wrong || s.Status == schedules.StatusDeleted
		return
	case actBackfill:
		b := backfill{id: a.backfill, parallel: a.parallel}
		for t := after(s.Interval, a.start-1); t < a.end; t += everyMS(s.Interval) {
			b.count++
		}
		d.wrong = d.wrong || b.count == 0 || s.Status == schedules.StatusDeleted
		if s.backfills = append(s.backfills, b); len(s.backfills) == 1 {
			d.goOn()
		}
		return
	case actCancelBackfill:
		i := slices.IndexFunc(s.backfills, func(b backfill) bool { return b.id == a.backfill })
		if i < 0 || s.backfills[i].cancelling {
			d.wrong = true
			return
		}
		b := s.backfills[i]
		b.cancelling = true
		s.backfills = slices.Insert(slices.Delete(s.backfills, i, i+1), 0, b)
		d.goOn()
		return
	}
	d.wrong = d.wrong || s.Status == schedules.StatusDeleted
	s.Version++
	switch a.kind {
	case actPause:
		d.wrong = d.wrong || s.Status != schedules.StatusActive
		s.Status = schedules.StatusPaused
		d.release()
	case actResume:
		d.wrong = d.wrong || s.Status != schedules.StatusPaused
		s.Status = schedules.StatusActive
		if s.Next <= d.now {
			s.decided = max(s.decided, d.now)
			s.Next = after(s.Interval, s.decided)
		}
		d.release()
	case actUpdate:
		d.wrong = d.wrong || a.version != 0 && a.version != s.Version-1 || a.policy == s.Policy && a.catchup == s.Catchup && a.interval == s.Interval
		s.Policy, s.Catchup = a.policy, a.catchup
		if a.interval != s.Interval {
			s.Interval = a.interval
			s.decided = max(s.decided, d.now)
			s.Next = after(s.Interval, s.decided)
		}
	case actDelete:
		s.Status, s.Next = schedules.StatusDeleted, 0
		if len(s.waiting) > 0 {
			d.doom()
			d.drop()
		}
	}
	d.goOn()
}

// ticks decides the regular ticks that have come due.
func (d *decision) ticks(reason string) {
	s := d.s
	var due []int64
	for s.Status == schedules.StatusActive && s.Next <= d.now {
		due = append(due, s.Next)
		s.decided = s.Next
		s.Next = after(s.Interval, s.Next)
	}
	d.touched = d.touched || len(due) > 0
	var starters int
	for i, t := range due {
		switch {
		case reason != "":
			s.Lapsed++
		case d.now-t <= late, s.Catchup == "all", s.Catchup == "one" && i == len(due)-1:
			starters++
		default:
			s.Lapsed++
		}
	}
	for ; starters > 0; starters-- {
		if s.Policy == schedules.OverlapCancelOther && starters > 1 { // superseded by the last
			s.Skipped++
			continue
		}
		d.overlap(true, s.Policy)
	}
}

// overlap lets the policy decide about a tick that wants to start.
func (d *decision) overlap(regular bool, policy schedules.OverlapPolicy) {
	s := d.s
	if policy == schedules.OverlapCancelOther && len(s.waiting) > 0 {
		d.doom()
		if !d.drop() {
			s.Asking = len(s.active) > 0
			d.buffer(regular)
			return
		}
	}
	if policy == schedules.OverlapAllowAll || len(s.active) == 0 {
		d.begin(kindOf(regular), "", "")
		return
	}
	skip := false
	switch policy {
	case schedules.OverlapBufferOne:
		skip = len(s.waiting) > 0
	case schedules.OverlapBufferAll:
		skip = len(s.waiting) >= bufferLimit
	case schedules.OverlapCancelOther:
		d.askAll()
	default: // a regular tick is not skipped because of a backfill's run alone
		behind := true
		for _, id := range s.active {
			behind = behind && d.runs[id].backfill != ""
		}
		skip = !regular || !behind || len(s.waiting) > 0
	}
	if !skip {
		d.buffer(regular)
		return
	}
	d.outcome = told{Outcome: schedules.FateSkipped}
	if regular {
		s.Skipped++
	}
}

func kindOf(regular bool) schedules.Trigger {
	if regular {
		return schedules.TriggerSchedule
	}
	return schedules.TriggerManual
}

// begin makes a run active; want is its id when it is known before.
func (d *decision) begin(trigger schedules.Trigger, want, bf string) {
	d.touched = true
	if len(d.start) == 0 { // the product started fewer
		d.wrong = true
		return
	}
	b := d.start[0]
	d.start = d.start[1:]
	got := b.Trigger
	if got == schedules.TriggerCatchup { // a regular one, late
		got = schedules.TriggerSchedule
	}
	if _, before := d.runs[b.ID]; before || want != "" && b.ID != want || got != trigger {
		d.wrong = true
	}
	d.s.Total++
	d.s.active = append(d.s.active, b.ID)
	slices.Sort(d.s.active)
	d.runs[b.ID] = run{runView: runView{Status: schedules.RunPending, Attempt: 1, Dispatch: 1}, inc: d.inc, backfill: bf}
	d.outcome = told{schedules.FateStarted, b.ID}
}

// buffer lets a tick wait.
func (d *decision) buffer(regular bool) {
	d.touched = true
	if len(d.wait) == 0 {
		d.wrong = true
		return
	}
	d.s.waiting = append(d.s.waiting, waiting{id: d.wait[0], regular: regular})
	d.outcome = told{schedules.FateBuffered, d.wait[0]}
	d.wait = d.wait[1:]
}

// release starts the waiting tick whose turn it is.
func (d *decision) release() {
	s := d.s
	if len(s.active) > 0 || s.Status == schedules.StatusDeleted {
		return
	}
	for i, w := range s.waiting {
		if w.regular && s.Status == schedules.StatusPaused {
			continue
		}
		s.waiting = slices.Delete(s.waiting, i, i+1)
		d.begin(kindOf(w.regular), w.id, "")
		return
	}
}

func (d *decision) doom() {
	d.s.Dropping = true
	for i := range d.s.waiting {
		d.s.waiting[i].doomed = true
	}
}

// drop drops a batch of what is doomed, as many as were dropped; false when more batches are to follow.
func (d *decision) drop() bool {
	d.touched = true
	s := d.s
	left := map[bool]int{true: d.w.DropR, false: d.w.DropM}
	doomed := false
	s.waiting = slices.DeleteFunc(s.waiting, func(w waiting) bool {
		if !w.doomed || left[w.regular] == 0 {
			doomed = doomed || w.doomed
			return false
		}
		left[w.regular]--
		if w.regular {
			s.Skipped++
		}
		return true
	})
	s.Dropping = d.w.After.Dropping
	d.wrong = d.wrong || left[true]+left[false] > 0 || doomed && !s.Dropping
	return !s.Dropping
}

// askAll asks a batch of the active runs to cancel, those that were asked; false when more batches are to follow.
func (d *decision) askAll() bool {
	d.touched = true
	s := d.s
	for _, id := range d.ask {
		r, known := d.runs[id]
		if !known || !slices.Contains(s.active, id) || r.backfill != "" {
			d.wrong = true
			return false
		}
		if r.Cancel { // somebody was faster; the first request stands
			continue
		}
		r.Cancel, r.deadline = true, d.now+cancelGrace.Milliseconds()
		r.Revision++
		d.runs[id] = r
	}
	d.ask = nil
	if s.Asking = d.w.After.Asking; s.Asking {
		return false
	}
	for _, id := range s.active {
		if r := d.runs[id]; !r.Cancel && r.backfill == "" {
			d.wrong = true
		}
	}
	return true
}

// goOn goes on with the backfill in progress.
func (d *decision) goOn() {
	s := d.s
	if len(s.backfills) == 0 {
		return
	}
	b := &s.backfills[0]
	if s.Status == schedules.StatusDeleted && !b.cancelling {
		b.cancelling, d.touched = true, true
	}
	if rest := b.count - b.started - b.dropped; b.cancelling && rest > 0 {
		b.dropped += rest
		d.touched = true
	}
	for !b.cancelling && b.started < b.count && d.room(*b) {
		b.started++
		b.active++
		d.begin(schedules.TriggerBackfill, "", b.id)
		if d.wrong {
			return
		}
	}
	if b.started+b.dropped == b.count && b.active == 0 {
		s.backfills = slices.Delete(s.backfills, 0, 1)
		d.touched = true
	}
}

// room reports whether the next run of a backfill may start.
func (d *decision) room(b backfill) bool {
	s := d.s
	backfills := int64(0)
	for _, id := range s.active {
		if d.runs[id].backfill != "" {
			backfills++
		}
	}
	if backfills >= b.parallel {
		return false
	}
	if s.Policy == schedules.OverlapAllowAll {
		return true
	}
	for _, w := range s.waiting {
		if !w.regular || s.Status != schedules.StatusPaused {
			return false
		}
	}
	return int64(len(s.active)) == backfills
}
