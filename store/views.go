package store

import (
	"context"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Views reads what lists and pictures show: of many schedules or runs at once, in a few round trips however many there are, and without what may be large. None of
// it is what decisions are made on: counts and records of one answer need not be of one instant.
type Views interface {
	// Revisions gives the current incarnation under each id and its revision, in the order of ids; one that was never used has the zero Ref.
	Revisions(ctx context.Context, ids ...string) ([]Revision, error)
	// ActiveRunsOf is ActiveRuns of each schedule, in the order of refs.
	ActiveRunsOf(ctx context.Context, refs []schedules.Ref, limit int) ([][]string, error)
	// RecentFates gives the newest nominal times of each schedule's history, newest first, at most limit, in the order of refs.
	RecentFates(ctx context.Context, refs []schedules.Ref, limit int) ([][]schedules.Fate, error)
	// RunHeads reads runs without input, result and error, by id; those that do not exist are left out.
	RunHeads(ctx context.Context, ids ...string) (map[string]schedules.Run, error)
	// StepsOf is Steps of each run, in the order of ids. What cannot be read is left out.
	StepsOf(ctx context.Context, ids ...string) ([][]schedules.Step, error)
	// Counts counts schedules and runs.
	Counts(ctx context.Context, since time.Time) (Counts, error)
	// TickCounts counts, for each i, the active schedules whose next tick is due in [bounds[i], bounds[i+1]). Bounds ascend.
	TickCounts(ctx context.Context, bounds []time.Time) ([]int64, error)
	// MissedTicks lists regular ticks that were decided to be missed since a time, the latest decision first, at most limit. Only those of the last MissedFor, and
	// of each shard only the latest MissedMost, need be known.
	MissedTicks(ctx context.Context, since time.Time, limit int) ([]MissedTick, error)
	// FateByKey finds what became of the trigger with the idempotency key: ErrNotFound when the schedule's history has none. It sees all that was committed before it is called.
	FateByKey(ctx context.Context, ref schedules.Ref, key string) (schedules.Fate, error)
}

const (
	// MissedFor is how long a store has to know missed ticks by the time of their decision. A schedule's own history has them longer.
	MissedFor = 24 * time.Hour
	// MissedMost is how many of a shard.
	MissedMost = 1000
)

// Revision is the current incarnation of a schedule and its revision.
type Revision struct {
	Ref      schedules.Ref
	Revision int64
}

// Counts is how much there is.
type Counts struct {
	Schedules map[schedules.Status]int64 // current incarnations, deleted ones too
	Active    int64                      // runs that have not ended

	// Of runs created since the time asked for.
	Created   int64
	Ongoing   int64 // of Created: not ended
	Failed    int64
	Cancelled int64
	Missed    int64 // ticks decided to be missed since then, as far as MissedTicks knows them
}

// MissedTick is a regular tick that was missed.
type MissedTick struct {
	Ref  schedules.Ref
	Fate schedules.Fate
}
