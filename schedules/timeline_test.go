package schedules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// timeline plays a script against the state machine: at each time (from the schedule's creation at 00:00:00 UTC) an act, with a beat deciding at every second in
// between unless it is out. The history at the end is compared line by line: nominal time, trigger, fate, reason, time of decision.
type timeline struct {
	name string
	def  Definition
	acts []act
	end  string // how long the script lasts
	want string
}

type act struct {
	at string
	do func(w *world)
}

var midnight = time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)

// lasting ends every run that long after it became active.
func (w *world) endRuns(lasting time.Duration) {
	for _, id := range slices.Clone(w.active) {
		if r := w.runs[id]; w.now.Sub(r.CreatedAt) >= lasting {
			w.finish(r, Outcome{Kind: OutcomeCompleted})
		}
	}
}

func (w *world) finish(r Run, o Outcome) {
	r.Status, r.Lease, r.Due = RunRunning, w.now.Add(Lease), time.Time{}
	r.Revision++
	w.runs[r.ID] = r
	w.change(EndAttempt(r, o, RunOptions{}, w.now, 0))
}

func (w *world) history() string {
	fates := make([]Fate, 0, len(w.fates))
	for _, f := range w.fates {
		fates = append(fates, f)
	}
	slices.SortFunc(fates, func(a, b Fate) int {
		return cmp.Or(a.Tick.Nominal.Compare(b.Tick.Nominal), cmp.Compare(a.Tick.Trigger, b.Tick.Trigger), a.DecidedAt.Compare(b.DecidedAt))
	})
	var b strings.Builder
	for _, f := range fates {
		reason := f.Reason
		if reason == "" {
			reason = "-"
		}
		fmt.Fprintf(&b, "%s %s %s %s %s\n", f.Tick.Nominal.Sub(midnight), f.Tick.Trigger, f.Fate, reason, f.DecidedAt.Sub(midnight))
	}
	return b.String()
}

func every(interval string, from IntervalFrom) Spec {
	return Spec{Interval: interval, IntervalFrom: from}
}

func trigger(policy OverlapPolicy) func(*world) {
	return func(w *world) {
		w.settleFor("")
		w.nonce++
		if policy != "" {
			w.policies[TickRunID(w.s.Ref(), Tick{Trigger: TriggerManual, Nominal: w.now, Nonce: fmt.Sprint(w.nonce)})] = policy
		}
		c, _, err := TriggerNow(w.state(), w.now, TriggerRequest{Nonce: fmt.Sprint(w.nonce), Overlap: policy})
		w.act(c, err)
	}
}

func pause(w *world) {
	w.settleFor(ReasonPaused)
	w.act(Pause(w.state(), w.now, nil))
}

func resume(w *world) {
	w.settleFor("")
	w.gap = true
	w.act(Resume(w.state(), w.now, nil))
	w.gap = false
}

func update(p Patch) func(*world) {
	return func(w *world) {
		w.settleFor("")
		w.gap = p.Spec != nil
		w.act(Update(w.state(), w.now, p))
		w.gap = false
	}
}

func backfill(from, to time.Duration, parallel int) func(*world) {
	return func(w *world) {
		w.settleFor("")
		bf, _, err := PlanBackfill(w.state(), w.now, BackfillRequest{Nonce: "n", Start: midnight.Add(from), End: midnight.Add(to), Parallel: parallel})
		if err != nil {
			w.t.Fatalf("plan: %v", err)
		}
		w.act(AddBackfill(w.state(), w.now, bf))
	}
}

func ptr[T any](v T) *T { return &v }

// runs last 7 s in these scripts; "out" and "back" begin and end an outage of the beat.
func out(w *world)  { w.out = true }
func back(w *world) { w.out = false }

func TestTimelines(t *testing.T) {
	grid := every("5s", FromStart)
	for _, tl := range []timeline{
		{name: "skip", def: Definition{Spec: grid}, end: "16s", want: `
			0s schedule started - 0s
			5s schedule skipped overlap 5s
			10s schedule started - 10s
			15s schedule skipped overlap 15s`},
		{name: "buffer one: the first one stays", def: Definition{Spec: every("2s", FromStart), Overlap: OverlapBufferOne}, end: "9s", want: `
			0s schedule started - 0s
			2s schedule started overlap 7s
			4s schedule skipped buffer_full 4s
			6s schedule skipped buffer_full 6s
			8s schedule buffered overlap 8s`},
		{name: "buffer all: in order, up to the limit", def: Definition{Spec: every("2s", FromStart), Overlap: OverlapBufferAll, BufferLimit: 2}, end: "15s", want: `
			0s schedule started - 0s
			2s schedule started overlap 7s
			4s schedule started overlap 14s
			6s schedule skipped buffer_full 6s
			8s schedule buffered overlap 8s
			10s schedule skipped buffer_full 10s
			12s schedule skipped buffer_full 12s
			14s schedule buffered overlap 14s`},
		{name: "cancel other: the newest tick waits for the cancelled run", def: Definition{Spec: every("2s", FromStart), Overlap: OverlapCancelOther}, end: "8s", want: `
			0s schedule started - 0s
			2s schedule dropped superseded 4s
			4s schedule dropped superseded 6s
			6s schedule started overlap 7s
			8s schedule buffered overlap 8s`},
		{name: "allow all", def: Definition{Spec: grid, Overlap: OverlapAllowAll}, end: "11s", want: `
			0s schedule started - 0s
			5s schedule started - 5s
			10s schedule started - 10s`},
		{name: "completion: one interval after the end", def: Definition{Spec: every("10s", FromCompletion)}, end: "35s", want: `
			0s schedule started - 0s
			17s schedule started - 17s
			34s schedule started - 34s`},
		{name: "completion: a run that outlasts the interval meets its policy", def: Definition{Spec: every("5s", FromCompletion)}, end: "25s", want: `
			0s schedule started - 0s
			5s schedule skipped overlap 5s
			12s schedule started - 12s
			17s schedule skipped overlap 17s
			24s schedule started - 24s`},
		{name: "completion: what came due before the end keeps its fate though decided after it", def: Definition{Spec: every("5s", FromCompletion)},
			acts: []act{{"4s", out}, {"8s", back}}, end: "19s", want: `
			0s schedule started - 0s
			5s schedule started - 7s
			12s schedule skipped overlap 12s
			19s schedule started - 19s`},
		{name: "completion: manual runs move nothing", def: Definition{Spec: every("10s", FromCompletion), Overlap: OverlapAllowAll}, acts: []act{{"8s", trigger("")}}, end: "18s", want: `
			0s schedule started - 0s
			8s manual started - 8s
			17s schedule started - 17s`},
		{name: "completion: resume gives now + interval", def: Definition{Spec: every("10s", FromCompletion)}, acts: []act{{"9s", pause}, {"40s", resume}}, end: "58s", want: `
			0s schedule started - 0s
			50s schedule started - 50s`},
		{name: "resume keeps a tick that is ahead", def: Definition{Spec: every("30s", FromStart)}, acts: []act{{"9s", pause}, {"20s", resume}}, end: "31s", want: `
			0s schedule started - 0s
			30s schedule started - 30s`},
		{name: "time spent paused is no outage", def: Definition{Spec: every("30s", FromStart), Catchup: CatchupAll}, acts: []act{{"9s", pause}, {"100s", resume}}, end: "121s", want: `
			0s schedule started - 0s
			2m0s schedule started - 2m0s`},
		{name: "a pause settles what came due before it", def: Definition{Spec: grid}, acts: []act{{"7s", out}, {"18s", pause}, {"19s", back}}, end: "30s", want: `
			0s schedule started - 0s
			5s schedule skipped overlap 5s
			10s schedule missed paused 18s
			15s schedule missed paused 18s`},
		{name: "a pause holds waiting regular ticks, not manual ones", def: Definition{Spec: grid, Overlap: OverlapBufferAll},
			acts: []act{{"6s", trigger("")}, {"6s", pause}, {"20s", resume}}, end: "21s", want: `
			0s schedule started - 0s
			5s schedule started overlap 20s
			6s manual started overlap 7s`},
		{name: "catchup one: the latest of them", def: Definition{Spec: every("30s", FromStart)}, acts: []act{{"1s", out}, {"101s", back}}, end: "102s", want: `
			0s schedule started - 0s
			30s schedule missed catchup 1m41s
			1m0s schedule missed catchup 1m41s
			1m30s catchup started - 1m41s`},
		{name: "catchup one: a merely late tick is the one", def: Definition{Spec: every("30s", FromStart)}, acts: []act{{"1s", out}, {"95s", back}}, end: "96s", want: `
			0s schedule started - 0s
			30s schedule missed catchup 1m35s
			1m0s schedule missed catchup 1m35s
			1m30s schedule started - 1m35s`},
		{name: "catchup none", def: Definition{Spec: every("30s", FromStart), Catchup: CatchupNone}, acts: []act{{"1s", out}, {"101s", back}}, end: "102s", want: `
			0s schedule started - 0s
			30s schedule missed catchup 1m41s
			1m0s schedule missed catchup 1m41s
			1m30s schedule missed catchup 1m41s`},
		{name: "catchup all: in order, through the policy", def: Definition{Spec: every("30s", FromStart), Catchup: CatchupAll, Overlap: OverlapBufferAll}, acts: []act{{"1s", out}, {"101s", back}}, end: "115s", want: `
			0s schedule started - 0s
			30s catchup started - 1m41s
			1m0s catchup started overlap 1m48s
			1m30s catchup started overlap 1m55s`},
		{name: "catchup all under cancel other: only the latest", def: Definition{Spec: every("30s", FromStart), Catchup: CatchupAll, Overlap: OverlapCancelOther}, acts: []act{{"1s", out}, {"101s", back}}, end: "102s", want: `
			0s schedule started - 0s
			30s catchup skipped superseded 1m41s
			1m0s catchup skipped superseded 1m41s
			1m30s catchup started - 1m41s`},
		{name: "beyond the window", def: Definition{Spec: every("30s", FromStart), Catchup: CatchupAll, CatchupWindow: Duration(40 * time.Second), Overlap: OverlapAllowAll}, acts: []act{{"1s", out}, {"101s", back}}, end: "102s", want: `
			0s schedule started - 0s
			30s schedule missed window 1m41s
			1m0s schedule missed window 1m41s
			1m30s catchup started - 1m41s`},
		{name: "triggers: the caller's policy", def: Definition{Spec: every("1m", FromStart)},
			acts: []act{{"1s", trigger("")}, {"2s", trigger(OverlapBufferOne)}, {"3s", trigger(OverlapBufferOne)}, {"4s", trigger(OverlapAllowAll)}}, end: "12s", want: `
			0s schedule started - 0s
			1s manual skipped overlap 1s
			2s manual started overlap 11s
			3s manual skipped buffer_full 3s
			4s manual started - 4s`},
		{name: "a trigger that cancels", def: Definition{Spec: every("1m", FromStart)}, acts: []act{{"2s", trigger(OverlapCancelOther)}}, end: "8s", want: `
			0s schedule started - 0s
			2s manual started overlap 7s`},
		{name: "policy changed to exclusive: nothing starts until none is active", def: Definition{Spec: every("2s", FromStart), Overlap: OverlapAllowAll},
			acts: []act{{"5s", update(Patch{Overlap: ptr(OverlapBufferOne)})}}, end: "12s", want: `
			0s schedule started - 0s
			2s schedule started - 2s
			4s schedule started - 4s
			6s schedule started overlap 11s
			8s schedule skipped buffer_full 8s
			10s schedule skipped buffer_full 10s
			12s schedule buffered overlap 12s`},
		{name: "a waiting tick outlives its end_at", def: Definition{Spec: Spec{Interval: "5s", IntervalFrom: FromStart, EndAt: midnight.Add(6 * time.Second)}, Overlap: OverlapBufferOne}, end: "20s", want: `
			0s schedule started - 0s
			5s schedule started overlap 7s`},
		{name: "backfill: oldest first, one after another; a regular tick goes between", def: Definition{Spec: every("20s", FromStart)},
			acts: []act{{"8s", backfill(-60*time.Second, 0, 1)}}, end: "40s", want: `
			-1m0s backfill started - 8s
			-40s backfill started - 15s
			-20s backfill started - 29s
			0s schedule started - 0s
			20s schedule started overlap 22s
			40s schedule started - 40s`},
		{name: "backfill in parallel", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", backfill(-5*time.Hour, 0, 2)}}, end: "30s", want: `
			-5h0m0s backfill started - 8s
			-4h0m0s backfill started - 8s
			-3h0m0s backfill started - 15s
			-2h0m0s backfill started - 15s
			-1h0m0s backfill started - 22s
			0s schedule started - 0s`},
		{name: "backfill goes on while paused", def: Definition{Spec: every("1h", FromStart)}, acts: []act{{"8s", pause}, {"9s", backfill(-2*time.Hour, 0, 1)}}, end: "17s", want: `
			-2h0m0s backfill started - 9s
			-1h0m0s backfill started - 16s
			0s schedule started - 0s`},
		{name: "a cancelled backfill drops what has not started", def: Definition{Spec: every("1h", FromStart)},
			acts: []act{{"8s", backfill(-2*time.Hour, 0, 1)}, {"9s", func(w *world) { w.act(CancelBackfill(w.state(), w.now, w.backfills[w.s.Backfills[0]])) }}}, end: "17s", want: `
			-2h0m0s backfill started - 8s
			-1h0m0s backfill dropped cancelled 9s
			0s schedule started - 0s`},
		{name: "delete drops what waits", def: Definition{Spec: grid, Overlap: OverlapBufferAll}, acts: []act{{"11s", func(w *world) {
			w.settleFor(ReasonDeleted)
			w.act(Delete(w.state(), w.now, false))
		}}}, end: "30s", want: `
			0s schedule started - 0s
			5s schedule started overlap 7s
			10s schedule dropped deleted 11s`},
		{name: "a step back of the clock", def: Definition{Spec: every("30s", FromStart)}, acts: []act{{"31s", func(w *world) { w.now = w.now.Add(-25 * time.Second) }}}, end: "61s", want: `
			0s schedule started - 0s
			30s schedule started - 30s
			1m0s schedule started - 1m0s`},
		{name: "jitter: the grid stays", def: Definition{Spec: Spec{Interval: "10s", IntervalFrom: FromStart, Jitter: Duration(9 * time.Second)}, Overlap: OverlapAllowAll}, end: "20s", want: `
			0s schedule started - 0s
			10s schedule started - ` + (10*time.Second + JitterDelay(Duration(9*time.Second), "s", midnight.Add(10*time.Second), midnight.Add(20*time.Second)) + time.Second - 1).Truncate(time.Second).String()},
	} {
		t.Run(tl.name, tl.play)
	}
}

// play lets runs last 7 s, with a beat every second.
func (tl timeline) play(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	w.create(tl.def)
	w.settle()
	length := mustDuration(t, tl.end)
	for !w.now.After(midnight.Add(length)) {
		w.endRuns(7 * time.Second)
		if !w.out {
			w.settle()
		}
		for len(tl.acts) > 0 && !midnight.Add(mustDuration(t, tl.acts[0].at)).After(w.now) {
			do := tl.acts[0].do
			tl.acts = tl.acts[1:]
			do(w)
			if !w.out {
				w.settle()
			}
		}
		w.now = w.now.Add(time.Second)
	}
	want := strings.Join(strings.Fields(tl.want), " ")
	if got := strings.Join(strings.Fields(w.history()), " "); got != want {
		t.Errorf("history:\n%s\nshould be:\n%s", w.history(), strings.ReplaceAll(strings.TrimSpace(tl.want), "\t", ""))
	}
}

func mustDuration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCreateRefusals(t *testing.T) {
	good := CreateRequest{ID: "s", Workflow: "w", Definition: Definition{Spec: Spec{Cron: "0 9 * * *"}}}
	for _, tt := range []struct {
		field  string
		change func(r *CreateRequest)
	}{
		{"id", func(r *CreateRequest) { r.ID = "a b" }},
		{"id", func(r *CreateRequest) { r.ID = "-a" }},
		{"workflow", func(r *CreateRequest) { r.Workflow = "" }},
		{"overlap", func(r *CreateRequest) { r.Overlap = "maybe" }},
		{"buffer_limit", func(r *CreateRequest) { r.BufferLimit = -1 }},
		{"cancel_grace", func(r *CreateRequest) { r.CancelGrace = -1 }},
		{"catchup", func(r *CreateRequest) { r.Catchup = "some" }},
		{"catchup_window", func(r *CreateRequest) { r.CatchupWindow = Duration(time.Second) }},
		{"queue", func(r *CreateRequest) { r.Queue = "a b" }},
		{"input", func(r *CreateRequest) { r.Input = []byte("{") }},
		{"timezone", func(r *CreateRequest) { r.Spec.Timezone = "Europe/Atlantis" }},
		{"cron", func(r *CreateRequest) { r.Spec.EndAt = midnight.Add(time.Hour) }},
		{"end_at", func(r *CreateRequest) { r.Spec.EndAt = midnight }},
		{"calendar", func(r *CreateRequest) { r.Spec = Spec{Calendar: []Calendar{{Year: "2020"}}} }},
	} {
		req := good
		tt.change(&req)
		_, err := Create(req, midnight)
		if fe := (*FieldError)(nil); !errors.As(err, &fe) || fe.Field != tt.field {
			t.Errorf("%s: got %v", tt.field, err)
		}
	}
}

func TestActivation(t *testing.T) {
	decl := Definition{Spec: Spec{Cron: "0 9 * * *"}, Overlap: OverlapBufferOne}
	c, err := Create(CreateRequest{ID: "auto_w", Incarnation: "1", Workflow: "w", Definition: decl, Declared: &decl, Origin: "example.com/m"}, midnight)
	if err != nil {
		t.Fatal(err)
	}
	st := State{Schedule: c.Schedule}
	now := midnight.Add(time.Minute)
	if _, changed, err := Activate(st, now, decl); changed || err != nil {
		t.Fatalf("activated anew: %v %v", changed, err)
	}
	c, err = Update(st, now, Patch{Catchup: ptr(CatchupAll), Spec: &Spec{Cron: "0 9 * * *", Timezone: "Europe/Berlin"}})
	if err != nil {
		t.Fatal(err)
	}
	st.Schedule = c.Schedule
	if got := Overridden(&st.Schedule); !slices.Equal(got, []string{"timezone", "catchup"}) {
		t.Errorf("overridden: %v", got)
	}
	decl.Spec.Cron, decl.Overlap = "0 10 * * *", OverlapSkip
	c, changed, err := Activate(st, now, decl)
	if s := c.Schedule; !changed || err != nil || s.Spec.Cron != "0 10 * * *" || s.Spec.Timezone != "Europe/Berlin" || s.Overlap != OverlapSkip || s.Catchup != CatchupAll || s.Version != 2 {
		t.Errorf("after a changed declaration: %v %v %+v", changed, err, s)
	}
	if next := time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC); !c.Schedule.NextNominal.Equal(next) {
		t.Errorf("next tick %s, should be %s", c.Schedule.NextNominal, next)
	}
	st.Schedule = c.Schedule
	if _, err := Delete(st, now, false); !errors.Is(err, ErrDeclared) {
		t.Errorf("delete of a declared schedule: %v", err)
	}
	c, err = Reset(st, now)
	if s := c.Schedule; err != nil || s.Spec.Timezone != "UTC" || s.Catchup != CatchupOne || len(Overridden(&s)) > 0 || s.Version != 3 {
		t.Errorf("after a reset: %v %+v", err, s)
	}
	if _, err := Update(st, now, Patch{ExpectVersion: 1, Catchup: ptr(CatchupNone)}); !errors.Is(err, ErrVersion) {
		t.Errorf("update of an old version: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	w := emptyWorld(midnight)
	w.t = t
	w.create(Definition{Spec: every("2s", FromStart), CatchupWindow: Duration(time.Minute)})
	w.settle()
	var got []Warning
	for i := range 10 {
		w.now = w.now.Add(time.Second)
		if i == 4 { // between two ticks; a run started beside the one in the way does not make it another
			trigger(OverlapAllowAll)(w)
		}
		if c, ok := Decide(w.state(), w.now); ok {
			w.commit(c)
			got = append(got, c.Warnings...)
		}
		if third := i >= 5; third != (len(got) == 1) {
			t.Errorf("%d s after the start: %+v", i+1, got)
		}
	}
	if len(got) != 1 || got[0].Kind != WarnBlocked || got[0].RunID != w.active[0] || got[0].Count != 3 {
		t.Errorf("warnings after five skipped ticks: %+v", got)
	}
	w.now = w.now.Add(2 * time.Minute)
	c, _ := Decide(w.state(), w.now)
	if len(c.Warnings) != 1 || c.Warnings[0].Kind != WarnWindow || c.Warnings[0].Count != 29 || !c.Warnings[0].From.Equal(midnight.Add(12*time.Second)) {
		t.Errorf("warnings after an outage: %+v", c.Warnings)
	}
}
