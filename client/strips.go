package client

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// maxStripTicks is the most ticks of a strip or a timeline.
const maxStripTicks = 1000

// Strip is a schedule's latest ticks with what became of their runs, for a row of a list.
type Strip struct {
	Ticks       []StripTick `json:"ticks"`        // oldest nominal time first
	SuccessRate *float64    `json:"success_rate"` // of the runs in it that completed or failed, the part that completed, 0 to 1; null when there is none
	P50         Duration    `json:"p50"`          // half of the completed runs in it took no longer; none: none completed
	P95         Duration    `json:"p95"`          // 95 of 100 of them took no longer
}

// StripTick is one tick of a Strip.
type StripTick struct {
	NominalTime Time                `json:"nominal_time"`
	Trigger     schedules.Trigger   `json:"trigger"`
	Fate        schedules.FateKind  `json:"fate"`
	Reason      Text                `json:"reason"`
	RunID       Text                `json:"run_id"`
	RunStatus   schedules.RunStatus `json:"run_status"` // empty: it has no run, or the run is no longer kept
	Took        Duration            `json:"took"`       // from the first claim to the end; none: it has not ended, or was never begun
}

// Strips gives the latest n ticks (at most 1,000) of each schedule, by its id. An id that was never used has none. The cost follows the number of ticks, in three round
// trips for all.
func (c *Client) Strips(ctx context.Context, ids []string, n int) (map[string]Strip, error) {
	out := make(map[string]Strip, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	revs, err := c.store.Revisions(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var refs []schedules.Ref
	for _, r := range revs {
		if r.Ref.ID != "" {
			refs = append(refs, r.Ref)
		}
	}
	histories, runs, err := c.recent(ctx, refs, n)
	if err != nil {
		return nil, err
	}
	for i, ref := range refs {
		out[ref.ID] = strip(histories[i], runs)
	}
	return out, nil
}

// recent reads the latest ticks of schedules, newest first, and the runs that they have.
func (c *Client) recent(ctx context.Context, refs []schedules.Ref, n int) ([][]schedules.Fate, map[string]schedules.Run, error) {
	if len(refs) == 0 {
		return nil, nil, nil
	}
	histories, err := c.store.RecentFates(ctx, refs, min(n, maxStripTicks))
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	for _, fates := range histories {
		for _, f := range fates {
			if f.Fate == schedules.FateStarted {
				ids = append(ids, f.RunID)
			}
		}
	}
	if len(ids) == 0 {
		return histories, nil, nil
	}
	runs, err := c.store.RunHeads(ctx, ids...)
	return histories, runs, err
}

func strip(fates []schedules.Fate, runs map[string]schedules.Run) Strip {
	s := Strip{Ticks: make([]StripTick, 0, len(fates))}
	var took []time.Duration
	completed, failed := 0, 0
	for _, f := range slices.Backward(fates) {
		t := StripTick{NominalTime: Time{f.Tick.Nominal}, Trigger: f.Tick.Trigger, Fate: f.Fate, Reason: Text(f.Reason), RunID: Text(f.RunID)}
		if r, ok := runs[f.RunID]; ok && f.Fate == schedules.FateStarted {
			t.RunStatus, t.Took = r.Status, Duration{schedules.Duration(span(&r))}
			switch r.Status {
			case schedules.RunCompleted:
				completed++
				took = append(took, span(&r))
			case schedules.RunFailed:
				failed++
			}
		}
		s.Ticks = append(s.Ticks, t)
	}
	if all := completed + failed; all > 0 {
		rate := float64(completed) / float64(all)
		s.SuccessRate = &rate
	}
	slices.Sort(took)
	s.P50, s.P95 = quantile(took, 0.5), quantile(took, 0.95)
	return s
}

// span is how long a run that has ended took, at least a millisecond; zero for any other.
func span(r *schedules.Run) time.Duration {
	if r.EndedAt.IsZero() || r.StartedAt.IsZero() {
		return 0
	}
	return max(time.Millisecond, r.EndedAt.Sub(r.StartedAt))
}

// quantile is the smallest of sorted spans that a part of them does not exceed.
func quantile(sorted []time.Duration, part float64) Duration {
	if len(sorted) == 0 {
		return Duration{}
	}
	i := int(math.Ceil(part*float64(len(sorted)))) - 1
	return Duration{schedules.Duration(sorted[max(0, i)])}
}

// TimelineTick is one tick of a schedule with the time its run took, for a picture.
type TimelineTick struct {
	Fate
	Status  schedules.RunStatus `json:"run_status"` // of its run; empty: it has none, or the run is no longer kept
	Started Time                `json:"started_at"` // the first claim; none: it has not begun
	Ended   Time                `json:"ended_at"`   // none: it has not ended
	Attempt int                 `json:"attempt"`    // of its run; 0: none
	Worker  Text                `json:"worker"`     // that claimed it last
}

// Timeline gives the latest n ticks (at most 1,000) of a schedule, the newest nominal time first, each with when its run began and ended: *NotFoundError. It takes
// three round trips.
func (c *Client) Timeline(ctx context.Context, id string, n int) ([]TimelineTick, error) {
	ref, err := c.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	histories, runs, err := c.recent(ctx, []schedules.Ref{ref}, n)
	if err != nil {
		return nil, err
	}
	out := make([]TimelineTick, 0, len(histories[0]))
	for _, f := range histories[0] {
		t := TimelineTick{Fate: viewFate(f)}
		if r, ok := runs[f.RunID]; ok && f.Fate == schedules.FateStarted {
			t.Status, t.Started, t.Ended, t.Attempt, t.Worker = r.Status, Time{r.StartedAt}, Time{r.EndedAt}, r.Attempt, Text(r.Worker)
		}
		out = append(out, t)
	}
	return out, nil
}
