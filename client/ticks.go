package client

import (
	"context"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// maxTicks is the most ticks a preview gives.
const maxTicks = 10_000

// TicksRequest asks for the nominal times to come.
type TicksRequest struct {
	After time.Time // strictly after; zero: now
	Until time.Time // exclusive; zero: no bound
	Count int       // at most so many; 0: 5, or with Until as many as there are, but never more than 10,000
}

// Preview gives the nominal times of a spec, runs taken to last no time. It needs no store. now is used where the request says no After.
func Preview(spec schedules.Spec, req TicksRequest, now time.Time) ([]Tick, error) {
	t, err := schedules.Compile(spec)
	if err != nil {
		return nil, err
	}
	base := t.StartAt()
	if base.IsZero() {
		base = after(req, now)
	}
	return preview(spec.Timezone, req, now, func(at time.Time) (time.Time, bool) { return t.NextFrom(base, at, false) })
}

// NextTicks gives the nominal times to come of a stored schedule, from where it stands, whatever its status.
func (c *Client) NextTicks(ctx context.Context, id string, req TicksRequest) ([]Tick, error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	s, now, err := c.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	return preview(s.Spec.Timezone, req, now, func(at time.Time) (time.Time, bool) {
		next := schedules.NextTicks(&s, at, 1)
		if len(next) == 0 {
			return time.Time{}, false
		}
		return next[0], true
	})
}

func after(req TicksRequest, now time.Time) time.Time {
	if req.After.IsZero() {
		return now
	}
	return req.After
}

func preview(timezone string, req TicksRequest, now time.Time, next func(time.Time) (time.Time, bool)) ([]Tick, error) {
	limit := req.Count
	switch {
	case limit < 0:
		return nil, &schedules.FieldError{Field: "count", Value: fmt.Sprint(limit), Problem: "must be 1 or more"}
	case limit > maxTicks:
		return nil, &schedules.FieldError{Field: "count", Value: fmt.Sprint(limit), Problem: "is too many; 10000 is the most"}
	case limit == 0 && req.Until.IsZero():
		limit = 5
	case limit == 0:
		limit = maxTicks
	}
	at := after(req, now)
	if !req.Until.IsZero() && !req.Until.After(at) {
		return nil, &schedules.FieldError{Field: "until", Value: req.Until.Format(time.RFC3339Nano), Problem: "must be later than after " + at.Format(time.RFC3339Nano)}
	}
	var times []time.Time
	for len(times) < limit {
		t, ok := next(at)
		if !ok || !req.Until.IsZero() && !t.Before(req.Until) {
			break
		}
		times = append(times, t)
		at = t
	}
	return ticksOf(timezone, times)
}

// ticksOf shows times in a zone as well.
func ticksOf(timezone string, times []time.Time) ([]Tick, error) {
	loc, err := time.LoadLocation(timezone)
	if err != nil {
		return nil, fmt.Errorf("load zone %s: %w", timezone, err)
	}
	out := []Tick{}
	for _, t := range times {
		out = append(out, Tick{NominalTime: Time{t.UTC()}, LocalTime: Zoned{t.In(loc)}})
	}
	return out, nil
}
