package schedules

import (
	"strings"
	"time"
)

const (
	minInterval = time.Second
	maxInterval = 36525 * day // 100 years
)

// parseInterval reads an interval: whole numbers with units, each unit once, largest first.
func parseInterval(text string) (time.Duration, error) {
	fail := func(problem string) (time.Duration, error) {
		return 0, &FieldError{Field: "interval", Value: text, Problem: problem}
	}
	if isDigits(text) {
		return fail(needsUnit(text))
	}
	var total time.Duration
	rest := text
	for _, unit := range [...]struct {
		letter string
		size   time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		count, after, found := strings.Cut(rest, unit.letter)
		if !found || !isDigits(count) {
			continue
		}
		n, ok := number(count)
		if !ok || n > int((maxInterval-total)/unit.size) {
			return fail("is too long; write 100 years (36525d) or less")
		}
		total += time.Duration(n) * unit.size
		rest = after
	}
	switch {
	case rest != "" || text == "":
		return fail("is no interval; write whole numbers with the units d, h, m and s, each once, largest first, such as 30s, 5m or 1h30m")
	case total < minInterval:
		return fail("is too short; write 1s or more")
	}
	return total, nil
}
