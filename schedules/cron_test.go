package schedules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return v
}

func compile(t testing.TB, s Spec) *Timing {
	t.Helper()
	timing, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return timing
}

// ticks returns the first n ticks after a time, without the parts of RFC 3339 that say nothing: "2026-05-04 09:00:00".
func ticks(t testing.TB, s Spec, after string, n int) []string {
	t.Helper()
	timing := compile(t, s)
	var out []string
	for from := at(after); len(out) < n; {
		next, ok := timing.Next(from)
		if !ok {
			break
		}
		if !next.After(from) {
			t.Fatalf("%+v: %s is not after %s", s, next, from)
		}
		out = append(out, next.Format("2006-01-02 15:04:05.999"))
		from = next
	}
	return out
}

// refused checks that a spec is refused by a FieldError of one line that says the words.
func refused(t *testing.T, s Spec, field string, says ...string) {
	t.Helper()
	_, err := Compile(s)
	if err == nil {
		t.Errorf("%+v is accepted", s)
		return
	}
	var bad *FieldError
	if !errors.As(err, &bad) || bad.Field != field || bad.Problem == "" {
		t.Errorf("%+v: the error is %#v, want a FieldError of %s", s, err, field)
	}
	line := strings.ToLower(err.Error())
	if strings.ContainsAny(line, "\n\r") || len(line) > 500 {
		t.Errorf("not one readable line: %q", line)
	}
	for _, word := range says {
		if !strings.Contains(line, word) {
			t.Errorf("%q does not say %q", line, word)
		}
	}
}

func TestCronAccepted(t *testing.T) {
	for _, c := range []struct {
		cron, after string
		want        []string
	}{
		// Steps.
		{"*/60 * * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 01:00:00"}},
		{"0 */24 * * *", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00"}},
		{"0 0 1 */12 *", "2026-05-04T00:00:00Z", []string{"2027-01-01 00:00:00"}},
		{"0 0 1 5/3 *", "2026-05-04T00:00:00Z", []string{"2026-08-01 00:00:00", "2026-11-01 00:00:00", "2027-05-01 00:00:00"}},
		{"0 0 28/2 * *", "2026-05-04T00:00:00Z", []string{"2026-05-28 00:00:00", "2026-05-30 00:00:00", "2026-06-28 00:00:00"}},
		{"5-40/5 0 * * *", "2026-05-04T00:34:00Z", []string{"2026-05-04 00:35:00", "2026-05-04 00:40:00", "2026-05-05 00:05:00"}},
		{"0 0 * * 1/2", "2026-05-04T00:00:00Z", []string{"2026-05-06 00:00:00", "2026-05-08 00:00:00", "2026-05-11 00:00:00"}},
		{"50/5 * * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:50:00", "2026-05-04 00:55:00", "2026-05-04 01:50:00"}},
		{"7-7 * * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:07:00", "2026-05-04 01:07:00"}},
		{"1,1,1 * * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:01:00", "2026-05-04 01:01:00"}},
		{"*,5 * * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 00:01:00", "2026-05-04 00:02:00"}},
		{"007 0009 * * *", "2026-05-04T00:00:00Z", []string{"2026-05-04 09:07:00"}},
		{"  0\t9  * *   * ", "2026-05-04T00:00:00Z", []string{"2026-05-04 09:00:00"}},
		// Sunday.
		{"0 0 * * 0", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00"}},
		{"0 0 * * 7", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00"}},
		{"0 0 * * 7/2", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00", "2026-05-17 00:00:00"}},
		{"0 0 * * 0,7", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00", "2026-05-17 00:00:00"}},
		{"0 0 * * 0-7", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-06 00:00:00"}},
		{"0 0 * * 7-7", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00", "2026-05-17 00:00:00"}},
		{"0 0 * * 5-7/2", "2026-05-04T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-10 00:00:00", "2026-05-15 00:00:00"}},
		{"0 0 * * fri-sun", "2026-05-04T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-09 00:00:00", "2026-05-10 00:00:00", "2026-05-15 00:00:00"}},
		{"0 0 * * Friday-SUNDAY/2", "2026-05-04T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-10 00:00:00", "2026-05-15 00:00:00"}},
		{"0 0 * * sun-tue", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-10 00:00:00", "2026-05-11 00:00:00"}},
		{"0 0 * * sun-sun", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00", "2026-05-17 00:00:00"}},
		{"0 0 * * mon,sat-sun", "2026-05-04T00:00:00Z", []string{"2026-05-09 00:00:00", "2026-05-10 00:00:00", "2026-05-11 00:00:00"}},
		// Names.
		{"0 0 1 january,DECEMBER *", "2026-05-04T00:00:00Z", []string{"2026-12-01 00:00:00", "2027-01-01 00:00:00"}},
		{"0 0 * * Thursday", "2026-05-04T00:00:00Z", []string{"2026-05-07 00:00:00"}},
		{"0 0 1 may *", "2026-05-04T00:00:00Z", []string{"2027-05-01 00:00:00"}},
		{"0 0 1 feb-4 *", "2026-03-04T00:00:00Z", []string{"2026-04-01 00:00:00", "2027-02-01 00:00:00"}},
		// The question mark, and which day fields are restricted.
		{"0 0 ? * ?", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00"}},
		{"0 0 13 * ?", "2026-05-04T00:00:00Z", []string{"2026-05-13 00:00:00", "2026-06-13 00:00:00"}},
		{"0 0 13 * *", "2026-05-04T00:00:00Z", []string{"2026-05-13 00:00:00", "2026-06-13 00:00:00"}},
		{"0 0 */1 * fri", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-06 00:00:00"}},
		{"0 0 1-31 * fri", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-06 00:00:00"}},
		{"0 0 13 * */1", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-06 00:00:00"}},
		{"0 0 13 * 0-6", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00", "2026-05-06 00:00:00"}},
		{"0 0 */10 * fri", "2026-05-04T00:00:00Z", []string{"2026-05-08 00:00:00", "2026-05-11 00:00:00", "2026-05-15 00:00:00"}},
		{"0 0 31 2 0", "2026-01-04T00:00:00Z", []string{"2026-02-01 00:00:00", "2026-02-08 00:00:00"}},
		{"0 0 31 4,6 fri", "2026-01-04T00:00:00Z", []string{"2026-04-03 00:00:00", "2026-04-10 00:00:00"}},
		// Macros.
		{"@yearly", "2026-05-04T00:00:00Z", []string{"2027-01-01 00:00:00"}},
		{"@annually", "2026-05-04T00:00:00Z", []string{"2027-01-01 00:00:00"}},
		{"@monthly", "2026-05-04T00:00:00Z", []string{"2026-06-01 00:00:00"}},
		{"@weekly", "2026-05-04T00:00:00Z", []string{"2026-05-10 00:00:00"}},
		{"@daily", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00"}},
		{"@midnight", "2026-05-04T00:00:00Z", []string{"2026-05-05 00:00:00"}},
		{"@hourly", "2026-05-04T00:00:00Z", []string{"2026-05-04 01:00:00"}},
		// Six fields.
		{"59 59 23 31 12 *", "2026-05-04T00:00:00Z", []string{"2026-12-31 23:59:59", "2027-12-31 23:59:59"}},
		{"* * * * * *", "2026-12-31T23:59:58Z", []string{"2026-12-31 23:59:59", "2027-01-01 00:00:00"}},
		{"5,50 * * * * *", "2026-12-31T23:59:05Z", []string{"2026-12-31 23:59:50", "2027-01-01 00:00:05"}},
		// Rare days.
		{"0 0 29 2 *", "2096-02-29T00:00:00Z", []string{"2104-02-29 00:00:00"}},
		{"0 0 29 2 *", "1896-02-29T00:00:00Z", []string{"1904-02-29 00:00:00"}},
		{"0 0 29 2 *", "1996-02-29T00:00:00Z", []string{"2000-02-29 00:00:00"}},
		{"0 0 31 * *", "2026-01-31T00:00:00Z", []string{"2026-03-31 00:00:00", "2026-05-31 00:00:00", "2026-07-31 00:00:00"}},
	} {
		if got := ticks(t, Spec{Cron: c.cron}, c.after, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%q after %s\n got %q\nwant %q", c.cron, c.after, got, c.want)
		}
	}
}

func TestCronRefused(t *testing.T) {
	for expression, says := range map[string]string{
		" ":                            "empty",
		"* * * *":                      "4 fields",
		"* * * * * * *":                "7 fields",
		"0 9 * * 1,":                   "empty element",
		"0 9 * * ,1":                   "empty element",
		", * * * *":                    "empty element",
		"60 * * * *":                   "0 to 59",
		"60 * * * * *":                 "second",
		"0 24 * * *":                   "hour",
		"0 0 0 * *":                    "1 to 31",
		"0 0 32 * *":                   "1 to 31",
		"0 0 * 0 *":                    "1 to 12",
		"0 0 * 13 *":                   "1 to 12",
		"0 0 * * 8":                    "0 to 7",
		"-1 * * * *":                   "minute",
		"+5 * * * *":                   "minute",
		"1.5 * * * *":                  "minute",
		"0x5 * * * *":                  "minute",
		"٣ * * * *":                    "minute",
		"5- * * * *":                   "minute",
		"-5- * * * *":                  "minute",
		"1-2-3 * * * *":                "minute",
		"*-5 * * * *":                  "minute",
		"** * * * *":                   "minute",
		"*5 * * * *":                   "minute",
		"*/ * * * *":                   "step",
		"*/0 * * * *":                  "step",
		"*/-5 * * * *":                 "step",
		"*/61 * * * *":                 "wider",
		"5/61 * * * *":                 "wider",
		"0-59/99 * * * *":              "wider",
		"0 */25 * * *":                 "wider",
		"0 0 */32 * *":                 "wider",
		"0 0 * */13 *":                 "wider",
		"0 0 * * */8":                  "wider",
		"*/61 * * * * *":               "wider",
		"*/5/5 * * * *":                "step",
		"/5 * * * *":                   "minute",
		"10-5 * * * *":                 "backward",
		"0 22-6 * * *":                 "backward",
		"0 0 * nov-feb *":              "backward",
		"0 0 * * sat-mon":              "backward",
		"0 0 * * 5-0":                  "backward",
		"0 0 * * 7-1":                  "backward",
		"0 0 * * 5-sun":                "backward",
		"0 0 * * fri-0":                "backward",
		"0 0 * * mo":                   "day_of_week",
		"0 0 * * tues":                 "day_of_week",
		"0 0 * * mondays":              "day_of_week",
		"0 0 * sept *":                 "month",
		"0 0 * mon *":                  "month",
		"0 0 jan * *":                  "day_of_month",
		"mon 0 * * *":                  "minute",
		"? * * * *":                    "?",
		"0 ? * * *":                    "?",
		"0 0 * ? *":                    "?",
		"? 0 0 * * *":                  "?",
		"0 0 ?/2 * *":                  "?",
		"0 0 1,? * *":                  "?",
		"0 0 L * *":                    "last",
		"0 0 l * *":                    "last",
		"0 0 LW * *":                   "last",
		"0 0 L-3 * *":                  "last",
		"0 0 15W * *":                  "last",
		"0 0 W * *":                    "last",
		"0 0 last * *":                 "last",
		"0 0 1,L * *":                  "last",
		"0 0 * * 5L":                   "last",
		"0 0 * * L":                    "last",
		"0 0 * * friL":                 "last",
		"0 0 * * 5#2":                  "last",
		"0 0 * * fri#2":                "last",
		"0 0 0 ? * 2#1":                "last",
		"@every 5m":                    "interval",
		"@EVERY 1h":                    "interval",
		"@every":                       "interval",
		"@reboot":                      "@yearly",
		"@":                            "@yearly",
		"@daily 5":                     "@yearly",
		"@daily * * * * *":             "@yearly",
		"TZ=UTC 0 9 * * *":             "timezone",
		"TZ=UTC":                       "timezone",
		"CRON_TZ=UTC @daily":           "timezone",
		"tz=UTC 0 9 * * *":             "timezone",
		" TZ=UTC 0 9 * * *":            "timezone",
		"0 0 30 2 *":                   "never",
		"0 0 30 2 ?":                   "never",
		"0 0 31 2,4,6,9,11 *":          "never",
		"0 0 30-31 feb *":              "never",
		"99999999999999999999 * * * *": "minute",
	} {
		refused(t, Spec{Cron: expression}, "cron", says)
	}
	refused(t, Spec{Cron: strings.Repeat("x", 1<<20)}, "cron")
	refused(t, Spec{Cron: "a\nb c d e f\x00"}, "cron")
	refused(t, Spec{Cron: "0 0 L * *"}, "cron", "calendar")
	refused(t, Spec{Cron: "0 0 * * 5#2"}, "cron", "calendar")
}
