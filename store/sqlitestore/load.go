package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// The kinds of waiting ticks.
const (
	kindRegular = 0
	kindManual  = 1
)

// Resolve gives the current incarnation under an id.
func (s *Store) Resolve(ctx context.Context, id string) (schedules.Ref, error) {
	ref := schedules.Ref{ID: id}
	err := s.view(ctx, func(c *conn) error {
		found, err := c.one([]any{&ref.Incarnation}, `SELECT inc FROM schedules WHERE ns = ? AND id = ? AND current = 1`, s.ns, id)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return schedules.Ref{}, wrap(err, "resolve", "schedule", id)
	}
	return ref, nil
}

// Load reads schedules with the heads of what waits and runs, all of one state of the database.
func (s *Store) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	out := make([]store.Loaded, len(refs))
	err := s.view(ctx, func(c *conn) error {
		for i, ref := range refs {
			st, err := s.loadOne(c, ref)
			if err != nil && !refused(err) {
				return wrap(err, "load", "schedule", ref.ID)
			}
			out[i] = store.Loaded{State: st, Err: wrap(err, "load", "schedule", ref.ID)}
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return out, s.Estimate(), nil
}

func (s *Store) loadOne(c *conn, ref schedules.Ref) (schedules.State, error) {
	var st schedules.State
	sid, err := s.loadSchedule(c, ref, &st.Schedule)
	if err != nil {
		return st, err
	}
	head := max(1, st.Schedule.HeadWanted)
	if st.Schedule.WaitingRegular > 0 {
		if st.Regular, err = waitingHead(c, sid, kindRegular, head); err != nil {
			return st, err
		}
	}
	if st.Schedule.WaitingManual > 0 {
		if st.Manual, err = waitingHead(c, sid, kindManual, head); err != nil {
			return st, err
		}
	}
	if st.Schedule.Active > 0 {
		if st.Active, err = activeHead(c, sid, head); err != nil {
			return st, err
		}
	}
	if len(st.Schedule.Backfills) > 0 {
		bf, found, err := s.backfill(c, st.Schedule.Backfills[0])
		if err != nil {
			return st, err
		}
		if found {
			st.Backfill = &bf
		}
	}
	return st, nil
}

// loadSchedule reads a schedule and gives its row. What is known of it need not be read and decoded again, if its revision is still that.
func (s *Store) loadSchedule(c *conn, ref schedules.Ref, into *schedules.Schedule) (int64, error) {
	if k, ok := s.known.latest(ref); ok {
		var history int64
		found, err := c.one([]any{&history}, `SELECT history FROM progress WHERE sid = ? AND revision = ?`, k.sid, k.revision)
		if err != nil {
			return 0, err
		}
		if found {
			*into = k.whole
			into.HistoryFrom = historyFrom(history)
			return k.sid, nil
		}
	}
	var row scheduleRow
	found, err := c.one(row.dest(), `SELECT `+scheduleColumns+` FROM schedules s JOIN progress p USING(sid) WHERE s.ns = ? AND s.id = ? AND s.inc = ?`, s.ns, ref.ID, ref.Incarnation)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, store.ErrNotFound
	}
	if *into, err = row.schedule(&s.known); err != nil {
		return 0, err
	}
	s.known.putSchedule(row.sid, *into)
	return row.sid, nil
}

func waitingHead(c *conn, sid int64, kind, limit int) ([]schedules.WaitingTick, error) {
	return waiting(c, `SELECT body FROM waiting WHERE sid = ? AND kind = ? ORDER BY pos LIMIT ?`, sid, kind, limit)
}

func waiting(c *conn, q string, args ...any) ([]schedules.WaitingTick, error) {
	var list []schedules.WaitingTick
	var body []byte
	err := c.each([]any{&body}, func() (bool, error) {
		var w schedules.WaitingTick
		if err := json.Unmarshal(body, &w); err != nil {
			return false, fmt.Errorf("%w: a waiting tick: %w", store.ErrUnreadable, err)
		}
		list = append(list, w)
		return true, nil
	}, q, args...)
	return list, err
}

func activeHead(c *conn, sid int64, limit int) ([]schedules.ActiveRun, error) {
	var list []schedules.ActiveRun
	var id, backfill string
	var rank int
	err := c.each([]any{&id, &backfill, &rank}, func() (bool, error) {
		list = append(list, schedules.ActiveRun{ID: id, CancelRequested: rank == 2, Backfill: backfill != ""})
		return true, nil
	}, `SELECT id, backfill, rank FROM runs WHERE sid = ? AND rank IS NOT NULL ORDER BY rank, rid LIMIT ?`, sid, limit)
	return list, err
}

// sid finds a schedule's row; 0 when there is none.
func (s *Store) sid(c *conn, ref schedules.Ref) (int64, error) {
	var sid int64
	_, err := c.one([]any{&sid}, `SELECT sid FROM schedules WHERE ns = ? AND id = ? AND inc = ?`, s.ns, ref.ID, ref.Incarnation)
	return sid, err
}

// ActiveRuns lists ids of active runs, those asked to cancel last, at most limit.
func (s *Store) ActiveRuns(ctx context.Context, ref schedules.Ref, limit int) ([]string, error) {
	var ids []string
	err := s.view(ctx, func(c *conn) error {
		ids = nil
		sid, err := s.sid(c, ref)
		if err != nil || sid == 0 {
			return err
		}
		list, err := activeHead(c, sid, max(0, limit))
		for _, a := range list {
			ids = append(ids, a.ID)
		}
		return err
	})
	return ids, wrap(err, "list", "active runs of", ref.ID)
}

// WaitingTicks lists waiting ticks by their sequence number, at most limit.
func (s *Store) WaitingTicks(ctx context.Context, ref schedules.Ref, limit int) ([]schedules.WaitingTick, error) {
	var list []schedules.WaitingTick
	err := s.view(ctx, func(c *conn) error {
		list = nil
		sid, err := s.sid(c, ref)
		if err != nil || sid == 0 {
			return err
		}
		list, err = waiting(c, `SELECT body FROM waiting WHERE sid = ? ORDER BY seq, pos LIMIT ?`, sid, max(0, limit))
		return err
	})
	return list, wrap(err, "list", "waiting ticks of", ref.ID)
}

const backfillColumns = `b.body, b.active, b.successful, b.failed, b.cancelled`

// backfillRow is a backfill's row; the tally's columns rule over the body's.
type backfillRow struct {
	body  []byte
	tally schedules.BackfillTally
}

func (r *backfillRow) dest() []any {
	return []any{&r.body, &r.tally.Active, &r.tally.Successful, &r.tally.Failed, &r.tally.Cancelled}
}

func (r *backfillRow) backfill() (schedules.Backfill, error) {
	var bf schedules.Backfill
	if err := json.Unmarshal(r.body, &bf); err != nil {
		return bf, fmt.Errorf("%w: a backfill: %w", store.ErrUnreadable, err)
	}
	bf.BackfillTally = r.tally
	return bf, nil
}

func (s *Store) backfill(c *conn, id string) (schedules.Backfill, bool, error) {
	var row backfillRow
	found, err := c.one(row.dest(), `SELECT `+backfillColumns+` FROM backfills b WHERE b.ns = ? AND b.id = ?`, s.ns, id)
	if err != nil || !found {
		return schedules.Backfill{}, false, err
	}
	bf, err := row.backfill()
	return bf, true, err
}

// Backfill reads one backfill.
func (s *Store) Backfill(ctx context.Context, id string) (schedules.Backfill, error) {
	var bf schedules.Backfill
	err := s.view(ctx, func(c *conn) error {
		got, found, err := s.backfill(c, id)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		bf = got
		return err
	})
	return bf, wrap(err, "get", "backfill", id)
}
