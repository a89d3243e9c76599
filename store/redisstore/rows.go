package redisstore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// millis is a time that is kept as milliseconds since 1970; zero is left out.
type millis time.Time

func (m millis) IsZero() bool { return time.Time(m).IsZero() }

func (m millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(m).UnixMilli(), 10), nil
}

func (m *millis) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil { // Lua writes numbers beyond 14 digits with an exponent
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return fmt.Errorf("time %q is not a number", b)
		}
		n = int64(f)
	}
	*m = millis(time.UnixMilli(n).UTC())
	return nil
}

// The row types below are the domain's records with another form for some fields: a field here hides the one of the same JSON name in the record.
// What the domain adds is kept without a word here, but is a new format: TestShape.

// specRow leaves out what a spec does not say.
type specRow schedules.Spec

func (s specRow) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Cron         string                 `json:"cron,omitempty"`
		Interval     string                 `json:"interval,omitempty"`
		IntervalFrom schedules.IntervalFrom `json:"interval_from,omitempty"`
		Calendar     []schedules.Calendar   `json:"calendar,omitempty"`
		Timezone     string                 `json:"timezone,omitempty"`
		StartAt      time.Time              `json:"start_at,omitzero"`
		EndAt        time.Time              `json:"end_at,omitzero"`
		Jitter       schedules.Duration     `json:"jitter,omitempty"`
	}(s))
}

// UnmarshalJSON is strict as a spec's.
func (s *specRow) UnmarshalJSON(b []byte) error { return (*schedules.Spec)(s).UnmarshalJSON(b) }

// setRow is what people set of a schedule, without what the row's key and head say, and without what most schedules have: a million of them lie in memory.
type setRow struct {
	schedules.Record
	ID            elsewhere               `json:"id,omitzero"`
	Incarnation   elsewhere               `json:"inc,omitzero"`
	Workflow      elsewhere               `json:"workflow,omitzero"`
	Status        elsewhere               `json:"status,omitzero"`
	Spec          specRow                 `json:"spec"`
	Overlap       schedules.OverlapPolicy `json:"overlap,omitempty"`
	BufferLimit   int                     `json:"buffer_limit,omitempty"`
	CancelGrace   schedules.Duration      `json:"cancel_grace,omitempty"`
	Catchup       schedules.Catchup       `json:"catchup,omitempty"`
	CatchupWindow schedules.Duration      `json:"catchup_window,omitempty"`
	Version       int64                   `json:"version,omitempty"`
	CreatedAt     millis                  `json:"created_at,omitzero"`
	UpdatedAt     millis                  `json:"updated_at,omitzero"`
}

// What a record has that does not say otherwise. It belongs to the format, and stays when the defaults of new schedules change.
const (
	usualTimezone      = "UTC"
	usualOverlap       = schedules.OverlapPolicy("skip")
	usualBufferLimit   = 1000
	usualCancelGrace   = schedules.Duration(30 * time.Second)
	usualCatchup       = schedules.Catchup("one")
	usualCatchupWindow = schedules.Duration(24 * time.Hour)
	usualVersion       = 1
)

// elsewhere is a field that is read from another place: it is not written, and what stands there is passed over.
type elsewhere struct{}

func (*elsewhere) UnmarshalJSON([]byte) error { return nil }

// unless is v, or zero for what is usual.
func unless[T comparable](usual, v T) T {
	if v == usual {
		var zero T
		return zero
	}
	return v
}

func encodeRecord(r schedules.Record, format int) ([]byte, error) {
	spec := specRow(r.Spec)
	spec.Timezone = unless(usualTimezone, spec.Timezone)
	row := newRecordRow(setRow{Record: r, Spec: spec, Overlap: unless(usualOverlap, r.Overlap), BufferLimit: unless(usualBufferLimit, r.BufferLimit),
		CancelGrace: unless(usualCancelGrace, r.CancelGrace), Catchup: unless(usualCatchup, r.Catchup),
		CatchupWindow: unless(usualCatchupWindow, r.CatchupWindow), Version: unless(usualVersion, r.Version),
		CreatedAt: millis(r.CreatedAt), UpdatedAt: millis(unless(r.CreatedAt, r.UpdatedAt))}, format)
	return json.Marshal(row)
}

// decodeRecord reads what people set; what the key and the head of the row say is left to the caller.
func decodeRecord(b string, format int) (schedules.Record, error) {
	var row recordRow
	err := strict(b, format, &row)
	r := row.record(format)
	r.Spec = schedules.Spec(row.Spec)
	r.Spec.Timezone = cmp.Or(r.Spec.Timezone, usualTimezone)
	r.Overlap, r.BufferLimit, r.CancelGrace = cmp.Or(row.Overlap, usualOverlap), cmp.Or(row.BufferLimit, usualBufferLimit), cmp.Or(row.CancelGrace, usualCancelGrace)
	r.Catchup, r.CatchupWindow, r.Version = cmp.Or(row.Catchup, usualCatchup), cmp.Or(row.CatchupWindow, usualCatchupWindow), cmp.Or(row.Version, usualVersion)
	r.CreatedAt, r.UpdatedAt = time.Time(row.CreatedAt), time.Time(cmp.Or(row.UpdatedAt, row.CreatedAt))
	return r, err
}

type progressRow struct {
	schedules.Progress
	DecidedUntil millis `json:"decided,omitzero"`
	NextNominal  millis `json:"next,omitzero"` // left out where NextDue is the same
	NextDue      millis `json:"due,omitzero"`
	AnchorStart  millis `json:"anchor_start,omitzero"`
	LastRunAt    millis `json:"last_run_at,omitzero"`
}

func encodeProgress(p schedules.Progress) ([]byte, error) {
	return json.Marshal(progressRow{Progress: p, DecidedUntil: millis(p.DecidedUntil), NextNominal: millis(unless(p.NextDue, p.NextNominal)),
		NextDue: millis(p.NextDue), AnchorStart: millis(p.AnchorStart), LastRunAt: millis(p.LastRunAt)})
}

func decodeProgress(b string, format int) (schedules.Progress, error) {
	var row progressRow
	err := strict(b, format, &row)
	p := row.Progress
	p.DecidedUntil, p.NextNominal, p.NextDue = time.Time(row.DecidedUntil), time.Time(cmp.Or(row.NextNominal, row.NextDue)), time.Time(row.NextDue)
	p.AnchorStart, p.LastRunAt = time.Time(row.AnchorStart), time.Time(row.LastRunAt)
	return p, err
}

// tallyRow leaves zeros out; commitrun.lua and trim.lua change it by these names.
type tallyRow struct {
	schedules.Tally
	Total          int64  `json:"total,omitempty"`
	Successful     int64  `json:"successful,omitempty"`
	Failed         int64  `json:"failed,omitempty"`
	Cancelled      int64  `json:"cancelled,omitempty"`
	Skipped        int64  `json:"skipped,omitempty"`
	Missed         int64  `json:"missed,omitempty"`
	Active         int64  `json:"active,omitempty"`
	ActiveBackfill int64  `json:"active_backfill,omitempty"`
	WaitingRegular int64  `json:"waiting_regular,omitempty"`
	WaitingManual  int64  `json:"waiting_manual,omitempty"`
	AnchorEnd      millis `json:"anchor_end,omitzero"`
	HistoryFrom    millis `json:"history_from,omitzero"`
}

func encodeTally(t schedules.Tally) ([]byte, error) {
	return json.Marshal(tallyRow{Tally: t, Total: t.Total, Successful: t.Successful, Failed: t.Failed, Cancelled: t.Cancelled, Skipped: t.Skipped,
		Missed: t.Missed, Active: t.Active, ActiveBackfill: t.ActiveBackfill, WaitingRegular: t.WaitingRegular, WaitingManual: t.WaitingManual,
		AnchorEnd: millis(t.AnchorEnd), HistoryFrom: millis(t.HistoryFrom)})
}

func decodeTally(b string, format int) (schedules.Tally, error) {
	var row tallyRow
	err := strict(b, format, &row)
	t := row.Tally
	t.Total, t.Successful, t.Failed, t.Cancelled, t.Skipped, t.Missed = row.Total, row.Successful, row.Failed, row.Cancelled, row.Skipped, row.Missed
	t.Active, t.ActiveBackfill, t.WaitingRegular, t.WaitingManual = row.Active, row.ActiveBackfill, row.WaitingRegular, row.WaitingManual
	t.AnchorEnd, t.HistoryFrom = time.Time(row.AnchorEnd), time.Time(row.HistoryFrom)
	return t, err
}

// decodeSchedule puts a schedule together from its name and the fields of its row; of says what rec says.
func decodeSchedule(ref schedules.Ref, head, rec, hot, tally string, of func(rec string, format int) (schedules.Record, error)) (schedules.Schedule, error) {
	var s schedules.Schedule
	version, rest, _ := strings.Cut(head, " ")
	v, err := strconv.Atoi(version)
	if err != nil {
		return s, unreadable("field head", fmt.Errorf("format %q is not a number", version))
	}
	if err := checkFormat(v); err != nil {
		return s, err
	}
	said := strings.SplitN(rest, " ", 4) // revision, status, tokens, workflow
	if len(said) < 4 {
		return s, unreadable("field head", fmt.Errorf("%q lacks its revision, status, tokens or workflow", head))
	}
	revision, err := strconv.ParseInt(said[0], 10, 64)
	if err != nil {
		return s, unreadable("field head", fmt.Errorf("revision %q is not a number", said[0]))
	}
	if s.Record, err = of(rec, v); err != nil {
		return s, unreadable("field rec", err)
	}
	s.Revision, s.Format = revision, ownFormat(v)
	s.ID, s.Incarnation, s.Workflow, s.Status = ref.ID, ref.Incarnation, said[3], schedules.Status(said[1])
	if s.Progress, err = decodeProgress(hot, v); err != nil {
		return s, unreadable("field hot", err)
	}
	if s.Tally, err = decodeTally(tally, v); err != nil {
		return s, unreadable("field tally", err)
	}
	return s, nil
}

type tickRow struct {
	schedules.Tick
	Nominal millis `json:"nominal,omitzero"`
}

func tickOf(r tickRow) schedules.Tick {
	r.Tick.Nominal = time.Time(r.Nominal)
	return r.Tick
}

type fateRow struct {
	schedules.Fate
	Tick      tickRow `json:"tick"`
	DecidedAt millis  `json:"at,omitzero"`
}

func encodeFate(f schedules.Fate) ([]byte, error) {
	return json.Marshal(fateRow{Fate: f, Tick: tickRow{Tick: f.Tick, Nominal: millis(f.Tick.Nominal)}, DecidedAt: millis(f.DecidedAt)})
}

func decodeFate(b string) (schedules.Fate, error) {
	var row fateRow
	err := json.Unmarshal([]byte(b), &row)
	row.Fate.Tick, row.Fate.DecidedAt = tickOf(row.Tick), time.Time(row.DecidedAt)
	return row.Fate, err
}

type waitingRow struct {
	schedules.WaitingTick
	Tick  tickRow `json:"tick"`
	Since millis  `json:"since,omitzero"`
}

func encodeWaiting(w schedules.WaitingTick) ([]byte, error) {
	return json.Marshal(waitingRow{WaitingTick: w, Tick: tickRow{Tick: w.Tick, Nominal: millis(w.Tick.Nominal)}, Since: millis(w.Since)})
}

func decodeWaiting(b string, format int) (schedules.WaitingTick, error) {
	var row waitingRow
	err := strict(b, format, &row)
	row.WaitingTick.Tick, row.WaitingTick.Since = tickOf(row.Tick), time.Time(row.Since)
	return row.WaitingTick, err
}

// hidden takes a field out of a row: it is written apart.
type hidden *struct{}

type backfillRow struct {
	V int `json:"v"`
	schedules.Backfill
	Active     hidden `json:"active,omitempty"`
	Successful hidden `json:"successful,omitempty"`
	Failed     hidden `json:"failed,omitempty"`
	Cancelled  hidden `json:"cancelled,omitempty"`
}

// backfillTally is what the end of a run changes of a backfill, and what retention needs to know.
type backfillTally struct {
	Active     int64  `json:"active,omitempty"`
	Successful int64  `json:"successful,omitempty"`
	Failed     int64  `json:"failed,omitempty"`
	Cancelled  int64  `json:"cancelled,omitempty"`
	Schedule   string `json:"schedule"`
	Ended      millis `json:"ended,omitzero"`
}

func encodeBackfill(b schedules.Backfill) (row, tally []byte, err error) {
	if row, err = json.Marshal(backfillRow{V: formatOf(b.Format), Backfill: b}); err != nil {
		return nil, nil, err
	}
	tally, err = json.Marshal(backfillTally{Active: b.Active, Successful: b.Successful, Failed: b.Failed, Cancelled: b.Cancelled,
		Schedule: b.Schedule.ID, Ended: millis(b.EndedAt)})
	return row, tally, err
}

func decodeBackfill(row, tally string) (schedules.Backfill, error) {
	var r backfillRow
	var t backfillTally
	v, err := versionOf(row)
	if err != nil {
		return r.Backfill, err
	}
	if err := strict(row, v, &r); err != nil {
		return r.Backfill, err
	}
	err = strict(tally, v, &t)
	r.Format = ownFormat(v)
	r.BackfillTally = schedules.BackfillTally{Active: t.Active, Successful: t.Successful, Failed: t.Failed, Cancelled: t.Cancelled}
	return r.Backfill, err
}

// runFix is the part of a run that never changes, but for its input.
type runFix struct {
	Schedule    string                `json:"schedule,omitempty"`
	Incarnation string                `json:"inc,omitempty"`
	Backfill    string                `json:"backfill,omitempty"`
	Workflow    string                `json:"workflow"`
	Queue       string                `json:"queue,omitempty"`
	Trigger     schedules.Trigger     `json:"trigger,omitempty"`
	Nominal     millis                `json:"nominal,omitzero"`
	CreatedAt   millis                `json:"created_at,omitzero"`
	Options     *schedules.RunOptions `json:"options,omitempty"`
}

// runMut is the part of a run that changes, but for lease, result and error, which have fields of their own. Scripts change it by these names.
type runMut struct {
	V  int    `json:"v"`
	CT string `json:"ct,omitempty"` // the token of the last commit
	schedules.RunProgress
	StartedAt      millis `json:"started_at,omitzero"`
	EndedAt        millis `json:"ended_at,omitzero"`
	Due            millis `json:"due,omitzero"`
	CancelAt       millis `json:"cancel_at,omitzero"`
	CancelDeadline millis `json:"cancel_deadline,omitzero"`
	Lease          hidden `json:"lease,omitempty"`
	Result         hidden `json:"result,omitempty"`
	Error          hidden `json:"error,omitempty"`
}

func encodeMut(p schedules.RunProgress, format int, token string) ([]byte, error) {
	return json.Marshal(runMut{V: format, CT: token, RunProgress: p, StartedAt: millis(p.StartedAt), EndedAt: millis(p.EndedAt),
		Due: millis(p.Due), CancelAt: millis(p.CancelAt), CancelDeadline: millis(p.CancelDeadline)})
}

// runFields gives the fields of a run's row as a script takes them; those that never change only for a new run. The lease is left to the caller.
func runFields(r *schedules.Run, token string, fresh bool) ([]any, error) {
	var list []any
	if fresh {
		fix, err := json.Marshal(runFix{Schedule: r.ScheduleID, Incarnation: r.Incarnation, Backfill: r.BackfillID, Workflow: r.Workflow, Queue: r.Queue,
			Trigger: r.Trigger, Nominal: millis(r.Nominal), CreatedAt: millis(r.CreatedAt), Options: r.Options})
		if err != nil {
			return nil, err
		}
		list = append(list, "fix", fix)
		if len(r.Input) > 0 {
			list = append(list, "in", []byte(r.Input))
		}
		if !r.Lease.IsZero() {
			list = append(list, "lease", ms(r.Lease))
		}
	}
	mut, err := encodeMut(r.RunProgress, formatOf(r.Format), token)
	if err != nil {
		return nil, err
	}
	list = append(list, "mut", mut)
	if len(r.Result) > 0 {
		list = append(list, "result", []byte(r.Result))
	}
	if r.Error != nil {
		b, err := json.Marshal(r.Error)
		if err != nil {
			return nil, err
		}
		list = append(list, "error", b)
	}
	return append([]any{len(list) / 2}, list...), nil
}

// decodeRun puts a run together from the fields of its row.
func decodeRun(id string, f map[string]string) (schedules.Run, error) {
	run := schedules.Run{ID: id}
	mut, damage, err := decodeProgressOf(f["mut"])
	if err != nil {
		return run, err
	}
	fix, more, err := decodeFix(f["fix"], mut.V)
	if err != nil {
		return run, err
	}
	run.Format, run.Damage = ownFormat(mut.V), both(damage, more)
	run.ScheduleID, run.Incarnation, run.BackfillID, run.Workflow, run.Queue = fix.Schedule, fix.Incarnation, fix.Backfill, fix.Workflow, fix.Queue
	run.Trigger, run.Nominal, run.CreatedAt, run.Options = fix.Trigger, time.Time(fix.Nominal), time.Time(fix.CreatedAt), fix.Options
	run.Input = raw(f["in"])
	p := mut.RunProgress
	p.StartedAt, p.EndedAt, p.Due = time.Time(mut.StartedAt), time.Time(mut.EndedAt), time.Time(mut.Due)
	p.CancelAt, p.CancelDeadline = time.Time(mut.CancelAt), time.Time(mut.CancelDeadline)
	p.Result = raw(f["result"])
	if s := f["lease"]; s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			p.Lease = time.UnixMilli(n).UTC()
		} else {
			run.Damage = both(run.Damage, fmt.Sprintf("field lease: %q is not a number", s))
		}
	}
	if s := f["error"]; s != "" {
		p.Error = new(schedules.RunError)
		if err := json.Unmarshal([]byte(s), p.Error); err != nil {
			p.Error = &schedules.RunError{Kind: schedules.ErrorRecord, Message: "the run's error cannot be read: " + line(err)}
		}
	}
	run.RunProgress = p
	return run, nil
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// ms is a time as scripts take it; zero is empty.
func ms(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// num is a time as a score, zero too.
func num(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func fromMS(score float64) time.Time { return time.UnixMilli(int64(score)).UTC() }

// outboxMember is the entry of a message in the outbox.
func outboxMember(m store.Message) string {
	return m.RunID + " " + strconv.Itoa(m.Dispatch) + " " + m.Queue
}

func parseOutboxMember(s string) (store.Message, bool) {
	id, rest, _ := strings.Cut(s, " ")
	dispatch, queue, ok := strings.Cut(rest, " ")
	n, err := strconv.Atoi(dispatch)
	return store.Message{RunID: id, Dispatch: n, Queue: queue}, ok && err == nil
}
