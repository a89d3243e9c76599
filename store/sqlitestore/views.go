package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Revisions gives the current incarnation under each id and its revision.
func (s *Store) Revisions(ctx context.Context, ids ...string) ([]store.Revision, error) {
	out := make([]store.Revision, len(ids))
	err := s.view(ctx, func(c *conn) error {
		for i, id := range ids {
			r := store.Revision{Ref: schedules.Ref{ID: id}}
			found, err := c.one([]any{&r.Ref.Incarnation, &r.Revision}, `SELECT s.inc, p.revision FROM schedules s JOIN progress p USING(sid) WHERE s.ns = ? AND s.id = ? AND s.current = 1`, s.ns, id)
			if err != nil {
				return err
			}
			if !found {
				r = store.Revision{}
			}
			out[i] = r
		}
		return nil
	})
	return out, wrap(err, "read", "revisions of schedules", "")
}

// ActiveRunsOf lists ids of active runs of each schedule, those asked to cancel last.
func (s *Store) ActiveRunsOf(ctx context.Context, refs []schedules.Ref, limit int) ([][]string, error) {
	out := make([][]string, len(refs))
	err := s.ofEach(ctx, refs, func(c *conn, i int, sid int64) error {
		list, err := activeHead(c, sid, max(0, limit))
		out[i] = nil
		for _, a := range list {
			out[i] = append(out[i], a.ID)
		}
		return err
	})
	return out, wrap(err, "list", "active runs", "")
}

// ofEach calls f with the row of each schedule that exists.
func (s *Store) ofEach(ctx context.Context, refs []schedules.Ref, f func(c *conn, i int, sid int64) error) error {
	return s.view(ctx, func(c *conn) error {
		for i, ref := range refs {
			sid, err := s.sid(c, ref)
			if err == nil && sid != 0 {
				err = f(c, i, sid)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RecentFates gives the newest rows of each schedule's history.
func (s *Store) RecentFates(ctx context.Context, refs []schedules.Ref, limit int) ([][]schedules.Fate, error) {
	out := make([][]schedules.Fate, len(refs))
	err := s.ofEach(ctx, refs, func(c *conn, i int, sid int64) error {
		out[i] = nil
		var body []byte
		return c.each([]any{&body}, func() (bool, error) {
			var f schedules.Fate
			err := json.Unmarshal(body, &f)
			out[i] = append(out[i], f)
			return true, err
		}, `SELECT body FROM fates WHERE sid = ? ORDER BY nominal DESC, key DESC LIMIT ?`, sid, max(0, limit))
	})
	return out, wrap(err, "read", "history of schedules", "")
}

// RunHeads reads runs without what may be large.
func (s *Store) RunHeads(ctx context.Context, ids ...string) (map[string]schedules.Run, error) {
	var out map[string]schedules.Run
	err := s.view(ctx, func(c *conn) error {
		out = make(map[string]schedules.Run, len(ids))
		for _, id := range ids {
			run, found, err := s.getRun(c, id)
			if err != nil {
				return err
			}
			if found {
				run.Input, run.Result, run.Error = nil, nil, nil
				out[id] = run
			}
		}
		return nil
	})
	return out, wrap(err, "read", "runs", "")
}

// StepsOf reads the steps of each run.
func (s *Store) StepsOf(ctx context.Context, ids ...string) ([][]schedules.Step, error) {
	out := make([][]schedules.Step, len(ids))
	err := s.view(ctx, func(c *conn) (err error) {
		for i, id := range ids {
			if out[i], _, err = s.steps(c, id); err != nil {
				return err
			}
		}
		return nil
	})
	return out, wrap(err, "list", "steps of runs", "")
}

// Counts counts schedules and runs.
func (s *Store) Counts(ctx context.Context, since time.Time) (store.Counts, error) {
	var out store.Counts
	from, ok := dueMS(since).(int64)
	if !ok {
		from = -1 << 62
	}
	err := s.view(ctx, func(c *conn) error {
		out = store.Counts{Schedules: map[schedules.Status]int64{}}
		var status string
		var n int64
		err := c.each([]any{&status, &n}, func() (bool, error) {
			out.Schedules[schedules.Status(status)] = n
			return true, nil
		}, `SELECT status, count(*) FROM schedules WHERE ns = ? AND current = 1 GROUP BY status`, s.ns)
		if err != nil {
			return err
		}
		if _, err := c.one([]any{&out.Active, &out.Ongoing}, `SELECT count(*), count(*) FILTER (WHERE created >= ?) FROM runs WHERE ns = ? AND class = ? AND class IS NOT NULL`,
			from, s.ns, classActive); err != nil {
			return err
		}
		for st, to := range map[schedules.RunStatus]*int64{schedules.RunFailed: &out.Failed, schedules.RunCancelled: &out.Cancelled} {
			if _, err := c.one([]any{to}, `SELECT count(*) FROM runs WHERE ns = ? AND class = ? AND class IS NOT NULL AND created >= ?`, s.ns, class(st), from); err != nil {
				return err
			}
		}
		if _, err := c.one([]any{&out.Created}, `SELECT count(*) FROM runs WHERE ns = ? AND created >= ?`, s.ns, from); err != nil {
			return err
		}
		_, err = c.one([]any{&out.Missed}, `SELECT count(*) FROM fates f CROSS JOIN schedules s USING(sid) WHERE f.kind = 'missed' AND f.at >= ? AND s.ns = ?`, from, s.ns)
		return err
	})
	return out, wrap(err, "count", "schedules and runs", "")
}

// TickCounts counts the ticks that are due next in each stretch of time.
func (s *Store) TickCounts(ctx context.Context, bounds []time.Time) ([]int64, error) {
	if len(bounds) < 2 {
		return nil, nil
	}
	counts := make([]int64, len(bounds)-1)
	err := s.view(ctx, func(c *conn) error {
		for i := range counts {
			if _, err := c.one([]any{&counts[i]}, `SELECT count(*) FROM progress WHERE ns = ? AND tick IS NOT NULL AND tick >= ? AND tick < ?`,
				s.ns, dueMS(bounds[i]), dueMS(bounds[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	return counts, wrap(err, "count", "ticks", "")
}

// MissedTicks lists the latest missed ticks. CROSS JOIN keeps SQLite to the order of the index.
func (s *Store) MissedTicks(ctx context.Context, since time.Time, limit int) ([]store.MissedTick, error) {
	from, ok := dueMS(since).(int64)
	if !ok {
		from = -1 << 62
	}
	var list []store.MissedTick
	err := s.view(ctx, func(c *conn) error {
		list = nil
		var t store.MissedTick
		var body []byte
		return c.each([]any{&t.Ref.ID, &t.Ref.Incarnation, &body}, func() (bool, error) {
			t.Fate = schedules.Fate{}
			err := json.Unmarshal(body, &t.Fate)
			list = append(list, t)
			return true, err
		}, `SELECT s.id, s.inc, f.body FROM fates f CROSS JOIN schedules s USING(sid) WHERE f.kind = 'missed' AND f.at >= ? AND s.ns = ?
			ORDER BY f.at DESC, f.sid DESC, f.nominal DESC, f.key DESC LIMIT ?`, from, s.ns, max(0, limit))
	})
	return list, wrap(err, "list", "missed ticks", "")
}

// FateByKey finds what became of the trigger with an idempotency key.
func (s *Store) FateByKey(ctx context.Context, ref schedules.Ref, key string) (schedules.Fate, error) {
	var f schedules.Fate
	err := s.view(ctx, func(c *conn) error {
		sid, err := s.sid(c, ref)
		if err != nil {
			return err
		}
		var body []byte
		found, err := c.one([]any{&body}, `SELECT body FROM fates WHERE sid = ? AND substr(key, instr(key, '-') + 1) = ? AND key GLOB 'm*-key-*' ORDER BY nominal DESC LIMIT 1`,
			sid, schedules.KeyNonce(key))
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		}
		f = schedules.Fate{}
		if err := json.Unmarshal(body, &f); err != nil {
			return fmt.Errorf("%w: a row of the history: %w", store.ErrUnreadable, err)
		}
		return nil
	})
	return f, wrap(err, "find a trigger by its key", "of schedule", ref.ID)
}
