//go:build unix

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
	"github.com/pyworkflow-go/pyworkflow/test/faults/lab"
)

// restBound is how long the world may take to come to rest once its schedules have ended and its faults are mended.
func restBound() time.Duration {
	if *prove {
		return 60 * time.Second // it is not going to rest
	}
	return 150 * time.Second
}

// mend ends all faults: what is frozen goes on, and what was armed gives way to a process that is not.
func (w *world) mend() {
	close(w.mending)
	w.faulting.Wait()
	w.mu.Lock()
	all := append([]*process(nil), w.processes...)
	w.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		armed := p.armed
		p.mu.Unlock()
		if armed {
			p.kill("it was armed")
		}
	}
}

// rest waits until every schedule has ended and nothing is active, waiting or under way, then stops the processes. A long backfill may take its time as long as its
// runs go on.
func (w *world) rest(ctx context.Context) {
	w.resumeAll(ctx)
	began := time.Now()
	var busy []string
	var started int64
	for {
		if now := w.now(); now.After(w.ends) {
			if busy = w.busy(ctx); len(busy) == 0 {
				break
			}
			if n := w.backfilled(ctx); n > started {
				began, started = time.Now(), n
			}
		} else {
			began = time.Now()
		}
		if time.Since(began) > restBound() {
			w.find("stuck", "not at rest %s after the end: %s", restBound(), strings.Join(busy, "; "))
			break
		}
		pause(w.over, 100*time.Millisecond)
	}
	for _, p := range w.processes {
		w.faulting.Go(p.stop)
	}
	w.faulting.Wait()
	w.scene.Rest = w.now()
}

func (w *world) resumeAll(ctx context.Context) {
	for tries := 0; ; tries++ { // a client that has failed to dial many times gives the last error for another second
		err := w.redis.Ping(ctx).Err()
		if err == nil {
			break
		}
		if tries == 100 {
			w.tb.Fatalf("Redis does not answer at rest: %v", err)
		}
		pause(w.over, 100*time.Millisecond)
	}
	for s, err := range w.client.Schedules(ctx, client.ScheduleFilter{Status: schedules.StatusPaused}) {
		if err != nil {
			w.tb.Fatalf("list paused schedules: %v", err)
		}
		a := check.Act{Began: w.now(), What: check.ActResume, Schedule: s.ScheduleID}
		_, err := w.client.Resume(ctx, s.ScheduleID, nil)
		w.act(a, err)
		if err != nil {
			w.find("stuck", "resume %s: %v", s.ScheduleID, err)
		}
	}
}

// backfilled counts the runs that backfills have started.
func (w *world) backfilled(ctx context.Context) (n int64) {
	for b, err := range w.client.Backfills(ctx, "") {
		if err != nil {
			return n
		}
		n += b.Count - b.Waiting
	}
	return n
}

// busy says what keeps the world from rest.
func (w *world) busy(ctx context.Context) (why []string) {
	for s, err := range w.client.Schedules(ctx, client.ScheduleFilter{}) {
		if err != nil {
			return []string{err.Error()}
		}
		if s.Status == schedules.StatusActive || s.ActiveRuns > 0 || s.BufferedRuns > 0 {
			why = append(why, fmt.Sprintf("%s is %s, next %s, active %d %v, waiting %d", s.ScheduleID, s.Status, s.NextRunTime, s.ActiveRuns, s.ActiveRunIDs, s.BufferedRuns))
		}
	}
	for b, err := range w.client.Backfills(ctx, "") {
		if err != nil {
			return []string{err.Error()}
		}
		if !b.Ended() {
			why = append(why, fmt.Sprintf("backfill %s of %s is %s, waiting %d, active %d", b.BackfillID, b.ScheduleID, b.Status, b.Waiting, b.Active))
		}
	}
	for _, status := range []schedules.RunStatus{schedules.RunPending, schedules.RunRunning, schedules.RunRetrying} {
		page, err := w.client.ListRuns(ctx, client.RunFilter{Status: status}, client.PageRequest{Limit: 5})
		if err != nil {
			return []string{err.Error()}
		}
		for _, r := range page.Items {
			why = append(why, fmt.Sprintf("%s of %s is %s under dispatch %d on %q", r.RunID, r.ScheduleID, r.Status, r.Dispatch, r.Worker))
		}
	}
	for shard := range w.store.Shards() {
		msgs, err := w.store.Unsent(ctx, shard, w.now().Add(time.Hour), 5)
		if err != nil {
			return []string{err.Error()}
		}
		for _, m := range msgs {
			why = append(why, fmt.Sprintf("%s dispatch %d is in the outbox", m.RunID, m.Dispatch))
		}
	}
	if *full && w.counts[check.FaultAsynq] > 0 {
		// The keepers clean up what the damage has left, once asynq's leases of 30 s and as much again have passed.
		queue := "asynq:{pyworkflow:" + w.namespace + ":default}:"
		if records := slices.DeleteFunc(w.keys(ctx), func(key string) bool { return !strings.HasPrefix(key, queue+"t:") }); len(records) > 0 {
			why = append(why, fmt.Sprintf("%d task records of asynq's, %s among them", len(records), records[0]))
		}
		var active, waiting, retry *redis.IntCmd
		_, err := w.redis.TxPipelined(ctx, func(p redis.Pipeliner) error { // at one instant, since tasks go round
			active, waiting, retry = p.LLen(ctx, queue+"active"), p.LLen(ctx, queue+"pending"), p.ZCard(ctx, queue+"retry")
			return nil
		})
		if err != nil || active.Val()+waiting.Val()+retry.Val() > 0 {
			why = append(why, fmt.Sprintf("%d entries in asynq's active list, %d in its pending list, %d in its retry set: %v", active.Val(), waiting.Val(), retry.Val(), err))
		}
	}
	return why[:min(len(why), 20)]
}

// failures finds runs that failed though their code does not.
func (w *world) failures(ctx context.Context) {
	for r, err := range w.client.Runs(ctx, client.RunFilter{Status: schedules.RunFailed}) {
		if err != nil {
			w.tb.Fatalf("list failed runs: %v", err)
		}
		if r.Workflow != lab.Panic {
			w.find("failed", "%s of %s (%s) failed: %+v", r.RunID, r.ScheduleID, r.Workflow, r.Error)
		}
	}
}
