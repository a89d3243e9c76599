package schedules

import (
	"encoding/json"
	"regexp"
	"unicode/utf8"
)

// MaxBufferLimit is the most ticks a buffer_all schedule may let wait.
const MaxBufferLimit = 1_000_000

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)

const nameRule = "must be 1 to 128 letters, digits and _ . : - and begin with a letter or a digit"

// ValidateID checks a schedule id. The error is of type *FieldError.
func ValidateID(id string) error { return validateName("id", id) }

// ValidateWorkflow checks a workflow name. The error is of type *FieldError.
func ValidateWorkflow(name string) error { return validateName("workflow", name) }

var queuePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// ValidateQueue checks a queue name. The error is of type *FieldError.
func ValidateQueue(name string) error {
	if queuePattern.MatchString(name) {
		return nil
	}
	return &FieldError{Field: "queue", Value: clip(name), Problem: "must be 1 to 64 letters, digits and _ . - and begin with a letter or a digit"}
}

func validateName(field, name string) error {
	if namePattern.MatchString(name) {
		return nil
	}
	return &FieldError{Field: field, Value: clip(name), Problem: nameRule}
}

func validateOverlap(p OverlapPolicy) error {
	switch p {
	case OverlapSkip, OverlapBufferOne, OverlapBufferAll, OverlapCancelOther, OverlapAllowAll:
		return nil
	}
	return &FieldError{Field: "overlap", Value: clip(string(p)), Problem: "must be skip, buffer_one, buffer_all, cancel_other or allow_all"}
}

func badInput(input json.RawMessage) error {
	return &FieldError{Field: "input", Value: clip(string(input)), Problem: "is not JSON; quote strings, like '{\"name\": \"value\"}'"}
}

// clip shortens a value for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
