package schedules

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzDuration: a duration that is read comes back from what is printed of it.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"", "0", "5", "1h30m", "1d12h", "36500d", "99999999999d", "1h1h", "-1s", "1.5s", "1s1m", "  1s", "١s", "1ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			checkLine(t, err)
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q is %s, which comes back as %s, %v", text, d, again, err)
		}
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back Duration
		if err := json.Unmarshal(raw, &back); err != nil || back != d {
			t.Fatalf("%s comes back as %s, %v", raw, back, err)
		}
	})
}

// FuzzDefinition: whatever JSON a definition is read from, it is refused on one line that names a field, or normalizes to something that comes back as it is.
func FuzzDefinition(f *testing.F) {
	for _, s := range []string{
		`{"spec":{"cron":"0 9 * * *","timezone":"Europe/Berlin"},"overlap":"buffer_all","catchup":"all","input":{"a":1}}`,
		`{"spec":{"interval":"1h","interval_from":"start","jitter":"5m","start_at":"2026-01-01T00:00:00Z"},"buffer_limit":-1}`,
		`{"spec":{"calendar":[{"day_of_month":[1,15],"hour":"*/2"}]},"overlap":"never","cancel_grace":"-1s"}`,
		`{"spec":{"cron":"@daily","interval":"1h"},"queue":"a b","catchup_window":"1s"}`, `{"spec":{"start_at":"9999-12-31T23:59:59Z","end_at":"0001-01-01T00:00:00Z"}}`,
		`{"spec":{"calendar":[{"hour":{"a":1}}]}}`, `null`, `[]`, `{"spec":"x"}`, "{", "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var def Definition
		if err := json.Unmarshal(data, &def); err != nil {
			return // the reader of JSON says what is wrong with JSON
		}
		norm, err := Normalize(def)
		if err != nil {
			checkLine(t, err)
			return
		}
		raw, err := json.Marshal(norm)
		if err != nil {
			t.Fatal(err)
		}
		var back Definition
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		again, err := Normalize(back)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if raw2, err := json.Marshal(again); err != nil || string(raw2) != string(raw) {
			t.Fatalf("%s comes back as %s, %v", raw, raw2, err)
		}
	})
}

// FuzzNames: ids, workflows, queues and overlap policies are taken or refused on one line; an id with a placement has that of its first byte.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "a", "skip", "allow_all", "a b", "-a", "run_", "run_5e0123456789abcdef0123", "bf_5E0123456789abcdef0123", "x@y", "\x00", "é", strings.Repeat("a", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, check := range []func(string) error{ValidateID, ValidateWorkflow, ValidateQueue, func(s string) error { return validateOverlap(OverlapPolicy(s)) }} {
			if err := check(s); err != nil {
				checkLine(t, err)
			} else if len(s) > 128 || strings.ContainsAny(s, " @\n\x00{}") {
				t.Fatalf("%q is taken", s)
			}
		}
		if b, ok := IDPlacement(s); ok {
			_, digits, _ := strings.Cut(s, "_")
			if !strings.HasPrefix(digits, strings.ToLower(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]))) {
				t.Fatalf("%q lies at %x", s, b)
			}
		}
	})
}

// FuzzJitter: a delay is never negative, and neither past the jitter nor the next tick; the same every time.
func FuzzJitter(f *testing.F) {
	f.Add("s", int64(1767225600), uint32(3600), uint32(60))
	f.Add("", int64(0), uint32(0), uint32(1))
	f.Fuzz(func(t *testing.T, id string, sec int64, jitter, every uint32) {
		nominal := time.Unix(sec%maxSecond, 0).UTC()
		next := nominal.Add(time.Duration(every) * time.Second)
		most := time.Second * time.Duration(min(uint64(jitter), uint64(every)))
		d := JitterDelay(Duration(time.Duration(jitter)*time.Second), id, nominal, next)
		if again := JitterDelay(Duration(time.Duration(jitter)*time.Second), id, nominal, next); again != d || d < 0 || d > most {
			t.Fatalf("%s is delayed by %s, then %s, of %s", nominal, d, again, most)
		}
	})
}

// FuzzCut: what is cut stays within its limit and one mark, and valid text stays valid.
func FuzzCut(f *testing.F) {
	f.Add("héllo", 2)
	f.Add("\xff\xfe", 1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 {
			return
		}
		got := Cut(s, limit)
		if len(s) <= limit && got != s || len(got) > limit+60 && len(got) > len(s) || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Fatalf("%q at %d is %q", s, limit, got)
		}
	})
}
