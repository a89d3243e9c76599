package pyworkflow

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
)

// MaxResult is how large a run's or a step's result may be as JSON, in bytes, unless App.SetLimits says otherwise. What is larger belongs into a file or an
// object store, and its address into the result.
const MaxResult = 1 << 20

// inputError says that the input does not fit the workflow.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// decodeInput reads the workflow's input: the zero value when there is none.
func decodeInput[In any](raw json.RawMessage) (In, error) {
	var in In
	if len(raw) == 0 {
		return in, nil
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, &inputError{fmt.Errorf("input %s does not fit: %s", shorten(string(raw), 200), strings.TrimPrefix(err.Error(), "json: "))}
	}
	return in, nil
}

// encodeResult writes a result. What cannot be written will not be next time either: no retry.
func encodeResult(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, NoRetry(fmt.Errorf("encode result: %w", err))
	}
	return raw, nil
}

// checkResult refuses a result that is too large. It will be next time, too: no retry.
func checkResult(raw json.RawMessage, most int) error {
	if len(raw) <= most {
		return nil
	}
	return NoRetry(fmt.Errorf("%w: %d bytes of JSON, at most %d are kept (max_result); store it elsewhere and return its address", ErrTooLarge, len(raw), most))
}

// protect calls f and turns its panic into a *PanicError.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: string(debug.Stack())}
		}
	}()
	return f()
}

// shorten cuts a text that is longer than limit bytes, at a character's border.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
