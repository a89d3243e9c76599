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
	record                 []byte
	progress, tally        []byte
}

const scheduleColumns = `s.sid, p.revision, p.history, s.record, p.progress, p.tally`

func (r *scheduleRow) dest() []any {
	return []any{&r.sid, &r.revision, &r.history, &r.record, &r.progress, &r.tally}
}

func (r *scheduleRow) schedule() (schedules.Schedule, error) {
	s := schedules.Schedule{Revision: r.revision}
	for _, part := range []struct {
		text []byte
		into any
	}{{r.record, &s.Record}, {r.progress, &s.Progress}, {r.tally, &s.Tally}} {
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return s, fmt.Errorf("record %d: %w", r.sid, err)
		}
	}
	s.HistoryFrom = time.Time{}
	if r.history != 0 {
		s.HistoryFrom = fromMS(r.history)
	}
	return s, nil
}

// runRow is a run as its two rows.
type runRow struct {
	rid      int64
	lease    *int64
	input    []byte
	progress []byte
}

const runColumns = `r.rid, r.lease, i.body, r.progress`

func (r *runRow) dest() []any { return []any{&r.rid, &r.lease, &r.input, &r.progress} }

func (r *runRow) run() (schedules.Run, error) {
	var run schedules.Run
	if err := json.Unmarshal(r.input, &run); err != nil {
		return run, fmt.Errorf("record %d: %w", r.rid, err)
	}
	run.RunProgress = schedules.RunProgress{}
	if err := json.Unmarshal(r.progress, &run.RunProgress); err != nil {
		return run, fmt.Errorf("record %d: %w", r.rid, err)
	}
	if r.lease != nil {
		run.Lease = fromMS(*r.lease)
	}
	return run, nil
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
