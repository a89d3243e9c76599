package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// stamp is a time as Redis has it: milliseconds since 1970.
type stamp struct{ time.Time }

// UnmarshalJSON reads a number, with an exponent, too: scripts write such.
func (s *stamp) UnmarshalJSON(b []byte) error {
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	s.Time = time.UnixMilli(int64(n)).UTC()
	return nil
}

// schedule is one incarnation as it lies in Redis.
type schedule struct {
	Head string
	Rec  struct {
		ID, Inc  string                  // from its key
		Status   schedules.Status        // from its head
		Workflow string                  // from its head
		Spec     schedules.Spec          `json:"spec"`
		Overlap  schedules.OverlapPolicy `json:"overlap"` // skip where it is not said
		Created  stamp                   `json:"created_at"`
	}
	Hot struct {
		Backfills []string `json:"backfills"`
	}
	Tally struct {
		Total          int64 `json:"total"`
		Successful     int64 `json:"successful"`
		Failed         int64 `json:"failed"`
		Cancelled      int64 `json:"cancelled"`
		Skipped        int64 `json:"skipped"`
		Missed         int64 `json:"missed"`
		Active         int64 `json:"active"`
		ActiveBackfill int64 `json:"active_backfill"`
		WaitingRegular int64 `json:"waiting_regular"`
		WaitingManual  int64 `json:"waiting_manual"`
		HistoryFrom    stamp `json:"history_from"`
	}
	Fates []fate // by nominal time
	Runs  []*run // by creation
}

func (s *schedule) ref() string { return s.Rec.ID + "@" + s.Rec.Inc }

// fate is one row of a history.
type fate struct {
	Tick struct {
		Trigger  schedules.Trigger `json:"trigger"`
		Nominal  stamp             `json:"nominal"`
		Backfill string            `json:"backfill"`
	} `json:"tick"`
	At     stamp              `json:"at"`
	Fate   schedules.FateKind `json:"fate"`
	Reason string             `json:"reason"`
	Waited schedules.Duration `json:"waited"`
	RunID  string             `json:"run_id"`
	key    string
}

func (f *fate) nominal() time.Time { return f.Tick.Nominal.Time }

// run is a run as it lies in Redis, without its input and result.
type run struct {
	ID  string
	Fix struct {
		Schedule string            `json:"schedule"`
		Inc      string            `json:"inc"`
		Backfill string            `json:"backfill"`
		Workflow string            `json:"workflow"`
		Trigger  schedules.Trigger `json:"trigger"`
		Nominal  stamp             `json:"nominal"`
		Created  stamp             `json:"created_at"`
	}
	Mut struct {
		Status   schedules.RunStatus `json:"status"`
		Ended    stamp               `json:"ended_at"`
		CancelAt stamp               `json:"cancel_at"`
		Reason   string              `json:"cancel_reason"`
	}
}

func (r *run) ref() string { return r.Fix.Schedule + "@" + r.Fix.Inc }

// backfill is a backfill as it lies in Redis.
type backfill struct {
	ID  string
	Row struct {
		Schedule struct {
			ID  string `json:"id"`
			Inc string `json:"inc"`
		} `json:"schedule"`
		Status  schedules.BackfillStatus `json:"status"`
		Count   int64                    `json:"count"`
		Started int64                    `json:"started"`
		Dropped int64                    `json:"dropped"`
	}
	Tally struct {
		Active     int64 `json:"active"`
		Successful int64 `json:"successful"`
		Failed     int64 `json:"failed"`
		Cancelled  int64 `json:"cancelled"`
	}
}

// member is an entry of a sorted set.
type member = redis.Z

// stock is all that lies in Redis.
type stock struct {
	schedules map[string]*schedule // by <id>@<incarnation>
	runs      map[string]*run
	backfills map[string]*backfill
	sets      map[string][]member // sorted sets that are indexes, by key
	lists     map[string]int64    // waiting ticks, by key
	current   map[string]string   // schedule id → incarnation
	ours      []ourKey
	asynq     []string // keys of the namespace's queues
	foreign   []string // all others
	broken    []string // rows that cannot be read, and why
}

// ourKey is a key below one of the namespace's prefixes.
type ourKey struct {
	key   string // whole
	shard string // its prefix
	name  string // the rest
}

// chunk is how many commands go into one round trip.
const chunk = 500

// readStock reads everything: it lists the keys and then reads each, many in a round trip.
func readStock(ctx context.Context, rdb redis.UniversalClient, namespace string) (*stock, error) {
	st := &stock{schedules: map[string]*schedule{}, runs: map[string]*run{}, backfills: map[string]*backfill{}, sets: map[string][]member{},
		lists: map[string]int64{}, current: map[string]string{}}
	keys, err := Keys(ctx, rdb)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if k, ok := ours(key, namespace); ok {
			st.ours = append(st.ours, k)
		} else if strings.HasPrefix(key, "asynq:{pyworkflow:"+namespace+":") {
			st.asynq = append(st.asynq, key)
		} else {
			st.foreign = append(st.foreign, key)
		}
	}
	if err := st.load(ctx, rdb); err != nil {
		return nil, err
	}
	st.join()
	return st, nil
}

// join gives every schedule its runs, by creation.
func (st *stock) join() {
	for _, r := range st.runs {
		if s := st.schedules[r.ref()]; s != nil {
			s.Runs = append(s.Runs, r)
		}
	}
	for _, s := range st.schedules {
		slices.SortFunc(s.Runs, func(a, b *run) int {
			return cmp.Or(a.Fix.Created.Compare(b.Fix.Created.Time), a.Fix.Nominal.Compare(b.Fix.Nominal.Time), strings.Compare(a.ID, b.ID))
		})
		slices.SortStableFunc(s.Fates, func(a, b fate) int { return a.nominal().Compare(b.nominal()) })
	}
}

// Keys lists all keys of a server, of every master of a cluster, each once.
func Keys(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	var mu sync.Mutex
	seen := map[string]bool{}
	scan := func(ctx context.Context, c redis.Cmdable) error {
		it := c.Scan(ctx, 0, "", 2000).Iterator()
		for it.Next(ctx) {
			mu.Lock()
			seen[it.Val()] = true
			mu.Unlock()
		}
		return it.Err()
	}
	var err error
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return scan(ctx, c) })
	} else {
		err = scan(ctx, rdb)
	}
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys := make([]string, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	return keys, nil
}

// ours takes a key of the namespace apart.
func ours(key, namespace string) (ourKey, bool) {
	rest, ok := strings.CutPrefix(key, "pyworkflow:{"+namespace)
	if !ok {
		return ourKey{}, false
	}
	shard, name, ok := strings.Cut(rest, "}:")
	if !ok || shard != "" && (shard[0] != ':' || strings.Trim(shard[1:], "0123456789") != "") {
		return ourKey{}, false
	}
	return ourKey{key: key, shard: key[:len(key)-len(name)], name: name}, true
}

// part splits "s:<id>@<incarnation>:active" and "r:<id>:steps" behind their first letter into what they belong to and what of it they are.
func part(name string) (owner, what string) {
	owner = name[2:]
	from := 0
	if name[0] == 's' {
		from = strings.LastIndexByte(owner, '@') + 1
	}
	if i := strings.IndexByte(owner[from:], ':'); i >= 0 {
		return owner[:from+i], owner[from+i+1:]
	}
	return owner, ""
}

// isIndex tells the sorted sets whose members are ids of other records.
func isIndex(name string) bool {
	switch name {
	case "old", "ticks", "timers", "leases", "missed", "outbox", "runs", "backfills":
		return true
	}
	return strings.HasPrefix(name, "list:") || strings.HasPrefix(name, "runs:") || strings.HasPrefix(name, "backfills:")
}

// load reads the values of our keys.
func (st *stock) load(ctx context.Context, rdb redis.UniversalClient) error {
	for at := 0; at < len(st.ours); at += chunk {
		keys := st.ours[at:min(at+chunk, len(st.ours))]
		var takes []func() error
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range keys {
				if take := st.ask(ctx, p, k); take != nil {
					takes = append(takes, take)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read keys: %w", err)
		}
		for _, take := range takes {
			if err := take(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask puts the read of one key into the pipeline and gives what takes the answer in; nil when the value does not matter.
func (st *stock) ask(ctx context.Context, p redis.Pipeliner, k ourKey) func() error {
	switch {
	case k.name == "ids":
		cmd := p.HGetAll(ctx, k.key)
		return func() error {
			for id, inc := range cmd.Val() {
				st.current[id] = inc
			}
			return cmd.Err()
		}
	case isIndex(k.name):
		cmd := p.ZRangeWithScores(ctx, k.key, 0, -1)
		return func() error {
			st.sets[k.key] = cmd.Val()
			return cmd.Err()
		}
	case strings.HasPrefix(k.name, "s:"):
		owner, what := part(k.name)
		switch what {
		case "":
			cmd := p.HMGet(ctx, k.key, "head", "rec", "hot", "tally")
			return func() error {
				s := st.schedule(owner)
				s.Rec.ID, s.Rec.Inc, _ = strings.Cut(owner, "@")
				s.Rec.Overlap = schedules.OverlapSkip
				err := st.unpack(k.key, cmd, &s.Head, &s.Rec, &s.Hot, &s.Tally)
				if part := strings.SplitN(s.Head, " ", 5); len(part) == 5 {
					s.Rec.Status, s.Rec.Workflow = schedules.Status(part[2]), part[4]
				} else if err == nil && s.Head != "" {
					st.broken = append(st.broken, fmt.Sprintf("%s: head: %q", k.key, s.Head))
				}
				return err
			}
		case "fates":
			cmd := p.ZRange(ctx, k.key, 0, -1)
			return func() error { return st.fates(owner, k.key, cmd) }
		case "active":
			cmd := p.ZRangeWithScores(ctx, k.key, 0, -1)
			return func() error {
				st.sets[k.key] = cmd.Val()
				return cmd.Err()
			}
		case "wait:r", "wait:m":
			cmd := p.LLen(ctx, k.key)
			return func() error {
				st.lists[k.key] = cmd.Val()
				return cmd.Err()
			}
		}
	case strings.HasPrefix(k.name, "r:"):
		if owner, what := part(k.name); what == "" {
			cmd := p.HMGet(ctx, k.key, "fix", "mut")
			return func() error {
				r := &run{ID: owner}
				st.runs[owner] = r
				return st.unpack(k.key, cmd, &r.Fix, &r.Mut)
			}
		}
	case strings.HasPrefix(k.name, "b:"):
		cmd := p.HMGet(ctx, k.key, "row", "tally")
		return func() error {
			b := &backfill{ID: k.name[2:]}
			st.backfills[b.ID] = b
			return st.unpack(k.key, cmd, &b.Row, &b.Tally)
		}
	}
	return nil
}

// unpack reads the fields of a hash: into a string as they are, into anything else as JSON.
func (st *stock) unpack(key string, cmd *redis.SliceCmd, into ...any) error {
	if err := cmd.Err(); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	for i, v := range cmd.Val() {
		text, ok := v.(string)
		if !ok {
			st.broken = append(st.broken, fmt.Sprintf("%s lacks %v", key, cmd.Args()[2+i]))
			return nil
		}
		if s, ok := into[i].(*string); ok {
			*s = text
		} else if err := json.Unmarshal([]byte(text), into[i]); err != nil {
			st.broken = append(st.broken, fmt.Sprintf("%s: %v: %v", key, cmd.Args()[2+i], err))
		}
	}
	return nil
}

func (st *stock) schedule(ref string) *schedule {
	s := st.schedules[ref]
	if s == nil {
		s = &schedule{}
		st.schedules[ref] = s
	}
	return s
}

// fates takes the rows of a history in: "<tick key> <JSON>".
func (st *stock) fates(ref, key string, cmd *redis.StringSliceCmd) error {
	if err := cmd.Err(); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	s := st.schedule(ref)
	s.Fates = make([]fate, len(cmd.Val()))
	for i, row := range cmd.Val() {
		tick, text, _ := strings.Cut(row, " ")
		if err := json.Unmarshal([]byte(text), &s.Fates[i]); err != nil {
			st.broken = append(st.broken, fmt.Sprintf("%s, tick %s: %v", key, tick, err))
		}
		s.Fates[i].key = tick
	}
	return nil
}
