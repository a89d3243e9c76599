package client

import (
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Time is an instant; the zero value is none. In JSON it is RFC 3339 in UTC with as many sub-seconds as it has, none is null.
type Time struct{ time.Time }

// MarshalJSON writes null for none.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format(time.RFC3339Nano))
}

// Text is a text; the empty one is null in JSON.
type Text string

// MarshalJSON writes null for the empty text.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(t))
}

// Duration is a span of time; zero is none, null in JSON.
type Duration struct{ schedules.Duration }

// MarshalJSON writes null for none.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d.Duration == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(d.Duration.String())
}

// Page is part of a list. In JSON it is {"items": [...], "next_cursor": null}.
type Page[T any] struct {
	Items      []T  `json:"items"`
	NextCursor Text `json:"next_cursor"` // empty: there is no more
}

// PageRequest asks for part of a list. The zero value asks for the first 100.
type PageRequest struct {
	Cursor string // NextCursor of the page before; empty: from the start
	Limit  int    // at most so many items; 0: 100
}

// raw gives null for no JSON at all. What is no JSON, because the record was damaged, becomes a text.
func raw(m json.RawMessage) json.RawMessage {
	switch {
	case len(m) == 0:
		return json.RawMessage("null")
	case json.Valid(m):
		return m
	}
	text, _ := json.Marshal(string(m)) // a text always encodes
	return text
}

// list gives an empty list for nil, so that JSON has [].
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
