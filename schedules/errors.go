package schedules

import "strconv"

// FieldError is bad input to a schedule. Its text is one line that names the field, the value and the remedy:
//
//	interval "30": needs a unit; write 30s, 30m, 30h or 30d
//
// Find it in a chain with errors.As.
type FieldError struct {
	Field   string // the field's name as in JSON ("cron", "start_at"), or several, separated by ", "
	Value   string // what was given; empty when nothing was
	Problem string // what is wrong with it and what to write instead
}

// Error renders the field, the value (cut when very long) and the problem on one line.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Field + " " + quote(e.Value) + ": " + e.Problem
}

// quote returns s in quotes, on one line and of bounded length.
func quote(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strconv.Quote(s)
}
