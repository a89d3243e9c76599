package sqlitestore

import (
	"context"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// DueTicks reads the ticks index.
func (s *Store) DueTicks(ctx context.Context, _ int, until time.Time, limit int) ([]store.DueSchedule, error) {
	var list []store.DueSchedule
	err := s.view(ctx, func(c *conn) error {
		list = nil
		var d store.DueSchedule
		var due int64
		return c.each([]any{&d.Ref.ID, &d.Ref.Incarnation, &due}, func() (bool, error) {
			d.Due = fromMS(due)
			list = append(list, d)
			return true, nil
		}, `SELECT s.id, s.inc, p.tick FROM progress p JOIN schedules s USING(sid) WHERE p.ns = ? AND p.tick <= ? ORDER BY p.tick LIMIT ?`, s.ns, until.UnixMilli(), max(0, limit))
	})
	return list, wrap(err, "read", "due ticks", "")
}

// DueTimers reads the timers index: that of schedules and that of runs, as one.
func (s *Store) DueTimers(ctx context.Context, _ int, until time.Time, limit int) ([]store.Timer, error) {
	limit = max(0, limit)
	var list []store.Timer
	err := s.view(ctx, func(c *conn) error {
		list = nil
		var t store.Timer
		var due int64
		add := func() (bool, error) {
			t.Due = fromMS(due)
			list = append(list, t)
			return true, nil
		}
		if err := c.each([]any{&t.Ref.ID, &t.Ref.Incarnation, &due}, add,
			`SELECT s.id, s.inc, p.timer FROM progress p JOIN schedules s USING(sid) WHERE p.ns = ? AND p.timer <= ? ORDER BY p.timer LIMIT ?`, s.ns, until.UnixMilli(), limit); err != nil {
			return err
		}
		t = store.Timer{}
		return c.each([]any{&t.RunID, &due}, add, `SELECT id, due FROM runs WHERE ns = ? AND due <= ? ORDER BY due LIMIT ?`, s.ns, until.UnixMilli(), limit)
	})
	slices.SortStableFunc(list, func(a, b store.Timer) int { return a.Due.Compare(b.Due) })
	return list[:min(limit, len(list))], wrap(err, "read", "due timers", "")
}

// ExpiredLeases reads the leases index.
func (s *Store) ExpiredLeases(ctx context.Context, _ int, until time.Time, limit int) ([]store.LeaseEntry, error) {
	var list []store.LeaseEntry
	err := s.view(ctx, func(c *conn) error {
		list = nil
		var e store.LeaseEntry
		var till int64
		return c.each([]any{&e.RunID, &till}, func() (bool, error) {
			e.Until = fromMS(till)
			list = append(list, e)
			return true, nil
		}, `SELECT id, lease FROM runs WHERE ns = ? AND lease <= ? ORDER BY lease LIMIT ?`, s.ns, until.UnixMilli(), max(0, limit))
	})
	return list, wrap(err, "read", "expired leases", "")
}

// Unsent reads the outbox.
func (s *Store) Unsent(ctx context.Context, _ int, until time.Time, limit int) ([]store.Message, error) {
	var list []store.Message
	err := s.view(ctx, func(c *conn) error {
		list = nil
		var m store.Message
		return c.each([]any{&m.RunID, &m.Dispatch, &m.Queue}, func() (bool, error) {
			list = append(list, m)
			return true, nil
		}, `SELECT run, dispatch, queue FROM outbox WHERE ns = ? AND at <= ? ORDER BY at, rid, dispatch LIMIT ?`, s.ns, until.UnixMilli(), max(0, limit))
	})
	return list, wrap(err, "read", "outbox", "")
}

// StrikeOff removes messages.
func (s *Store) StrikeOff(ctx context.Context, msgs ...store.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	return wrap(s.writeLater(ctx, func(t *tx) error {
		for _, m := range msgs {
			rid, err := s.rid(t.conn, m.RunID)
			if err == nil && rid != 0 {
				_, err = t.exec(`DELETE FROM outbox WHERE rid = ? AND dispatch = ? AND run = ?`, rid, m.Dispatch, m.RunID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}), "strike off", "messages", "")
}
