package schedules

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]struct {
		d    time.Duration
		text string
	}{
		"5m":      {5 * time.Minute, "5m"},
		"24h":     {24 * time.Hour, "24h"},
		"1d":      {24 * time.Hour, "24h"},
		"1d12h":   {36 * time.Hour, "36h"},
		"1h30m":   {90 * time.Minute, "1h30m"},
		"90m":     {90 * time.Minute, "1h30m"},
		"1h0m5s":  {time.Hour + 5*time.Second, "1h5s"},
		"10h0m0s": {10 * time.Hour, "10h"},
		"10m":     {10 * time.Minute, "10m"},
		"100m0s":  {100 * time.Minute, "1h40m"},
		"1.5s":    {1500 * time.Millisecond, "1.5s"},
		"250ms":   {250 * time.Millisecond, "250ms"},
		"1m1.5s":  {61500 * time.Millisecond, "1m1.5s"},
		"0s":      {0, "0s"},
		"0d":      {0, "0s"},
		"2d3ms":   {48*time.Hour + 3*time.Millisecond, "48h0.003s"},
		"106751d": {106751 * 24 * time.Hour, "2562024h"},
	} {
		d, err := ParseDuration(text)
		if err != nil || time.Duration(d) != want.d || d.String() != want.text {
			t.Errorf("%q is read as %s (%d), %v; want %s", text, d, d, err, want.text)
		}
		data, err := json.Marshal(d)
		if err != nil || string(data) != `"`+want.text+`"` {
			t.Errorf("%q in JSON is %s, %v", text, data, err)
		}
		var back Duration
		if err := json.Unmarshal(data, &back); err != nil || back != d {
			t.Errorf("%s comes back as %d, %v", data, back, err)
		}
	}
	if got := Duration(-90 * time.Minute).String(); got != "-1h30m" {
		t.Errorf("a negative duration is written %q", got)
	}
	if got := Duration(math.MinInt64).String(); got == "" {
		t.Error("the least duration is not written")
	}
}

func TestDurationRefused(t *testing.T) {
	for _, text := range []string{"", "30", "0", "-5m", "+5m", "1d-1h", "1d+1h", "1d30", "d", "1.5d", "-1d", "1h1d", "5 m", "5x", "1d1d",
		"106752d", "106751d24h", "99999999999999999999d", "9999999h", "five minutes"} {
		d, err := ParseDuration(text)
		var bad *FieldError
		if err == nil || !errors.As(err, &bad) || bad.Field != "duration" {
			t.Errorf("%q is read as %s, %v", text, d, err)
		}
	}
	var d Duration
	if err := json.Unmarshal([]byte(`30`), &d); err == nil {
		t.Errorf("a bare number is read as %s", d)
	}
}
