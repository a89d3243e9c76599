package schedules

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Limits bound what callers and workflows may put into records. They are checked at the edge, where a value enters: what lies in a store already is taken
// as it is. A value exactly at its limit is within it. A zero field means the one of DefaultLimits.
type Limits struct {
	Input      int // bytes of JSON: the input of a run, a schedule, a trigger
	Result     int // bytes of JSON: the result of a run
	StepResult int // bytes of JSON: the result of one step
	Steps      int // recorded steps of one run
	Message    int // bytes of an error's message; what is longer is cut
	Stack      int // bytes of a panic's stack; what is longer is cut
	LogLine    int // bytes of a line of a run's log, and of each value with it; what is longer is cut
	Note       int // bytes of a note, of the reason of a cancel request, of the description of a workflow
	Key        int // bytes of a step's name, of a StepKey, of an idempotency key
}

// MaxSize is the most that a limit on bytes may be raised to: 64 MiB. MaxSteps is the same for Limits.Steps.
const (
	MaxSize  = 64 << 20
	MaxSteps = 1_000_000
)

// maxAttrs is how many values a line of a run's log may have.
const maxAttrs = 100

// DefaultLimits are the limits where nothing else is said.
func DefaultLimits() Limits {
	return Limits{Input: 1 << 20, Result: 1 << 20, StepResult: 1 << 20, Steps: 10_000, Message: 16 << 10, Stack: 64 << 10, LogLine: 8 << 10, Note: 4 << 10, Key: 200}
}

// fields gives each limit with its name.
func (l *Limits) fields() []limit {
	return []limit{
		{"input", &l.Input, MaxSize}, {"result", &l.Result, MaxSize}, {"step_result", &l.StepResult, MaxSize}, {"steps", &l.Steps, MaxSteps},
		{"message", &l.Message, MaxSize}, {"stack", &l.Stack, MaxSize}, {"log_line", &l.LogLine, MaxSize}, {"note", &l.Note, MaxSize}, {"key", &l.Key, 1 << 20},
	}
}

type limit struct {
	name string
	at   *int
	most int
}

// Over gives l with its zero fields taken from other.
func (l Limits) Over(other Limits) Limits {
	from := other.fields()
	for i, f := range l.fields() {
		if *f.at == 0 {
			*f.at = *from[i].at
		}
	}
	return l
}

// Check refuses limits that are negative or beyond MaxSize and MaxSteps: a *FieldError.
func (l Limits) Check() error {
	for _, f := range l.fields() {
		if *f.at < 0 || *f.at > f.most {
			return &FieldError{Field: "limit of " + f.name, Value: strconv.Itoa(*f.at), Problem: fmt.Sprintf("must be 1 to %d", f.most)}
		}
	}
	return nil
}

// CheckInput refuses an input that is larger than Limits.Input: a *FieldError.
func (l Limits) CheckInput(input json.RawMessage) error {
	if len(input) <= l.Input {
		return nil
	}
	return &FieldError{Field: "input", Problem: fmt.Sprintf("has %d bytes of JSON, but at most %d are taken (max_input); put what is large into a file or an object store, and its address into the input",
		len(input), l.Input)}
}

// CheckNote refuses a text for people that is longer than Limits.Note: a *FieldError that names the field.
func (l Limits) CheckNote(field, text string) error { return checkLength(field, text, l.Note) }

// CheckKey refuses a key that is longer than Limits.Key: a *FieldError that names the field.
func (l Limits) CheckKey(field, text string) error { return checkLength(field, text, l.Key) }

func checkLength(field, text string, most int) error {
	if len(text) <= most {
		return nil
	}
	return &FieldError{Field: field, Value: clip(text), Problem: fmt.Sprintf("has %d bytes, but at most %d are taken; shorten it", len(text), most)}
}

// CutError gives an error with its message and its stack cut to the limits.
func (l Limits) CutError(e RunError) *RunError {
	e.Message, e.Stack = Cut(e.Message, l.Message), Cut(e.Stack, l.Stack)
	return &e
}

// CutEvent gives a line of a run's log with its message and its texts cut to Limits.LogLine, and with no more than 100 values.
func (l Limits) CutEvent(e Event) Event {
	e.Message = Cut(e.Message, l.LogLine)
	if len(e.Attrs) == 0 {
		return e
	}
	attrs := make(map[string]any, min(len(e.Attrs), maxAttrs))
	left := 0
	for k, v := range e.Attrs {
		if len(attrs) == maxAttrs {
			left++
			continue
		}
		switch t := v.(type) {
		case string:
			v = Cut(t, l.LogLine)
		case json.RawMessage:
			if len(t) > l.LogLine {
				v = Cut(string(t), l.LogLine)
			}
		}
		attrs[Cut(k, l.Key)] = v
	}
	if left > 0 {
		e.Message += fmt.Sprintf(" … [%d values left out]", left)
	}
	e.Attrs = attrs
	return e
}

// Cut shortens a text of more than limit bytes, at a character's border, and says so at its end: "… [cut: 70000 bytes in all]".
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf("… [cut: %d bytes in all]", len(s))
}
