package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	// lookedAt bounds how many records one call of a list reads to find those that pass its filter.
	lookedAt = 1000
	// readBatch is how many records are read at a time, at most, where few pass.
	readBatch = 500
	// searchedAt bounds how many ids one call looks at to find those that are searched for, searchBatch how many it reads at a time.
	searchedAt, searchBatch = 20_000, 4000
)

func limitOf(p store.Page) int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 1000)
}

// entry is a place in a list that is spread over several keys: ordered by score, descending, then id, descending; or, with scores alike, by id ascending.
type entry struct {
	id    string
	score int64
}

// source is one of the keys a list is spread over, read piece by piece.
type source struct {
	key  string
	read []entry // not yet taken
	last entry   // read last, or where the call started
	from bool    // last is set
	end  bool    // there is no more to read
}

// merged is a list spread over several keys, in order.
type merged struct {
	sources []*source
	before  func(a, b entry) bool
	// fetch reads up to n more entries of each source.
	fetch func(ctx context.Context, from []*source, n int) ([][]entry, error)
	prev  entry // taken last
	any   bool  // something was taken
}

// take gives the next entries, at most n; none: the list has ended.
func (m *merged) take(ctx context.Context, n int) ([]entry, error) {
	var taken []entry
	for len(taken) < n {
		if err := m.fill(ctx, n-len(taken)); err != nil {
			return nil, err
		}
		queue := m.queue()
		for len(taken) < n {
			if len(queue) == 0 {
				return taken, nil
			}
			first := queue[0]
			// What moves from one key to another while it is read may be met in both.
			if e := first.read[0]; !m.any || e != m.prev {
				taken = append(taken, e)
				m.prev, m.any = e, true
			}
			if first.read = first.read[1:]; len(first.read) == 0 {
				if !first.end {
					break
				}
				queue[0] = queue[len(queue)-1]
				queue = queue[:len(queue)-1]
			}
			m.sift(queue, 0)
		}
	}
	return taken, nil
}

// queue is a heap of the sources of which something is read, the one whose entry comes first at its top.
func (m *merged) queue() []*source {
	queue := make([]*source, 0, len(m.sources))
	for _, s := range m.sources {
		if len(s.read) > 0 {
			queue = append(queue, s)
		}
	}
	for i := len(queue)/2 - 1; i >= 0; i-- {
		m.sift(queue, i)
	}
	return queue
}

// sift moves the source at i down to where it belongs.
func (m *merged) sift(queue []*source, i int) {
	for {
		first := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(queue) && m.before(queue[child].read[0], queue[first].read[0]) {
				first = child
			}
		}
		if first == i {
			return
		}
		queue[i], queue[first] = queue[first], queue[i]
		i = first
	}
}

// fill reads on in every source of which nothing is left, for n entries in all.
func (m *merged) fill(ctx context.Context, n int) error {
	var empty []*source
	for _, s := range m.sources {
		if len(s.read) == 0 && !s.end {
			empty = append(empty, s)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	if len(m.sources) > 1 {
		n = n/len(m.sources)*2 + 8
	}
	got, err := m.fetch(ctx, empty, n)
	if err != nil {
		return err
	}
	for i, s := range empty {
		s.read, s.end = got[i], len(got[i]) < n
		if len(got[i]) > 0 {
			s.last, s.from = got[i][len(got[i])-1], true
		}
	}
	return nil
}

// ended reports whether there is nothing more to take.
func (m *merged) ended(ctx context.Context) (bool, error) {
	if err := m.fill(ctx, 1); err != nil {
		return false, err
	}
	for _, s := range m.sources {
		if len(s.read) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// query says how the records of a list are read and which are wanted.
type query[T any] struct {
	wanted func(entry) bool // by the id alone, before anything is read; nil: all
	read   func(context.Context, []entry) ([]T, error)
	id     func(*T) string // the id of the entry that a record was read by
	passes func(*T) bool
}

// page reads a page: entries, then the records of those, until there are enough that pass or enough were looked at. It gives the last entry looked at, and
// whether there is more after it.
func page[T any](ctx context.Context, m *merged, limit int, q query[T]) (items []T, last entry, more bool, err error) {
	most, records, batch := lookedAt, 0, limit
	if q.wanted != nil {
		most = searchedAt
	}
	for looked := 0; looked < most && records < lookedAt; {
		n := batch
		if q.wanted != nil {
			n = searchBatch
		}
		entries, err := m.take(ctx, min(n, most-looked))
		if err != nil || len(entries) == 0 {
			return items, last, false, err
		}
		looked += len(entries)
		for len(entries) > 0 {
			if records >= lookedAt {
				return items, last, true, nil
			}
			found, n := pick(entries, q.wanted, batch)
			var got []T
			if len(found) > 0 {
				if got, err = q.read(ctx, found); err != nil {
					return nil, last, false, err
				}
			}
			passing := make(map[string]*T, len(got))
			for i := range got {
				if q.passes(&got[i]) {
					passing[q.id(&got[i])] = &got[i]
				}
			}
			for i, e := range entries[:n] {
				last = e
				if record := passing[e.id]; record != nil {
					items = append(items, *record)
				}
				if len(items) == limit && i+1 < len(entries) {
					return items, last, true, nil
				}
			}
			if len(items) == limit {
				end, err := m.ended(ctx)
				return items, last, !end, err
			}
			entries, records = entries[n:], records+len(found)
			if 2*len(passing) < len(found) { // few pass: more at a time
				batch = min(2*batch, readBatch)
			}
		}
	}
	end, err := m.ended(ctx)
	return items, last, !end, err
}

// pick gives the first wanted entries, at most limit, and how many entries it went through.
func pick(entries []entry, wanted func(entry) bool, limit int) (found []entry, n int) {
	if wanted == nil {
		n = min(limit, len(entries))
		return entries[:n], n
	}
	for n < len(entries) && len(found) < limit {
		if wanted(entries[n]) {
			found = append(found, entries[n])
		}
		n++
	}
	return found, n
}

// ListSchedules lists current incarnations by id, or by their next tick.
func (s *Store) ListSchedules(ctx context.Context, f store.ScheduleFilter, p store.Page) ([]schedules.Schedule, string, error) {
	m, err := s.listOf(f, p)
	switch {
	case err != nil:
		return nil, "", s.wrap(err, "list schedules")
	case f.Sort == store.SortNext && f.Status != "" && f.Status != schedules.StatusActive:
		return nil, "", nil
	}
	q := query[schedules.Schedule]{read: s.readCurrent, id: func(sch *schedules.Schedule) string { return sch.ID }, passes: func(sch *schedules.Schedule) bool {
		return (f.Status != "" || sch.Status != schedules.StatusDeleted) && (f.Status == "" || sch.Status == f.Status) &&
			(f.Workflow == "" || sch.Workflow == f.Workflow) && (f.Origin == "" || sch.Origin == f.Origin) && (f.Overlap == "" || sch.Overlap == f.Overlap)
	}}
	if f.Origin != "" {
		if q.read, err = s.readOfOrigin(f.Origin); err != nil {
			return nil, "", s.wrap(err, "list schedules")
		}
	}
	if f.Sort == store.SortNext {
		q.read, q.id = s.readRefs, func(sch *schedules.Schedule) string { return sch.Ref().String() }
	}
	if f.Search != "" {
		named := f.Finder()
		q.wanted = func(e entry) bool {
			id, _, _ := strings.Cut(e.id, "@")
			return named(id)
		}
	}
	items, last, more, err := page(ctx, m, limitOf(p), q)
	switch {
	case err != nil:
		return nil, "", s.wrap(err, "list schedules")
	case !more:
		return items, "", nil
	case f.Sort == store.SortNext:
		return items, scoreCursor(last), nil
	default:
		return items, last.id, nil
	}
}

// listOf is the list that a filter is best served by.
func (s *Store) listOf(f store.ScheduleFilter, p store.Page) (*merged, error) {
	if f.Sort == store.SortNext {
		m := &merged{before: soonestFirst, fetch: s.fetchByScore(true, time.Time{})}
		start, from, err := parseScoreCursor(p.Cursor)
		for _, prefix := range s.keys.shard {
			m.sources = append(m.sources, &source{key: prefix + "ticks", last: start, from: from})
		}
		return m, err
	}
	var names []string
	switch {
	case f.Status != "":
		names = []string{"list:" + string(f.Status)}
	case f.Workflow != "":
		names = []string{"list:w:" + f.Workflow}
	default:
		for _, status := range []schedules.Status{schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished} {
			names = append(names, "list:"+string(status))
		}
	}
	m := &merged{before: func(a, b entry) bool { return a.id < b.id }, fetch: s.fetchByID}
	for _, prefix := range s.keys.shard {
		for _, name := range names {
			m.sources = append(m.sources, &source{key: prefix + name, last: entry{id: p.Cursor}, from: p.Cursor != ""})
		}
	}
	return m, nil
}

// fetchByID reads on in sorted sets whose scores are alike.
func (s *Store) fetchByID(ctx context.Context, from []*source, n int) ([][]entry, error) {
	cmds := make([]*redis.StringSliceCmd, len(from))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, src := range from {
			lowest := "-"
			if src.from {
				lowest = "(" + src.last.id
			}
			cmds[i] = p.ZRangeByLex(ctx, src.key, &redis.ZRangeBy{Min: lowest, Max: "+", Count: int64(n)})
		}
	})
	if err != nil {
		return nil, err
	}
	got := make([][]entry, len(from))
	for i, cmd := range cmds {
		for _, id := range cmd.Val() {
			got[i] = append(got[i], entry{id: id})
		}
	}
	return got, nil
}

// readCurrent reads the current incarnations under ids.
func (s *Store) readCurrent(ctx context.Context, entries []entry) ([]schedules.Schedule, error) {
	refs, err := s.current(ctx, idsOf(entries))
	if err != nil {
		return nil, err
	}
	return s.readSchedules(ctx, refs, nil)
}

// readOfOrigin reads the current incarnations under ids as far as they may be of an origin: of the others it gives the id, without decoding them. Few of many are
// asked for, and no index has them.
func (s *Store) readOfOrigin(origin string) (func(context.Context, []entry) ([]schedules.Schedule, error), error) {
	name, err := json.Marshal(origin)
	if err != nil {
		return nil, err
	}
	said := `"origin":` + string(name)
	return func(ctx context.Context, entries []entry) ([]schedules.Schedule, error) {
		refs, err := s.current(ctx, idsOf(entries))
		if err != nil {
			return nil, err
		}
		return s.readSchedules(ctx, refs, func(rec string) bool { return strings.Contains(rec, said) })
	}, nil
}

// readRefs reads incarnations by entries that name them.
func (s *Store) readRefs(ctx context.Context, entries []entry) ([]schedules.Schedule, error) {
	refs := make([]schedules.Ref, len(entries))
	for i, e := range entries {
		refs[i] = parseRef(e.id)
	}
	return s.readSchedules(ctx, refs, nil)
}

// current gives the current incarnation under each id, without one where the id was never used.
func (s *Store) current(ctx context.Context, ids []string) ([]schedules.Ref, error) {
	incs := make([]*redis.StringCmd, len(ids))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			incs[i] = p.HGet(ctx, s.keys.of(schedules.Ref{ID: id}, "ids"), id)
		}
	})
	if err != nil {
		return nil, err
	}
	refs := make([]schedules.Ref, len(ids))
	for i, id := range ids {
		refs[i] = schedules.Ref{ID: id, Incarnation: incs[i].Val()}
	}
	return refs, nil
}

// readSchedules reads those incarnations that exist; of what is not worth decoding, by what people set, it gives the id alone. Nil: all are.
func (s *Store) readSchedules(ctx context.Context, refs []schedules.Ref, worth func(rec string) bool) ([]schedules.Schedule, error) {
	cmds := make([]*redis.SliceCmd, len(refs))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, ref := range refs {
			cmds[i] = p.HMGet(ctx, s.keys.schedule(ref), "head", "rec", "hot", "tally")
		}
	})
	if err != nil {
		return nil, err
	}
	var found []schedules.Schedule
	for i, cmd := range cmds {
		row := stringsOf(cmd.Val())
		if row[0] == "" {
			continue // removed meanwhile
		}
		if worth != nil && !worth(row[1]) {
			found = append(found, schedules.Schedule{Record: schedules.Record{ID: refs[i].ID}})
			continue
		}
		sch, err := decodeSchedule(refs[i], row[0], row[1], row[2], row[3], decodeRecord)
		if errors.Is(err, store.ErrUnreadable) {
			s.log.WarnContext(ctx, "a list leaves out a schedule whose record cannot be read", "schedule_id", refs[i].ID, "error", err)
			continue
		}
		if err != nil {
			return nil, s.wrap(err, "read schedule %s", refs[i].ID)
		}
		found = append(found, sch)
	}
	return found, nil
}

// newestFirst is the order of lists by creation.
func newestFirst(a, b entry) bool { return a.score > b.score || a.score == b.score && a.id > b.id }

// soonestFirst is the order of lists by what is next.
func soonestFirst(a, b entry) bool { return a.score < b.score || a.score == b.score && a.id < b.id }

// fetchByScore reads on in sorted sets, upwards or from the highest score down to that of a time.
func (s *Store) fetchByScore(up bool, since time.Time) func(context.Context, []*source, int) ([][]entry, error) {
	way := ""
	if up {
		way = "1"
	}
	return func(ctx context.Context, from []*source, n int) ([][]entry, error) {
		calls := make([]call, len(from))
		for i, src := range from {
			score, id := "", ""
			if src.from {
				score, id = strconv.FormatInt(src.last.score, 10), src.last.id
			}
			calls[i] = call{&pageScript, []string{src.key}, []any{score, id, n, way}}
		}
		replies := s.do(ctx, calls...)
		got := make([][]entry, len(from))
		for i := range replies {
			if replies[i].err != nil {
				return nil, replies[i].err
			}
			list := replies[i].list(0)
			for j := 0; j+1 < len(list); j += 2 {
				score, err := strconv.ParseInt(list[j+1], 10, 64)
				if err != nil {
					return nil, err
				}
				if !up && !since.IsZero() && score < since.UnixMilli() {
					break
				}
				got[i] = append(got[i], entry{id: list[j], score: score})
			}
		}
		return got, nil
	}
}

// scoreCursor names a place in a list by a time: "<ms>:<member>".
func scoreCursor(e entry) string { return strconv.FormatInt(e.score, 10) + ":" + e.id }

func parseScoreCursor(c string) (e entry, from bool, err error) {
	if c == "" {
		return e, false, nil
	}
	score, id, ok := strings.Cut(c, ":")
	e.id = id
	if e.score, err = strconv.ParseInt(score, 10, 64); err != nil || !ok {
		return e, false, store.BadCursor(c)
	}
	return e, true, nil
}

func idsOf(entries []entry) []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	return ids
}

// ListRuns lists runs by creation, newest first.
func (s *Store) ListRuns(ctx context.Context, f store.RunFilter, p store.Page) ([]schedules.Run, string, error) {
	start, from, err := parseScoreCursor(p.Cursor)
	if err != nil {
		return nil, "", s.wrap(err, "list runs")
	}
	m := &merged{before: newestFirst, fetch: s.fetchByScore(false, f.Since)}
	add := func(prefix, name string) {
		m.sources = append(m.sources, &source{key: prefix + name, last: start, from: from})
	}
	switch {
	case f.ScheduleID != "":
		add(s.keys.of(schedules.Ref{ID: f.ScheduleID}, ""), "runs:s:"+f.ScheduleID)
	default:
		name := "runs"
		switch f.Status {
		case schedules.RunPending, schedules.RunRunning, schedules.RunRetrying:
			name = "runs:active"
		case schedules.RunFailed, schedules.RunCancelled:
			name = "runs:" + string(f.Status)
		default:
			if f.Workflow != "" {
				name = "runs:w:" + f.Workflow
			}
		}
		for _, prefix := range s.keys.shard {
			add(prefix, name)
		}
	}
	items, last, more, err := page(ctx, m, limitOf(p), query[schedules.Run]{
		read: func(ctx context.Context, entries []entry) ([]schedules.Run, error) {
			return s.runs(ctx, idsOf(entries))
		},
		id: func(r *schedules.Run) string { return r.ID },
		passes: func(r *schedules.Run) bool {
			return (f.ScheduleID == "" || r.ScheduleID == f.ScheduleID) && (f.Workflow == "" || r.Workflow == f.Workflow) &&
				(f.Status == "" || r.Status == f.Status) && !r.CreatedAt.Before(f.Since)
		},
	})
	if err != nil {
		return nil, "", s.wrap(err, "list runs")
	}
	if !more {
		return items, "", nil
	}
	return items, scoreCursor(last), nil
}

// ListBackfills lists backfills, newest first.
func (s *Store) ListBackfills(ctx context.Context, scheduleID string, p store.Page) ([]schedules.Backfill, string, error) {
	start, from, err := parseScoreCursor(p.Cursor)
	if err != nil {
		return nil, "", s.wrap(err, "list backfills")
	}
	m := &merged{before: newestFirst, fetch: s.fetchByScore(false, time.Time{})}
	if scheduleID != "" {
		m.sources = []*source{{key: s.keys.of(schedules.Ref{ID: scheduleID}, "backfills:s:"+scheduleID), last: start, from: from}}
	} else {
		for _, prefix := range s.keys.shard {
			m.sources = append(m.sources, &source{key: prefix + "backfills", last: start, from: from})
		}
	}
	items, last, more, err := page(ctx, m, limitOf(p), query[schedules.Backfill]{
		read: func(ctx context.Context, entries []entry) ([]schedules.Backfill, error) {
			return s.backfills(ctx, idsOf(entries))
		},
		id:     func(b *schedules.Backfill) string { return b.ID },
		passes: func(*schedules.Backfill) bool { return true },
	})
	if err != nil {
		return nil, "", s.wrap(err, "list backfills")
	}
	if !more {
		return items, "", nil
	}
	return items, scoreCursor(last), nil
}

// ListFates lists the history, newest nominal time first. A cursor is "<nominal ms>:<n>": go on after n rows of that time.
func (s *Store) ListFates(ctx context.Context, ref schedules.Ref, f store.FateFilter, p store.Page) ([]schedules.Fate, string, error) {
	fail := func(err error) ([]schedules.Fate, string, error) {
		return nil, "", s.wrap(err, "list history of schedule %s", ref)
	}
	highest, lowest, skip := "+inf", "-inf", int64(0)
	if !f.Start.IsZero() {
		lowest = ms(f.Start)
	}
	if !f.End.IsZero() {
		highest = "(" + ms(f.End)
	}
	at, n, _ := strings.Cut(p.Cursor, ":")
	if p.Cursor != "" {
		if _, err := strconv.ParseInt(at, 10, 64); err != nil {
			return fail(store.BadCursor(p.Cursor))
		}
		var err error
		if skip, err = strconv.ParseInt(n, 10, 64); err != nil || skip < 0 {
			return fail(store.BadCursor(p.Cursor))
		}
		highest = at
	}
	limit := limitOf(p)
	var items []schedules.Fate
	for looked := 0; ; {
		want := limit - len(items)
		if f.Fate != "" {
			want = min(lookedAt, max(want, 100))
		}
		var cmd *redis.ZSliceCmd
		err := s.pipe(ctx, func(pl redis.Pipeliner) {
			cmd = pl.ZRevRangeByScoreWithScores(ctx, s.keys.schedule(ref)+":fates", &redis.ZRangeBy{Min: lowest, Max: highest, Offset: skip, Count: int64(want + 1)})
		})
		if err != nil {
			return fail(err)
		}
		got, used := cmd.Val(), 0
		for _, z := range got[:min(len(got), want)] {
			if len(items) == limit {
				break
			}
			if score := strconv.FormatInt(int64(z.Score), 10); score != highest {
				highest, skip = score, 0
			}
			skip++
			used++
			member, _ := z.Member.(string)
			_, text, _ := strings.Cut(member, " ")
			fate, err := decodeFate(text)
			if err != nil {
				return fail(err)
			}
			if f.Fate == "" || fate.Fate == f.Fate {
				items = append(items, fate)
			}
		}
		looked += used
		switch {
		case used == len(got):
			return items, "", nil // one more was asked for, and there is none
		case len(items) == limit || looked >= lookedAt:
			return items, highest + ":" + strconv.FormatInt(skip, 10), nil
		}
	}
}
