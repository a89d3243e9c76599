package redisstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// keysOf lists what lies in the namespaces of a server.
func keysOf(t *testing.T, client *redis.Client) []string {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	must(t, err)
	slices.Sort(keys)
	return keys
}

// Nothing a store does costs what exists: the commands that read everything never run, and what was removed leaves no key behind.
func TestKeyspace(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	ctx := t.Context()
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store { return open(t, client, clock) })
	for _, command := range []string{"keys", "smembers", "scan", "hscan", "sscan", "zscan", "flushdb", "flushall", "eval_ro"} {
		if n := stat(t, client, command); n != 0 {
			t.Errorf("%s ran %d times", command, n)
		}
	}
	for _, key := range keysOf(t, client) {
		if !strings.HasPrefix(key, "pyworkflow:{t") {
			t.Errorf("key %s lies outside the namespace", key)
		}
	}
	must(t, client.FlushDB(ctx).Err()) // this test's own server

	clock := storetest.NewClock()
	s := open(t, client, clock.Now)
	commit := func(c schedules.Change) {
		t.Helper()
		must(t, s.Commit(ctx, c)[0])
	}
	next := func(ref schedules.Ref) schedules.Change {
		t.Helper()
		got, _, err := s.Load(ctx, ref)
		must(t, err)
		must(t, got[0].Err)
		return storetest.Next(got[0].State.Schedule, clock.Now())
	}
	for i := range 40 {
		c := storetest.Create(fmt.Sprint("s", i%20), fmt.Sprint("inc", i/20), clock.Now())
		ref := c.Schedule.Ref()
		commit(c)
		c = next(ref)
		bf := storetest.NewBackfill(ref, "x", clock.Now())
		regular := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()})
		filled := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: bf.Start, Backfill: bf.ID})
		bf.Active, bf.Started = 1, 1
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
		c.PushRegular, c.Schedule.WaitingRegular = storetest.Waiting(schedules.TriggerSchedule, 0, clock.Now(), 3), 3
		c.PushManual, c.Schedule.WaitingManual = storetest.Waiting(schedules.TriggerManual, 3, clock.Now(), 2), 2
		commit(c)
		for n, run := range []schedules.Run{regular, filled} {
			_, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
			must(t, err)
			must(t, s.RecordStep(ctx, run.ID, 1, schedules.Step{Name: "a", Key: "a#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: clock.Now()}))
			must(t, s.AppendEvents(ctx, run.ID, schedules.Event{At: clock.Now(), Kind: "log", Message: "line"}))
			claimed, err := s.GetRun(ctx, run.ID)
			must(t, err)
			must(t, s.CommitRun(ctx, storetest.End(claimed, []schedules.RunStatus{schedules.RunCompleted, schedules.RunFailed}[n], clock.Now())))
			must(t, s.StrikeOff(ctx, store.Message{RunID: run.ID, Dispatch: 1, Queue: run.Queue}))
		}
		bf, err := s.Backfill(ctx, bf.ID)
		must(t, err)
		bf.Status, bf.EndedAt = schedules.BackfillCancelled, clock.Now()
		c = next(ref)
		c.PopRegular, c.PopManual, c.Schedule.WaitingRegular, c.Schedule.WaitingManual = 3, 2, 0, 0
		c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, nil
		c.Schedule.Status, c.Schedule.UpdatedAt, c.Schedule.NextDue = schedules.StatusDeleted, clock.Now(), time.Time{}
		commit(c)
		free := storetest.FreeRun("flow", fmt.Sprint(i), clock.Now())
		_, _, err = s.CreateRun(ctx, free)
		must(t, err)
		end := storetest.End(free, schedules.RunCancelled, clock.Now())
		end.Run.Due = clock.Now()
		must(t, s.CommitRun(ctx, end))
		must(t, s.StrikeOff(ctx, store.Message{RunID: free.ID, Dispatch: 1, Queue: free.Queue}))
	}
	if n := len(keysOf(t, client)); n < 200 {
		t.Fatalf("only %d keys: the test proves nothing", n)
	}
	clock.Advance(365 * 24 * time.Hour)
	for shard := range s.Shards() {
		for quiet := 0; quiet < 3; {
			more, err := s.Trim(ctx, shard, store.DefaultLimits())
			must(t, err)
			if quiet++; more {
				quiet = 0
			}
		}
	}
	if left := keysOf(t, client); len(left) != 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// Whatever stands in the strings people and programs give, it comes back as it was and disturbs no other record.
func TestHostileStrings(t *testing.T) {
	clock := storetest.NewClock()
	s := open(t, redistest.Shared(t).Client(t), clock.Now)
	ctx := t.Context()
	hostile := []string{
		"", " ", "a b", "a:b@c", "}", "{x}", "\x00", "\n\r\t", "%s %d %%", "ü☃𝄞", `"quoted\"`, `{"json":[1]}`, `"backfills":["bf_0"]`, `"active":1`, "1 2 deleted t flow",
		strings.Repeat("x", 4096), "redis.call('FLUSHALL')", "*", "[a-z]",
	}
	for i, h := range hostile {
		c := storetest.Create(fmt.Sprintf("s%d", i), "inc1", clock.Now())
		sch := &c.Schedule
		sch.Workflow, sch.Note, sch.Origin, sch.Queue, sch.DropReason, sch.LastRunID, sch.AnchorRunID, sch.BlockedBy = h, h, h, h, h, h, h, h
		input, err := json.Marshal(map[string]string{h: h})
		must(t, err)
		sch.Input = input
		run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerManual, Nominal: clock.Now(), Nonce: "n"})
		sch.AnchorRunID = h
		c.Start[0].Queue = h
		must(t, s.Commit(ctx, c)[0])
		got, _, err := s.Load(ctx, sch.Ref())
		must(t, err)
		must(t, got[0].Err)
		wantJSON(t, h, got[0].State.Schedule, *sch)
		claimed, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: h, Token: "t" + h})
		must(t, err)
		if claimed.Worker != h || claimed.Token != "t"+h || claimed.Queue != h || string(claimed.Input) != string(input) {
			t.Errorf("%q: claimed %+v", h, claimed)
		}
		must(t, s.RecordStep(ctx, run.ID, 1, schedules.Step{Name: h, Key: h, Status: schedules.RunCompleted, Attempt: 1, StartedAt: clock.Now(), Result: input}))
		must(t, s.AppendEvents(ctx, run.ID, schedules.Event{At: clock.Now(), Kind: h, Message: h}))
		ask := storetest.Next(got[0].State.Schedule, clock.Now())
		ask.Cancel = []schedules.CancelRequest{{RunID: run.ID, Reason: h, Deadline: clock.Now().Add(time.Minute)}}
		must(t, s.Commit(ctx, ask)[0])
		beats, err := s.Heartbeat(ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}})
		must(t, err)
		if beats[0].Lost || !beats[0].Cancel || beats[0].CancelReason != h {
			t.Errorf("%q: heartbeat %+v", h, beats[0])
		}
		read, err := s.GetRun(ctx, run.ID)
		must(t, err)
		end := storetest.End(read, schedules.RunFailed, clock.Now())
		end.Run.Error.Message = h
		must(t, s.CommitRun(ctx, end))
		read, err = s.GetRun(ctx, run.ID)
		must(t, err)
		wantJSON(t, h, read, end.Run)
		steps, err := s.Steps(ctx, run.ID)
		must(t, err)
		if len(steps) != 1 || steps[0].Key != h || steps[0].Name != h {
			t.Errorf("%q: steps %+v", h, steps)
		}
		got, _, err = s.Load(ctx, sch.Ref())
		must(t, err)
		if st := got[0].State; got[0].Err != nil || st.Schedule.Failed != 1 || st.Schedule.Active != 0 || st.Schedule.BlockedBy != h || st.Backfill != nil {
			t.Errorf("%q: after the end: %+v, %v", h, st, got[0].Err)
		}
		if i > 0 { // an empty filter is none
			list, _, err := s.ListSchedules(ctx, store.ScheduleFilter{Workflow: h}, store.Page{})
			if err != nil || len(list) != 1 || list[0].ID != sch.ID {
				t.Errorf("%q: listed %d, %v", h, len(list), err)
			}
			runs, _, err := s.ListRuns(ctx, store.RunFilter{Workflow: h}, store.Page{})
			if err != nil || len(runs) != 1 || runs[0].ID != run.ID {
				t.Errorf("%q: listed %d runs, %v", h, len(runs), err)
			}
		}
		msgs, err := s.Unsent(ctx, int(sch.Ref().Placement())%s.Shards(), clock.Now(), 1000)
		must(t, err)
		if !slices.Contains(msgs, store.Message{RunID: run.ID, Dispatch: 1, Queue: h}) {
			t.Errorf("%q: unsent %+v", h, msgs)
		}
		held, err := s.HoldLeases(ctx, "holder "+h, time.Minute, "lease "+h)
		if err != nil || len(held) != 1 {
			t.Errorf("%q: held %v, %v", h, held, err)
		}
	}
}

func wantJSON(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	must(t, err)
	w, err := json.Marshal(want)
	must(t, err)
	if string(g) != string(w) {
		t.Errorf("%q:\n got %s\nwant %s", what, g, w)
	}
}

// Malformed ids and cursors are refused or find nothing.
func TestBadArguments(t *testing.T) {
	s := open(t, redistest.Shared(t).Client(t), nil)
	ctx := t.Context()
	for _, id := range []string{"", "x", "run_", "run_zz", "run_" + strings.Repeat("0", 21), "run_" + strings.Repeat("0", 23), "RUN_" + strings.Repeat("0", 22), "bf_"} {
		if _, err := s.GetRun(ctx, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get run %q: %v", id, err)
		}
		if _, err := s.Claim(ctx, id, 1, store.Claim{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("claim %q: %v", id, err)
		}
		if _, err := s.Backfill(ctx, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("backfill %q: %v", id, err)
		}
		if _, _, err := s.CreateRun(ctx, schedules.Run{ID: id}); err == nil {
			t.Errorf("run %q was created", id)
		}
		answers, err := s.Heartbeat(ctx, []store.Heartbeat{{RunID: id, Dispatch: 1}})
		if err != nil || !answers[0].Lost {
			t.Errorf("heartbeat of %q: %+v, %v", id, answers, err)
		}
	}
	for _, cursor := range []string{"x", "1", "x:y", ":"} {
		if _, _, err := s.ListRuns(ctx, store.RunFilter{}, store.Page{Cursor: cursor}); err == nil {
			t.Errorf("runs: cursor %q was taken", cursor)
		}
		if _, _, err := s.ListBackfills(ctx, "", store.Page{Cursor: cursor}); err == nil {
			t.Errorf("backfills: cursor %q was taken", cursor)
		}
		if _, _, err := s.ListFates(ctx, schedules.Ref{}, store.FateFilter{}, store.Page{Cursor: cursor}); err == nil {
			t.Errorf("fates: cursor %q was taken", cursor)
		}
	}
	for _, namespace := range []string{"a b", "a}", "{a}", "-a", strings.Repeat("x", 65), "ü"} {
		if _, err := redisstore.New(redistest.Shared(t).Client(t), redisstore.Config{Namespace: namespace}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("namespace %q: %v", namespace, err)
		}
	}
	now, err := s.Now(ctx)
	must(t, err)
	for what, mod := range map[string]func(*schedules.Change){
		"no time": func(c *schedules.Change) { c.Now = time.Time{} }, "no id": func(c *schedules.Change) { c.Schedule.ID = "" },
		"no incarnation": func(c *schedules.Change) { c.Schedule.Incarnation = "" }, "no status": func(c *schedules.Change) { c.Schedule.Status = "" },
		"odd status": func(c *schedules.Change) { c.Schedule.Status = "a b" },
	} {
		c := storetest.Create("half", "inc1", now)
		mod(&c)
		if err := s.Commit(ctx, c)[0]; err == nil {
			t.Errorf("a change with %s was taken", what)
		}
	}
	if _, err := s.Resolve(ctx, "half"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("resolve of what was refused: %v", err)
	}
	// Times that are missing do not leave half a change behind.
	c := storetest.Create("zero", "inc1", now)
	c.Schedule.WakeOnEnd = true
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule})
	c.Start[0].CreatedAt, c.Start[0].Due, c.Schedule.CreatedAt = time.Time{}, time.Time{}, time.Time{}
	c.Cancel = []schedules.CancelRequest{{RunID: run.ID, Reason: "x"}}
	c.Backfills = []schedules.Backfill{{ID: schedules.BackfillID(c.Schedule.Ref(), "x"), Schedule: c.Schedule.Ref()}}
	must(t, s.Commit(ctx, c)[0])
	asked, err := s.GetRun(ctx, run.ID)
	must(t, err)
	end := storetest.End(asked, schedules.RunCancelled, now)
	end.Run.EndedAt = time.Time{}
	must(t, s.CommitRun(ctx, end))
	end.Now = time.Time{}
	if err := s.CommitRun(ctx, end); err == nil {
		t.Error("a run's change without a time was taken")
	}
	for _, shard := range []int{-1, 16, 1 << 20} {
		if list, err := s.DueTicks(ctx, shard, time.Now(), 10); err != nil || len(list) != 0 {
			t.Errorf("shard %d: %v, %v", shard, list, err)
		}
	}
}

// A record of a newer program is left alone.
func TestNewerFormat(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)
	ctx := t.Context()
	c := storetest.Create("a", "inc1", clock.Now())
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()})
	must(t, s.Commit(ctx, c)[0])
	loaded, _, err := s.Load(ctx, c.Schedule.Ref())
	must(t, err)

	prefix := fmt.Sprintf("pyworkflow:{%s:%d}:", namespace, int(c.Schedule.Ref().Placement())%s.Shards())
	row := prefix + "s:a@inc1"
	head, err := client.HGet(ctx, row, "head").Result()
	must(t, err)
	must(t, client.HSet(ctx, row, "head", "2"+strings.TrimPrefix(head, "1")).Err())
	got, _, err := s.Load(ctx, c.Schedule.Ref())
	must(t, err)
	for what, err := range map[string]error{
		"load":   got[0].Err,
		"commit": s.Commit(ctx, storetest.Next(loaded[0].State.Schedule, clock.Now()))[0],
		"create": s.Commit(ctx, storetest.Create("a", "inc2", clock.Now()))[0],
		"end":    s.CommitRun(ctx, storetest.End(run, schedules.RunCompleted, clock.Now())),
	} {
		if !errors.Is(err, store.ErrFormat) {
			t.Errorf("%s: %v, want %v", what, err, store.ErrFormat)
		}
	}
	if _, _, err := s.ListSchedules(ctx, store.ScheduleFilter{}, store.Page{}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("list: %v", err)
	}
	if n, err := client.HGet(ctx, row, "head").Result(); err != nil || !strings.HasPrefix(n, "2 ") {
		t.Errorf("head is now %q, %v", n, err)
	}
	mut, err := client.HGet(ctx, prefix+"r:"+run.ID, "mut").Result()
	must(t, err)
	must(t, client.HSet(ctx, prefix+"r:"+run.ID, "mut", strings.Replace(mut, `"v":1`, `"v":2`, 1)).Err())
	_, getErr := s.GetRun(ctx, run.ID)
	_, claimErr := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
	for what, err := range map[string]error{
		"get": getErr, "claim": claimErr, "commit": s.CommitRun(ctx, storetest.Transition(run, clock.Now())),
		"step": s.RecordStep(ctx, run.ID, 1, schedules.Step{Key: "a"}),
	} {
		if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "(format 2; this program reads up to 1): upgrade this process") {
			t.Errorf("%s of a run: %v, want %v", what, err, store.ErrFormat)
		}
	}

	// A schedule that can be read, whose run cannot: a change that asks the run to cancel is refused whole, and nothing of the run is renewed or trimmed.
	must(t, client.HSet(ctx, row, "head", head).Err())
	change := storetest.Next(loaded[0].State.Schedule, clock.Now())
	change.Cancel = []schedules.CancelRequest{{RunID: run.ID, Reason: "newer", Deadline: clock.Now().Add(time.Minute)}}
	before := dump(t, client, prefix)
	if err := s.Commit(ctx, change)[0]; !errors.Is(err, store.ErrFormat) {
		t.Errorf("a cancel request for it: %v", err)
	}
	if a, err := s.Heartbeat(ctx, []store.Heartbeat{{RunID: run.ID, Dispatch: 1}}); err != nil || !a[0].Lost {
		t.Errorf("heartbeat: %+v, %v", a, err)
	}
	if after := dump(t, client, prefix); after != before {
		t.Errorf("what was refused has written:\n%s\nwas\n%s", after, before)
	}
}

// A run is not begun by a program that could not write its end into the schedule.
func TestClaimOfANewerSchedulesRun(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)
	ctx := t.Context()
	c := storetest.Create("a", "inc1", clock.Now())
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()})
	must(t, s.Commit(ctx, c)[0])
	row := fmt.Sprintf("pyworkflow:{%s:%d}:s:a@inc1", namespace, int(c.Schedule.Ref().Placement())%s.Shards())
	head, err := client.HGet(ctx, row, "head").Result()
	must(t, err)
	must(t, client.HSet(ctx, row, "head", "7"+strings.TrimPrefix(head, "1")).Err())
	if _, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("claim: %v", err)
	}
	if r, err := s.GetRun(ctx, run.ID); err != nil || r.Status != schedules.RunPending {
		t.Errorf("the run is %s, %v", r.Status, err)
	}
}

// A field of a newer program in a record of a format that is read would be lost when the record is written back: the record is refused.
func TestUnknownField(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)
	ctx := t.Context()
	c := storetest.Create("a", "inc1", clock.Now())
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()})
	must(t, s.Commit(ctx, c)[0])
	prefix := fmt.Sprintf("pyworkflow:{%s:%d}:", namespace, int(c.Schedule.Ref().Placement())%s.Shards())
	for _, at := range []struct{ key, field string }{{"s:a@inc1", "rec"}, {"s:a@inc1", "hot"}, {"s:a@inc1", "tally"}, {"r:" + run.ID, "mut"}, {"r:" + run.ID, "fix"}} {
		was, err := client.HGet(ctx, prefix+at.key, at.field).Result()
		must(t, err)
		more := `{"from_the_future":1}`
		if was != "{}" {
			more = strings.TrimSuffix(was, "}") + `,"from_the_future":1}`
		}
		must(t, client.HSet(ctx, prefix+at.key, at.field, more).Err())
		loaded, _, err := s.Load(ctx, c.Schedule.Ref())
		must(t, err)
		err = loaded[0].Err
		if strings.HasPrefix(at.key, "r:") {
			_, err = s.GetRun(ctx, run.ID)
		}
		if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), `field "from_the_future"`) {
			t.Errorf("%s of %s: %v", at.field, at.key, err)
		}
		must(t, client.HSet(ctx, prefix+at.key, at.field, was).Err())
	}
	loaded, _, err := s.Load(ctx, c.Schedule.Ref())
	must(t, err)
	must(t, loaded[0].Err)
}

// dump is all that lies below a prefix, for comparing.
func dump(t *testing.T, client redis.UniversalClient, prefix string) string {
	t.Helper()
	keys, err := client.Keys(t.Context(), strings.NewReplacer("{", `\{`, "}", `\}`).Replace(prefix)+"*").Result()
	must(t, err)
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		raw, err := client.Dump(t.Context(), key).Result()
		must(t, err)
		fmt.Fprintf(&b, "%s %q\n", key, raw)
	}
	return b.String()
}

func oneLine(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded", what)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %q does not say %q", what, err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: %q", what, err)
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	ctx := t.Context()
	primary := redistest.Start(t)
	must(t, primary.Client(t).ConfigSet(ctx, "requirepass", "secret-password").Err())
	good := "redis://:secret-password@" + primary.Addr() + "/0"
	_, err := redisstore.Open(ctx, redisstore.Config{URL: "redis://:secret-wrong@" + primary.Addr()})
	oneLine(t, "a wrong password", err, primary.Addr(), "password")
	_, err = redisstore.Open(ctx, redisstore.Config{URL: primary.URL()})
	oneLine(t, "no password", err, primary.Addr(), "password")
	_, err = redisstore.Open(ctx, redisstore.Config{URL: "redis://:secret@127.0.0.1:1/0"})
	oneLine(t, "nobody there", err, "127.0.0.1:1", "refused")

	s, err := redisstore.Open(ctx, redisstore.Config{URL: good, Namespace: redistest.Namespace(t)})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	admin := s.Client()
	now, err := s.Now(ctx)
	must(t, err)
	create := storetest.Create("a", "inc1", now)
	run := storetest.Start(&create, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now})
	must(t, s.Commit(ctx, create)[0])

	// Out of memory: nothing of a change is written.
	must(t, admin.ConfigSet(ctx, "maxmemory", "1").Err())
	oneLine(t, "commit without memory", s.Commit(ctx, storetest.Next(create.Schedule, now))[0], primary.Addr(), "out of memory")
	oneLine(t, "create without memory", s.Commit(ctx, storetest.Create("b", "inc1", now))[0], "out of memory")
	oneLine(t, "end without memory", s.CommitRun(ctx, storetest.End(run, schedules.RunCompleted, now)), "out of memory")
	oneLine(t, "ping without memory", s.Ping(ctx), "out of memory")
	must(t, admin.ConfigSet(ctx, "maxmemory", "0").Err())
	if _, err := s.Resolve(ctx, "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("resolve of what was refused: %v", err)
	}
	got, _, err := s.Load(ctx, create.Schedule.Ref())
	must(t, err)
	if sch := got[0].State.Schedule; sch.Revision != 1 || sch.Active != 1 {
		t.Errorf("after refused writes: revision %d, %+v", sch.Revision, sch.Tally)
	}
	must(t, s.CommitRun(ctx, storetest.End(run, schedules.RunCompleted, now)))

	// A replica.
	replica := redistest.Start(t)
	r := open(t, replica.Client(t), nil)
	must(t, replica.Client(t).ReplicaOf(ctx, "127.0.0.1", "1").Err())
	for what, err := range map[string]error{
		"commit": r.Commit(ctx, storetest.Create("a", "inc1", now))[0],
		"ping":   r.Ping(ctx),
	} {
		oneLine(t, what+" on a replica", err, "read-only replica")
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("%s on a replica: %v is not %v", what, err, store.ErrReadOnly)
		}
	}
	list, err := r.Inspect(ctx, 0)
	must(t, err)
	found(t, list, "role", store.FindingError, "replica", "address of the primary")
	found(t, list, "write", store.FindingError, "read-only replica", "takes writes")
}

// With the server's own clock, changes are made at its time, whatever the host's says.
func TestServerClock(t *testing.T) {
	s := open(t, redistest.Shared(t).Client(t), nil)
	ctx := t.Context()
	now, err := s.Now(ctx)
	must(t, err)
	if est := s.Estimate(); est.Before(now) || est.Sub(now) > time.Minute {
		t.Errorf("estimate %s, read %s", est, now)
	}
	c := storetest.Create("a", "inc1", s.Estimate())
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: c.Now})
	must(t, s.Commit(ctx, c)[0])
	early := storetest.Create("b", "inc1", s.Estimate().Add(10*time.Second))
	if err := s.Commit(ctx, early)[0]; !errors.Is(err, store.ErrClock) {
		t.Errorf("commit ahead: %v", err)
	}
	claimed, err := s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
	must(t, err)
	after, err := s.Now(ctx)
	must(t, err)
	if claimed.StartedAt.Before(now) || claimed.StartedAt.After(after) || claimed.Lease.Sub(claimed.StartedAt) != schedules.Lease {
		t.Errorf("claimed at %s until %s, between %s and %s", claimed.StartedAt, claimed.Lease, now, after)
	}
	_, loadedAt, err := s.Load(ctx, c.Schedule.Ref())
	must(t, err)
	if loadedAt.Before(after) {
		t.Errorf("loaded at %s, after %s", loadedAt, after)
	}
	for range 100 {
		server, err := s.Now(ctx)
		must(t, err)
		est := s.Estimate()
		next, err := s.Now(ctx)
		must(t, err)
		if est.Before(server) || est.After(next) {
			t.Fatalf("estimate %s lies outside [%s, %s]", est, server, next)
		}
	}
	held, err := s.HoldLeases(ctx, "x", 30*time.Millisecond, "beat/3")
	if err != nil || len(held) != 1 {
		t.Fatalf("held %v, %v", held, err)
	}
	eventually(t, "the lease runs out", func() bool {
		held, err := s.HoldLeases(ctx, "y", time.Minute, "beat/3")
		return err == nil && len(held) == 1
	})
}

// The store works in a bubble, under fake time, against a real server.
func TestSynctest(t *testing.T) {
	addr := redistest.Shared(t).Addr()
	namespace := redistest.Namespace(t)
	synctest.Test(t, func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer func() { _ = client.Close() }()
		s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: time.Now})
		must(t, err)
		ctx := t.Context()
		now, err := s.Now(ctx)
		must(t, err)
		c := storetest.Create("a", "inc1", now)
		run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: now})
		must(t, s.Commit(ctx, c)[0])
		_, err = s.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"})
		must(t, err)
		<-time.After(schedules.Lease) // fake time
		expired, err := s.ExpiredLeases(ctx, int(c.Schedule.Ref().Placement())%s.Shards(), s.Estimate(), 10)
		if err != nil || len(expired) != 1 || !expired[0].Until.Equal(now.Add(schedules.Lease)) {
			t.Fatalf("expired: %+v, %v", expired, err)
		}
	})
}

// One server serves many namespaces; none sees another's.
func TestNamespaces(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	one, two := open(t, client, nil), open(t, client, nil)
	ctx := t.Context()
	now, err := one.Now(ctx)
	must(t, err)
	must(t, one.Commit(ctx, storetest.Create("a", "inc1", now))[0])
	if _, err := two.Resolve(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the other namespace: %v", err)
	}
	must(t, two.Commit(ctx, storetest.Create("a", "inc2", now))[0])
	if ref, err := one.Resolve(ctx, "a"); err != nil || ref.Incarnation != "inc1" {
		t.Errorf("the first namespace: %v, %v", ref, err)
	}
}

// Close of a store leaves the client it was given open, and ends that of its own.
func TestClose(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client(t)
	s := open(t, client, nil)
	must(t, s.Close())
	must(t, client.Ping(t.Context()).Err())
	owner, err := redisstore.Open(t.Context(), redisstore.Config{URL: server.URL()})
	must(t, err)
	own := owner.Client()
	must(t, owner.Close())
	if err := own.Ping(t.Context()).Err(); err == nil {
		t.Error("the client of a closed store is open")
	}
	oneLine(t, "Listen on a closed store", owner.Listen(context.Background(), func(store.Wake) {}), "closed")
}

// The indexes hold each schedule once, and an earlier time is not put off by a later one.
func TestIndexes(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)
	ctx := t.Context()
	first := storetest.Create("a", "inc1", clock.Now())
	must(t, s.Commit(ctx, first)[0])
	gone := storetest.Next(first.Schedule, clock.Now())
	gone.Schedule.Status = schedules.StatusDeleted
	must(t, s.Commit(ctx, gone)[0])
	c := storetest.Create("a", "inc2", clock.Now())
	c.Schedule.WakeOnEnd = true
	run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()})
	c.More = true
	must(t, s.Commit(ctx, c)[0])
	shard := int(c.Schedule.Ref().Placement()) % s.Shards()
	prefix := fmt.Sprintf("pyworkflow:{%s:%d}:", namespace, shard)
	for key, want := range map[string][]string{
		"list:active": {"a"}, "list:w:flow": {"a"}, "list:deleted": {}, "old": {"a@inc1"}, "ticks": {"a@inc2"}, "runs:active": {run.ID}, "s:a@inc2:active": {run.ID},
	} {
		got, err := client.ZRange(ctx, prefix+key, 0, -1).Result()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q, %v", key, got, want, err)
		}
	}
	bf := storetest.NewBackfill(c.Schedule.Ref(), "x", clock.Now())
	both := storetest.Next(c.Schedule, clock.Now())
	filled := storetest.Start(&both, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: bf.Start, Backfill: bf.ID})
	both.More = true
	both.Cancel = []schedules.CancelRequest{{RunID: filled.ID, Deadline: clock.Now().Add(time.Minute)}}
	must(t, s.Commit(ctx, both)[0])
	got, _, err := s.Load(ctx, c.Schedule.Ref())
	must(t, err)
	if a := got[0].State.Active; len(a) != 1 || a[0] != (schedules.ActiveRun{ID: run.ID}) {
		t.Errorf("the head of the active runs is %+v", a)
	}
	both = storetest.Next(got[0].State.Schedule, clock.Now())
	both.Schedule.HeadWanted, both.More = 5, true
	must(t, s.Commit(ctx, both)[0])
	for range 2 { // asked by the schedule, then by the run's own change
		got, _, err = s.Load(ctx, c.Schedule.Ref())
		must(t, err)
		if a := got[0].State.Active; len(a) != 2 || a[1] != (schedules.ActiveRun{ID: filled.ID, CancelRequested: true, Backfill: true}) {
			t.Errorf("the active runs are %+v", a)
		}
		filled, err = s.GetRun(ctx, filled.ID)
		must(t, err)
		must(t, s.CommitRun(ctx, storetest.Transition(filled, clock.Now())))
	}
	filled, err = s.GetRun(ctx, filled.ID)
	must(t, err)
	must(t, s.CommitRun(ctx, storetest.End(filled, schedules.RunCancelled, clock.Now())))
	clock.Advance(time.Second)
	due := clock.Now() // of the latest end: an earlier timer may have been looked at in vain
	must(t, s.CommitRun(ctx, storetest.End(run, schedules.RunCompleted, clock.Now())))
	timers, err := s.DueTimers(ctx, shard, clock.Now(), 10)
	if err != nil || len(timers) != 1 || timers[0].Ref != c.Schedule.Ref() || !timers[0].Due.Equal(due) {
		t.Errorf("timers %+v, %v; want one at %s", timers, err, due)
	}
}
