package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// inspectedAtOnce is how many records are looked at in one go.
const inspectedAtOnce = 500

// inspectRecords looks for records of a format that this program does not read: among schedules in the order of their ids, and among the newest runs and backfills,
// at most limit of each.
func (s *Store) inspectRecords(ctx context.Context, limit int) store.Finding {
	if limit <= 0 {
		return store.Finding{Check: "records", Status: store.FindingSkipped, Message: "records were not looked at", Remedy: "ask for some"}
	}
	byID := &merged{before: func(a, b entry) bool { return a.id < b.id }, fetch: s.fetchByID}
	runs := &merged{before: newestFirst, fetch: s.fetchByScore(false, time.Time{})}
	backfills := &merged{before: newestFirst, fetch: s.fetchByScore(false, time.Time{})}
	for _, prefix := range s.keys.shard {
		for _, status := range []schedules.Status{schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished} {
			byID.sources = append(byID.sources, &source{key: prefix + "list:" + string(status)})
		}
		runs.sources = append(runs.sources, &source{key: prefix + "runs"})
		backfills.sources = append(backfills.sources, &source{key: prefix + "backfills"})
	}
	var newer, looked []string
	for _, kind := range []struct {
		name string
		list *merged
		read func(context.Context, []entry) ([]int, error)
	}{
		{"schedule", byID, s.scheduleFormats},
		{"run", runs, s.runFormats},
		{"backfill", backfills, s.backfillFormats},
	} {
		n := 0
		for n < limit {
			entries, err := kind.list.take(ctx, min(inspectedAtOnce, limit-n))
			if err == nil && len(entries) == 0 {
				break
			}
			var formats []int
			if err == nil {
				formats, err = kind.read(ctx, entries)
			}
			if err != nil {
				return store.Finding{Check: "records", Status: store.FindingSkipped, Message: fmt.Sprintf("%s records could not be read: %s", kind.name, explain(err)), Remedy: "try again when the server answers"}
			}
			n += len(entries)
			for i, v := range formats {
				if v > reads {
					newer = append(newer, fmt.Sprintf("%s %s (format %d)", kind.name, entries[i].id, v))
				}
			}
		}
		looked = append(looked, fmt.Sprintf("%d %ss", n, kind.name))
		if n == limit {
			looked[len(looked)-1] = fmt.Sprintf("the first %d %ss", n, kind.name)
			if kind.name != "schedule" {
				looked[len(looked)-1] = fmt.Sprintf("the newest %d %ss", n, kind.name)
			}
		}
	}
	return store.RecordsFinding(newer, looked, reads)
}

// formatsOf reads a field of each record, and the format it begins with or holds; 0 for one that is gone.
func (s *Store) formatsOf(ctx context.Context, keys []string, field string, parse func(string) int) ([]int, error) {
	cmds := make([]*redis.StringCmd, len(keys))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, key := range keys {
			cmds[i] = p.HGet(ctx, key, field)
		}
	})
	if err != nil {
		return nil, err
	}
	formats := make([]int, len(keys))
	for i, cmd := range cmds {
		if cmd.Val() != "" {
			formats[i] = parse(cmd.Val())
		}
	}
	return formats, nil
}

func (s *Store) scheduleFormats(ctx context.Context, entries []entry) ([]int, error) {
	incs := make([]*redis.StringCmd, len(entries))
	err := s.pipe(ctx, func(p redis.Pipeliner) {
		for i, e := range entries {
			incs[i] = p.HGet(ctx, s.keys.of(schedules.Ref{ID: e.id}, "ids"), e.id)
		}
	})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = s.keys.schedule(schedules.Ref{ID: e.id, Incarnation: incs[i].Val()})
	}
	return s.formatsOf(ctx, keys, "head", func(head string) int {
		version, _, _ := strings.Cut(head, " ")
		v, _ := strconv.Atoi(version)
		return v
	})
}

func (s *Store) runFormats(ctx context.Context, entries []entry) ([]int, error) {
	return s.formatsOf(ctx, s.keysOf(entries, s.keys.run), "mut", jsonFormat)
}

func (s *Store) backfillFormats(ctx context.Context, entries []entry) ([]int, error) {
	return s.formatsOf(ctx, s.keysOf(entries, s.keys.backfill), "row", jsonFormat)
}

func (s *Store) keysOf(entries []entry, key func(int, string) string) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		shard, _ := shardOfID(e.id) // what is in these lists has one
		keys[i] = key(shard, e.id)
	}
	return keys
}

// jsonFormat is the format that a record says in "v".
func jsonFormat(text string) int {
	var r struct {
		V int `json:"v"`
	}
	_ = json.Unmarshal([]byte(text), &r) // one that is damaged is not of a newer format
	return r.V
}
