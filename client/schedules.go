package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"time"

	"github.com/pyworkflow-go/pyworkflow/internal/nearest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// CreateRequest says what schedule to create. Workflow and Definition.Spec are required; what is left zero in the Definition takes its default.
type CreateRequest struct {
	ID       string // empty: "sched_" and 12 hex digits
	Workflow string
	schedules.Definition
	Note  string
	Force bool // create it though the workflow is not known
}

// CreateSchedule creates a schedule. Errors: *schedules.FieldError, *UnknownWorkflowError, *ExistsError.
func (c *Client) CreateSchedule(ctx context.Context, req CreateRequest) (Schedule, error) {
	s, err := c.create(ctx, req)
	if err != nil {
		return Schedule{}, err
	}
	return c.view(ctx, s)
}

// CheckCreate finds what is wrong with the request, but for an id that is taken, and writes nothing.
func (c *Client) CheckCreate(ctx context.Context, req CreateRequest) error {
	_, err := c.prepare(ctx, req)
	return err
}

func (c *Client) create(ctx context.Context, req CreateRequest) (schedules.Schedule, error) {
	change, err := c.prepare(ctx, req)
	if err != nil {
		return schedules.Schedule{}, err
	}
	return c.commitCreate(ctx, change)
}

func (c *Client) prepare(ctx context.Context, req CreateRequest) (schedules.Change, error) {
	if !req.Force {
		if err := c.CheckWorkflow(ctx, req.Workflow); err != nil {
			return schedules.Change{}, err
		}
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return schedules.Change{}, err
	}
	return c.toCreate(req, now)
}

// toCreate is the change that a request asks for; its workflow is not looked at.
func (c *Client) toCreate(req CreateRequest, now time.Time) (schedules.Change, error) {
	if err := c.checkLimits(req.Input, req.Note); err != nil {
		return schedules.Change{}, err
	}
	if req.ID == "" {
		req.ID = "sched_" + nonce()[:12]
	}
	return schedules.Create(schedules.CreateRequest{ID: req.ID, Incarnation: incarnation(), Workflow: req.Workflow, Definition: req.Definition, Note: req.Note}, now)
}

// createPage is how many schedules are created at a time.
const createPage = 256

// Created is what came of one request of CreateSchedules. With Err nothing was written for it: as CreateSchedule.
type Created struct {
	Schedule Schedule
	Err      error
}

// CreateSchedules creates many schedules, in few round trips: tens of thousands in seconds. Each is created by itself, whatever becomes of the others; answers are in the
// order of the requests. When ctx ends, those that are left have its error.
func (c *Client) CreateSchedules(ctx context.Context, reqs ...CreateRequest) []Created {
	out := make([]Created, len(reqs))
	known := map[string]error{}
	for from := 0; from < len(reqs); from += createPage {
		page := reqs[from:min(from+createPage, len(reqs))]
		now, err := c.store.Now(ctx)
		var changes []schedules.Change
		var at []int
		for i, req := range page {
			made := &out[from+i]
			if made.Err = err; err != nil {
				continue
			}
			unknown, seen := known[req.Workflow]
			if !seen && !req.Force {
				unknown = c.CheckWorkflow(ctx, req.Workflow)
				if _, final := errors.AsType[*UnknownWorkflowError](unknown); final || unknown == nil {
					known[req.Workflow] = unknown
				}
			}
			if made.Err = unknown; unknown != nil && !req.Force {
				continue
			}
			change, err := c.toCreate(req, now)
			if made.Err = err; err == nil {
				changes, at = append(changes, change), append(at, from+i)
			}
		}
		for n, err := range c.commitCreates(ctx, changes...) {
			if out[at[n]].Err = err; err == nil {
				out[at[n]].Schedule = viewSchedule(changes[n].Schedule)
			}
		}
	}
	return out
}

// checkLimits refuses what is too large for a record.
func (c *Client) checkLimits(input json.RawMessage, note string) error {
	if err := c.limits.CheckInput(input); err != nil {
		return err
	}
	return c.limits.CheckNote("note", note)
}

func (c *Client) newSchedule(ctx context.Context, req schedules.CreateRequest) (schedules.Change, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return schedules.Change{}, err
	}
	return schedules.Create(req, now)
}

func (c *Client) commitCreate(ctx context.Context, change schedules.Change) (schedules.Schedule, error) {
	return change.Schedule, c.commitCreates(ctx, change)[0]
}

func (c *Client) commitCreates(ctx context.Context, changes ...schedules.Change) []error {
	errs := c.engine.CreateAll(ctx, changes...)
	for i, err := range errs {
		if errors.Is(err, store.ErrExists) {
			errs[i] = &ExistsError{ID: changes[i].Schedule.ID}
		}
	}
	return errs
}

// CheckWorkflow refuses a workflow that is neither in this program nor announced by a worker or an activation: *UnknownWorkflowError.
func (c *Client) CheckWorkflow(ctx context.Context, name string) error {
	if name == "" {
		return &schedules.FieldError{Field: "workflow", Problem: "is missing; name the workflow to run"}
	}
	known, err := c.workflowNames(ctx)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k == name {
			return nil
		}
	}
	return &UnknownWorkflowError{Name: name, Nearest: nearest.Names(name, known, 3), None: len(known) == 0}
}

// EnsureSchedule creates the schedule, or, when its id is taken, makes it what the request says; it is left alone when it is that already. A note is
// changed only when the request has one. Errors as of CreateSchedule, and *WorkflowMismatchError.
func (c *Client) EnsureSchedule(ctx context.Context, req CreateRequest) (Schedule, error) {
	if req.ID == "" {
		return c.CreateSchedule(ctx, req)
	}
	if err := c.checkLimits(req.Input, req.Note); err != nil {
		return Schedule{}, err
	}
	for {
		ref, err := c.store.Resolve(ctx, req.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Schedule{}, err
		}
		var old schedules.Schedule
		if err == nil {
			if old, _, err = c.load(ctx, ref); err != nil {
				return Schedule{}, err
			}
		}
		if old.ID == "" || old.Status == schedules.StatusDeleted {
			s, err := c.create(ctx, req)
			if errors.Is(err, store.ErrExists) {
				continue // somebody else was faster: make theirs what is asked for
			}
			if err != nil {
				return Schedule{}, err
			}
			return c.view(ctx, s)
		}
		if old.Workflow != req.Workflow {
			return Schedule{}, &WorkflowMismatchError{ID: req.ID, Has: old.Workflow, Want: req.Workflow}
		}
		patch, err := replacing(req)
		if err != nil {
			return Schedule{}, err
		}
		s, err := c.act(ctx, ref, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
			return schedules.Update(st, now, patch)
		})
		if errors.Is(err, schedules.ErrDeleted) {
			continue
		}
		if err != nil {
			return Schedule{}, err
		}
		return c.view(ctx, s)
	}
}

// replacing is the patch that makes a schedule what is asked for.
func replacing(req CreateRequest) (schedules.Patch, error) {
	def, err := schedules.Normalize(req.Definition)
	if err != nil {
		return schedules.Patch{}, err
	}
	p := schedules.Patch{Spec: &def.Spec, Overlap: &def.Overlap, BufferLimit: &def.BufferLimit, CancelGrace: &def.CancelGrace, Catchup: &def.Catchup,
		CatchupWindow: &def.CatchupWindow, Queue: &def.Queue, Input: &def.Input}
	if req.Note != "" {
		p.Note = &req.Note
	}
	return p, nil
}

// UpdateSchedule changes the fields that the patch gives. Errors: *schedules.FieldError, schedules.ErrVersion, *NotFoundError.
func (c *Client) UpdateSchedule(ctx context.Context, id string, p schedules.Patch) (Schedule, error) {
	return c.EditSchedule(ctx, id, func(schedules.Schedule) (schedules.Patch, error) { return p, nil })
}

// EditSchedule changes a schedule by a patch that depends on what the schedule is. edit may be called several times, when others change the schedule
// at the same time.
func (c *Client) EditSchedule(ctx context.Context, id string, edit func(schedules.Schedule) (schedules.Patch, error)) (Schedule, error) {
	return c.change(ctx, id, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
		if st.Schedule.Status == schedules.StatusDeleted {
			return schedules.Change{}, schedules.ErrDeleted
		}
		p, err := edit(st.Schedule)
		if err == nil && p.Input != nil {
			err = c.limits.CheckInput(*p.Input)
		}
		if err == nil && p.Note != nil {
			err = c.limits.CheckNote("note", *p.Note)
		}
		if err != nil {
			return schedules.Change{}, err
		}
		return schedules.Update(st, now, p)
	})
}

// Pause stops regular ticks from coming due. A nil note leaves the note as it is.
func (c *Client) Pause(ctx context.Context, id string, note *string) (Schedule, error) {
	if err := c.checkNote(note); err != nil {
		return Schedule{}, err
	}
	return c.change(ctx, id, schedules.ReasonPaused, func(st schedules.State, now time.Time) (schedules.Change, error) {
		return schedules.Pause(st, now, note)
	})
}

// Resume lets regular ticks come due again, from now on. A nil note leaves the note as it is.
func (c *Client) Resume(ctx context.Context, id string, note *string) (Schedule, error) {
	if err := c.checkNote(note); err != nil {
		return Schedule{}, err
	}
	return c.change(ctx, id, "", func(st schedules.State, now time.Time) (schedules.Change, error) {
		return schedules.Resume(st, now, note)
	})
}

func (c *Client) checkNote(note *string) error {
	if note == nil {
		return nil
	}
	return c.limits.CheckNote("note", *note)
}

// Delete deletes a schedule; its record is kept under status deleted, its active runs go on. A declared schedule is refused with
// schedules.ErrDeclared.
func (c *Client) Delete(ctx context.Context, id string) (Schedule, error) {
	return c.delete(ctx, id, false)
}

func (c *Client) delete(ctx context.Context, id string, undeclared bool) (Schedule, error) {
	return c.change(ctx, id, schedules.ReasonDeleted, func(st schedules.State, now time.Time) (schedules.Change, error) {
		if st.Schedule.Status == schedules.StatusDeleted {
			return schedules.Change{}, schedules.ErrDeleted
		}
		return schedules.Delete(st, now, undeclared)
	})
}

// Reset returns what people changed on a declared schedule to its declaration.
func (c *Client) Reset(ctx context.Context, id string) (Schedule, error) {
	return c.change(ctx, id, "", schedules.Reset)
}

// change carries out an act on the current incarnation under an id and views the outcome.
func (c *Client) change(ctx context.Context, id, settleAs string, act func(schedules.State, time.Time) (schedules.Change, error)) (Schedule, error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return Schedule{}, err
	}
	if c.expect != 0 { // before anything is settled for the sake of an act that is refused
		s, _, err := c.load(ctx, ref)
		if err == nil {
			err = c.expecting(&s)
		}
		if err != nil {
			return Schedule{}, err
		}
	}
	s, err := c.act(ctx, ref, settleAs, func(st schedules.State, now time.Time) (schedules.Change, error) {
		if err := c.expecting(&st.Schedule); err != nil {
			return schedules.Change{}, err
		}
		return act(st, now)
	})
	if err != nil {
		return Schedule{}, err
	}
	return c.view(ctx, s)
}

// act carries out an act; a schedule that was deleted is not found.
func (c *Client) act(ctx context.Context, ref schedules.Ref, settleAs string, act func(schedules.State, time.Time) (schedules.Change, error)) (schedules.Schedule, error) {
	s, err := c.engine.Act(ctx, ref, settleAs, act)
	if errors.Is(err, schedules.ErrDeleted) {
		return s, &NotFoundError{Kind: "schedule", ID: ref.ID, Deleted: true}
	}
	return s, c.missing("schedule", ref.ID, err)
}

// TriggerRequest asks for a run now. The zero value uses the schedule's own overlap policy and input.
type TriggerRequest struct {
	Overlap schedules.OverlapPolicy // empty: the schedule's
	Input   json.RawMessage         // nil: the schedule's
	// IdempotencyKey makes a repeated call harmless: a second trigger of the same schedule with the same key starts nothing and gives the first one's result, whatever
	// else it asks for and whatever became of the run since. It holds as long as the schedule's history has the trigger's row (30 days, unless 10,000 newer ticks
	// push it out), and not for a schedule that was deleted and made anew. Empty: every call is a trigger of its own.
	IdempotencyKey string
}

// TriggerResult is what became of a trigger.
type TriggerResult struct {
	Outcome   schedules.FateKind `json:"outcome"` // started, buffered or skipped
	RunID     Text               `json:"run_id"`
	Reason    Text               `json:"reason"`
	BlockedBy string             `json:"-"` // the run that is in the way
}

// Trigger starts a run of the schedule now, whatever its timing; it works on a paused one. A trigger that the overlap policy skips is no
// error: see Outcome.
func (c *Client) Trigger(ctx context.Context, id string, req TriggerRequest) (TriggerResult, error) {
	if err := c.limits.CheckInput(req.Input); err != nil {
		return TriggerResult{}, err
	}
	if err := c.limits.CheckKey("idempotency_key", req.IdempotencyKey); err != nil {
		return TriggerResult{}, err
	}
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return TriggerResult{}, err
	}
	t := schedules.TriggerRequest{Nonce: nonce(), Overlap: req.Overlap, Input: req.Input}
	if req.IdempotencyKey != "" {
		t.Nonce = schedules.KeyNonce(req.IdempotencyKey)
	}
	var got schedules.TriggerResult
	_, err = c.act(ctx, ref, "", func(st schedules.State, now time.Time) (change schedules.Change, err error) {
		if req.IdempotencyKey != "" && st.Schedule.Status != schedules.StatusDeleted {
			// It is looked for after the state was read: a trigger that is not found was not committed before, and one committed since wins by the revision.
			f, err := c.store.FateByKey(ctx, ref, req.IdempotencyKey)
			if err == nil {
				got = schedules.TriggerAgain(ref, f)
				return schedules.Change{}, nil
			}
			if !errors.Is(err, store.ErrNotFound) {
				return schedules.Change{}, err
			}
		}
		change, got, err = schedules.TriggerNow(st, now, t)
		return change, err
	})
	return TriggerResult{Outcome: got.Outcome, RunID: Text(got.RunID), Reason: Text(got.Reason), BlockedBy: got.BlockedBy}, err
}

// GetSchedule reads a schedule, deleted or not, with what comes next, what waits and its latest fates.
func (c *Client) GetSchedule(ctx context.Context, id string) (ScheduleDetail, error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return ScheduleDetail{}, err
	}
	s, now, err := c.load(ctx, ref)
	if err != nil {
		return ScheduleDetail{}, err
	}
	d := ScheduleDetail{NextTicks: []Tick{}, RecentFates: []Fate{}}
	if d.Schedule, err = c.view(ctx, s); err != nil {
		return d, err
	}
	if s.Status == schedules.StatusActive {
		if d.NextTicks, err = ticksOf(s.Spec.Timezone, schedules.NextTicks(&s, now, 5)); err != nil {
			return d, err
		}
	}
	fates, _, err := c.store.ListFates(ctx, ref, store.FateFilter{}, store.Page{Limit: 10})
	if err != nil {
		return d, fmt.Errorf("read history of schedule %s: %w", id, err)
	}
	for _, f := range fates {
		d.RecentFates = append(d.RecentFates, viewFate(f))
	}
	if s.Waiting() > 0 {
		waiting, err := c.store.WaitingTicks(ctx, ref, 10)
		if err != nil {
			return d, fmt.Errorf("read waiting ticks of schedule %s: %w", id, err)
		}
		for _, w := range waiting {
			d.Waiting = append(d.Waiting, Waiting{NominalTime: Time{w.Tick.Nominal}, Trigger: w.Tick.Trigger, Since: Time{w.Since}, RunID: schedules.TickRunID(ref, w.Tick)})
		}
	}
	for _, id := range s.Backfills {
		bf, err := c.store.Backfill(ctx, id)
		if err != nil {
			return d, store.Named(err, "read backfill", id)
		}
		d.Backfills = append(d.Backfills, viewBackfill(bf))
	}
	return d, nil
}

func (c *Client) load(ctx context.Context, ref schedules.Ref) (schedules.Schedule, time.Time, error) {
	loaded, now, err := c.store.Load(ctx, ref)
	if err == nil {
		err = loaded[0].Err
	}
	if err != nil {
		return schedules.Schedule{}, now, c.missing("schedule", ref.ID, store.Named(err, "load schedule", ref.ID))
	}
	return loaded[0].State.Schedule, now, nil
}

// ScheduleFilter narrows and orders lists of schedules; zero fields do not. Deleted schedules are listed only for Status deleted.
type ScheduleFilter = store.ScheduleFilter

// Schedules walks all schedules that match, by id.
func (c *Client) Schedules(ctx context.Context, f ScheduleFilter) iter.Seq2[Schedule, error] {
	return walk(func(p PageRequest) (Page[Schedule], error) { return c.ListSchedules(ctx, f, p) })
}

// ListSchedules lists schedules that match, by id or in the order the filter asks for. Of a filter that few schedules pass, a page may have fewer items than its limit,
// even none, and a cursor to go on from: a call looks for about a tenth of a second. Errors: *schedules.FieldError.
func (c *Client) ListSchedules(ctx context.Context, f ScheduleFilter, p PageRequest) (Page[Schedule], error) {
	if err := checkScheduleFilter(f); err != nil {
		return Page[Schedule]{}, err
	}
	b := c.newBlockers()
	return pageAll(p, func(p store.Page) ([]schedules.Schedule, string, error) { return c.store.ListSchedules(ctx, f, p) },
		func(all []schedules.Schedule) ([]Schedule, error) { return c.viewAll(ctx, b, all) })
}

func checkScheduleFilter(f ScheduleFilter) error {
	bad := func(field, value, problem string) error {
		return &schedules.FieldError{Field: field, Value: value, Problem: problem}
	}
	switch f.Status {
	case "", schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished, schedules.StatusDeleted:
	default:
		return bad("status", string(f.Status), "must be active, paused, finished or deleted")
	}
	switch f.Overlap {
	case "", schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll, schedules.OverlapCancelOther, schedules.OverlapAllowAll:
	default:
		return bad("overlap", string(f.Overlap), "must be skip, buffer_one, buffer_all, cancel_other or allow_all")
	}
	switch f.Sort {
	case "", store.SortID, store.SortNext:
		return nil
	default:
		return bad("sort", f.Sort, "must be id or next")
	}
}

// Revisions gives a number for each schedule that stays the same as long as nothing about it has changed: its definition, status, next tick, counters, history, the
// set of its active runs. Whether a run that is active already waits or executes is not part of it. The number itself means nothing; it fits a JSON number. An id that
// was never used has none. It costs two small reads a schedule, in two round trips for all.
func (c *Client) Revisions(ctx context.Context, ids []string) (map[string]int64, error) {
	revs, err := c.store.Revisions(ctx, ids...)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(revs))
	for i, r := range revs {
		if r.Ref.ID == "" {
			continue
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(r.Ref.Incarnation)) // a schedule that was made anew counts from 1 again
		out[ids[i]] = int64(h.Sum32()&0xfffff)<<32 + r.Revision
	}
	return out, nil
}

// FateFilter narrows History; zero fields do not.
type FateFilter = store.FateFilter

// History walks the fates of a schedule's ticks, the newest nominal time first.
func (c *Client) History(ctx context.Context, id string, f FateFilter) iter.Seq2[Fate, error] {
	return walk(func(p PageRequest) (Page[Fate], error) { return c.ListHistory(ctx, id, f, p) })
}

// ListHistory lists the fates of a schedule's ticks, the newest nominal time first.
func (c *Client) ListHistory(ctx context.Context, id string, f FateFilter, p PageRequest) (Page[Fate], error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return Page[Fate]{}, err
	}
	return page(p, func(p store.Page) ([]schedules.Fate, string, error) { return c.store.ListFates(ctx, ref, f, p) },
		func(f schedules.Fate) (Fate, error) { return viewFate(f), nil })
}

// pageTime is how long a page goes on looking for items that pass a filter.
const pageTime = 100 * time.Millisecond

// pageAll reads pages of a store until the request is filled, since a store may return less than asked for, or pageTime is over.
func pageAll[From, To any](req PageRequest, read func(store.Page) ([]From, string, error), view func([]From) ([]To, error)) (Page[To], error) {
	out := Page[To]{Items: []To{}}
	limit := cmp.Or(req.Limit, 100)
	p := store.Page{Cursor: req.Cursor}
	for began := time.Now(); ; {
		p.Limit = limit - len(out.Items)
		items, next, err := read(p)
		if err != nil {
			return out, err
		}
		views, err := view(items)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, views...)
		if next == "" || len(out.Items) >= limit || time.Since(began) >= pageTime {
			out.NextCursor = Text(next)
			return out, nil
		}
		p.Cursor = next
	}
}

// page is pageAll with a view of one item.
func page[From, To any](req PageRequest, read func(store.Page) ([]From, string, error), view func(From) (To, error)) (Page[To], error) {
	return pageAll(req, read, func(items []From) ([]To, error) {
		out := make([]To, len(items))
		for i, it := range items {
			var err error
			if out[i], err = view(it); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// walk goes through all pages.
func walk[T any](read func(PageRequest) (Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := PageRequest{Limit: 500}
		for {
			got, err := read(p)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, it := range got.Items {
				if !yield(it, nil) {
					return
				}
			}
			if got.NextCursor == "" {
				return
			}
			p.Cursor = string(got.NextCursor)
		}
	}
}
