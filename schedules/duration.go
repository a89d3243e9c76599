package schedules

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Duration is a span of elapsed time that reads and writes as text, in JSON too: "5m", "1h30m", "1d12h", "250ms".
// A day is 24 hours. The zero value is no time at all, "0s".
type Duration time.Duration

// ParseDuration reads a duration: Go's syntax ("1h30m", "1.5s", "250ms"), with whole days in front where wanted ("1d12h").
// A number without a unit and a negative duration are refused with a *FieldError whose Field is "duration".
func ParseDuration(s string) (Duration, error) {
	if isDigits(s) {
		return 0, durationError(s, needsUnit(s))
	}
	if strings.HasPrefix(s, "-") {
		return 0, durationError(s, "is negative; write a duration such as 30s, 5m or 1d12h")
	}
	var total time.Duration
	rest := s
	if days, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.Atoi(days)
		if err != nil || !isDigits(days) || n > int(math.MaxInt64/day) {
			return 0, durationError(s, "is no duration; write days as a whole number, as in 1d12h")
		}
		total, rest = time.Duration(n)*day, after
	}
	if rest != "" || s == "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || isDigits(rest) || strings.Contains(rest, "+") {
			return 0, durationError(s, "is no duration; write one such as 30s, 5m or 1d12h")
		}
		if d > math.MaxInt64-total {
			return 0, durationError(s, "is too long; the longest is 292 years")
		}
		total += d
	}
	return Duration(total), nil
}

func durationError(s, problem string) error {
	return &FieldError{Field: "duration", Value: s, Problem: problem}
}

// needsUnit is the advice for a bare number.
func needsUnit(digits string) string {
	if len(digits) > 9 {
		return "needs a unit; write a duration such as 30s, 5m or 1d12h"
	}
	return "needs a unit; write " + digits + "s, " + digits + "m, " + digits + "h or " + digits + "d"
}

// String returns the shortest form without units that are zero: "5m", "1h30m", "24h", "250ms", "0s".
func (d Duration) String() string {
	t := time.Duration(d)
	if t < time.Second && t > -time.Second {
		return t.String()
	}
	s := t.String() // such as 1h0m5s, 1h0m0s, 5m0s
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return strings.Replace(s, "h0m", "h", 1)
}

// MarshalText writes the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration accepts.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// isDigits reports whether s is one or more ASCII digits.
func isDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
