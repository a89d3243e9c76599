package sqlitestore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	trimVisit = 200  // schedules looked at in one Trim
	trimBatch = 500  // rows removed in one transaction
	trimMost  = 5000 // rows removed in one Trim
)

// Trim looks at the next trimVisit schedules after those of the call before, and at what belongs to none. Fates go by when they were decided, so that the
// history of a backfill of long ago is kept as long as any other.
func (s *Store) Trim(ctx context.Context, _ int, l store.Limits) (bool, error) {
	more, err := s.trim(ctx, l)
	return more, wrap(err, "trim", "store", s.Describe())
}

// trimmer is one Trim in progress.
type trimmer struct {
	*Store
	l    store.Limits
	now  time.Time
	left int // rows that may still go
}

func (s *Store) trim(ctx context.Context, l store.Limits) (bool, error) {
	if s.cfg.ReadOnly {
		return false, s.errReadOnly()
	}
	tr := &trimmer{Store: s, l: l, now: s.Estimate(), left: trimMost}
	if more, err := tr.loose(ctx); err != nil || more {
		return more, err
	}
	s.mu.Lock()
	from := s.trimFrom
	s.mu.Unlock()
	list, err := tr.visit(ctx, from)
	if err != nil {
		return false, err
	}
	for _, v := range list {
		for {
			if tr.left <= 0 {
				return true, nil
			}
			more, err := tr.schedule(ctx, v)
			if err != nil {
				return false, err
			}
			if !more {
				break
			}
		}
		tr.reached(schedules.Ref{ID: v.id, Incarnation: v.inc})
	}
	if len(list) < trimVisit {
		tr.reached(schedules.Ref{}) // from the start next time
	}
	return false, nil
}

// reached notes where the next Trim goes on.
func (tr *trimmer) reached(ref schedules.Ref) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.trimFrom = ref
}

// visited is a schedule Trim looks at.
type visited struct {
	sid     int64
	id, inc string
	deleted bool
}

// visit gives the schedules after from in the order of the ids, at most trimVisit.
func (tr *trimmer) visit(ctx context.Context, from schedules.Ref) ([]visited, error) {
	var list []visited
	err := tr.view(ctx, func(c *conn) error {
		list = nil
		var v visited
		var status string
		return c.each([]any{&v.sid, &v.id, &v.inc, &status}, func() (bool, error) {
			v.deleted = status == string(schedules.StatusDeleted)
			list = append(list, v)
			return true, nil
		}, `SELECT sid, id, inc, status FROM schedules WHERE ns = ? AND (id, inc) > (?, ?) ORDER BY id, inc LIMIT ?`, tr.ns, from.ID, from.Incarnation, trimVisit)
	})
	return list, err
}

// schedule removes a batch of what one schedule has too much of; true when there may be more. It looks without the write lock: what may go now, may go a
// moment later, too.
func (tr *trimmer) schedule(ctx context.Context, v visited) (bool, error) {
	var runs []int64
	var fates []fatePosition
	var empty bool
	err := tr.view(ctx, func(c *conn) (err error) {
		if runs, err = tr.oldRuns(c, v); err != nil {
			return err
		}
		if fates, err = tr.oldFates(c, v.sid); err != nil {
			return err
		}
		if empty = false; v.deleted && len(runs)+len(fates) == 0 {
			empty, err = tr.empty(c, v)
		}
		return err
	})
	if err != nil || len(runs)+len(fates) == 0 && !empty {
		return false, err
	}
	err = tr.write(ctx, func(t *tx) error {
		for _, rid := range runs {
			if err := removeRun(t, rid); err != nil {
				return err
			}
		}
		if err := removeFates(t, v.sid, fates); err != nil {
			return err
		}
		if empty {
			return tr.removeSchedule(t, v)
		}
		return nil
	})
	tr.left -= len(runs) + len(fates)
	return !empty, err
}

// oldRuns finds ended runs of a schedule that may go, oldest first: those up to a position.
func (tr *trimmer) oldRuns(c *conn, v visited) ([]int64, error) {
	upto := position{at: tr.now.Add(-tr.l.RunAge).UnixMilli() - 1, row: newest.row}
	var beyond, kept position
	found, err := c.one([]any{&beyond.at, &beyond.row}, `SELECT created, rid FROM runs WHERE ns = ? AND schedule = ? ORDER BY created DESC, rid DESC LIMIT 1 OFFSET ?`,
		tr.ns, v.id, tr.l.RunCount)
	if err != nil {
		return nil, err
	}
	if found && upto.before(beyond) {
		upto = beyond
	}
	success := ""
	if !v.deleted {
		if tr.l.RunKeep > 0 {
			found, err := c.one([]any{&kept.at, &kept.row}, `SELECT created, rid FROM runs WHERE ns = ? AND schedule = ? AND sid = ? ORDER BY created DESC, rid DESC LIMIT 1 OFFSET ?`,
				tr.ns, v.id, v.sid, tr.l.RunKeep-1)
			if err != nil || !found {
				return nil, err // no more than are kept
			}
			if kept.row--; kept.before(upto) {
				upto = kept
			}
		}
		var text []byte
		if _, err := c.one([]any{&text}, `SELECT tally FROM progress WHERE sid = ?`, v.sid); err != nil {
			return nil, err
		}
		var tally schedules.Tally
		if err := json.Unmarshal(text, &tally); err != nil {
			return nil, err
		}
		success = tally.LastSuccessID
	}
	return rids(c, `SELECT rid FROM runs WHERE ns = ? AND schedule = ? AND sid = ? AND rank IS NULL AND (created, rid) <= (?, ?) AND id <> ? ORDER BY created, rid LIMIT ?`,
		tr.ns, v.id, v.sid, upto.at, upto.row, success, trimBatch)
}

func rids(c *conn, q string, args ...any) ([]int64, error) {
	var list []int64
	var rid int64
	err := c.each([]any{&rid}, func() (bool, error) {
		list = append(list, rid)
		return true, nil
	}, q, args...)
	return list, err
}

func removeRun(t *tx, rid int64) error {
	for _, q := range []string{
		`DELETE FROM outbox WHERE rid = ?`,
		`DELETE FROM steps WHERE rid = ?`,
		`DELETE FROM events WHERE rid = ?`,
		`DELETE FROM inputs WHERE rid = ?`,
		`DELETE FROM runs WHERE rid = ?`,
	} {
		if _, err := t.exec(q, rid); err != nil {
			return err
		}
	}
	return nil
}

// fatePosition is a place in a schedule's fates, in the order they were decided.
type fatePosition struct {
	at, nominal int64
	key         string
}

func (p *fatePosition) dest() []any { return []any{&p.at, &p.nominal, &p.key} }

// lastKey sorts after every key.
const lastKey = "\U0010ffff"

// oldFates finds the next fates that go, oldest first.
func (tr *trimmer) oldFates(c *conn, sid int64) ([]fatePosition, error) {
	upto := fatePosition{at: tr.now.Add(-tr.l.FateAge).UnixMilli() - 1, nominal: newest.at, key: lastKey}
	var beyond fatePosition
	found, err := c.one(beyond.dest(), `SELECT at, nominal, key FROM fates WHERE sid = ? ORDER BY at DESC, nominal DESC, key DESC LIMIT 1 OFFSET ?`, sid, tr.l.FateCount)
	if err != nil {
		return nil, err
	}
	if found && beyond.at > upto.at {
		upto = beyond
	}
	var list []fatePosition
	var f fatePosition
	err = c.each(f.dest(), func() (bool, error) {
		list = append(list, f)
		return true, nil
	}, `SELECT at, nominal, key FROM fates WHERE sid = ? AND (at, nominal, key) <= (?, ?, ?) ORDER BY at, nominal, key LIMIT ?`, sid, upto.at, upto.nominal, upto.key, trimBatch)
	return list, err
}

// removeFates removes fates, unless they were decided anew meanwhile, and moves the beginning of the history.
func removeFates(t *tx, sid int64, fates []fatePosition) error {
	var from int64
	for _, f := range fates {
		n, err := t.exec(`DELETE FROM fates WHERE sid = ? AND nominal = ? AND key = ? AND at = ?`, sid, f.nominal, f.key, f.at)
		if err != nil {
			return err
		}
		if n > 0 {
			from = max(from, f.nominal+1)
		}
	}
	if from == 0 {
		return nil
	}
	_, err := t.exec(`UPDATE progress SET history = max(history, ?) WHERE sid = ?`, from, sid)
	return err
}

// empty reports whether nothing is left of a deleted schedule but its record, and that is old enough to go.
func (tr *trimmer) empty(c *conn, v visited) (bool, error) {
	var row scheduleRow
	found, err := c.one(row.dest(), `SELECT `+scheduleColumns+` FROM schedules s JOIN progress p USING(sid) WHERE s.sid = ?`, v.sid)
	if err != nil || !found {
		return false, err
	}
	sc, err := row.schedule(&tr.known)
	if err != nil || sc.Status != schedules.StatusDeleted || !sc.UpdatedAt.Before(tr.now.Add(-tr.l.RunAge)) {
		return false, err
	}
	for _, q := range []string{
		`SELECT 1 FROM fates WHERE sid = ? LIMIT 1`,
		`SELECT 1 FROM waiting WHERE sid = ? LIMIT 1`,
		`SELECT 1 FROM backfills WHERE sid = ? LIMIT 1`,
		`SELECT 1 FROM runs WHERE sid = ? AND rank IS NOT NULL LIMIT 1`,
	} {
		var one int
		if found, err := c.one([]any{&one}, q, v.sid); err != nil || found {
			return false, err
		}
	}
	var one int
	found, err = c.one([]any{&one}, `SELECT 1 FROM runs WHERE ns = ? AND schedule = ? AND sid = ? LIMIT 1`, tr.ns, v.id, v.sid)
	return !found && err == nil, err
}

// removeSchedule removes the record of a deleted schedule that is still empty.
func (tr *trimmer) removeSchedule(t *tx, v visited) error {
	empty, err := tr.empty(t.conn, v)
	if err != nil || !empty {
		return err
	}
	for _, q := range []string{`DELETE FROM progress WHERE sid = ?`, `DELETE FROM schedules WHERE sid = ?`} {
		if _, err := t.exec(q, v.sid); err != nil {
			return err
		}
	}
	return nil
}

// loose removes old runs without a schedule and old ended backfills; true when there may be more.
func (tr *trimmer) loose(ctx context.Context) (bool, error) {
	var runs, backfills []int64
	err := tr.view(ctx, func(c *conn) (err error) {
		if runs, err = rids(c, `SELECT rid FROM runs WHERE ns = ? AND schedule = '' AND created < ? AND status IN ('completed', 'failed', 'cancelled') ORDER BY created, rid LIMIT ?`,
			tr.ns, tr.now.Add(-tr.l.FreeRunAge).UnixMilli(), trimBatch); err != nil {
			return err
		}
		backfills, err = rids(c, `SELECT bid FROM backfills WHERE ns = ? AND ended < ? AND active = 0 ORDER BY ended LIMIT ?`, tr.ns, tr.now.Add(-tr.l.RunAge).UnixMilli(), trimBatch)
		return err
	})
	if err != nil || len(runs)+len(backfills) == 0 {
		return false, err
	}
	err = tr.write(ctx, func(t *tx) error {
		for _, rid := range runs {
			if err := removeRun(t, rid); err != nil {
				return err
			}
		}
		for _, bid := range backfills {
			if _, err := t.exec(`DELETE FROM backfills WHERE bid = ?`, bid); err != nil {
				return err
			}
		}
		return nil
	})
	return len(runs) == trimBatch || len(backfills) == trimBatch, err
}
