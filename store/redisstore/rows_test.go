package redisstore

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// fill gives every field of v something else than its zero, so that a field a row forgets is seen.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_000 + *n).UTC()))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"n":1}`)))
		return
	case schedules.Spec:
		v.Set(reflect.ValueOf(schedules.Spec{Cron: "* * * * *", Interval: "30s", IntervalFrom: schedules.FromStart, Calendar: []schedules.Calendar{{}}, Timezone: "Europe/Berlin",
			StartAt: time.UnixMilli(1_700_000_000_001).UTC(), EndAt: time.UnixMilli(1_700_000_000_002).UTC(), Jitter: schedules.Duration(time.Second)}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString("s" + strings.Repeat("x", int(*n%7)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Float64:
		v.SetFloat(float64(*n) / 4)
	default:
		panic("fill: " + v.Type().String())
	}
}

func filled[T any]() T {
	var v T
	n := int64(0)
	fill(reflect.ValueOf(&v).Elem(), &n)
	return v
}

// roundTrip checks that a row keeps both a full and an empty record.
func roundTrip[T any](t *testing.T, trip func(T) (T, error)) {
	t.Helper()
	for _, want := range []T{filled[T](), *new(T)} {
		got, err := trip(want)
		if err != nil {
			t.Errorf("%T: %v", want, err)
			continue
		}
		if same := reflect.DeepEqual(got, want); !same && !sameJSON(got, want) { // an empty zone is written as UTC
			t.Errorf("%T:\n got %+v\nwant %+v", want, got, want)
		}
	}
}

func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// What most schedules have is not written, and read as it was.
func TestUsualRecord(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	want := schedules.Record{Version: 1, CreatedAt: at, UpdatedAt: at, Definition: schedules.Definition{Spec: schedules.Spec{Cron: "@daily", Timezone: "UTC"}, Overlap: schedules.OverlapSkip,
		BufferLimit: 1000, CancelGrace: schedules.Duration(30 * time.Second), Catchup: schedules.CatchupOne, CatchupWindow: schedules.Duration(24 * time.Hour)}}
	b, err := encodeRecord(want, writes)
	if err != nil {
		t.Fatal(err)
	}
	if short := `{"spec":{"cron":"@daily"},"created_at":1700000000000}`; string(b) != short {
		t.Errorf("written as %s, want %s", b, short)
	}
	// As it was written before.
	for _, text := range []string{string(b), `{"id":"s","inc":"i","workflow":"w","spec":{"cron":"@daily","timezone":"UTC"},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s",
		"catchup":"one","catchup_window":"24h","status":"active","created_at":1700000000000,"updated_at":1700000000000,"version":1}`} {
		if got, err := decodeRecord(text, writes); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", text, err, got, want)
		}
	}
}

// What is kept of records is bounded by their size, too.
func TestLargeRecordsAreNotKept(t *testing.T) {
	var c records
	for _, input := range []string{`"small"`, `"` + strings.Repeat("x", 100_000) + `"`} {
		b, err := encodeRecord(schedules.Record{Definition: schedules.Definition{Input: json.RawMessage(input)}}, writes)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.decode(string(b), writes); err != nil || string(got.Input) != input {
			t.Errorf("%d bytes read as %d: %v", len(input), len(got.Input), err)
		}
	}
	if len(c.known) != 1 {
		t.Errorf("%d records are kept; want the small one", len(c.known))
	}
}

func oneRow[T any](encode func(T) ([]byte, error), decode func(string, int) (T, error)) func(T) (T, error) {
	return func(v T) (T, error) {
		b, err := encode(v)
		if err != nil {
			return v, err
		}
		return decode(string(b), writes)
	}
}

func TestRowsKeepEveryField(t *testing.T) {
	want := filled[schedules.Record]()
	rec, err := encodeRecord(want, writes)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("%d 1 %s tok %s", writes, want.Status, want.Workflow)
	if got, err := decodeSchedule(want.Ref(), head, string(rec), "{}", "{}", new(records).decode); err != nil || !reflect.DeepEqual(got.Record, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got.Record, want)
	}
	roundTrip(t, oneRow(encodeProgress, decodeProgress))
	roundTrip(t, oneRow(encodeTally, decodeTally))
	roundTrip(t, oneRow(encodeFate, func(b string, _ int) (schedules.Fate, error) { return decodeFate(b) }))
	roundTrip(t, oneRow(encodeWaiting, decodeWaiting))
	roundTrip(t, func(b schedules.Backfill) (schedules.Backfill, error) {
		b.Format = 0
		row, tally, err := encodeBackfill(b)
		if err != nil {
			return b, err
		}
		return decodeBackfill(string(row), string(tally))
	})
	roundTrip(t, func(r schedules.Run) (schedules.Run, error) {
		r.Format = 0
		list, err := runFields(&r, "token", true)
		if err != nil {
			return r, err
		}
		fields := map[string]string{}
		for i := 1; i < len(list); i += 2 {
			switch v := list[i+1].(type) {
			case string:
				fields[list[i].(string)] = v
			case []byte:
				fields[list[i].(string)] = string(v)
			}
		}
		return decodeRun(r.ID, fields)
	})
}

func TestRowsLeaveZerosOut(t *testing.T) {
	for what, encode := range map[string]func() ([]byte, error){
		"progress": func() ([]byte, error) { return encodeProgress(schedules.Progress{}) },
		"tally":    func() ([]byte, error) { return encodeTally(schedules.Tally{}) },
	} {
		b, err := encode()
		if err != nil || string(b) != "{}" {
			t.Errorf("an empty %s is written as %s, %v", what, b, err)
		}
	}
}

func TestClockNeverAhead(t *testing.T) {
	var c clock
	if d := time.Since(c.estimate()).Abs(); d > time.Minute {
		t.Fatalf("before any reading the estimate is %s off the host's clock", d)
	}
	start := time.Now()
	server := time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC)
	// The server's clock read server at start, or later.
	c.observe(server, start)
	check := func(what string) time.Time {
		t.Helper()
		e := c.estimate()
		if ahead := e.Sub(server.Add(time.Since(start))); ahead > 0 {
			t.Fatalf("%s: the estimate is %s ahead", what, ahead)
		}
		return e
	}
	first := check("first reading")
	// A slow answer, read long before it arrived: what was known is better.
	c.observe(server.Add(-time.Second), start.Add(-2*time.Second))
	if e := check("slow answer"); e.Before(first) {
		t.Errorf("a slow answer moved the estimate back from %s to %s", first, e)
	}
	// The clock was set back.
	server = server.Add(-time.Hour)
	c.observe(server, time.Now())
	check("set back")
	// And forth.
	start, server = time.Now(), server.Add(3*time.Hour)
	c.observe(server, start)
	if e := check("set forth"); server.Sub(e) > 0 {
		t.Errorf("the estimate is %s, the clock was read at %s", e, server)
	}
}

func TestURLs(t *testing.T) {
	for _, c := range []struct{ url, describe string }{
		{"redis://localhost:6379/0", "redis localhost:6379/0"},
		{"redis://user:secret@example.com:7000/3", "redis example.com:7000/3"},
		{"rediss://:secret@example.com", "redis example.com:6379/0"},
		{"redis-cluster://user:secret@a:7001,b,[::1]:7003", "redis cluster a:7001,b:6379,[::1]:7003"},
		{"rediss-cluster://a:7001", "redis cluster a:7001"},
		{"redis-sentinel://user:secret@a,b:26380/main/2", "redis sentinel a,b:26380/main/2"},
	} {
		client, err := NewClient(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if got := describeURL(c.url, describeClient(client)); got != c.describe {
			t.Errorf("%s: described as %q, want %q", c.url, got, c.describe)
		}
		_ = client.Close()
	}
	for _, url := range []string{
		"", "localhost:6379", "http://u:secret@x", "redis://u:secret@host:port/0", "redis://u:secret@host/notadb", "redis://u:se%zzcret@host",
		"redis-sentinel://u:secret@a:1", "redis-cluster://u:secret@a:1/3", "redis-cluster://u:secret@a?x=%zz", "redis://u:secret@h?no_such=1",
	} {
		client, err := NewClient(url)
		if err == nil {
			_ = client.Close()
			t.Errorf("%q is taken for a URL", url)
			continue
		}
		if s := err.Error(); strings.Contains(s, "secret") || strings.Contains(s, "\n") || !strings.HasPrefix(s, "redis URL ") {
			t.Errorf("%q: %s", url, s)
		}
	}
}

func TestLockKeys(t *testing.T) {
	k := newKeys("ns")
	for name, want := range map[string]string{
		"beat/3": "pyworkflow:{ns:3}:lock:beat", "sweep/15": "pyworkflow:{ns:15}:lock:sweep",
		"beat/16": "pyworkflow:{ns}:lock:beat/16", "beat/-1": "pyworkflow:{ns}:lock:beat/-1", "beat/03": "pyworkflow:{ns}:lock:beat/03", "one": "pyworkflow:{ns}:lock:one",
	} {
		if got := k.lock(name); got != want {
			t.Errorf("lock %s lies in %s, want %s", name, got, want)
		}
	}
}
