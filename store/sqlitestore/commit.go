package sqlitestore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// encodedChange is a change with its records as JSON, made before the write lock is taken.
type encodedChange struct {
	*schedules.Change
	known           *knownSchedule // what is known of the schedule at the revision the change expects; nil: nothing
	record          string         // empty: as it is known
	progress, tally string
	fates           []string
	regular, manual []string
	backfills       []string
	start           []encodedRun
}

type encodedRun struct {
	*schedules.Run
	input    string
	progress string
}

func (s *Store) encodeChange(c *schedules.Change) (*encodedChange, error) {
	e := &encodedChange{Change: c}
	if k, ok := s.known.schedule(c.Schedule.Ref(), c.Expect); ok && c.Expect != 0 {
		e.known = &k
	}
	var err error
	put := func(dst *string, v any) {
		if err == nil {
			*dst, err = encode(v)
		}
	}
	if e.known == nil || !same(&e.known.whole.Record, &c.Schedule.Record) {
		put(&e.record, &c.Schedule.Record)
	}
	put(&e.progress, &c.Schedule.Progress)
	put(&e.tally, &c.Schedule.Tally)
	if err != nil {
		return nil, err
	}
	if e.fates, err = encodeAll(c.Fates); err != nil {
		return nil, err
	}
	if e.regular, err = encodeAll(c.PushRegular); err != nil {
		return nil, err
	}
	if e.manual, err = encodeAll(c.PushManual); err != nil {
		return nil, err
	}
	if e.backfills, err = encodeAll(c.Backfills); err != nil {
		return nil, err
	}
	e.start = make([]encodedRun, len(c.Start))
	for i := range c.Start {
		r := &e.start[i]
		r.Run = &c.Start[i]
		if r.input, r.progress, err = encodeRun(r.Run); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Commit writes each change by itself; all of them, and what others write at the same time, in as few transactions as possible.
func (s *Store) Commit(ctx context.Context, changes ...schedules.Change) []error {
	errs := make([]error, len(changes))
	jobs := make([]func(*tx) error, 0, len(changes))
	place := make([]int, 0, len(changes))
	for i := range changes {
		e, err := s.encodeChange(&changes[i])
		if err != nil {
			errs[i] = err
			continue
		}
		jobs, place = append(jobs, func(t *tx) error { return s.commitChange(t, e) }), append(place, i)
	}
	for n, err := range s.writeAll(ctx, &s.queue, jobs...) {
		errs[place[n]] = err
	}
	for i := range errs {
		errs[i] = wrap(errs[i], "commit", "schedule", changes[i].Schedule.ID)
	}
	return errs
}

// commitChange writes one change. It refuses before it writes.
func (s *Store) commitChange(t *tx, c *encodedChange) error {
	if err := s.checkClock(c.Now); err != nil {
		return err
	}
	sid, err := s.guard(t, c)
	if err != nil {
		return err
	}
	if err := writeWaiting(t, sid, c); err != nil {
		return err
	}
	for i, f := range c.Fates {
		if _, err := t.exec(`INSERT OR REPLACE INTO fates(sid, nominal, key, kind, at, body) VALUES(?, ?, ?, ?, ?, ?)`,
			sid, f.Tick.Nominal.UnixMilli(), f.Tick.Key(), string(f.Fate), f.DecidedAt.UnixMilli(), c.fates[i]); err != nil {
			return err
		}
	}
	for i := range c.Backfills {
		if err := s.writeBackfill(t, sid, &c.Backfills[i], c.backfills[i]); err != nil {
			return err
		}
	}
	for i := range c.start {
		rid, err := s.insertRun(t, sid, &c.start[i])
		if err != nil {
			return err
		}
		if rid != 0 {
			if err := s.send(t, rid, c.start[i].Run, c.Now); err != nil {
				return err
			}
		}
	}
	for _, r := range c.Cancel {
		if err := s.requestCancel(t, r, c.Now); err != nil {
			return err
		}
	}
	t.then(func() {
		sc := c.Schedule
		sc.Revision = c.Expect + 1
		s.known.putSchedule(sid, sc)
	})
	return nil
}

// guard checks the revision and writes the schedule itself; it gives its row.
func (s *Store) guard(t *tx, c *encodedChange) (int64, error) {
	sc := &c.Schedule
	if c.Expect == 0 {
		return s.createSchedule(t, c)
	}
	tick := dueMS(sc.NextRunTime())
	if k := c.known; k != nil {
		n, err := t.exec(progressUpdate+` AND revision = ?`, c.Expect+1, tick, timerAfter(c.Change), c.progress, c.tally, historyMS(sc.HistoryFrom), k.sid, c.Expect)
		if err != nil {
			return 0, err
		}
		if n == 1 {
			t.ticks = t.ticks || tick != nil && k.tick != tick
			t.timers = t.timers || c.More
			return k.sid, writeRecord(t, k.sid, c)
		}
	}
	var sid, revision int64
	var oldTick *int64
	found, err := t.one([]any{&sid, &revision, &oldTick},
		`SELECT s.sid, p.revision, p.tick FROM schedules s JOIN progress p USING(sid) WHERE s.ns = ? AND s.id = ? AND s.inc = ?`, s.ns, sc.ID, sc.Incarnation)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, store.ErrNotFound
	case revision != c.Expect:
		return 0, store.ErrConflict
	}
	t.ticks = t.ticks || tick != nil && (oldTick == nil || *oldTick != tick)
	t.timers = t.timers || c.More
	if _, err := t.exec(progressUpdate, c.Expect+1, tick, timerAfter(c.Change), c.progress, c.tally, historyMS(sc.HistoryFrom), sid); err != nil {
		return 0, err
	}
	return sid, writeRecord(t, sid, c)
}

const progressUpdate = `UPDATE progress SET revision = ?, tick = ?, timer = ?, progress = ?, tally = ?, history = max(history, ?) WHERE sid = ?`

// writeRecord writes what people set of a schedule, if it has changed.
func writeRecord(t *tx, sid int64, c *encodedChange) error {
	if c.record == "" {
		return nil
	}
	_, err := t.exec(`UPDATE schedules SET workflow = ?, status = ?, origin = ?, record = ? WHERE sid = ? AND record <> ?`,
		c.Schedule.Workflow, string(c.Schedule.Status), c.Schedule.Origin, c.record, sid, c.record)
	return err
}

func (s *Store) createSchedule(t *tx, c *encodedChange) (int64, error) {
	sc := &c.Schedule
	if sid, err := s.sid(t.conn, sc.Ref()); err != nil {
		return 0, err
	} else if sid != 0 {
		return 0, store.ErrExists
	}
	var old int64
	var status string
	found, err := t.one([]any{&old, &status}, `SELECT sid, status FROM schedules WHERE ns = ? AND id = ? AND current = 1`, s.ns, sc.ID)
	if err != nil {
		return 0, err
	}
	if found {
		if status != string(schedules.StatusDeleted) {
			return 0, store.ErrExists
		}
		if _, err := t.exec(`UPDATE schedules SET current = 0 WHERE sid = ?`, old); err != nil {
			return 0, err
		}
	}
	sid, err := t.insert(`INSERT INTO schedules(ns, id, inc, current, workflow, status, origin, record) VALUES(?, ?, ?, 1, ?, ?, ?, ?)`,
		s.ns, sc.ID, sc.Incarnation, sc.Workflow, string(sc.Status), sc.Origin, c.record)
	if err != nil {
		return 0, err
	}
	tick := dueMS(sc.NextRunTime())
	t.ticks, t.timers = t.ticks || tick != nil, t.timers || c.More
	_, err = t.exec(`INSERT INTO progress(sid, ns, revision, tick, timer, progress, tally, history) VALUES(?, ?, 1, ?, ?, ?, ?, ?)`,
		sid, s.ns, tick, timerAfter(c.Change), c.progress, c.tally, historyMS(sc.HistoryFrom))
	return sid, err
}

// timerAfter is when a schedule is looked at again after a change.
func timerAfter(c *schedules.Change) any {
	switch {
	case c.More:
		return dueMS(c.Now)
	case c.Schedule.Waiting() > 0 || len(c.Schedule.Backfills) > 0:
		return dueMS(c.Now.Add(store.SafetyLook))
	default:
		return nil
	}
}

func historyMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func writeWaiting(t *tx, sid int64, c *encodedChange) error {
	for _, q := range []struct {
		kind, pop int
		push      []schedules.WaitingTick
		bodies    []string
	}{{kindRegular, c.PopRegular, c.PushRegular, c.regular}, {kindManual, c.PopManual, c.PushManual, c.manual}} {
		if q.pop > 0 {
			if _, err := t.exec(`DELETE FROM waiting WHERE pos IN (SELECT pos FROM waiting WHERE sid = ? AND kind = ? ORDER BY pos LIMIT ?)`, sid, q.kind, q.pop); err != nil {
				return err
			}
		}
		for i, w := range q.push {
			if _, err := t.exec(`INSERT INTO waiting(sid, kind, seq, body) VALUES(?, ?, ?, ?)`, sid, q.kind, w.Seq, q.bodies[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) writeBackfill(t *tx, sid int64, b *schedules.Backfill, body string) error {
	_, err := t.exec(`INSERT INTO backfills(ns, id, sid, schedule, created, ended, body, active, successful, failed, cancelled) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT(ns, id) DO UPDATE SET ended = excluded.ended, body = excluded.body, active = excluded.active, successful = excluded.successful,
		failed = excluded.failed, cancelled = excluded.cancelled`,
		s.ns, b.ID, sid, b.Schedule.ID, b.CreatedAt.UnixMilli(), ms(b.EndedAt), body, b.Active, b.Successful, b.Failed, b.Cancelled)
	return err
}

// insertRun writes a new run and gives its row; 0 when it exists. sid is 0 for a run without a schedule.
func (s *Store) insertRun(t *tx, sid int64, r *encodedRun) (int64, error) {
	var owner, input any
	if sid != 0 {
		owner = sid
	}
	if len(r.input) <= inlineInput {
		input = r.input
	}
	rid, err := t.insert(`INSERT INTO runs(ns, id, sid, schedule, backfill, workflow, created, status, class, dispatch, revision, cancel, rank, due, lease, progress, input)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(ns, id) DO NOTHING`,
		s.ns, r.ID, owner, r.ScheduleID, r.BackfillID, r.Workflow, r.CreatedAt.UnixMilli(), string(r.Status), class(r.Status), r.Dispatch, r.Revision,
		b2i(!r.CancelAt.IsZero()), rank(r.Run), dueMS(r.Due), leaseMS(r.Run), r.progress, input)
	if err != nil || rid == 0 {
		return 0, err
	}
	t.timers = true
	if input == nil {
		_, err = t.exec(`INSERT INTO inputs(rid, body) VALUES(?, ?)`, rid, r.input)
		return rid, err
	}
	run := *r.Run
	t.then(func() { s.known.putRun(knownRun{rid: rid, sid: sid, run: run}) })
	return rid, nil
}

// send writes the outbox entry of a run's dispatch.
func (s *Store) send(t *tx, rid int64, r *schedules.Run, now time.Time) error {
	_, err := t.exec(`INSERT INTO outbox(rid, dispatch, ns, at, run, queue) VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(rid, dispatch) DO UPDATE SET at = excluded.at, queue = excluded.queue`,
		rid, r.Dispatch, s.ns, now.UnixMilli(), r.ID, r.Queue)
	t.timers = true
	return err
}

// requestCancel asks a run to cancel, unless it has ended or was asked before.
func (s *Store) requestCancel(t *tx, r schedules.CancelRequest, now time.Time) error {
	h, found, err := s.held(t.conn, r.RunID)
	if err != nil || !found || h.status.Ended() || h.cancel {
		return err
	}
	var p schedules.RunProgress
	if err := json.Unmarshal(h.progress, &p); err != nil {
		return err
	}
	p.CancelAt, p.CancelDeadline, p.CancelReason, p.Due = now, r.Deadline, r.Reason, now
	if h.status == schedules.RunRunning {
		p.Due = r.Deadline
	}
	p.Revision = h.revision + 1
	text, err := encode(&p)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE runs SET revision = ?, cancel = 1, rank = CASE WHEN rank IS NULL THEN NULL ELSE 2 END, due = ?, progress = ? WHERE rid = ?`,
		p.Revision, dueMS(p.Due), text, h.rid)
	t.timers = true
	return err
}
