package schedules

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"
)

func created(t *testing.T, req CreateRequest) State {
	t.Helper()
	req.Incarnation, req.Workflow = "1", "w"
	c, err := Create(req, midnight)
	if err != nil {
		t.Fatal(err)
	}
	return State{Schedule: c.Schedule}
}

// Acts that are repeated, or that ask for what is, change nothing: neither version nor anything else is written.
func TestActsThatChangeNothing(t *testing.T) {
	def := Definition{Spec: every("1h", FromCompletion), Input: json.RawMessage(`{"a": 1}`)}
	active := created(t, CreateRequest{ID: "s", Definition: def, Note: "n"})
	paused, deleted := active, active
	paused.Schedule.Status, deleted.Schedule.Status = StatusPaused, StatusDeleted
	same, other := "n", "other"
	for name, tt := range map[string]struct {
		st   State
		do   func(st State) (Change, error)
		some bool // something is to be written
	}{
		"pause":                   {active, func(st State) (Change, error) { return Pause(st, midnight, nil) }, true},
		"pause again":             {paused, func(st State) (Change, error) { return Pause(st, midnight, nil) }, false},
		"pause again, same note":  {paused, func(st State) (Change, error) { return Pause(st, midnight, &same) }, false},
		"pause again, other note": {paused, func(st State) (Change, error) { return Pause(st, midnight, &other) }, true},
		"resume of an active one": {active, func(st State) (Change, error) { return Resume(st, midnight, nil) }, false},
		"update to what it is": {active, func(st State) (Change, error) {
			return Update(st, midnight, Patch{Spec: &def.Spec, Overlap: ptr(OverlapSkip), Input: &def.Input, Note: &same})
		}, false},
		"update to another input": {active, func(st State) (Change, error) { return Update(st, midnight, Patch{Input: ptr(json.RawMessage(`2`))}) }, true},
		"update of the note":      {active, func(st State) (Change, error) { return Update(st, midnight, Patch{Note: &other}) }, true},
		"delete of a deleted one": {deleted, func(st State) (Change, error) { return Delete(st, midnight, false) }, false},
		"cancel of an ended bf": {active, func(st State) (Change, error) {
			return CancelBackfill(st, midnight, Backfill{Status: BackfillCompleted})
		}, false},
		"cancel of a cancelled bf": {active, func(st State) (Change, error) {
			return CancelBackfill(st, midnight, Backfill{Status: BackfillCancelling})
		}, false},
	} {
		c, err := tt.do(tt.st)
		if err != nil || (c.Schedule.ID != "") != tt.some {
			t.Errorf("%s: %v, writes %q", name, err, c.Schedule.ID)
		}
		if tt.some && (c.Schedule.Version != 2 || c.Expect != 1 || c.Schedule.Revision != 2) {
			t.Errorf("%s: version %d, revision %d", name, c.Schedule.Version, c.Schedule.Revision)
		}
	}
}

func TestActsOnADeletedSchedule(t *testing.T) {
	st := created(t, CreateRequest{ID: "s", Definition: Definition{Spec: every("1h", FromStart)}})
	st.Schedule.Status = StatusDeleted
	for name, do := range map[string]func() error{
		"pause":    func() error { _, err := Pause(st, midnight, nil); return err },
		"resume":   func() error { _, err := Resume(st, midnight, nil); return err },
		"update":   func() error { _, err := Update(st, midnight, Patch{Note: ptr("x")}); return err },
		"reset":    func() error { _, err := Reset(st, midnight); return err },
		"activate": func() error { _, _, err := Activate(st, midnight, st.Schedule.Definition); return err },
		"trigger":  func() error { _, _, err := TriggerNow(st, midnight, TriggerRequest{}); return err },
		"plan": func() error {
			_, _, err := PlanBackfill(st, midnight, BackfillRequest{Start: midnight.Add(-time.Hour)})
			return err
		},
		"backfill": func() error { _, err := AddBackfill(st, midnight, Backfill{}); return err },
	} {
		if err := do(); !errors.Is(err, ErrDeleted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schedule somebody made under the id of a declaration keeps what it is; reset makes it what the code says.
func TestActivationOfAScheduleMadeByHand(t *testing.T) {
	st := created(t, CreateRequest{ID: "auto_w", Definition: Definition{Spec: Spec{Cron: "0 9 * * *"}, Overlap: OverlapBufferOne}})
	decl := Definition{Spec: Spec{Cron: "0 10 * * *"}, Overlap: OverlapBufferOne}
	c, changed, err := Activate(st, midnight, decl)
	if err != nil || !changed || c.Schedule.Spec.Cron != "0 9 * * *" || c.Schedule.Version != 1 || !slices.Equal(Overridden(&c.Schedule), []string{"cron"}) {
		t.Fatalf("%v %v %+v, overridden %v", err, changed, c.Schedule.Record, Overridden(&c.Schedule))
	}
	st.Schedule = c.Schedule
	if c, err = Reset(st, midnight); err != nil || c.Schedule.Spec.Cron != "0 10 * * *" || len(Overridden(&c.Schedule)) > 0 {
		t.Errorf("reset: %v %+v", err, c.Schedule.Record)
	}
	st.Schedule = c.Schedule
	if c, err = Reset(st, midnight); err != nil || c.Schedule.ID != "" {
		t.Errorf("reset again: %v %+v", err, c.Schedule.Record)
	}
}

func TestTheCodeWinsWhereBothDoNotFit(t *testing.T) {
	decl := Definition{Spec: Spec{Cron: "0 9 * * *"}}
	st := created(t, CreateRequest{ID: "auto_w", Definition: decl, Declared: &decl, Origin: "m"})
	c, err := Update(st, midnight, Patch{Spec: &Spec{Cron: "0 9 * * *", EndAt: midnight.AddDate(0, 1, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	st.Schedule = c.Schedule
	decl.Spec.StartAt = midnight.AddDate(0, 2, 0)
	c, changed, err := Activate(st, midnight, decl)
	if err != nil || !changed || !c.Schedule.Spec.EndAt.IsZero() || !c.Schedule.Spec.StartAt.Equal(decl.Spec.StartAt) || len(Overridden(&c.Schedule)) > 0 {
		t.Errorf("%v %v %+v", err, changed, c.Schedule.Spec)
	}
}

func TestActivationLeavesStatusAndCounters(t *testing.T) {
	decl := Definition{Spec: Spec{Cron: "0 9 * * *"}}
	st := created(t, CreateRequest{ID: "auto_w", Definition: decl, Declared: &decl, Origin: "m"})
	st.Schedule.Status, st.Schedule.Total, st.Schedule.Successful, st.Schedule.Note = StatusPaused, 3, 3, "why"
	decl.Spec = every("1h", FromStart)
	c, _, err := Activate(st, midnight, decl)
	if s := c.Schedule; err != nil || s.Status != StatusPaused || s.Total != 3 || s.Note != "why" || s.Spec.Cron != "" || s.Spec.Interval != "1h" || !s.NextRunTime().IsZero() {
		t.Errorf("%v %+v", err, s)
	}
}

func TestBackfillRefusals(t *testing.T) {
	st := created(t, CreateRequest{ID: "s", Definition: Definition{Spec: every("1m", FromStart)}})
	st.Schedule.HistoryFrom = midnight.Add(-time.Hour)
	has := func(time.Time) bool { return false }
	for _, tt := range []struct {
		field string
		req   BackfillRequest
	}{
		{"start", BackfillRequest{}},
		{"end", BackfillRequest{Start: midnight}},
		{"end", BackfillRequest{Start: midnight.Add(-time.Hour), End: midnight.Add(time.Millisecond)}},
		{"parallel", BackfillRequest{Start: midnight.Add(-time.Hour), Parallel: -1}},
		{"max_runs", BackfillRequest{Start: midnight.Add(-time.Hour), MaxRuns: -1}},
		{"max_runs", BackfillRequest{Start: midnight.Add(-1001 * time.Minute)}},
		{"max_runs", BackfillRequest{Start: midnight.Add(-time.Hour), MaxRuns: 59}},
		{"start", BackfillRequest{Start: midnight.Add(-61 * time.Minute), Has: has}},
		{"", BackfillRequest{Start: midnight.Add(-1000 * time.Minute)}},
		{"", BackfillRequest{Start: midnight.Add(-time.Hour), MaxRuns: 60, Has: has}},
	} {
		_, times, err := PlanBackfill(st, midnight, tt.req)
		if fe := (*FieldError)(nil); tt.field == "" && (err != nil || len(times) == 0) || tt.field != "" && (!errors.As(err, &fe) || fe.Field != tt.field) {
			t.Errorf("%+v: %d ticks, %v", tt.req, len(times), err)
		}
	}
	for range MaxWaitingBackfills {
		st.Schedule.Backfills = append(st.Schedule.Backfills, "bf")
	}
	if _, err := AddBackfill(st, midnight, Backfill{}); !errors.Is(err, ErrBackfills) {
		t.Errorf("one too many: %v", err)
	}
}

// What a picture shows is what comes due: the ticks before a time are those that a schedule left alone decides up to it.
func TestTicksBeforeAreThoseThatComeDue(t *testing.T) {
	for name, spec := range map[string]Spec{
		"cron":        {Cron: "*/7 * * * *"},
		"jitter":      {Cron: "*/7 * * * *", Jitter: Duration(5 * time.Minute)},
		"interval":    {Interval: "11m", IntervalFrom: FromStart},
		"with jitter": {Interval: "11m", IntervalFrom: FromStart, Jitter: Duration(3 * time.Minute)},
		"completion":  {Interval: "11m"},
		"with an end": {Cron: "*/7 * * * *", EndAt: midnight.Add(30 * time.Minute)},
	} {
		st := created(t, CreateRequest{ID: "s", Definition: Definition{Spec: spec, Overlap: OverlapAllowAll}})
		until := midnight.Add(2 * time.Hour)
		got := TicksBefore(&st.Schedule, until, 1000)
		if few := TicksBefore(&st.Schedule, until, 3); len(got) < 3 || !slices.Equal(few, got[:3]) {
			t.Errorf("%s: the first 3 are %v of %v", name, few, got)
		}
		for i := 0; ; i++ {
			due, nominal := st.Schedule.NextRunTime(), st.Schedule.NextNominal
			if due.IsZero() || !due.Before(until) {
				if i != len(got) {
					t.Errorf("%s: %d ticks came due, %d were foretold", name, i, len(got))
				}
				break
			}
			if i >= len(got) || !got[i].Nominal.Equal(nominal) || !got[i].Due.Equal(due) {
				t.Errorf("%s: tick %d comes due at %s for %s, foretold were %v", name, i, due, nominal, got)
				break
			}
			c, ok := Decide(st, due)
			if !ok || len(c.Start) != 1 {
				t.Fatalf("%s: at %s nothing starts", name, due)
			}
			st.Schedule = c.Schedule
			st.Schedule.Active-- // the run takes no time
			st.Schedule.AnchorEnd = due
		}
	}
	paused := created(t, CreateRequest{ID: "s", Definition: Definition{Spec: Spec{Cron: "* * * * *"}}})
	paused.Schedule.Status = StatusPaused
	if got := TicksBefore(&paused.Schedule, midnight.Add(time.Hour), 10); len(got) > 0 {
		t.Errorf("paused: %v", got)
	}
}
