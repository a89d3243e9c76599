package sqlitestore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// encode gives a record as JSON.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// encodeAll gives records as JSON.
func encodeAll[T any](list []T) ([]string, error) {
	out := make([]string, len(list))
	for i := range list {
		var err error
		if out[i], err = encode(&list[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scheduleRow is a schedule as its two rows.
type scheduleRow struct {
	sid, revision, history int64
	record                 string
	progress, tally        []byte
}

const scheduleColumns = `s.sid, p.revision, p.history, s.record, p.progress, p.tally`

func (r *scheduleRow) dest() []any {
	return []any{&r.sid, &r.revision, &r.history, &r.record, &r.progress, &r.tally}
}

func (r *scheduleRow) schedule(k *known) (s schedules.Schedule, err error) {
	s.Revision = r.revision
	if s.Record, err = k.record(r.record); err == nil {
		err = json.Unmarshal(r.progress, &s.Progress)
	}
	if err == nil {
		err = json.Unmarshal(r.tally, &s.Tally)
	}
	if err != nil {
		return s, unreadable("schedules", r.sid, err)
	}
	s.HistoryFrom = historyFrom(r.history)
	return s, nil
}

// historyFrom is Tally.HistoryFrom of its column.
func historyFrom(history int64) time.Time {
	if history == 0 {
		return time.Time{}
	}
	return fromMS(history)
}

// unreadable says which row holds no record.
func unreadable(table string, row int64, err error) error {
	return fmt.Errorf("%w: row %d of table %s: %w; put it back from a copy", store.ErrUnreadable, row, table, err)
}

// runRow is a run as its two rows. The columns beside the records are read for what the records, if they are damaged, no longer say.
type runRow struct {
	rid                            int64
	sid                            *int64
	lease                          *int64
	input                          []byte
	progress                       []byte
	id, schedule, backfill, status string
	workflow                       string
	dispatch                       int
	revision, created              int64
}

const runColumns = `r.rid, r.sid, r.lease, coalesce(r.input, (SELECT body FROM inputs i WHERE i.rid = r.rid), ''), r.progress, r.id, r.schedule, r.backfill, r.status, r.workflow, r.dispatch, r.revision, r.created`

func (r *runRow) dest() []any {
	return []any{&r.rid, &r.sid, &r.lease, &r.input, &r.progress, &r.id, &r.schedule, &r.backfill, &r.status, &r.workflow, &r.dispatch, &r.revision, &r.created}
}

// run puts a run together. One whose records cannot be read has what the columns say, and Damage.
func (r *runRow) run() schedules.Run {
	var run schedules.Run
	damage := ""
	if err := json.Unmarshal(r.input, &run); err != nil {
		damage = fmt.Sprintf("row %d of table runs or inputs: %v", r.rid, err)
		run = schedules.Run{ID: r.id, ScheduleID: r.schedule, BackfillID: r.backfill, Workflow: r.workflow, CreatedAt: fromMS(r.created)}
	}
	run.RunProgress = schedules.RunProgress{}
	if err := json.Unmarshal(r.progress, &run.RunProgress); err != nil {
		damage = fmt.Sprintf("row %d of table runs: %v", r.rid, err)
		run.RunProgress = schedules.RunProgress{Status: schedules.RunStatus(r.status), Attempt: 1, Dispatch: r.dispatch, Revision: r.revision}
	}
	run.Damage = damage
	if r.lease != nil {
		run.Lease = fromMS(*r.lease)
	}
	return run
}

// encodeRun gives a run's two parts.
func encodeRun(run *schedules.Run) (input, progress string, err error) {
	fixed := *run
	fixed.RunProgress = schedules.RunProgress{}
	if input, err = encode(&fixed); err != nil {
		return "", "", err
	}
	progress, err = encode(&run.RunProgress)
	return input, progress, err
}

// inlineInput is how long the unchanging part of a run may be to lie beside what changes; a longer one lies apart, so that it is not written again with every change.
const inlineInput = 2000

// class is what lists find a run by.
func class(status schedules.RunStatus) any {
	switch {
	case !status.Ended():
		return classActive
	case status == schedules.RunCompleted:
		return nil
	default:
		return string(status)
	}
}

const classActive = "active"

// rank is a run's place in its schedule's active set; nil: it is not in it.
func rank(run *schedules.Run) any {
	switch {
	case run.ScheduleID == "" || run.Status.Ended():
		return nil
	case !run.CancelAt.IsZero():
		return 2
	case run.BackfillID != "":
		return 1
	default:
		return 0
	}
}

// leaseMS is a run's entry in the leases index.
func leaseMS(run *schedules.Run) any {
	if run.Status != schedules.RunRunning {
		return nil
	}
	return ms(run.Lease)
}

// pageLimit gives how many entries a page has at most.
func pageLimit(p store.Page) int {
	switch {
	case p.Limit <= 0:
		return 100
	default:
		return min(p.Limit, 1000)
	}
}

// scanLimit is how many rows a call with filters looks at, at most.
const scanLimit = 2000

// position is a place in a list ordered by time and row, newest first.
type position struct{ at, row int64 }

var newest = position{at: 1<<63 - 1, row: 1<<63 - 1}

func (p position) before(q position) bool { return p.at < q.at || p.at == q.at && p.row < q.row }

func (p position) cursor() string {
	return strconv.FormatInt(p.at, 10) + "." + strconv.FormatInt(p.row, 10)
}

func parsePosition(cursor string) (position, error) {
	if cursor == "" {
		return newest, nil
	}
	at, row, _ := strings.Cut(cursor, ".")
	a, err1 := strconv.ParseInt(at, 10, 64)
	r, err2 := strconv.ParseInt(row, 10, 64)
	if err1 != nil || err2 != nil {
		return position{}, store.BadCursor(cursor)
	}
	return position{at: a, row: r}, nil
}
