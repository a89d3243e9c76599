package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Store gives a store whose calls are timed and counted, failures apart from refusals. Whoever uses st through it is counted; st stays the caller's to close.
func (m *Metrics) Store(st store.Store) store.Store { return &countedStore{Store: st, m: m} }

type countedStore struct {
	store.Store
	m *Metrics
}

// done counts a call: each of errs is the answer to one part of it.
func (s *countedStore) done(op string, began time.Time, errs ...error) {
	s.m.storeTime.WithLabelValues(op).Observe(time.Since(began).Seconds())
	for _, err := range errs {
		s.m.countError(op, err)
	}
}

func (m *Metrics) countError(op string, err error) {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrStale), errors.Is(err, store.ErrClock):
		m.storeConflicts.WithLabelValues(op).Inc()
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists):
	default:
		var input *schedules.FieldError
		if !errors.As(err, &input) { // a bad cursor is the caller's
			m.storeErrors.WithLabelValues(op).Inc()
		}
	}
}

// Listen counts it when listening fails.
func (s *countedStore) Listen(ctx context.Context, wake func(store.Wake)) error {
	err := s.Store.Listen(ctx, wake)
	if ctx.Err() == nil {
		s.m.countError("listen", err)
	}
	return err
}

// Now counts the call.
func (s *countedStore) Now(ctx context.Context) (time.Time, error) {
	began := time.Now()
	a, err := s.Store.Now(ctx)
	s.done("now", began, err)
	return a, err
}

// Resolve counts the call.
func (s *countedStore) Resolve(ctx context.Context, id string) (schedules.Ref, error) {
	began := time.Now()
	a, err := s.Store.Resolve(ctx, id)
	s.done("resolve", began, err)
	return a, err
}

// Load counts the call.
func (s *countedStore) Load(ctx context.Context, refs ...schedules.Ref) ([]store.Loaded, time.Time, error) {
	began := time.Now()
	a, b, err := s.Store.Load(ctx, refs...)
	s.done("load", began, err)
	return a, b, err
}

// Commit counts the call, and each refusal.
func (s *countedStore) Commit(ctx context.Context, changes ...schedules.Change) []error {
	began := time.Now()
	errs := s.Store.Commit(ctx, changes...)
	s.done("commit", began, errs...)
	return errs
}

// ListSchedules counts the call.
func (s *countedStore) ListSchedules(ctx context.Context, f store.ScheduleFilter, p store.Page) ([]schedules.Schedule, string, error) {
	began := time.Now()
	a, b, err := s.Store.ListSchedules(ctx, f, p)
	s.done("list_schedules", began, err)
	return a, b, err
}

// ActiveRuns counts the call.
func (s *countedStore) ActiveRuns(ctx context.Context, ref schedules.Ref, limit int) ([]string, error) {
	began := time.Now()
	a, err := s.Store.ActiveRuns(ctx, ref, limit)
	s.done("active_runs", began, err)
	return a, err
}

// WaitingTicks counts the call.
func (s *countedStore) WaitingTicks(ctx context.Context, ref schedules.Ref, limit int) ([]schedules.WaitingTick, error) {
	began := time.Now()
	a, err := s.Store.WaitingTicks(ctx, ref, limit)
	s.done("waiting_ticks", began, err)
	return a, err
}

// ListFates counts the call.
func (s *countedStore) ListFates(ctx context.Context, ref schedules.Ref, f store.FateFilter, p store.Page) ([]schedules.Fate, string, error) {
	began := time.Now()
	a, b, err := s.Store.ListFates(ctx, ref, f, p)
	s.done("list_fates", began, err)
	return a, b, err
}

// Backfill counts the call.
func (s *countedStore) Backfill(ctx context.Context, id string) (schedules.Backfill, error) {
	began := time.Now()
	a, err := s.Store.Backfill(ctx, id)
	s.done("backfill", began, err)
	return a, err
}

// ListBackfills counts the call.
func (s *countedStore) ListBackfills(ctx context.Context, scheduleID string, p store.Page) ([]schedules.Backfill, string, error) {
	began := time.Now()
	a, b, err := s.Store.ListBackfills(ctx, scheduleID, p)
	s.done("list_backfills", began, err)
	return a, b, err
}

// DueTicks counts the call.
func (s *countedStore) DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error) {
	began := time.Now()
	a, err := s.Store.DueTicks(ctx, shard, until, limit)
	s.done("due_ticks", began, err)
	return a, err
}

// DueTimers counts the call.
func (s *countedStore) DueTimers(ctx context.Context, shard int, until time.Time, limit int) ([]store.Timer, error) {
	began := time.Now()
	a, err := s.Store.DueTimers(ctx, shard, until, limit)
	s.done("due_timers", began, err)
	return a, err
}

// ExpiredLeases counts the call.
func (s *countedStore) ExpiredLeases(ctx context.Context, shard int, until time.Time, limit int) ([]store.LeaseEntry, error) {
	began := time.Now()
	a, err := s.Store.ExpiredLeases(ctx, shard, until, limit)
	s.done("expired_leases", began, err)
	return a, err
}

// CreateRun counts the call.
func (s *countedStore) CreateRun(ctx context.Context, run schedules.Run) (schedules.Run, bool, error) {
	began := time.Now()
	a, b, err := s.Store.CreateRun(ctx, run)
	s.done("create_run", began, err)
	return a, b, err
}

// GetRun counts the call.
func (s *countedStore) GetRun(ctx context.Context, id string) (schedules.Run, error) {
	began := time.Now()
	a, err := s.Store.GetRun(ctx, id)
	s.done("get_run", began, err)
	return a, err
}

// ListRuns counts the call.
func (s *countedStore) ListRuns(ctx context.Context, f store.RunFilter, p store.Page) ([]schedules.Run, string, error) {
	began := time.Now()
	a, b, err := s.Store.ListRuns(ctx, f, p)
	s.done("list_runs", began, err)
	return a, b, err
}

// Claim counts the call.
func (s *countedStore) Claim(ctx context.Context, id string, dispatch int, c store.Claim) (schedules.Run, error) {
	began := time.Now()
	a, err := s.Store.Claim(ctx, id, dispatch, c)
	s.done("claim", began, err)
	return a, err
}

// Heartbeat counts the call.
func (s *countedStore) Heartbeat(ctx context.Context, beats []store.Heartbeat) ([]store.HeartbeatAnswer, error) {
	began := time.Now()
	a, err := s.Store.Heartbeat(ctx, beats)
	s.done("heartbeat", began, err)
	return a, err
}

// CommitRun counts the call.
func (s *countedStore) CommitRun(ctx context.Context, c schedules.RunChange) error {
	began := time.Now()
	err := s.Store.CommitRun(ctx, c)
	s.done("commit_run", began, err)
	return err
}

// RecordStep counts the call.
func (s *countedStore) RecordStep(ctx context.Context, id string, dispatch int, step schedules.Step) error {
	began := time.Now()
	err := s.Store.RecordStep(ctx, id, dispatch, step)
	s.done("record_step", began, err)
	return err
}

// Steps counts the call.
func (s *countedStore) Steps(ctx context.Context, id string) ([]schedules.Step, error) {
	began := time.Now()
	a, err := s.Store.Steps(ctx, id)
	s.done("steps", began, err)
	return a, err
}

// AppendEvents counts the call.
func (s *countedStore) AppendEvents(ctx context.Context, id string, events ...schedules.Event) error {
	began := time.Now()
	err := s.Store.AppendEvents(ctx, id, events...)
	s.done("append_events", began, err)
	return err
}

// Events counts the call.
func (s *countedStore) Events(ctx context.Context, id string, after int64, limit int) ([]schedules.Event, int64, error) {
	began := time.Now()
	a, b, err := s.Store.Events(ctx, id, after, limit)
	s.done("events", began, err)
	return a, b, err
}

// Unsent counts the call.
func (s *countedStore) Unsent(ctx context.Context, shard int, until time.Time, limit int) ([]store.Message, error) {
	began := time.Now()
	a, err := s.Store.Unsent(ctx, shard, until, limit)
	s.done("unsent", began, err)
	return a, err
}

// StrikeOff counts the call.
func (s *countedStore) StrikeOff(ctx context.Context, msgs ...store.Message) error {
	began := time.Now()
	err := s.Store.StrikeOff(ctx, msgs...)
	s.done("strike_off", began, err)
	return err
}

// HoldLeases counts the call.
func (s *countedStore) HoldLeases(ctx context.Context, holder string, ttl time.Duration, names ...string) ([]string, error) {
	began := time.Now()
	a, err := s.Store.HoldLeases(ctx, holder, ttl, names...)
	s.done("hold_leases", began, err)
	return a, err
}

// ReleaseLeases counts the call.
func (s *countedStore) ReleaseLeases(ctx context.Context, holder string, names ...string) error {
	began := time.Now()
	err := s.Store.ReleaseLeases(ctx, holder, names...)
	s.done("release_leases", began, err)
	return err
}

// LeaseHolders counts the call.
func (s *countedStore) LeaseHolders(ctx context.Context, names ...string) ([]string, error) {
	began := time.Now()
	a, err := s.Store.LeaseHolders(ctx, names...)
	s.done("lease_holders", began, err)
	return a, err
}

// AnnounceProcess counts the call.
func (s *countedStore) AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error {
	began := time.Now()
	err := s.Store.AnnounceProcess(ctx, p, ttl)
	s.done("announce_process", began, err)
	return err
}

// WithdrawProcess counts the call.
func (s *countedStore) WithdrawProcess(ctx context.Context, id string) error {
	began := time.Now()
	err := s.Store.WithdrawProcess(ctx, id)
	s.done("withdraw_process", began, err)
	return err
}

// Processes counts the call.
func (s *countedStore) Processes(ctx context.Context) ([]store.Process, error) {
	began := time.Now()
	a, err := s.Store.Processes(ctx)
	s.done("processes", began, err)
	return a, err
}

// PublishWorkflows counts the call.
func (s *countedStore) PublishWorkflows(ctx context.Context, ws ...store.Workflow) error {
	began := time.Now()
	err := s.Store.PublishWorkflows(ctx, ws...)
	s.done("publish_workflows", began, err)
	return err
}

// Workflows counts the call.
func (s *countedStore) Workflows(ctx context.Context) ([]store.Workflow, error) {
	began := time.Now()
	a, err := s.Store.Workflows(ctx)
	s.done("workflows", began, err)
	return a, err
}

// Trim counts the call.
func (s *countedStore) Trim(ctx context.Context, shard int, l store.Limits) (bool, error) {
	began := time.Now()
	a, err := s.Store.Trim(ctx, shard, l)
	s.done("trim", began, err)
	return a, err
}

// Audit counts the call.
func (s *countedStore) Audit(ctx context.Context, shard, limit int) (store.Audited, error) {
	began := time.Now()
	a, err := s.Store.Audit(ctx, shard, limit)
	s.done("audit", began, err)
	return a, err
}

// Reindex counts the call.
func (s *countedStore) Reindex(ctx context.Context, of ...store.Timer) ([]store.Mend, error) {
	began := time.Now()
	a, err := s.Store.Reindex(ctx, of...)
	s.done("reindex", began, err)
	return a, err
}

// Revisions counts the call.
func (s *countedStore) Revisions(ctx context.Context, ids ...string) ([]store.Revision, error) {
	began := time.Now()
	a, err := s.Store.Revisions(ctx, ids...)
	s.done("revisions", began, err)
	return a, err
}

// ActiveRunsOf counts the call.
func (s *countedStore) ActiveRunsOf(ctx context.Context, refs []schedules.Ref, limit int) ([][]string, error) {
	began := time.Now()
	a, err := s.Store.ActiveRunsOf(ctx, refs, limit)
	s.done("active_runs_of", began, err)
	return a, err
}

// RecentFates counts the call.
func (s *countedStore) RecentFates(ctx context.Context, refs []schedules.Ref, limit int) ([][]schedules.Fate, error) {
	began := time.Now()
	a, err := s.Store.RecentFates(ctx, refs, limit)
	s.done("recent_fates", began, err)
	return a, err
}

// RunHeads counts the call.
func (s *countedStore) RunHeads(ctx context.Context, ids ...string) (map[string]schedules.Run, error) {
	began := time.Now()
	a, err := s.Store.RunHeads(ctx, ids...)
	s.done("run_heads", began, err)
	return a, err
}

// StepsOf counts the call.
func (s *countedStore) StepsOf(ctx context.Context, ids ...string) ([][]schedules.Step, error) {
	began := time.Now()
	a, err := s.Store.StepsOf(ctx, ids...)
	s.done("steps_of", began, err)
	return a, err
}

// Counts counts the call.
func (s *countedStore) Counts(ctx context.Context, since time.Time) (store.Counts, error) {
	began := time.Now()
	a, err := s.Store.Counts(ctx, since)
	s.done("counts", began, err)
	return a, err
}

// TickCounts counts the call.
func (s *countedStore) TickCounts(ctx context.Context, bounds []time.Time) ([]int64, error) {
	began := time.Now()
	a, err := s.Store.TickCounts(ctx, bounds)
	s.done("tick_counts", began, err)
	return a, err
}

// MissedTicks counts the call.
func (s *countedStore) MissedTicks(ctx context.Context, since time.Time, limit int) ([]store.MissedTick, error) {
	began := time.Now()
	a, err := s.Store.MissedTicks(ctx, since, limit)
	s.done("missed_ticks", began, err)
	return a, err
}

// FateByKey counts the call.
func (s *countedStore) FateByKey(ctx context.Context, ref schedules.Ref, key string) (schedules.Fate, error) {
	began := time.Now()
	a, err := s.Store.FateByKey(ctx, ref, key)
	s.done("fate_by_key", began, err)
	return a, err
}

// Ping counts the call.
func (s *countedStore) Ping(ctx context.Context) error {
	began := time.Now()
	err := s.Store.Ping(ctx)
	s.done("ping", began, err)
	return err
}

// Inspect counts the call.
func (s *countedStore) Inspect(ctx context.Context, records int) ([]store.Finding, error) {
	began := time.Now()
	a, err := s.Store.Inspect(ctx, records)
	s.done("inspect", began, err)
	return a, err
}
