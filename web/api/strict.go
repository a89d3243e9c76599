package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// strict checks a request before huma reads it: what is wrong is then said in sentences of ours.
func (s *server) strict(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	op := ctx.Operation()
	err := checkQuery(op.Parameters, r.URL.RawQuery)
	if err == nil && s.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
		err = &Problem{Status: http.StatusForbidden, Code: CodeRefused, Detail: "nothing can be changed here: the dashboard was started with --read-only"}
	}
	if err == nil {
		err = s.loadBody(op, w, r)
	}
	if err != nil {
		WriteProblem(w, problemOf(err))
		return
	}
	next(ctx)
}

// loadBody reads the whole body, and checks it as far as that goes without knowing what it is.
func (s *server) loadBody(op *huma.Operation, w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: client.CodeInvalid, Detail: fmt.Sprintf(
			"the body has more than %d bytes; put what is large into a file or an object store, and its address into the input", s.MaxBody)}
	case err != nil:
		return &Problem{Status: http.StatusBadRequest, Code: client.CodeInvalid, Detail: "the body ends too early: send it again"}
	}
	blank := len(bytes.TrimSpace(body)) == 0
	switch {
	case op.RequestBody == nil && !blank:
		return &schedules.FieldError{Field: "body", Value: string(body), Problem: "is not read by this request; leave it out"}
	case op.RequestBody == nil:
		return nil
	case blank && op.RequestBody.Required:
		return &schedules.FieldError{Field: "body", Problem: "is missing; send a JSON object"}
	case !blank:
		if t := r.Header.Get("Content-Type"); t != "" {
			if kind, _, err := mime.ParseMediaType(t); err != nil || kind != "application/json" {
				return &Problem{Status: http.StatusUnsupportedMediaType, Code: client.CodeInvalid, Field: "Content-Type", Detail: fmt.Sprintf("Content-Type %q: must be application/json", clip(t))}
			}
		}
		into := reflect.New(s.bodies[op.OperationID])
		if err := readBody(body, into.Interface()); err != nil {
			return err
		}
	}
	if blank {
		body = nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// checkQuery finds what is wrong with the parameters of a request.
func checkQuery(params []*huma.Param, query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return &schedules.FieldError{Field: "query", Value: query, Problem: "cannot be read; escape special characters, as in %2B for +"}
	}
	known := map[string]*huma.Param{}
	var names []string
	for _, p := range params {
		if p.In == "query" {
			known[p.Name] = p
			names = append(names, p.Name)
		}
	}
	given := make([]string, 0, len(values))
	for name := range values {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		p := known[name]
		switch {
		case p == nil && len(names) == 0:
			return &schedules.FieldError{Field: name, Problem: "is no parameter of this request; it has none"}
		case p == nil:
			return &schedules.FieldError{Field: name, Problem: "is no parameter of this request; it has " + words(names)}
		case p.Schema.Type != huma.TypeArray && len(values[name]) > 1:
			return &schedules.FieldError{Field: name, Value: strings.Join(values[name], ", "), Problem: "is given twice; give it once"}
		}
		one := p.Schema
		if one.Type == huma.TypeArray {
			one = one.Items
		}
		for _, v := range values[name] {
			if problem := checkValue(one, v); problem != "" {
				return &schedules.FieldError{Field: name, Value: v, Problem: problem}
			}
		}
	}
	for _, name := range names {
		if known[name].Required && values.Get(name) == "" {
			return &schedules.FieldError{Field: name, Problem: "is missing; give it as a parameter, ?" + name + "=…"}
		}
	}
	return nil
}

const notTime = "is no time; write RFC 3339, such as 2026-03-01T09:00:00Z or 2026-03-01T09:00:00+01:00"

// checkValue says what is wrong with the value of a parameter. An empty one counts as not given.
func checkValue(s *huma.Schema, v string) string {
	switch {
	case v == "":
		return ""
	case s.Type == huma.TypeInteger:
		n, err := strconv.ParseInt(v, 10, 64)
		switch {
		case err != nil:
			return "must be a whole number"
		case s.Minimum != nil && float64(n) < *s.Minimum && s.Maximum == nil:
			return fmt.Sprintf("must be %.0f or more", *s.Minimum)
		case s.Minimum != nil && float64(n) < *s.Minimum, s.Maximum != nil && float64(n) > *s.Maximum:
			return fmt.Sprintf("must be %.0f to %.0f", *s.Minimum, *s.Maximum)
		}
	case s.Type == huma.TypeBoolean:
		if v != "true" && v != "false" {
			return "must be true or false"
		}
	case s.Format == "date-time":
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return notTime
		}
	case len(s.Enum) > 0:
		var may []string
		for _, e := range s.Enum {
			may = append(may, fmt.Sprint(e))
		}
		if !slices.Contains(may, v) {
			return "must be " + choice(may)
		}
	}
	return ""
}

// words joins names: "a, b and c". choice joins alternatives: "a, b or c".
func words(names []string) string  { return join(names, " and ") }
func choice(names []string) string { return join(names, " or ") }

func join(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + last + names[len(names)-1]
}

// readBody reads a JSON object into a struct, or a pointer to one, by the names of its json tags. Unknown and repeated fields are refused. Errors are
// *schedules.FieldError.
func readBody(data []byte, into any) error {
	v := reflect.ValueOf(into).Elem()
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return &schedules.FieldError{Field: "body", Value: string(data), Problem: "is not JSON: " + oneLine(err.Error())}
	}
	fields := fieldsOf(v)
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return &schedules.FieldError{Field: "body", Value: string(bytes.TrimSpace(data)), Problem: "is not a JSON object"}
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return &schedules.FieldError{Field: "body", Problem: "is not JSON: " + err.Error()}
		}
		name, _ := token.(string) // keys are
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return &schedules.FieldError{Field: "body", Problem: "is not JSON: " + err.Error()}
		}
		f, ok := fields[name]
		switch {
		case !ok:
			return &schedules.FieldError{Field: "body", Value: name, Problem: "is no field of it; " + fieldNames(v)}
		case seen[name]:
			return &schedules.FieldError{Field: "body", Value: name, Problem: "is given twice; give it once"}
		}
		seen[name] = true
		if err := readField(name, value, f); err != nil {
			return err
		}
	}
	return nil
}

func fieldNames(v reflect.Value) string {
	var names []string
	for _, f := range members(v.Type()) {
		names = append(names, tagName(f))
	}
	if len(names) == 1 {
		return "the only field is " + names[0]
	}
	return "the fields are " + words(names)
}

func tagName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for _, f := range members(v.Type()) {
		fields[tagName(f)] = v.FieldByIndex(f.Index)
	}
	return fields
}

// members are the fields of a struct, those of embedded ones among them.
func members(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous })
}

func readField(name string, value json.RawMessage, f reflect.Value) error {
	err := json.Unmarshal(value, f.Addr().Interface())
	if err == nil {
		return nil
	}
	var bad *schedules.FieldError
	if errors.As(err, &bad) {
		if bad.Field == "duration" || bad.Field == "time" { // where it was read does not know what for
			bad.Field = name
		}
		return bad
	}
	t := f.Type()
	if k, ok := f.Addr().Interface().(interface{ kind() reflect.Type }); ok {
		t = k.kind()
	}
	problem := "is no JSON string; write one"
	switch {
	case t == typeOf[instant]():
		problem = notTime
	case t.Kind() == reflect.Bool:
		problem = "must be true or false"
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64 && t != typeOf[schedules.Duration]():
		problem = "must be a whole number"
	}
	return &schedules.FieldError{Field: name, Value: string(value), Problem: problem}
}

// instant is a time in a body: RFC 3339.
type instant struct{ time.Time }

// UnmarshalJSON reads RFC 3339, or null for none.
func (t *instant) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return &schedules.FieldError{Field: "time", Value: string(data), Problem: notTime}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return &schedules.FieldError{Field: "time", Value: text, Problem: notTime}
	}
	t.Time = at.UTC()
	return nil
}

// optional is a field of a change: left out, null, or given.
type optional[T any] struct {
	given, null bool
	value       T
}

func (o *optional[T]) kind() reflect.Type { return typeOf[T]() }

// UnmarshalJSON reads null, or a value.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	o.given, o.null = true, string(data) == "null"
	return json.Unmarshal(data, &o.value)
}

// must gives the value, nil when it was left out, and refuses null.
func (o *optional[T]) must(name string) (*T, error) {
	if o.null {
		return nil, &schedules.FieldError{Field: name, Value: "null", Problem: "is no value; leave it out to keep what is there"}
	}
	return o.may(), nil
}

// may gives the value, the zero one for null, nil when it was left out.
func (o *optional[T]) may() *T {
	if !o.given {
		return nil
	}
	return &o.value
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
