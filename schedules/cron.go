package schedules

import (
	"regexp"
	"strconv"
	"strings"
)

var cronMacros = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// extension matches an element that uses the L, W or # of other crons.
var extension = regexp.MustCompile(`(?i)#|^(last|([0-9]+|[a-z]{3})?(l|w|lw|wl)(-[0-9]+w?)?)$`)

// parseCron reads a cron expression. elapsed says that its hour field is "*", so that it means every instant at which clocks
// show a reading of the set, instead of naming times.
func parseCron(text string) (clock *wallclock, elapsed bool, err error) {
	fail := func(problem string) (*wallclock, bool, error) {
		return nil, false, &FieldError{Field: "cron", Value: text, Problem: problem}
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return fail("is empty; write five fields such as 0 9 * * *")
	}
	switch first := strings.ToLower(words[0]); {
	case first == "@every":
		return fail("@every is not cron; use an interval such as 10m")
	case strings.HasPrefix(first, "tz=") || strings.HasPrefix(first, "cron_tz="):
		return fail("takes no zone in front; give it as timezone")
	case strings.HasPrefix(first, "@"):
		macro, ok := cronMacros[first]
		if !ok || len(words) > 1 {
			return fail("is no macro; write one of @yearly @annually @monthly @weekly @daily @midnight @hourly")
		}
		words = strings.Fields(macro)
	}
	switch len(words) {
	case 5:
		words = append([]string{"0"}, words...)
	case 6:
	default:
		return fail("has " + strconv.Itoa(len(words)) + " fields; write five (minute hour day month weekday), or six with the second in front")
	}

	dayOfMonth, dayOfWeek := words[3], words[5]
	if dayOfMonth == "?" {
		words[3] = "*"
	}
	if dayOfWeek == "?" {
		words[5] = "*"
	}
	var fields [6][]span
	for i, word := range words {
		if fields[i], err = clockFields[i].parse(word); err != nil {
			return fail(cronAdvice(clockFields[i], word, err))
		}
	}
	if clock, err = readFields(fields); err != nil {
		return fail(err.Error())
	}
	clock.either = words[3] != "*" && words[5] != "*"
	if !clock.settle() {
		return fail("can never match: no month it names has such a day; change the day or the month")
	}
	return clock, words[2] == "*", nil
}

// cronAdvice is what to say of a field that does not parse.
func cronAdvice(f *field, word string, err error) string {
	if f == &dayOfMonthField || f == &dayOfWeekField {
		for element := range strings.SplitSeq(word, ",") {
			if extension.MatchString(element) {
				return "L, W and # are not supported; a calendar can say it with day_of_month=last, or with day_of_month=1-7 and a day_of_week"
			}
		}
	}
	if strings.Contains(word, "?") {
		return "? stands alone in a day field only; write * in " + f.name
	}
	return err.Error()
}
