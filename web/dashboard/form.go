package dashboard

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// maxForm is how many bytes a submitted form may have: an input at its default limit, written in any way.
const maxForm = 4 << 20

// form is what was typed into a form, and what is wrong with it. It is shown again with both when an act is refused.
type form struct {
	Values url.Values
	Errors map[string]string // by field: one line
	Top    string            // what is wrong with no field in particular
}

// newForm is a form as it is first shown.
func newForm(pairs ...string) *form {
	f := &form{Values: url.Values{}, Errors: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Values.Set(pairs[i], pairs[i+1])
	}
	return f
}

// readForm reads what was submitted.
func readForm(r *http.Request) (*form, error) {
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, &statusError{http.StatusBadRequest, "the form can't be read: " + err.Error()}
	}
	return &form{Values: r.PostForm, Errors: map[string]string{}}, nil
}

// Get is the value of a field, without spaces around it.
func (f *form) Get(name string) string { return strings.TrimSpace(f.Values.Get(name)) }

// Bad reports whether anything is wrong.
func (f *form) Bad() bool { return f.Top != "" || len(f.Errors) > 0 }

// wrong notes what is wrong with a field; the first complaint about it stays.
func (f *form) wrong(name, problem string) {
	if f.Errors[name] == "" {
		f.Errors[name] = problem
	}
}

// refuse notes an error beside the fields that it names, if the form has them, or above the form. It reports false for one that is not about the input or
// the state of things: that belongs on an error page.
func (f *form) refuse(err error, has ...string) bool {
	var bad *schedules.FieldError
	if errors.As(err, &bad) {
		placed := false
		for name := range strings.SplitSeq(bad.Field, ", ") {
			for _, h := range has {
				if h == name {
					f.wrong(name, sentence(bad.Problem, bad.Value))
					placed = true
				}
			}
		}
		if !placed {
			f.Top = err.Error()
		}
		return true
	}
	switch client.CodeOf(err) {
	case client.CodeInvalid, client.CodeConflict:
		f.Top = err.Error()
		return true
	}
	return false
}

// sentence is a problem as it stands beside its field: with the value, where that is short enough to be recognized.
func sentence(problem, value string) string {
	if value == "" || len(value) > 60 || strings.ContainsAny(value, "\n\r") {
		return problem
	}
	return "“" + value + "” " + problem
}

// number reads a whole number; an empty field is 0.
func (f *form) number(name string) int {
	text := f.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		f.wrong(name, sentence("must be a whole number of 1 or more", text))
		return 0
	}
	return n
}

// duration reads a duration above zero; an empty field is 0.
func (f *form) duration(name string) schedules.Duration {
	text := f.Get(name)
	if text == "" {
		return 0
	}
	d, err := schedules.ParseDuration(text)
	var bad *schedules.FieldError
	switch {
	case errors.As(err, &bad):
		f.wrong(name, sentence(bad.Problem, text))
	case err != nil:
		f.wrong(name, err.Error())
	case d == 0:
		f.wrong(name, sentence("must be more than 0", text))
	}
	return d
}

// instant reads a time: RFC 3339, or what browsers' fields give, which is taken to be in the zone; an empty field is the zero time.
func (f *form) instant(name string, zone *time.Location) time.Time {
	text := f.Get(name)
	if text == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC()
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t.UTC()
		}
	}
	f.wrong(name, sentence("is no time; write such as 2026-03-01 09:00 or 2026-03-01T09:00:00Z", text))
	return time.Time{}
}

// json reads a JSON value; an empty field is nil.
func (f *form) json(name string) json.RawMessage {
	text := f.Get(name)
	if text == "" {
		return nil
	}
	if err := checkJSON(text); err != "" {
		f.wrong(name, err)
		return nil
	}
	return json.RawMessage(text)
}

// checkJSON says what is wrong with a JSON text, and where; empty: nothing.
func checkJSON(text string) string {
	var v any
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		return ""
	}
	where := ""
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		before := text[:min(int(syntax.Offset), len(text))]
		line := strings.Count(before, "\n") + 1
		column := len(before) - strings.LastIndexByte(before, '\n') - 1
		where = " (line " + strconv.Itoa(line) + ", column " + strconv.Itoa(max(column, 1)) + ": " + syntax.Error() + ")"
	}
	return `is not JSON; write such as {"name": "value"}, 42 or "text"` + where
}
