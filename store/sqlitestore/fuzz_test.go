package sqlitestore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// FuzzRows: whatever the rows hold, a run is read, damaged ones so that they can be ended; a schedule is read or refused on one line.
func FuzzRows(f *testing.F) {
	run := schedules.NewRun("run_5e0123456789abcdef0123", "w", "", nil, nil, time.UnixMilli(1767225600000))
	input, progress, err := encodeRun(&run)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(input, progress, "{}", "{}", "{}")
	f.Add("{", progress, "{", "[]", "null")
	f.Add(input, "\xff", `{"spec":{"cron":1}}`, `{"next":"x"}`, `{"total":1e300}`)
	f.Fuzz(func(t *testing.T, input, progress, record, hot, tally string) {
		row := runRow{rid: 1, input: []byte(input), progress: []byte(progress), id: "run_5e0123456789abcdef0123", status: "pending", dispatch: 1, revision: 3}
		if r := row.run(); r.Damage != "" {
			if c, ok := schedules.RunDue(r, false, time.UnixMilli(1767225600000)); !r.Status.Ended() && (!ok || c.Run.Status != schedules.RunFailed) {
				t.Fatalf("a damaged run is not ended: %+v", c)
			}
		}
		s := scheduleRow{sid: 1, record: record, progress: []byte(hot), tally: []byte(tally)}
		if _, err := s.schedule(&known{}); err != nil && (!errors.Is(err, store.ErrUnreadable) && !errors.Is(err, store.ErrFormat) || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzCursor: a cursor is refused by name, or comes back as it is.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1.2", "1", ".", "9223372036854775808.1", "1.2.3", "-1.-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parsePosition(cursor)
		var bad *schedules.FieldError
		if err != nil {
			if !errors.As(err, &bad) || bad.Field != "cursor" {
				t.Fatalf("%q: %v", cursor, err)
			}
			return
		}
		if again, err := parsePosition(p.cursor()); err != nil || again != p {
			t.Fatalf("%q is %+v, then %+v, %v", cursor, p, again, err)
		}
	})
}
