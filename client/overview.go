package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	upcomingExact = 2000    // of so many schedules every tick of the picture is counted
	upcomingTicks = 100_000 // so many at most
	upcomingNext  = 20      // ticks listed one by one
	upcomingMost  = 1440    // stretches of one picture
	overviewItems = 20      // of each list of an overview
)

// Upcoming shows where regular ticks pile up: how many will be due in each of some stretches of time of one length. Runs are taken to last no time.
type Upcoming struct {
	From     Time               `json:"from"`
	Width    schedules.Duration `json:"width"`    // of one stretch
	Counts   []int64            `json:"counts"`   // ticks due in each stretch, in order
	Complete bool               `json:"complete"` // false: there are so many schedules that of some only the next tick is counted
	Next     []UpcomingTick     `json:"next"`     // the first 20 ticks due from From on, in order; of each schedule only the next one unless Complete
}

// UpcomingTick is a tick to come.
type UpcomingTick struct {
	NominalTime Time   `json:"nominal_time"`
	DueAt       Time   `json:"due_at"` // the nominal time plus jitter
	ScheduleID  string `json:"schedule_id"`
	Workflow    string `json:"workflow"`
}

// Upcoming counts the regular ticks that will be due in n stretches (1 to 1440) of a width each, the first from `from` on (zero: now): an hour as a picture is Upcoming(ctx,
// time.Time{}, time.Minute, 60). With up to 2,000 schedules due by then every tick is counted; with more, the next one of each. Errors: *schedules.FieldError.
func (c *Client) Upcoming(ctx context.Context, from time.Time, width time.Duration, n int) (Upcoming, error) {
	if width < time.Millisecond {
		return Upcoming{}, &schedules.FieldError{Field: "width", Value: width.String(), Problem: "must be 1ms or longer"}
	}
	if n < 1 || n > upcomingMost {
		return Upcoming{}, &schedules.FieldError{Field: "count", Value: strconv.Itoa(n), Problem: "must be from 1 to " + strconv.Itoa(upcomingMost)}
	}
	if from.IsZero() {
		var err error
		if from, err = c.store.Now(ctx); err != nil {
			return Upcoming{}, err
		}
	}
	bounds := make([]time.Time, n+1)
	for i := range bounds {
		bounds[i] = from.Add(time.Duration(i) * width)
	}
	u := Upcoming{From: Time{from.UTC()}, Width: schedules.Duration(width), Counts: make([]int64, n), Complete: true, Next: []UpcomingTick{}}
	due, err := c.store.TickCounts(ctx, []time.Time{time.UnixMilli(0), bounds[n]})
	if err != nil {
		return u, err
	}
	if u.Complete = due[0] <= upcomingExact; u.Complete {
		return u, c.expand(ctx, &u, bounds[n])
	}
	if u.Counts, err = c.store.TickCounts(ctx, bounds); err != nil {
		return u, err
	}
	first, _, err := c.store.ListSchedules(ctx, store.ScheduleFilter{Sort: store.SortNext}, store.Page{Limit: 100})
	if err != nil {
		return u, err
	}
	for i := range first {
		if s := &first[i]; !s.NextDue.Before(from) && s.NextDue.Before(bounds[n]) {
			u.list(s, schedules.DueTick{Nominal: s.NextNominal, Due: s.NextDue})
		}
	}
	return u, nil
}

// expand counts every tick of the schedules that are due before the end.
func (c *Client) expand(ctx context.Context, u *Upcoming, end time.Time) error {
	room := upcomingTicks
	p := store.Page{Limit: 1000}
	for {
		list, next, err := c.store.ListSchedules(ctx, store.ScheduleFilter{Sort: store.SortNext}, p)
		if err != nil {
			return err
		}
		for i := range list {
			s := &list[i]
			if !s.NextDue.Before(end) {
				return nil
			}
			ticks := schedules.TicksBefore(s, end, max(1, room))
			if room -= len(ticks); room <= 0 {
				u.Complete = false
			}
			for _, t := range ticks {
				if t.Due.Before(u.From.Time) {
					continue
				}
				u.Counts[t.Due.Sub(u.From.Time)/time.Duration(u.Width)]++
				u.list(s, t)
			}
		}
		if next == "" {
			return nil
		}
		p.Cursor = next
	}
}

// list keeps the first ticks.
func (u *Upcoming) list(s *schedules.Schedule, t schedules.DueTick) {
	n := len(u.Next)
	if n == upcomingNext && !t.Due.Before(u.Next[n-1].DueAt.Time) {
		return
	}
	at, _ := slices.BinarySearchFunc(u.Next, t.Due, func(e UpcomingTick, due time.Time) int {
		if e.DueAt.After(due) {
			return 1
		}
		return -1 // those of one instant stay in the order they come in
	})
	u.Next = slices.Insert(u.Next, at, UpcomingTick{NominalTime: Time{t.Nominal}, DueAt: Time{t.Due}, ScheduleID: s.ID, Workflow: s.Workflow})
	u.Next = u.Next[:min(len(u.Next), upcomingNext)]
}

// Overview is the state of everything at a glance. Its numbers and lists are read one after the other, not at one instant.
type Overview struct {
	Now        Time                       `json:"now"`
	Store      string                     `json:"store"`
	Schedules  map[schedules.Status]int64 `json:"schedules"`   // by status, each status given
	ActiveRuns int64                      `json:"active_runs"` // runs that have not ended
	Running    []Run                      `json:"running"`     // of them, those that a worker executes: the newest 20, without input, steps and result

	// Of runs created in the last 24 hours.
	Completed int64 `json:"completed_runs"`
	Failed    int64 `json:"failed_runs"`
	Cancelled int64 `json:"cancelled_runs"`
	Missed    int64 `json:"missed_ticks"` // ticks decided to be missed in the last 24 hours; after an outage that missed very many, of each of the store's 16 shards the latest 1,000

	FailedRuns  []Run        `json:"latest_failed_runs"`  // of the last 24 hours, the newest 20, without input, steps and result
	MissedTicks []MissedTick `json:"latest_missed_ticks"` // the latest 20
	Processes   []Process    `json:"processes"`
	Queues      []Queue      `json:"queues"`
}

// MissedTick is a regular tick that was missed.
type MissedTick struct {
	ScheduleID string `json:"schedule_id"`
	Fate
}

// Overview reads the state of everything at a glance. Its cost follows the number of live processes and queues, not that of schedules or runs.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return Overview{}, err
	}
	day := now.Add(-24 * time.Hour)
	counts, err := c.store.Counts(ctx, day)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Now: Time{now}, Store: c.store.Describe(), Schedules: map[schedules.Status]int64{}, ActiveRuns: counts.Active,
		Completed: max(0, counts.Created-counts.Ongoing-counts.Failed-counts.Cancelled), Failed: counts.Failed, Cancelled: counts.Cancelled, Missed: counts.Missed,
		MissedTicks: []MissedTick{}}
	for _, st := range []schedules.Status{schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished, schedules.StatusDeleted} {
		o.Schedules[st] = counts.Schedules[st]
	}
	if o.Running, err = c.latestRuns(ctx, store.RunFilter{Status: schedules.RunRunning}); err != nil {
		return o, err
	}
	if o.FailedRuns, err = c.latestRuns(ctx, store.RunFilter{Status: schedules.RunFailed, Since: day}); err != nil {
		return o, err
	}
	missed, err := c.store.MissedTicks(ctx, day, overviewItems)
	if err != nil {
		return o, err
	}
	for _, m := range missed {
		o.MissedTicks = append(o.MissedTicks, MissedTick{ScheduleID: m.Ref.ID, Fate: viewFate(m.Fate)})
	}
	procs, err := c.store.Processes(ctx)
	if err != nil {
		return o, fmt.Errorf("read live processes: %w", err)
	}
	o.Processes = viewProcesses(procs)
	o.Queues, err = c.queuesOf(ctx, procs)
	return o, err
}

// latestRuns reads the newest runs that pass a filter, as far as one call of the store finds them.
func (c *Client) latestRuns(ctx context.Context, f store.RunFilter) ([]Run, error) {
	runs, _, err := c.store.ListRuns(ctx, f, store.Page{Limit: overviewItems})
	if err != nil {
		return nil, err
	}
	out := make([]Run, len(runs))
	for i, r := range runs {
		r.Input, r.Result = nil, nil
		out[i] = viewDamaged(r, nil)
	}
	return out, nil
}
