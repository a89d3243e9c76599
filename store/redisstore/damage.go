package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// What lies in the server may have been damaged by another hand. A schedule that cannot be read is refused with store.ErrUnreadable, and nobody else's work is
// held up by it. A run that cannot be read is given with what is left of it, so that it can be ended.

// unreadable marks an error of decoding; that a newer program wrote the record is none.
func unreadable(what string, err error) error {
	if err == nil || errors.Is(err, store.ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %s: %w; put the field back from a copy", store.ErrUnreadable, what, err)
}

// decodeProgressOf reads what changes of a run. Damage says what cannot be read of it; the run is then taken for one that nobody holds.
func decodeProgressOf(text string) (mut runMut, damage string, err error) {
	// What scripts go by has to be there: they take a run without it for damaged, too.
	var row struct {
		runMut
		V        *int                 `json:"v"`
		Revision *int64               `json:"revision"`
		Dispatch *int                 `json:"dispatch"`
		Status   *schedules.RunStatus `json:"status"`
	}
	err = strict(text, 0, &row)
	if err != nil || row.V == nil || *row.V > reads {
		var v int
		if v, err = versionOf(text); err == nil {
			err = strict(text, v, &row)
		}
	}
	if err == nil && (row.V == nil || row.Revision == nil || row.Dispatch == nil || row.Status == nil) {
		err = errors.New("v, revision, dispatch or status is missing")
	}
	switch {
	case errors.Is(err, store.ErrFormat):
		return mut, "", fmt.Errorf("read its progress: %w", err)
	case err != nil:
		return runMut{V: writes, RunProgress: schedules.RunProgress{Status: schedules.RunPending, Attempt: 1, Dispatch: 1}}, "field mut: " + line(err), nil
	}
	mut = row.runMut
	mut.V, mut.Revision, mut.Dispatch, mut.Status = *row.V, *row.Revision, *row.Dispatch, *row.Status
	return mut, "", nil
}

// decodeFix reads what never changes of a run but its input.
func decodeFix(text string, format int) (fix runFix, damage string, err error) {
	if text == "" {
		return fix, "field fix is missing", nil
	}
	err = strict(text, format, &fix)
	switch {
	case errors.Is(err, store.ErrFormat):
		return fix, "", fmt.Errorf("read its record: %w", err)
	case err != nil:
		return runFix{}, "field fix: " + line(err), nil
	}
	return fix, "", nil
}

func line(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func both(a, b string) string {
	if a != "" && b != "" {
		return a + "; " + b
	}
	return a + b
}

// adopt finds the schedule that has a damaged run in its active set, and the backfill it belongs to, so that its end can be written there. It is the one
// read that goes through all schedules of a shard, a page at a time.
func (s *Store) adopt(ctx context.Context, run *schedules.Run) error {
	shard, ok := shardOfID(run.ID)
	if !ok {
		return nil
	}
	prefix := s.keys.shard[shard]
	for _, list := range []string{"list:active", "list:paused", "list:finished", "list:deleted", "old"} {
		for from := int64(0); ; from += lookedAt {
			var members *redis.StringSliceCmd
			if err := s.pipe(ctx, func(p redis.Pipeliner) { members = p.ZRange(ctx, prefix+list, from, from+lookedAt-1) }); err != nil {
				return err
			}
			found, err := s.adoptFrom(ctx, prefix, members.Val(), run)
			if found || err != nil {
				return err
			}
			if len(members.Val()) < lookedAt {
				break
			}
		}
	}
	return nil
}

// adoptFrom looks through schedules: ids, or for old ones "<id>@<incarnation>".
func (s *Store) adoptFrom(ctx context.Context, prefix string, members []string, run *schedules.Run) (bool, error) {
	if len(members) == 0 {
		return false, nil
	}
	refs := make([]schedules.Ref, len(members))
	var incs *redis.SliceCmd
	if err := s.pipe(ctx, func(p redis.Pipeliner) { incs = p.HMGet(ctx, prefix+"ids", members...) }); err != nil {
		return false, err
	}
	current := stringsOf(incs.Val())
	scores := make([]*redis.FloatCmd, len(members))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, m := range members {
			refs[i] = schedules.Ref{ID: m, Incarnation: current[i]}
			if strings.Contains(m, "@") {
				refs[i] = parseRef(m)
			}
			scores[i] = p.ZScore(ctx, prefix+"s:"+refs[i].String()+":active", run.ID)
		}
	})
	if err != nil {
		return false, err
	}
	for i, score := range scores {
		if score.Err() != nil {
			continue
		}
		run.ScheduleID, run.Incarnation = refs[i].ID, refs[i].Incarnation
		if score.Val() == float64(int64(score.Val())) {
			return true, nil
		}
		var hot *redis.StringCmd
		if err := s.pipe(ctx, func(p redis.Pipeliner) { hot = p.HGet(ctx, prefix+"s:"+refs[i].String(), "hot") }); err != nil {
			return true, err
		}
		var p schedules.Progress
		if err := json.Unmarshal([]byte(hot.Val()), &struct {
			Backfills *[]string `json:"backfills"`
		}{&p.Backfills}); err == nil && len(p.Backfills) > 0 {
			run.BackfillID = p.Backfills[0]
		}
		return true, nil
	}
	return false, nil
}
