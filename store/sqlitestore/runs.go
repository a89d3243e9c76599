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
	var row runRow
	found, err := c.one(row.dest(), `SELECT `+runColumns+` FROM runs r JOIN inputs i USING(rid) WHERE r.ns = ? AND r.id = ?`, s.ns, id)
	if err != nil || !found {
		return schedules.Run{}, false, err
	}
	return row.run(), true, nil
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
		var err error
		if created, err = s.insertRun(t, 0, &row); err != nil {
			return err
		}
		if created {
			there = run
			return s.send(t, &run, run.CreatedAt)
		}
		there, _, err = s.getRun(t.conn, run.ID)
		return err
	})
	if err != nil {
		return schedules.Run{}, false, wrap(err, "create", "run", run.ID)
	}
	return there, created, nil
}

// Claim makes a worker the holder of a pending run's dispatch.
func (s *Store) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	var run schedules.Run
	err := s.write(ctx, func(t *tx) error {
		got, found, err := s.getRun(t.conn, id)
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
		now := s.Estimate()
		got.Status, got.Worker, got.Token, got.Lease, got.Due = schedules.RunRunning, c.Worker, c.Token, now.Add(schedules.Lease), time.Time{}
		if got.StartedAt.IsZero() {
			got.StartedAt = now
		}
		got.Revision++
		text, err := encode(&got.RunProgress)
		if err != nil {
			return err
		}
		run = got
		_, err = t.exec(`UPDATE runs SET status = ?, revision = ?, due = NULL, lease = ?, progress = ? WHERE ns = ? AND id = ?`,
			string(got.Status), got.Revision, ms(got.Lease), text, s.ns, id)
		return err
	})
	if err != nil {
		return schedules.Run{}, wrap(err, "claim", "run", id)
	}
	return run, nil
}

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
	events, err := encodeAll(c.Events)
	if err == nil {
		err = s.write(ctx, func(t *tx) error { return s.commitRun(t, &c, events) })
	}
	return wrap(err, "commit", "run", c.Run.ID)
}

func (s *Store) commitRun(t *tx, c *schedules.RunChange, events []string) error {
	if err := s.checkClock(c.Now); err != nil {
		return err
	}
	h, found, err := s.held(t.conn, c.Run.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case h.revision != c.Expect || h.status.Ended():
		return store.ErrConflict
	}
	run := c.Run
	run.Revision = c.Expect + 1
	if h.lease != nil && run.Status == schedules.RunRunning && run.Dispatch == h.dispatch && run.Lease.Before(fromMS(*h.lease)) {
		run.Lease = fromMS(*h.lease) // renewed since it was read
	}
	text, err := encode(&run.RunProgress)
	if err != nil {
		return err
	}
	var place any
	if h.sid != nil {
		place = rank(&run)
	}
	if _, err := t.exec(`UPDATE runs SET status = ?, dispatch = ?, revision = ?, cancel = ?, rank = ?, due = ?, lease = ?, progress = ? WHERE rid = ?`,
		string(run.Status), run.Dispatch, run.Revision, b2i(!run.CancelAt.IsZero()), place, dueMS(run.Due), leaseMS(&run), text, h.rid); err != nil {
		return err
	}
	t.timers = t.timers || !run.Due.IsZero()
	if c.Send {
		if err := s.send(t, &run, c.Now); err != nil {
			return err
		}
	}
	if err := appendEvents(t, h.rid, events); err != nil {
		return err
	}
	if end, ends := c.Ends(); ends && h.sid != nil {
		return s.endRun(t, *h.sid, &run, end, c.Now)
	}
	return nil
}

// endRun applies the end of a run to its schedule and backfill.
func (s *Store) endRun(t *tx, sid int64, run *schedules.Run, end schedules.RunEnd, now time.Time) error {
	var text []byte
	var timer *int64
	found, err := t.one([]any{&text, &timer}, `SELECT tally, timer FROM progress WHERE sid = ?`, sid)
	if err != nil || !found {
		return err
	}
	var tally schedules.Tally
	if err := json.Unmarshal(text, &tally); err != nil {
		return nil //nolint:nilerr // damaged: nothing can be counted, and the run has ended all the same
	}
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
	if tally.WakeOnEnd { // an earlier timer is a look that found nothing to do then: this one is news
		due, _ := dueMS(now).(int64)
		timer = &due
		t.timers = true
	}
	out, err := encode(&tally)
	if err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE progress SET revision = revision + 1, timer = ?, tally = ? WHERE sid = ?`, timer, out, sid); err != nil {
		return err
	}
	if end.Backfill {
		_, err = t.exec(`UPDATE backfills SET active = active - 1, successful = successful + ?, failed = failed + ?, cancelled = cancelled + ? WHERE ns = ? AND id = ?`,
			end.Successful, end.Failed, end.Cancelled, s.ns, run.BackfillID)
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
	texts, err := encodeAll(events)
	if err == nil && len(texts) > 0 {
		err = s.write(ctx, func(t *tx) error {
			h, found, err := s.held(t.conn, id)
			if err == nil && !found {
				err = store.ErrNotFound
			}
			if err != nil {
				return err
			}
			return appendEvents(t, h.rid, texts)
		})
	}
	return wrap(err, "append", "events of run", id)
}

func appendEvents(t *tx, rid int64, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	var last int64
	if _, err := t.one([]any{&last}, `SELECT coalesce(max(n), 0) FROM events WHERE rid = ?`, rid); err != nil {
		return err
	}
	for _, text := range texts {
		last++
		if _, err := t.exec(`INSERT INTO events(rid, n, body) VALUES(?, ?, ?)`, rid, last, text); err != nil {
			return err
		}
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
		var n int64
		var body []byte
		return c.each([]any{&n, &body}, func() (bool, error) {
			var e schedules.Event
			err := json.Unmarshal(body, &e)
			list, next = append(list, e), n
			return true, err
		}, `SELECT e.n, e.body FROM runs r JOIN events e USING(rid) WHERE r.ns = ? AND r.id = ? AND e.n > ? ORDER BY e.n LIMIT ?`, s.ns, id, after, max(0, limit))
	})
	return list, next, wrap(err, "read", "events of run", id)
}
