package schedules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Field is one field of a Calendar: a number ("5"), or a list of numbers, names, ranges and steps ("1-5", "mon,fri", "*/2",
// "15,last"). The empty Field was left out. In JSON it is a number, a list or a string, null when left out.
type Field string

// MarshalJSON writes a plain number as a number, anything else as a string, and the empty Field as null.
func (f Field) MarshalJSON() ([]byte, error) {
	if f == "" {
		return []byte("null"), nil
	}
	if n, ok := number(string(f)); ok {
		return strconv.AppendInt(nil, int64(n), 10), nil
	}
	return json.Marshal(string(f))
}

// UnmarshalJSON reads a whole number, a string, a list of both, or null.
func (f *Field) UnmarshalJSON(data []byte) error {
	bad := func() error {
		return errors.New("a calendar's field is a whole number, a string such as \"1-5\", or a list of them, not " + quote(string(data)))
	}
	element := func(raw json.RawMessage) (string, error) {
		if len(raw) > 0 && raw[0] == '"' {
			var s string
			err := json.Unmarshal(raw, &s)
			return s, err
		}
		if _, err := strconv.Atoi(string(raw)); err != nil {
			return "", bad()
		}
		return string(raw), nil
	}
	data = bytes.TrimSpace(data)
	if string(data) == "null" {
		*f = ""
		return nil
	}
	elements := []json.RawMessage{data}
	if len(data) > 0 && data[0] == '[' {
		if err := json.Unmarshal(data, &elements); err != nil {
			return err
		}
	}
	texts := make([]string, 0, len(elements))
	for _, raw := range elements {
		text, err := element(raw)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	text := strings.Join(texts, ",")
	if text == "" {
		return errors.New("a calendar's field is empty; leave it out or give a value")
	}
	*f = Field(text)
	return nil
}

// Calendar names times by the parts of date and time of day. All fields that are given must match; one that was left out
// matches anything, except that Second, Minute and Hour are then 0. At least one field must be given.
type Calendar struct {
	Second     Field `json:"second"`       // 0 to 59
	Minute     Field `json:"minute"`       // 0 to 59
	Hour       Field `json:"hour"`         // 0 to 23
	DayOfMonth Field `json:"day_of_month"` // 1 to 31, or last
	Month      Field `json:"month"`        // 1 to 12, or names
	DayOfWeek  Field `json:"day_of_week"`  // 0 to 7, Sunday is 0 and 7, or names
	Year       Field `json:"year"`         // 1970 to 9999
}

// calendarFields is in the order of Calendar.fields.
var calendarFields = [...]*field{&secondField, &minuteField, &hourField, &dayOfMonthField, &monthField, &dayOfWeekField, &yearField}

func (c *Calendar) fields() [len(calendarFields)]*Field {
	return [...]*Field{&c.Second, &c.Minute, &c.Hour, &c.DayOfMonth, &c.Month, &c.DayOfWeek, &c.Year}
}

func (c *Calendar) field(name string) *Field {
	for i, f := range calendarFields {
		if f.name == name {
			return c.fields()[i]
		}
	}
	return nil
}

const calendarFieldNames = "second, minute, hour, day_of_month, month, day_of_week and year"

// ParseCalendar reads the form of the command line: "day_of_month=1,15 hour=0". Fields that are unknown, repeated or empty
// are refused with a *FieldError; whether the values make sense is for Compile.
func ParseCalendar(s string) (Calendar, error) {
	var c Calendar
	fail := func(problem string) (Calendar, error) {
		return Calendar{}, &FieldError{Field: "calendar", Value: s, Problem: problem}
	}
	for word := range strings.FieldsSeq(s) {
		name, value, found := strings.Cut(word, "=")
		if !found {
			return fail(quote(word) + " is no field; write field=value without spaces inside, such as day_of_month=1,15 hour=9")
		}
		f := c.field(name)
		switch {
		case f == nil:
			return fail("has no field " + quote(name) + "; the fields are " + calendarFieldNames)
		case value == "":
			return fail("field " + name + " is empty; leave it out or give a value")
		case *f != "":
			return fail("repeats the field " + name + "; write its values as one list: " + name + "=..,..")
		}
		*f = Field(value)
	}
	if c == (Calendar{}) {
		return fail("is empty; write fields such as day_of_month=1,15 hour=9")
	}
	return c, nil
}

// String returns the form that ParseCalendar reads.
func (c Calendar) String() string {
	var b strings.Builder
	for i, f := range c.fields() {
		if *f == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(calendarFields[i].name + "=" + string(*f))
	}
	return b.String()
}

// UnmarshalJSON reads an object. Unknown and repeated fields are refused.
func (c *Calendar) UnmarshalJSON(data []byte) error {
	var read Calendar
	err := eachMember(data, "calendar", func(name string, value json.RawMessage) error {
		f := read.field(name)
		if f == nil {
			return &FieldError{Field: "calendar", Value: name, Problem: "is no field of it; the fields are " + calendarFieldNames}
		}
		if err := json.Unmarshal(value, f); err != nil {
			return &FieldError{Field: "calendar", Value: name, Problem: err.Error()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	*c = read
	return nil
}

// eachMember calls f with each member of a JSON object, and refuses one that is repeated. what names the object in errors.
func eachMember(data []byte, what string, f func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil {
		return err
	} else if open != json.Delim('{') {
		return &FieldError{Field: what, Value: string(bytes.TrimSpace(data)), Problem: "is not a JSON object"}
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name := fmt.Sprint(token)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if seen[name] {
			return &FieldError{Field: what, Value: name, Problem: "is given twice; give it once"}
		}
		seen[name] = true
		if err := f(name, value); err != nil {
			return err
		}
	}
	return nil
}

// normal returns the calendar without spaces around the elements of lists.
func (c Calendar) normal() Calendar {
	for _, f := range c.fields() {
		elements := strings.Split(string(*f), ",")
		for i, e := range elements {
			elements[i] = strings.TrimSpace(e)
		}
		*f = Field(strings.Join(elements, ","))
	}
	return c
}

// parseCalendar compiles a calendar.
func parseCalendar(c Calendar) (*wallclock, error) {
	fail := func(problem string) (*wallclock, error) {
		return nil, &FieldError{Field: "calendar", Value: c.String(), Problem: problem}
	}
	if c == (Calendar{}) {
		return fail("is empty; give it a field such as day_of_month=1")
	}
	texts := c.fields()
	var fields [len(calendarFields)][]span
	var last, onlyLast bool
	for i, f := range calendarFields {
		text := string(*texts[i])
		if text == "" {
			text = "*"
			if i < 3 {
				text = "0"
			}
		}
		if f == &dayOfMonthField {
			text, last, onlyLast = cutLast(text)
			if onlyLast {
				text = "1" // for cron's reader, which wants a value
			}
		}
		var err error
		if fields[i], err = f.parse(text); err != nil {
			return fail(calendarAdvice(f, text, err))
		}
	}
	clock, err := readFields([6][]span(fields[:6]))
	if err != nil {
		return fail(err.Error())
	}
	if onlyLast {
		clock.dayOfMonth = 0
	}
	clock.lastDay = last
	if c.Year != "" && c.Year != "*" {
		clock.years = new(yearSet)
		for _, s := range fields[6] {
			for year := s.low; year <= s.high; year += s.step {
				clock.years.add(year)
			}
		}
	}
	if !clock.settle() {
		return fail("can never match: there is no such day; change day_of_month, month, day_of_week or year")
	}
	return clock, nil
}

// cutLast takes the elements "last" out of a list of days, and says whether there were any and whether there was nothing else.
func cutLast(list string) (rest string, found, alone bool) {
	elements := strings.Split(list, ",")
	others := slices.DeleteFunc(elements, func(e string) bool { return strings.EqualFold(e, "last") })
	return strings.Join(others, ","), len(others) < len(elements), len(others) == 0
}

// calendarAdvice is what to say of a field that does not parse.
func calendarAdvice(f *field, text string, err error) string {
	for element := range strings.SplitSeq(text, ",") {
		switch {
		case element == "?":
			return "takes no ?; leave " + f.name + " out"
		case f == &dayOfMonthField && extension.MatchString(element):
			return "takes no L, W or #; the month's last day is day_of_month=last"
		}
	}
	if f == &dayOfMonthField {
		return strings.Replace(err.Error(), "write 1 to 31", "write 1 to 31 or last", 1)
	}
	return err.Error()
}
