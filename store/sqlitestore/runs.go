package sqlitestore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// heldRun is what fences look at: a run's columns, and its changing part as it is stored.
type heldRun struct {
	rid, revision int64
	sid           *int64
	status        schedules.RunStatus
	dispatch      int
	cancel        bool
	lease         *int64
	progress      []byte
}

func (s *Store) held(c *conn, id string) (heldRun, bool, error) {
	var h heldRun
	found, err := c.one([]any{&h.rid, &h.revision, &h.sid, &h.status, &h.dispatch, &h.cancel, &h.lease, &h.progress},
		`SELECT rid, revision, sid, status, dispatch, cancel, lease, progress FROM runs WHERE ns = ? AND id = ?`, s.ns, id)
	return h, found, err
}

func (s *Store) getRun(c *conn, id string) (schedules.Run, bool, error) {
	row, found, err := s.runRow(c, id)
	if err != nil || !found {
		return schedules.Run{}, false, err
	}
	return row.run(), true, nil
}

func (s *Store) runRow(c *conn, id string) (row runRow, found bool, err error) {
	found, err = c.one(row.dest(), `SELECT `+runColumns+` FROM runs r WHERE r.ns = ? AND r.id = ?`, s.ns, id)
	return row, found, err
}

// rid finds a run's row; 0 when there is none.
func (s *Store) rid(c *conn, id string) (int64, error) {
	if k, ok := s.known.run(id); ok {
		return k.rid, nil
	}
	var rid int64
	_, err := c.one([]any{&rid}, `SELECT rid FROM runs WHERE ns = ? AND id = ?`, s.ns, id)
	return rid, err
}

// GetRun reads a run.
func (s *Store) GetRun(ctx context.Context, id string) (schedules.Run, error) {
	var run schedules.Run
	err := s.view(ctx, func(c *conn) error {
		got, found, err := s.getRun(c, id)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		run = got
		return err
	})
	if run.Damage != "" {
		s.known.forgetRun(id)
	}
	return run, wrap(err, "get", "run", id)
}

// CreateRun writes a run without a schedule, with its outbox entry.
func (s *Store) CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error) {
	row := encodedRun{Run: &run}
	var err error
	if row.input, row.progress, err = encodeRun(&run); err != nil {
		return schedules.Run{}, false, wrap(err, "create", "run", run.ID)
	}
	var created bool
	var there schedules.Run
	err = s.write(ctx, func(t *tx) error {
		rid, err := s.insertRun(t, 0, &row)
		if err != nil {
			return err
		}
		if created = rid != 0; created {
			there = run
			return s.send(t, rid, &run, run.CreatedAt)
		}
		there, _, err = s.getRun(t.conn, run.ID)
		return err
	})
	if err != nil {
		return schedules.Run{}, false, wrap(err, "create", "run", run.ID)
	}
	return there, created, nil
}

// claimed gives a pending run as its claim leaves it, with its changing part as JSON.
func (s *Store) claimed(run schedules.Run, c store.Claim) (schedules.Run, string, error) {
	now := s.Estimate()
	run.Status, run.Worker, run.Token, run.Lease, run.Due = schedules.RunRunning, c.Worker, c.Token, now.Add(schedules.Lease), time.Time{}
	if run.StartedAt.IsZero() {
		run.StartedAt = now
	}
	run.Revision++
	text, err := encode(&run.RunProgress)
	return run, text, err
}

// Claim makes a worker the holder of a pending run's dispatch.
func (s *Store) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	known, ok := s.known.run(id)
	var soon schedules.Run
	var soonText string
	var err error
	if ok = ok && known.run.Status == schedules.RunPending && known.run.Dispatch == dispatch && known.run.CancelAt.IsZero(); ok {
		soon, soonText, err = s.claimed(known.run, c)
	}
	var run schedules.Run
	if err == nil {
		err = s.write(ctx, func(t *tx) error {
			rid, sid := known.rid, known.sid
			if ok {
				n, err := t.exec(claimUpdate, string(soon.Status), soon.Revision, ms(soon.Lease), soonText, rid, id, known.run.Revision)
				if err != nil {
					return err
				}
				if n == 1 {
					run = soon
					t.then(func() { s.known.putRun(knownRun{rid: rid, sid: sid, run: soon}) })
					return nil
				}
			}
			row, found, err := s.runRow(t.conn, id)
			got := schedules.Run{}
			if err == nil && found {
				got = row.run()
			}
			switch {
			case err != nil:
				return err
			case !found:
				return store.ErrNotFound
			case got.Dispatch != dispatch || got.Damage != "":
				return store.ErrStale
			case got.Status == schedules.RunRunning && got.Token == c.Token && got.Worker == c.Worker:
				run = got
				return nil
			case got.Status != schedules.RunPending || !got.CancelAt.IsZero():
				return store.ErrStale
			}
			revision := got.Revision
			got, text, err := s.claimed(got, c)
			if err != nil {
				return err
			}
			run = got
			_, err = t.exec(claimUpdate, string(got.Status), got.Revision, ms(got.Lease), text, row.rid, id, revision)
			return err
		})
	}
	if err != nil {
		return schedules.Run{}, wrap(err, "claim", "run", id)
	}
	return run, nil
}

const claimUpdate = `UPDATE runs SET status = ?, revision = ?, due = NULL, lease = ?, progress = ? WHERE rid = ? AND id = ? AND revision = ?`

// Heartbeat renews leases, all in one transaction.
func (s *Store) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	answers := make([]store.HeartbeatAnswer, len(beats))
	if len(beats) == 0 {
		return answers, wrap(s.usable(ctx), "renew", "leases", "")
	}
	err := s.write(ctx, func(t *tx) error {
		until := s.Estimate().Add(schedules.Lease).UnixMilli()
		for i, b := range beats {
			answers[i] = store.HeartbeatAnswer{}
			h, found, err := s.held(t.conn, b.RunID)
			if err != nil {
				return err
			}
			if !found || h.dispatch != b.Dispatch || h.status != schedules.RunRunning {
				answers[i].Lost = true
				continue
			}
			if h.cancel {
				var p schedules.RunProgress
				_ = json.Unmarshal(h.progress, &p) // the reason is for people: a damaged record has none
				answers[i].Cancel, answers[i].CancelReason = true, p.CancelReason
			}
			if _, err := t.exec(`UPDATE runs SET lease = ? WHERE rid = ?`, until, h.rid); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "renew", "leases", "")
	}
	return answers, nil
}

// CommitRun writes a transition of a run, with the effects of its end on its schedule.
func (s *Store) CommitRun(ctx context.Context, c schedules.RunChange) error {
	if c.Run.Status.Ended() {
		s.awaitPause(ctx)
	}
	e := encodedRunChange{RunChange: &c}
	err := s.encodeRunChange(&e)
	if err == nil {
		write := s.write
		if c.Run.Status.Ended() {
			write = s.writeLater
		}
		err = write(ctx, func(t *tx) error { return s.commitRun(t, &e) })
	}
	return wrap(err, "commit", "run", c.Run.ID)
}

// encodedRunChange is a transition with its records as JSON, made before the write lock is taken.
type encodedRunChange struct {
	*schedules.RunChange
	known  *knownRun // the run as the transition expects it; nil: it is not known
	run    schedules.Run
	text   string // of run, where it is known
	events string // a JSON array
	end    schedules.RunEnd
	ends   bool
	tally  *encodedTally // of its schedule after it, if it ends and the schedule is as it is known; nil: it is not known
}

type encodedTally struct {
	knownTally
	text string
}

func (s *Store) encodeRunChange(e *encodedRunChange) (err error) {
	e.run = e.Run
	e.run.Revision = e.Expect + 1
	e.end, e.ends = e.Ends()
	if len(e.Events) > 0 {
		if e.events, err = encode(e.Events); err != nil {
			return err
		}
	}
	// While it runs on, its lease may have been renewed since it was read.
	known, ok := s.known.run(e.run.ID)
	if !ok || known.run.Revision != e.Expect || e.run.Status == schedules.RunRunning {
		return nil
	}
	if e.text, err = encode(&e.run.RunProgress); err != nil {
		return err
	}
	e.known = &known
	if known.sid != 0 && e.ends {
		if was, ok := s.known.tally(known.sid); ok {
			e.tally, err = afterEnd(was, &e.run, e.end)
		}
	}
	return err
}

const runUpdate = `UPDATE runs SET status = ?, class = ?, dispatch = ?, revision = ?, cancel = ?, rank = ?, due = ?, lease = ?, progress = ? WHERE rid = ? AND id = ? AND revision = ?`

func (s *Store) commitRun(t *tx, c *encodedRunChange) error {
	if err := s.checkClock(c.Now); err != nil {
		return err
	}
	run := c.run
	update := func(rid, sid int64, text string) (int64, error) {
		var place any
		if sid != 0 {
			place = rank(&run)
		}
		return t.exec(runUpdate, string(run.Status), class(run.Status), run.Dispatch, run.Revision, b2i(!run.CancelAt.IsZero()), place, dueMS(run.Due), leaseMS(&run), text,
			rid, run.ID, c.Expect)
	}
	var rid, sid, n int64
	if k := c.known; k != nil {
		var err error
		if n, err = update(k.rid, k.sid, c.text); err != nil {
			return err
		}
		rid, sid = k.rid, k.sid
	}
	if n == 0 {
		h, found, err := s.held(t.conn, run.ID)
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		case h.revision != c.Expect || h.status.Ended():
			return store.ErrConflict
		}
		if h.lease != nil && run.Status == schedules.RunRunning && run.Dispatch == h.dispatch && run.Lease.Before(fromMS(*h.lease)) {
			run.Lease = fromMS(*h.lease) // renewed since it was read
		}
		text, err := encode(&run.RunProgress)
		if err != nil {
			return err
		}
		rid, sid = h.rid, 0
		if h.sid != nil {
			sid = *h.sid
		}
		if _, err := update(rid, sid, text); err != nil {
			return err
		}
	}
	if c.known != nil {
		t.then(func() { s.known.putRun(knownRun{rid: rid, sid: sid, run: run}) })
	}
	t.timers = t.timers || !run.Due.IsZero()
	if c.Send {
		if err := s.send(t, rid, &run, c.Now); err != nil {
			return err
		}
	}
	if err := appendEvents(t, rid, c.events, len(c.Events)); err != nil {
		return err
	}
	if c.ends && sid != 0 {
		return s.endRun(t, sid, &run, c)
	}
	return nil
}

// afterEnd gives a schedule's tally after the end of a run.
func afterEnd(was knownTally, run *schedules.Run, end schedules.RunEnd) (*encodedTally, error) {
	e := &encodedTally{knownTally: knownTally{was.revision + 1, was.tally}}
	tally := &e.tally
	tally.Active--
	tally.Successful += end.Successful
	tally.Failed += end.Failed
	tally.Cancelled += end.Cancelled
	if end.Backfill {
		tally.ActiveBackfill--
	}
	if end.Success {
		tally.LastSuccessID = run.ID
	}
	if tally.AnchorRunID == run.ID {
		tally.AnchorEnd = end.At
	}
	var err error
	e.text, err = encode(tally)
	return e, err
}

// endRun applies the end of a run to its schedule and backfill.
func (s *Store) endRun(t *tx, sid int64, run *schedules.Run, c *encodedRunChange) error {
	update := func(e *encodedTally) (int64, error) {
		var due any
		if e.tally.WakeOnEnd { // an earlier timer is a look that found nothing to do then: this one is news
			due = dueMS(c.Now)
		}
		n, err := t.exec(`UPDATE progress SET revision = ?, timer = coalesce(?, timer), tally = ? WHERE sid = ? AND revision = ?`, e.revision, due, e.text, sid, e.revision-1)
		if err == nil && n == 1 {
			t.timers = t.timers || e.tally.WakeOnEnd
			t.then(func() {
				s.known.putTally(sid, e.knownTally)
				s.known.ended(run.Ref(), e.revision-1, e.tally)
			})
		}
		return n, err
	}
	var n int64
	var err error
	if c.tally != nil {
		if n, err = update(c.tally); err != nil {
			return err
		}
	}
	if n == 0 {
		var text []byte
		var was knownTally
		found, err := t.one([]any{&text, &was.revision}, `SELECT tally, revision FROM progress WHERE sid = ?`, sid)
		if err != nil || !found {
			return err
		}
		if err := json.Unmarshal(text, &was.tally); err != nil {
			return nil //nolint:nilerr // damaged: nothing can be counted, and the run has ended all the same
		}
		e, err := afterEnd(was, run, c.end)
		if err == nil {
			_, err = update(e)
		}
		if err != nil {
			return err
		}
	}
	if c.end.Backfill {
		_, err = t.exec(`UPDATE backfills SET active = active - 1, successful = successful + ?, failed = failed + ?, cancelled = cancelled + ? WHERE ns = ? AND id = ?`,
			c.end.Successful, c.end.Failed, c.end.Cancelled, s.ns, run.BackfillID)
	}
	return err
}

// RecordStep writes a step under the run's current dispatch.
func (s *Store) RecordStep(ctx context.Context, id string, dispatch int, step schedules.Step) error {
	body, err := encode(&step)
	if err == nil {
		err = s.write(ctx, func(t *tx) error {
			h, found, err := s.held(t.conn, id)
			switch {
			case err != nil:
				return err
			case !found || h.dispatch != dispatch || h.status != schedules.RunRunning:
				return store.ErrStale
			}
			_, err = t.exec(`INSERT INTO steps(rid, key, body) VALUES(?, ?, ?) ON CONFLICT(rid, key) DO UPDATE SET body = excluded.body`, h.rid, step.Key, body)
			return err
		})
	}
	return wrap(err, "record", "step "+step.Key+" of run", id)
}

// Steps reads the steps of a run in the order they were first recorded; none of a run that is not there.
func (s *Store) Steps(ctx context.Context, id string) ([]schedules.Step, error) {
	var list []schedules.Step
	var bad error
	err := s.view(ctx, func(c *conn) (err error) {
		list, bad, err = s.steps(c, id)
		return err
	})
	if err == nil {
		err = bad
	}
	return list, wrap(err, "list", "steps of run", id)
}

// steps reads those steps of a run that can be read; bad names one of the others.
func (s *Store) steps(c *conn, id string) (list []schedules.Step, bad, err error) {
	var pos int64
	var body []byte
	err = c.each([]any{&pos, &body}, func() (bool, error) {
		var st schedules.Step
		if err := json.Unmarshal(body, &st); err != nil {
			bad = unreadable("steps", pos, err)
		} else {
			list = append(list, st)
		}
		return true, nil
	}, `SELECT s.pos, s.body FROM runs r JOIN steps s USING(rid) WHERE r.ns = ? AND r.id = ? ORDER BY s.pos`, s.ns, id)
	return list, bad, err
}

// keepEvents is how many events of a run are kept.
const keepEvents = 1000

// AppendEvents adds to a run's log; store.ErrNotFound when there is no such run.
func (s *Store) AppendEvents(ctx context.Context, id string, events ...schedules.Event) error {
	if len(events) == 0 {
		return nil
	}
	text, err := encode(events)
	if err == nil {
		err = s.writeLater(ctx, func(t *tx) error {
			h, found, err := s.held(t.conn, id)
			if err == nil && !found {
				err = store.ErrNotFound
			}
			if err != nil {
				return err
			}
			return appendEvents(t, h.rid, text, len(events))
		})
	}
	return wrap(err, "append", "events of run", id)
}

// appendEvents adds n events, a JSON array, to a run's log, and removes rows in which no event is to be kept.
func appendEvents(t *tx, rid int64, text string, n int) error {
	if n == 0 {
		return nil
	}
	var last int64
	if _, err := t.one([]any{&last}, `INSERT INTO events(rid, n, body) SELECT ?, coalesce(max(n), 0) + ?, ? FROM events WHERE rid = ? RETURNING n`, rid, n, text, rid); err != nil {
		return err
	}
	if last <= keepEvents {
		return nil
	}
	_, err := t.exec(`DELETE FROM events WHERE rid = ? AND n <= ?`, rid, last-keepEvents)
	return err
}

// Events reads a run's log after a position.
func (s *Store) Events(ctx context.Context, id string, after int64, limit int) ([]schedules.Event, int64, error) {
	var list []schedules.Event
	next := after
	err := s.view(ctx, func(c *conn) error {
		list, next = nil, after
		var n, newest int64
		var body []byte
		return c.each([]any{&n, &body, &newest}, func() (bool, error) {
			var some []schedules.Event
			if err := json.Unmarshal(body, &some); err != nil {
				return false, err
			}
			for i, e := range some {
				if at := n - int64(len(some)-1-i); at > after && at > newest-keepEvents && len(list) < limit {
					list, next = append(list, e), at
				}
			}
			return len(list) < limit, nil
		}, `SELECT e.n, e.body, (SELECT max(n) FROM events m WHERE m.rid = r.rid) FROM runs r JOIN events e USING(rid) WHERE r.ns = ? AND r.id = ? AND e.n > ? ORDER BY e.n LIMIT ?`,
			s.ns, id, after, max(0, limit))
	})
	return list, next, wrap(err, "read", "events of run", id)
}
