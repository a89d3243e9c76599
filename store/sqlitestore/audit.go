package sqlitestore

import (
	"context"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// auditPlace is where a round of the audit is: among the schedules after ref, or among the active runs after a position.
type auditPlace struct {
	ref   schedules.Ref
	runs  bool
	after position
}

// auditTargets are rows to compare.
type auditTargets struct{ sids, rids []int64 }

// Audit goes on with the round: schedules by id, then active runs by creation. The indexes are columns beside the record; it looks without the write lock.
func (s *Store) Audit(ctx context.Context, _, limit int) (store.Audited, error) {
	if limit <= 0 {
		return store.Audited{Round: true}, nil
	}
	s.mu.Lock()
	at := s.auditAt
	s.mu.Unlock()
	var a store.Audited
	var found auditTargets
	var next auditPlace
	err := s.view(ctx, func(c *conn) (err error) {
		found, next, err = s.auditNext(c, at, limit)
		return err
	})
	if err == nil {
		a.Mended, err = s.reindex(ctx, found)
	}
	if err != nil {
		return store.Audited{}, wrap(err, "audit", "store", s.Describe())
	}
	a.Looked, a.Round = len(found.sids)+len(found.rids), next == auditPlace{}
	s.mu.Lock()
	s.auditAt = next
	s.mu.Unlock()
	return a, nil
}

// auditNext gives the next rows of the round and where to go on; the zero place: the round has ended.
func (s *Store) auditNext(c *conn, at auditPlace, limit int) (found auditTargets, next auditPlace, err error) {
	next = at
	if !at.runs {
		var sid int64
		err := c.each([]any{&sid, &next.ref.ID, &next.ref.Incarnation}, func() (bool, error) {
			found.sids = append(found.sids, sid)
			return true, nil
		}, `SELECT sid, id, inc FROM schedules WHERE ns = ? AND (id, inc) > (?, ?) ORDER BY id, inc LIMIT ?`, s.ns, at.ref.ID, at.ref.Incarnation, limit)
		if err != nil || len(found.sids) == limit {
			return found, next, err
		}
		next = auditPlace{runs: true}
	}
	left := limit - len(found.sids)
	after := next.after
	err = c.each([]any{&next.after.row, &next.after.at}, func() (bool, error) {
		found.rids = append(found.rids, next.after.row)
		return true, nil
	}, `SELECT rid, created FROM runs WHERE ns = ? AND class = ? AND class IS NOT NULL AND (created, rid) > (?, ?) ORDER BY created, rid LIMIT ?`,
		s.ns, classActive, after.at, after.row, left)
	if err != nil || len(found.rids) == left {
		return found, next, err
	}
	return found, auditPlace{}, nil
}

// Reindex audits what is named. What has no record has no entries either: they are columns of it.
func (s *Store) Reindex(ctx context.Context, of ...store.Timer) ([]store.Mend, error) {
	var found auditTargets
	err := s.view(ctx, func(c *conn) error {
		found = auditTargets{}
		for _, t := range of {
			if t.RunID == "" {
				sid, err := s.sid(c, t.Ref)
				if err != nil {
					return err
				}
				if sid != 0 {
					found.sids = append(found.sids, sid)
				}
				continue
			}
			h, ok, err := s.held(c, t.RunID)
			if err != nil {
				return err
			}
			if ok {
				found.rids = append(found.rids, h.rid)
			}
		}
		return nil
	})
	var mended []store.Mend
	if err == nil {
		mended, err = s.reindex(ctx, found)
	}
	return mended, wrap(err, "mend", "indexes of", s.Describe())
}

// reindex compares rows, and where some differ, again with the write lock, which mends them.
func (s *Store) reindex(ctx context.Context, of auditTargets) (mended []store.Mend, err error) {
	var bad auditTargets
	err = s.view(ctx, func(c *conn) error {
		bad = auditTargets{}
		for _, sid := range of.sids {
			if d, err := s.auditSchedule(c, sid); err != nil {
				return err
			} else if len(d.mends) > 0 {
				bad.sids = append(bad.sids, sid)
			}
		}
		for _, rid := range of.rids {
			if d, err := s.auditRun(c, rid); err != nil {
				return err
			} else if len(d.mends) > 0 {
				bad.rids = append(bad.rids, rid)
			}
		}
		return nil
	})
	if err != nil || len(bad.sids)+len(bad.rids) == 0 {
		return nil, err
	}
	err = s.write(ctx, func(t *tx) error {
		mended = nil
		for _, sid := range bad.sids {
			d, err := s.auditSchedule(t.conn, sid)
			if err != nil {
				return err
			}
			if len(d.mends) == 0 {
				continue // changed meanwhile
			}
			if _, err := t.exec(`UPDATE progress SET tick = ?, timer = ? WHERE sid = ?`, d.due, d.timer, sid); err != nil {
				return err
			}
			mended = append(mended, d.mends...)
		}
		for _, rid := range bad.rids {
			d, err := s.auditRun(t.conn, rid)
			if err != nil {
				return err
			}
			if len(d.mends) == 0 {
				continue
			}
			if _, err := t.exec(`UPDATE runs SET due = ?, lease = ?, rank = ? WHERE rid = ?`, d.due, d.lease, d.rank, rid); err != nil {
				return err
			}
			mended = append(mended, d.mends...)
		}
		t.ticks, t.timers = true, true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return mended, nil
}

// audited is what a record says its columns should be.
type audited struct {
	due, timer, lease, rank any // int64, or nil for none; timer is a schedule's, lease and rank are a run's
	mends                   []store.Mend
}

// compare notes a column that is not what it should be.
func (d *audited) compare(of store.Mend, index store.Index, was *int64, is any) {
	is64, some := is.(int64)
	if was == nil && !some || was != nil && some && *was == is64 {
		return
	}
	of.Index = index
	if was != nil {
		of.Was = fromMS(*was)
	}
	if some {
		of.Is = fromMS(is64)
	}
	d.mends = append(d.mends, of)
}

func (s *Store) auditSchedule(c *conn, sid int64) (audited, error) {
	var d audited
	var row scheduleRow
	var tick, timer *int64
	found, err := c.one(append(row.dest(), &tick, &timer), `SELECT `+scheduleColumns+`, p.tick, p.timer FROM schedules s JOIN progress p USING(sid) WHERE sid = ?`, sid)
	if err != nil || !found {
		return d, err
	}
	sc, err := row.schedule(&s.known)
	if err != nil {
		return d, nil // cannot be read: whoever loads it says so
	}
	of := store.Mend{Ref: sc.Ref()}
	d.due = dueMS(sc.NextRunTime())
	if timer != nil {
		d.timer = *timer
	}
	now := s.Estimate()
	if (sc.Waiting() > 0 || len(sc.Backfills) > 0) && (timer == nil || fromMS(*timer).After(now.Add(store.SafetyLook+time.Second))) {
		d.timer = now.UnixMilli()
	}
	d.compare(of, store.IndexTicks, tick, d.due)
	d.compare(of, store.IndexTimers, timer, d.timer)
	return d, nil
}

func (s *Store) auditRun(c *conn, rid int64) (audited, error) {
	var d audited
	var row runRow
	var due, place *int64
	found, err := c.one(append(row.dest(), &due, &place), `SELECT `+runColumns+`, r.due, r.rank FROM runs r WHERE r.rid = ?`, rid)
	if err != nil || !found {
		return d, err
	}
	run := row.run()
	if run.Damage != "" {
		return d, nil // whoever loads it ends it
	}
	of := store.Mend{RunID: run.ID}
	d.due = dueMS(run.Due)
	if run.Status == schedules.RunRunning {
		if d.lease = s.Estimate().UnixMilli(); row.lease != nil {
			d.lease = *row.lease
		}
	}
	if n, ok := rank(&run).(int); ok && row.sid != nil {
		d.rank = int64(n)
	}
	d.compare(of, store.IndexTimers, due, d.due)
	d.compare(of, store.IndexLeases, row.lease, d.lease)
	d.compare(of, store.IndexActive, place, d.rank)
	return d, nil
}
