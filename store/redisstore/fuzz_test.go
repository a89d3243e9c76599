package redisstore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// oneLine checks an error of decoding.
func oneLine(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 5000) {
		t.Fatalf("%q is not one line", err)
	}
}

// FuzzRun: whatever the fields of a run's row hold, it is read, as a newer program's, or as a damaged one that can be ended.
func FuzzRun(f *testing.F) {
	r := schedules.NewRun("run_5e0123456789abcdef0123", "w", "", json.RawMessage(`{"a":1}`), nil, time.UnixMilli(1767225600000))
	list, err := runFields(&r, "token", true)
	if err != nil {
		f.Fatal(err)
	}
	row := map[string]string{}
	for i := 1; i+1 < len(list); i += 2 {
		if b, ok := list[i+1].([]byte); ok {
			row[list[i].(string)] = string(b)
		}
	}
	f.Add(row["fix"], row["mut"], row["in"], "1767225600000", "", "")
	f.Add("", row["mut"], `{"a"`, "soon", "{", "{")
	f.Add(row["fix"], "{}", "", "", "null", "null")
	f.Add(row["fix"], `{"v":1,"revision":1e300,"dispatch":1,"status":"pending","due":1e300}`, "", "1e9", "", "")
	f.Add(row["fix"], `{"v":99}`, "", "", "", "")
	f.Add("\xff", "\xff", "\xff", "\xff", "\xff", "\xff")
	f.Fuzz(func(t *testing.T, fix, mut, in, lease, result, failure string) {
		run, err := decodeRun("run_5e0123456789abcdef0123", map[string]string{"fix": fix, "mut": mut, "in": in, "lease": lease, "result": result, "error": failure})
		if err != nil {
			oneLine(t, err)
			if !errors.Is(err, store.ErrFormat) {
				t.Fatalf("%v is no newer program's", err)
			}
			return
		}
		if strings.ContainsAny(run.Damage, "\n\r") {
			t.Fatalf("damage %q", run.Damage)
		}
		if run.Damage != "" && !run.Status.Ended() {
			c, ok := schedules.RunDue(run, false, time.UnixMilli(1767225600000))
			if !ok || c.Run.Status != schedules.RunFailed {
				t.Fatalf("a damaged run is not ended: %+v", c)
			}
		}
	})
}

// FuzzSchedule: whatever the fields of a schedule's row hold, it is read, or refused on one line as a newer program's or as unreadable.
func FuzzSchedule(f *testing.F) {
	rec, _ := encodeRecord(schedules.Record{ID: "s", Incarnation: "i", Workflow: "w"}, writes)
	f.Add("1 7 active tok w", string(rec), "{}", "{}", "{}", "{}")
	f.Add("x", "{", "[]", "null", "{", "\xff")
	f.Add("1 1e9 active tok w", `{"spec":{"calendar":[{"hour":"x"}]}}`, `{"next":1e400}`, `{"total":"x"}`, `{"v":1}`, "")
	f.Add("99 7 active tok w", "", "", "", `{"v":99}`, "")
	f.Fuzz(func(t *testing.T, head, rec, hot, tally, row, other string) {
		if _, err := decodeSchedule(schedules.Ref{ID: "s", Incarnation: "i"}, head, rec, hot, tally, decodeRecord); err != nil {
			oneLine(t, err)
			if !errors.Is(err, store.ErrFormat) && !errors.Is(err, store.ErrUnreadable) {
				t.Fatalf("%v is neither", err)
			}
		}
		_, err := decodeBackfill(row, other)
		oneLine(t, err)
		_, err = decodeWaiting(row, writes)
		oneLine(t, err)
		_, err = decodeFate(other)
		oneLine(t, err)
	})
}

// FuzzMembers: members of outbox, lists and indexes, and cursors: read as they were written, or refused.
func FuzzMembers(f *testing.F) {
	f.Add("run_5e0123456789abcdef0123 1 default", "1767225600000:run_5e", "s@i")
	f.Add("", ":", "@")
	f.Add("a b c d", "9223372036854775808:x", "a@b@c")
	f.Fuzz(func(t *testing.T, member, cursor, ref string) {
		if m, ok := parseOutboxMember(member); ok {
			if again, ok := parseOutboxMember(outboxMember(m)); !ok || again != m {
				t.Fatalf("%q is %+v, then %+v", member, m, again)
			}
		}
		e, from, err := parseScoreCursor(cursor)
		if bad := (*schedules.FieldError)(nil); err != nil && (!errors.As(err, &bad) || bad.Field != "cursor" || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("%q: %v", cursor, err)
		}
		if err == nil && from {
			if again, _, err := parseScoreCursor(scoreCursor(e)); err != nil || again != e {
				t.Fatalf("%q is %+v, then %+v", cursor, e, again)
			}
		}
		if r := parseRef(ref); strings.Contains(ref, "@") && r.String() != ref {
			t.Fatalf("%q is %+v", ref, r)
		}
	})
}
