package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

// pulse is how often the made-up beat and worker act.
const pulse = 100 * time.Millisecond

// world plays beat, keeper and worker on a real Redis, on a clock of its own, and writes the log that a worker would. Nothing goes wrong in it: what does is
// put in afterwards.
type world struct {
	t       *testing.T
	ctx     context.Context
	client  *client.Client
	store   store.Store
	engine  *engine.Engine
	redis   *redis.Client
	begin   time.Time
	now     time.Time
	refs    []schedules.Ref
	takes   map[string]time.Duration // schedule id → how long its runs take; others take 300 ms
	working map[string]*work         // run id → what is being done
	lines   []check.Line
	scene   check.Scene
	dumps   map[string]string // what Redis held when the story was over
}

// work is one execution going on.
type work struct {
	run  schedules.Run
	line check.Line
	ends time.Time
	told bool
}

const pid = 4711

func newWorld(t *testing.T) *world {
	t.Helper()
	begin := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	w := &world{t: t, ctx: t.Context(), begin: begin, now: begin, takes: map[string]time.Duration{}, working: map[string]*work{}}
	server := redistest.Start(t)
	w.redis = server.Client(t)
	st, err := redisstore.New(w.redis, redisstore.Config{Namespace: "faults", Clock: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w.store = st
	if w.engine, err = engine.New(engine.Config{Store: st}); err != nil {
		t.Fatal(err)
	}
	if w.client, err = client.New(client.Config{Store: st, Engine: w.engine}); err != nil {
		t.Fatal(err)
	}
	w.must(w.redis.Set(w.ctx, "somebody:else", "1", 0).Err())
	w.scene = check.Scene{Client: w.client, Redis: w.redis, Namespace: "faults", Logs: t.TempDir(), KeysBefore: []string{"somebody:else"}, Began: begin}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(d check.Definition, spec schedules.Spec) {
	w.t.Helper()
	d.Workflow, d.Created = "faults_steps", w.now
	s, err := w.client.CreateSchedule(w.ctx, client.CreateRequest{ID: d.ID, Workflow: d.Workflow, Force: true,
		Definition: schedules.Definition{Spec: spec, Overlap: schedules.OverlapPolicy(d.Overlap), CancelGrace: schedules.Duration(20 * time.Second)}})
	w.must(err)
	w.refs = append(w.refs, s.Ref())
	w.scene.Definitions = append(w.scene.Definitions, d)
}

func (w *world) act(a check.Act) {
	a.Began, a.Ended = w.now, w.now
	w.scene.Acts = append(w.scene.Acts, a)
}

// live lets time pass.
func (w *world) live(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(pulse) {
		for _, got := range w.engine.Decide(w.ctx, w.refs...) {
			w.must(got.Err)
		}
		for _, id := range w.runs(schedules.RunPending) {
			w.claim(id)
		}
		for id, k := range w.working {
			w.goOn(id, k)
		}
	}
}

func (w *world) runs(status schedules.RunStatus) (ids []string) {
	w.t.Helper()
	for r, err := range store.All(func(p store.Page) ([]schedules.Run, string, error) {
		return w.store.ListRuns(w.ctx, store.RunFilter{Status: status}, p)
	}) {
		w.must(err)
		ids = append(ids, r.ID)
	}
	return ids
}

func (w *world) claim(id string) {
	w.t.Helper()
	r, err := w.store.GetRun(w.ctx, id)
	w.must(err)
	r, err = w.store.Claim(w.ctx, id, r.Dispatch, store.Claim{Worker: "host:4711:ab", Token: "t" + id})
	w.must(err)
	w.must(w.store.StrikeOff(w.ctx, store.Message{RunID: id, Dispatch: r.Dispatch, Queue: r.Queue}))
	takes, ok := w.takes[r.ScheduleID]
	if !ok {
		takes = 300 * time.Millisecond
	}
	k := &work{run: r, ends: w.now.Add(takes), line: check.Line{PID: pid, Exec: "x" + id, Run: id, Schedule: r.ScheduleID, Nominal: r.Nominal,
		Workflow: r.Workflow, Attempt: 1}}
	w.working[id] = k
	w.log(k.line, 5*time.Millisecond, check.LineStart, "", "")
	for n, name := range []string{"one", "two"} {
		w.log(k.line, time.Duration(10+20*n)*time.Millisecond, check.LineStep, name, "")
		w.log(k.line, time.Duration(20+20*n)*time.Millisecond, check.LineStepDone, name, "")
	}
}

func (w *world) log(l check.Line, later time.Duration, what, step, outcome string) {
	l.At, l.What, l.Step, l.Outcome = w.now.Add(later), what, step, outcome
	w.lines = append(w.lines, l)
}

// goOn ends an execution when its time has come, or half a second after it was asked to cancel, which it sees after 300 ms.
func (w *world) goOn(id string, k *work) {
	w.t.Helper()
	r, err := w.store.GetRun(w.ctx, id)
	w.must(err)
	o := schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage(`{}`)}
	outcome := "ok"
	if asked := r.CancelAt; !asked.IsZero() {
		if !k.told && !w.now.Before(asked.Add(300*time.Millisecond)) {
			k.told, k.ends = true, asked.Add(500*time.Millisecond)
			w.log(k.line, 0, check.LineCancel, "", "asked to cancel")
		}
		outcome = "asked to cancel"
		o = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Kind: schedules.ErrorCancelled, Message: outcome}}
	}
	if w.now.Before(k.ends) {
		return
	}
	w.log(k.line, -5*time.Millisecond, check.LineEnd, "", outcome)
	_, err = w.engine.ChangeRun(w.ctx, id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
	})
	w.must(err)
	delete(w.working, id)
	w.engine.Decide(w.ctx, k.run.Ref())
}

// story is a world in which much happens and all goes well; all is at rest after it.
func story(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	end := w.begin.Add(11 * time.Second)
	bounded := func(s schedules.Spec) schedules.Spec {
		s.EndAt = end
		return s
	}
	start := func(interval string) schedules.Spec {
		return bounded(schedules.Spec{Interval: interval, IntervalFrom: schedules.FromStart})
	}
	w.create(check.Definition{ID: "grid", Every: 2 * time.Second, Kind: check.KindStart, Overlap: "skip", Exact: true}, start("2s"))
	w.create(check.Definition{ID: "queue", Every: 2 * time.Second, Kind: check.KindStart, Overlap: "buffer_all", Exact: true}, start("2s"))
	w.create(check.Definition{ID: "done", Every: 2 * time.Second, Kind: check.KindCompletion, Overlap: "skip", Exact: true}, bounded(schedules.Spec{Interval: "2s"}))
	w.create(check.Definition{ID: "wall", Every: 5 * time.Second, Kind: check.KindCron, Overlap: "skip", Exact: true}, bounded(schedules.Spec{Cron: "*/5 * * * * *"}))
	w.create(check.Definition{ID: "held", Every: time.Second, Kind: check.KindStart, Overlap: "allow_all"}, start("1s"))
	w.create(check.Definition{ID: "other", Every: 4 * time.Second, Kind: check.KindStart, Overlap: "cancel_other", Exact: true}, start("4s"))
	w.create(check.Definition{ID: "all", Every: 3 * time.Second, Kind: check.KindStart, Overlap: "allow_all", Exact: true}, start("3s"))
	w.takes["queue"], w.takes["other"], w.takes["all"] = 3*time.Second, 7*time.Second, 4*time.Second
	w.live(3500 * time.Millisecond)
	_, err := w.client.Pause(w.ctx, "held", nil)
	w.must(err)
	w.act(check.Act{What: check.ActPause, Schedule: "held"})
	w.trigger("wall")
	w.live(3 * time.Second)
	_, err = w.client.Resume(w.ctx, "held", nil)
	w.must(err)
	w.act(check.Act{What: check.ActResume, Schedule: "held"})
	got, err := w.client.Backfill(w.ctx, "wall", client.BackfillRequest{Start: w.begin.Add(-20 * time.Second), End: w.begin})
	w.must(err)
	w.act(check.Act{What: check.ActBackfill, Schedule: "wall", Backfill: string(got.BackfillID), Runs: got.RunIDs})
	w.live(22 * time.Second)
	w.scene.Rest = w.now
	keys, err := check.Keys(w.ctx, w.redis)
	w.must(err)
	w.dumps = map[string]string{}
	for _, key := range keys {
		if w.dumps[key], err = w.redis.Dump(w.ctx, key).Result(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// retold gives the story's end once more, for t to change. Redis is the same, so that what was given before is spoilt.
func (w *world) retold(t *testing.T) *world {
	t.Helper()
	c := *w
	c.t, c.ctx = t, t.Context()
	_, err := c.redis.Pipelined(c.ctx, func(p redis.Pipeliner) error {
		p.FlushAll(c.ctx)
		for key, dump := range c.dumps {
			p.Restore(c.ctx, key, 0, dump)
		}
		return nil
	})
	c.must(err)
	c.lines = slices.Clone(w.lines)
	c.scene.Acts = slices.Clone(w.scene.Acts)
	for i := range c.scene.Acts {
		c.scene.Acts[i].Runs = slices.Clone(c.scene.Acts[i].Runs)
	}
	c.scene.Logs = t.TempDir()
	return &c
}

func (w *world) trigger(id string) {
	w.t.Helper()
	got, err := w.client.Trigger(w.ctx, id, client.TriggerRequest{})
	w.must(err)
	w.act(check.Act{What: check.ActTrigger, Schedule: id, Outcome: string(got.Outcome), Run: string(got.RunID)})
}

// judge writes the log and asks the checker.
func (w *world) judge() (check.Report, []check.Finding) {
	w.t.Helper()
	files := map[int][]byte{}
	slices.SortStableFunc(w.lines, func(a, b check.Line) int { return a.At.Compare(b.At) })
	for _, l := range w.lines {
		raw, err := json.Marshal(l)
		w.must(err)
		files[l.PID] = append(append(files[l.PID], raw...), '\n')
	}
	for pid, text := range files {
		w.must(os.WriteFile(filepath.Join(w.scene.Logs, fmt.Sprintf("%d-1.jsonl", pid)), text, 0o600))
	}
	rep, findings, err := check.Check(w.ctx, w.scene)
	w.must(err)
	return rep, findings
}

// prefix is that of the shard's keys that hold a schedule.
func (w *world) prefix(id string) string {
	w.t.Helper()
	ref := w.ref(id)
	keys, err := check.Keys(w.ctx, w.redis)
	w.must(err)
	for _, key := range keys {
		if p, ok := strings.CutSuffix(key, "s:"+ref.String()); ok {
			return p
		}
	}
	w.t.Fatalf("no schedule %s", id)
	return ""
}

func (w *world) ref(id string) schedules.Ref {
	w.t.Helper()
	for _, ref := range w.refs {
		if ref.ID == id {
			return ref
		}
	}
	w.t.Fatalf("no schedule %s", id)
	return schedules.Ref{}
}

func (w *world) row(id string) string { return w.prefix(id) + "s:" + w.ref(id).String() }

// ran gives the runs of a schedule that were executed, in that order.
func (w *world) ran(id string) (runs []string) {
	w.t.Helper()
	for _, l := range w.lines {
		if l.Schedule == id && l.What == check.LineStart {
			runs = append(runs, l.Run)
		}
	}
	if len(runs) < 2 {
		w.t.Fatalf("schedule %s had %d runs; the story is too short", id, len(runs))
	}
	return runs
}

// fates gives the rows of a history whose tick is of a kind: r, m or b.
func (w *world) fates(id, kind string) []string {
	w.t.Helper()
	all, err := w.redis.ZRange(w.ctx, w.row(id)+":fates", 0, -1).Result()
	w.must(err)
	return slices.DeleteFunc(all, func(row string) bool { return !strings.HasPrefix(row, kind) })
}
