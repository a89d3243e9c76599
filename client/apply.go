package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// FileOrigin begins the origin of the schedules that Apply keeps; the name of their set follows.
const FileOrigin = "file:"

// ApplyRequest is a set of schedules as a file holds it. Name and an ID for each schedule are required; the zero value of the rest is good.
type ApplyRequest struct {
	Name      string          // of the set; the origin of its schedules is FileOrigin and this
	Schedules []CreateRequest // what there is to be; an empty Note leaves the note as it is
	Prune     bool            // delete the schedules of this set that are not in Schedules
	DryRun    bool            // write nothing, only say what would be done
}

// ApplyAction says what becomes of a schedule.
type ApplyAction string

// The actions.
const (
	ApplyCreate    ApplyAction = "create"
	ApplyUpdate    ApplyAction = "update"
	ApplyUnchanged ApplyAction = "unchanged"
	ApplyDelete    ApplyAction = "delete"
)

// FieldChange is a field that a schedule has otherwise than the set says, as both are in JSON; null is absent.
type FieldChange struct {
	Field string          `json:"field"` // as it is called in the JSON of a schedule, those of its spec without "spec"
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`
}

// AppliedSchedule is what Apply does to one schedule.
type AppliedSchedule struct {
	ScheduleID string        `json:"schedule_id"`
	Workflow   string        `json:"workflow"`
	Action     ApplyAction   `json:"action"`
	Fields     []FieldChange `json:"fields"` // of an update
}

// Applied is what Apply did, or would do: ids of schedules, each list in order, and the details.
type Applied struct {
	Origin    string            `json:"origin"`
	DryRun    bool              `json:"dry_run"`
	Created   []string          `json:"created"`
	Updated   []string          `json:"updated"`
	Unchanged []string          `json:"unchanged"`
	Orphaned  []string          `json:"orphaned"` // of this set, and no longer in it; deleted with Prune
	Changes   []AppliedSchedule `json:"changes"`  // in the order of the set, then those that are deleted
}

func (a *Applied) add(s AppliedSchedule) {
	a.Changes = append(a.Changes, s)
	switch s.Action {
	case ApplyCreate:
		a.Created = append(a.Created, s.ScheduleID)
	case ApplyUpdate:
		a.Updated = append(a.Updated, s.ScheduleID)
	case ApplyUnchanged:
		a.Unchanged = append(a.Unchanged, s.ScheduleID)
	case ApplyDelete: // they are in Orphaned
	}
}

// ApplyError says which schedule of the set an error is about.
type ApplyError struct {
	Index int // in ApplyRequest.Schedules
	ID    string
	Err   error
}

// Error is one line.
func (e *ApplyError) Error() string { return fmt.Sprintf("apply schedule %s: %v", e.ID, e.Err) }

// Unwrap returns what is wrong.
func (e *ApplyError) Unwrap() error { return e.Err }

// OriginError says that somebody else keeps a schedule: code that declares it, or another set. It wraps store.ErrConflict.
type OriginError struct{ ID, Origin, Want string }

// Error is one line.
func (e *OriginError) Error() string {
	keeper := "the code of " + e.Origin + " declares it"
	if name, ok := strings.CutPrefix(e.Origin, FileOrigin); ok {
		keeper = fmt.Sprintf("the file named %q keeps it", name)
	}
	return fmt.Sprintf("schedule %s belongs to another: %s; choose another id, or take it out there first", e.ID, keeper)
}

// Unwrap returns store.ErrConflict.
func (e *OriginError) Unwrap() error { return store.ErrConflict }

// Apply makes the schedules of a set what the request says: it creates those that are missing, changes those that differ, and, with Prune, deletes those of the same
// set that are no longer in it. All is checked before anything is written. Status and counters stay; what people changed by hand is changed back. A
// schedule that was made by hand becomes one of the set. Applying the same set again changes nothing.
//
// Errors: *schedules.FieldError for the set; *ApplyError around *schedules.FieldError, *UnknownWorkflowError, *WorkflowMismatchError and *OriginError for one of its schedules.
// What was written before an error of the store stays, and a further Apply goes on from there.
func (c *Client) Apply(ctx context.Context, req ApplyRequest) (Applied, error) {
	if err := schedules.ValidateID(req.Name); err != nil {
		return Applied{}, &schedules.FieldError{Field: "name", Value: req.Name, Problem: "must be letters, digits and _.:- and begin with a letter or digit, such as ops"}
	}
	a := Applied{Origin: FileOrigin + req.Name, DryRun: req.DryRun, Created: []string{}, Updated: []string{}, Unchanged: []string{}, Orphaned: []string{}, Changes: []AppliedSchedule{}}
	named := map[string]bool{}
	for i, s := range req.Schedules {
		planned, err := c.planApply(ctx, s, a.Origin)
		switch {
		case err != nil:
		case named[s.ID]:
			err = &schedules.FieldError{Field: "schedule_id", Value: s.ID, Problem: "is there twice; keep one of them"}
		}
		if err != nil {
			return a, &ApplyError{Index: i, ID: s.ID, Err: err}
		}
		named[s.ID] = true
		a.add(planned)
	}
	filter := store.ScheduleFilter{Origin: a.Origin}
	for s, err := range store.All(func(p store.Page) ([]schedules.Schedule, string, error) { return c.store.ListSchedules(ctx, filter, p) }) {
		if err != nil {
			return a, fmt.Errorf("list schedules of origin %s: %w", a.Origin, err)
		}
		if named[s.ID] {
			continue
		}
		a.Orphaned = append(a.Orphaned, s.ID)
		if req.Prune {
			a.add(AppliedSchedule{ScheduleID: s.ID, Workflow: s.Workflow, Action: ApplyDelete, Fields: []FieldChange{}})
		}
	}
	slices.Sort(a.Orphaned)
	if req.DryRun {
		return a, nil
	}
	return a, c.carryOut(ctx, req, &a)
}

// carryOut writes what was planned.
func (c *Client) carryOut(ctx context.Context, req ApplyRequest, a *Applied) error {
	for i, s := range req.Schedules {
		if a.Changes[i].Action == ApplyUnchanged {
			continue
		}
		if err := c.applyOne(ctx, s, a.Origin); err != nil {
			return &ApplyError{Index: i, ID: s.ID, Err: err}
		}
	}
	for _, s := range a.Changes[len(req.Schedules):] {
		if _, err := c.delete(ctx, s.ScheduleID, true); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("delete schedule %s: %w", s.ScheduleID, err)
		}
	}
	return nil
}

// kept reads the schedule that has the id of a request; false when it is free.
func (c *Client) kept(ctx context.Context, req CreateRequest, origin string) (schedules.Schedule, bool, error) {
	ref, err := c.store.Resolve(ctx, req.ID)
	if errors.Is(err, store.ErrNotFound) {
		return schedules.Schedule{}, false, nil
	}
	if err != nil {
		return schedules.Schedule{}, false, err
	}
	s, _, err := c.load(ctx, ref)
	switch {
	case err != nil:
		return s, false, err
	case s.Status == schedules.StatusDeleted:
		return s, false, nil
	case s.Origin != "" && s.Origin != origin:
		return s, true, &OriginError{ID: s.ID, Origin: s.Origin, Want: origin}
	case s.Workflow != req.Workflow:
		return s, true, &WorkflowMismatchError{ID: s.ID, Has: s.Workflow, Want: req.Workflow}
	}
	return s, true, nil
}

func (c *Client) planApply(ctx context.Context, req CreateRequest, origin string) (AppliedSchedule, error) {
	out := AppliedSchedule{ScheduleID: req.ID, Workflow: req.Workflow, Action: ApplyCreate, Fields: []FieldChange{}}
	if err := schedules.ValidateID(req.ID); err != nil {
		return out, err
	}
	if err := c.checkLimits(req.Input, req.Note); err != nil {
		return out, err
	}
	old, exists, err := c.kept(ctx, req, origin)
	if err != nil {
		return out, err
	}
	if !exists {
		return out, c.CheckCreate(ctx, req)
	}
	def, err := schedules.Normalize(req.Definition)
	if err != nil {
		return out, err
	}
	out.Fields = differences(old, def, req.Note, origin)
	out.Action = ApplyUpdate
	if len(out.Fields) == 0 {
		out.Action = ApplyUnchanged
	}
	return out, nil
}

// applyOne makes one schedule what is asked for, however it has changed since the plan.
func (c *Client) applyOne(ctx context.Context, req CreateRequest, origin string) error {
	patch, err := replacing(req)
	if err != nil {
		return err
	}
	patch.Origin = &origin
	for {
		old, exists, err := c.kept(ctx, req, origin)
		if err != nil {
			return err
		}
		if !exists {
			change, err := c.newSchedule(ctx, schedules.CreateRequest{ID: req.ID, Incarnation: incarnation(), Workflow: req.Workflow, Definition: req.Definition, Note: req.Note, Origin: origin})
			if err == nil {
				_, err = c.commitCreate(ctx, change)
			}
			if errors.Is(err, store.ErrExists) {
				continue // somebody else was faster
			}
			return err
		}
		_, err = c.act(ctx, old.Ref(), "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Update(st, now, patch)
		})
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted meanwhile
		}
		return err
	}
}

// differences are the fields in which a schedule differs from what it is to be, in the order of its JSON.
func differences(old schedules.Schedule, def schedules.Definition, note, origin string) []FieldChange {
	if note == "" {
		note = old.Note
	}
	before, after := fieldsOf(old.Definition, old.Note, old.Origin), fieldsOf(def, note, origin)
	out := []FieldChange{}
	for i, f := range before {
		if !bytes.Equal(f.New, after[i].New) {
			out = append(out, FieldChange{Field: f.Field, Old: f.New, New: after[i].New})
		}
	}
	return out
}

// fieldsOf is a normal definition field by field, each as New.
func fieldsOf(def schedules.Definition, note, origin string) []FieldChange {
	var out []FieldChange
	add := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("null") // not reached: all of it is plain
		}
		out = append(out, FieldChange{Field: name, New: text})
	}
	spec := map[string]json.RawMessage{}
	if text, err := json.Marshal(def.Spec); err == nil { // a spec always encodes
		_ = json.Unmarshal(text, &spec) // what was just encoded
	}
	for _, name := range []string{"cron", "interval", "calendar", "interval_from", "timezone", "start_at", "end_at", "jitter"} {
		add(name, spec[name])
	}
	add("overlap_policy", def.Overlap)
	add("buffer_limit", def.BufferLimit)
	add("cancel_grace", def.CancelGrace)
	add("catchup", def.Catchup)
	add("catchup_window", def.CatchupWindow)
	add("queue", Text(def.Queue))
	add("input", raw(def.Input))
	add("note", Text(note))
	add("origin", Text(origin))
	return out
}

// DeclaredInCode reports whether a program's code declares the schedule, so that it cannot be deleted by hand. One that a file keeps can.
func (s *Schedule) DeclaredInCode() bool {
	return s.Origin != "" && !strings.HasPrefix(string(s.Origin), FileOrigin)
}
