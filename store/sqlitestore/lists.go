package sqlitestore

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Every list walks one index, chosen by the narrowest filter, looks at scanLimit entries at most, tests the other filters on them, and
// reads whole only what it gives. The cursor names the last entry looked at.

// ListSchedules lists current incarnations by id, or by their next tick.
func (s *Store) ListSchedules(ctx context.Context, f store.ScheduleFilter, p store.Page) ([]schedules.Schedule, string, error) {
	q, args, err := s.scheduleQuery(f, p.Cursor)
	if err != nil {
		return nil, "", wrap(err, "list", "schedules", "")
	}
	limit, named := pageLimit(p), f.Finder()
	var list []schedules.Schedule
	var next string
	err = s.view(ctx, func(c *conn) error {
		list, next = nil, ""
		var sids []int64
		var at position
		var id, last, workflow, status, origin, overlap string
		n := 0
		err := c.each([]any{&at.row, &at.at, &id, &workflow, &status, &origin, &overlap}, func() (bool, error) {
			if len(sids) == limit || n == scanLimit {
				next = last
				return false, nil
			}
			n++
			if last = id; f.Sort == store.SortNext {
				last = at.cursor()
			}
			if (f.Workflow == "" || workflow == f.Workflow) && (f.Origin == "" || origin == f.Origin) && (f.Overlap == "" || overlap == string(f.Overlap)) &&
				(f.Status == "" && status != string(schedules.StatusDeleted) || status == string(f.Status)) && named(id) {
				sids = append(sids, at.row)
			}
			return true, nil
		}, q, append(args, scanLimit+1)...)
		if err != nil {
			return err
		}
		for _, sid := range sids {
			var row scheduleRow
			if _, err := c.one(row.dest(), `SELECT `+scheduleColumns+` FROM schedules s JOIN progress p USING(sid) WHERE s.sid = ?`, sid); err != nil {
				return err
			}
			sc, err := row.schedule(&s.known)
			if err != nil {
				s.cfg.Logger.WarnContext(ctx, "a list leaves out a schedule whose record cannot be read", "error", err)
				continue
			}
			list = append(list, sc)
		}
		return nil
	})
	return list, next, wrap(err, "list", "schedules", "")
}

// scheduleQuery walks the index that serves a filter best, from after a cursor.
func (s *Store) scheduleQuery(f store.ScheduleFilter, cursor string) (string, []any, error) {
	overlap := `''`
	if f.Overlap != "" { // of a damaged record: none
		overlap = `CASE WHEN json_valid(s.record) THEN coalesce(s.record ->> '$.overlap', '') ELSE '' END`
	}
	if f.Sort == store.SortNext {
		from := position{at: -1 << 62}
		if cursor != "" {
			var err error
			if from, err = parsePosition(cursor); err != nil {
				return "", nil, err
			}
		}
		return `SELECT s.sid, p.tick, s.id, s.workflow, s.status, s.origin, ` + overlap + ` FROM progress p JOIN schedules s USING(sid)
			WHERE p.ns = ? AND p.tick IS NOT NULL AND (p.tick, p.sid) > (?, ?) ORDER BY p.tick, p.sid LIMIT ?`, []any{s.ns, from.at, from.row}, nil
	}
	where, args := "", []any{s.ns, cursor}
	switch {
	case f.Origin != "":
		where, args = ` AND origin = ? AND origin <> ''`, append(args, f.Origin)
	case f.Workflow != "":
		where, args = ` AND workflow = ?`, append(args, f.Workflow)
	case f.Status != "":
		where, args = ` AND status = ?`, append(args, string(f.Status))
	}
	return `SELECT s.sid, 0, s.id, s.workflow, s.status, s.origin, ` + overlap + ` FROM schedules s WHERE ns = ? AND current = 1 AND id > ?` + where + ` ORDER BY id LIMIT ?`, args, nil
}

// ListRuns lists runs, newest first.
func (s *Store) ListRuns(ctx context.Context, f store.RunFilter, p store.Page) ([]schedules.Run, string, error) {
	from, err := parsePosition(p.Cursor)
	if err != nil {
		return nil, "", wrap(err, "list", "runs", "")
	}
	where, args := "", []any{s.ns, from.at, from.row, since(f)}
	switch {
	case f.ScheduleID != "":
		where, args = ` AND schedule = ?`, append(args, f.ScheduleID)
	case f.Status != "" && f.Status != schedules.RunCompleted:
		where, args = ` AND class = ? AND class IS NOT NULL`, append(args, class(f.Status))
	case f.Workflow != "":
		where, args = ` AND workflow = ?`, append(args, f.Workflow)
	}
	args = append(args, scanLimit+1)
	limit := pageLimit(p)
	var list []schedules.Run
	var next string
	err = s.view(ctx, func(c *conn) error {
		list, next = nil, ""
		var rids []int64
		var at, last position
		var workflow, status string
		n := 0
		err := c.each([]any{&at.row, &at.at, &workflow, &status}, func() (bool, error) {
			if len(rids) == limit || n == scanLimit {
				next = last.cursor()
				return false, nil
			}
			n++
			last = at
			if (f.Workflow == "" || workflow == f.Workflow) && (f.Status == "" || status == string(f.Status)) {
				rids = append(rids, at.row)
			}
			return true, nil
		}, `SELECT rid, created, workflow, status FROM runs WHERE ns = ? AND (created, rid) < (?, ?) AND created >= ?`+where+` ORDER BY created DESC, rid DESC LIMIT ?`, args...)
		if err != nil {
			return err
		}
		for _, rid := range rids {
			var row runRow
			if _, err := c.one(row.dest(), `SELECT `+runColumns+` FROM runs r WHERE r.rid = ?`, rid); err != nil {
				return err
			}
			list = append(list, row.run())
		}
		return nil
	})
	return list, next, wrap(err, "list", "runs", "")
}

func since(f store.RunFilter) int64 {
	if f.Since.IsZero() {
		return -1 << 62
	}
	since, _ := dueMS(f.Since).(int64) // rounded up: at or after
	return since
}

// ListFates lists a schedule's history, newest nominal time first.
func (s *Store) ListFates(ctx context.Context, ref schedules.Ref, f store.FateFilter, p store.Page) ([]schedules.Fate, string, error) {
	before, key := newest.at, ""
	if p.Cursor != "" {
		at, rest, ok := strings.Cut(p.Cursor, ".")
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || !ok {
			return nil, "", wrap(store.BadCursor(p.Cursor), "list", "fates of", ref.ID)
		}
		before, key = n, rest
	}
	if end, ok := dueMS(f.End).(int64); ok && end < before {
		before, key = end, ""
	}
	var start int64 = -1 << 62
	if at, ok := dueMS(f.Start).(int64); ok {
		start = at
	}
	limit := pageLimit(p)
	var list []schedules.Fate
	var next string
	err := s.view(ctx, func(c *conn) error {
		list, next = nil, ""
		sid, err := s.sid(c, ref)
		if err != nil || sid == 0 {
			return err
		}
		n := 0
		var nominal int64
		var rowKey, kind, last string
		var body []byte
		return c.each([]any{&nominal, &rowKey, &kind, &body}, func() (bool, error) {
			if len(list) == limit || n == scanLimit {
				next = last
				return false, nil
			}
			n++
			last = strconv.FormatInt(nominal, 10) + "." + rowKey
			if f.Fate != "" && kind != string(f.Fate) {
				return true, nil
			}
			var fate schedules.Fate
			err := json.Unmarshal(body, &fate)
			list = append(list, fate)
			return true, err
		}, `SELECT nominal, key, kind, body FROM fates WHERE sid = ? AND (nominal, key) < (?, ?) AND nominal >= ? ORDER BY nominal DESC, key DESC LIMIT ?`,
			sid, before, key, start, scanLimit+1)
	})
	return list, next, wrap(err, "list", "fates of", ref.ID)
}

// ListBackfills lists backfills, newest first.
func (s *Store) ListBackfills(ctx context.Context, scheduleID string, p store.Page) ([]schedules.Backfill, string, error) {
	from, err := parsePosition(p.Cursor)
	if err != nil {
		return nil, "", wrap(err, "list", "backfills", "")
	}
	where, args := "", []any{s.ns, from.at, from.row}
	if scheduleID != "" {
		where, args = ` AND schedule = ?`, append(args, scheduleID)
	}
	limit := pageLimit(p)
	args = append(args, limit+1)
	var list []schedules.Backfill
	var next string
	err = s.view(ctx, func(c *conn) error {
		list, next = nil, ""
		var row backfillRow
		var at, last position
		return c.each(append([]any{&at.row, &at.at}, row.dest()...), func() (bool, error) {
			if len(list) == limit {
				next = last.cursor()
				return false, nil
			}
			last = at
			bf, err := row.backfill()
			list = append(list, bf)
			return true, err
		}, `SELECT b.bid, b.created, `+backfillColumns+` FROM backfills b WHERE ns = ? AND (created, bid) < (?, ?)`+where+` ORDER BY created DESC, bid DESC LIMIT ?`, args...)
	})
	return list, next, wrap(err, "list", "backfills", "")
}
