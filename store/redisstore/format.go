package redisstore

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Every schedule, run and backfill carries the format its record is written in; what belongs to it (fates, waiting ticks, steps, events) goes by that.
// This release reads formats up to reads and writes new records in writes; a record of a format in between keeps it. docs/upgrading.md says how a
// format is added: read in one release, written in the next.

// formatOf is the format a record is written in: its own, where that is above the one of new records.
func formatOf(own int) int { return max(own, writes) }

// ownFormat is a record's format as the domain carries it: zero unless it is above the one of new records.
func ownFormat(v int) int {
	if v > writes {
		return v
	}
	return 0
}

// checkFormat fails for a record of a format that this program does not read.
func checkFormat(v int) error {
	if v > reads {
		return &store.FormatError{Format: v, Reads: reads}
	}
	return nil
}

// versionOf reads the format of a record that says it in "v".
func versionOf(text string) (int, error) {
	var r struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return 0, err
	}
	return r.V, checkFormat(r.V)
}

// strict reads a part of a record that is written back whole, or acted on. A field that is not known would be lost or ignored without a word: it is
// refused as what it must be, a newer program's.
func strict(text string, format int, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if strings.TrimSpace(text[d.InputOffset():]) != "" {
			return errors.New("there is something after its JSON value")
		}
		return nil
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if plain, err := strconv.Unquote(name); err == nil {
			name = plain
		}
		return &store.FormatError{Format: format, Reads: reads, Field: name}
	}
	if bad, ok := errors.AsType[*schedules.FieldError](err); ok && (bad.Field == "spec" || bad.Field == "calendar") {
		return &store.FormatError{Format: format, Reads: reads, Field: bad.Value}
	}
	return err
}
