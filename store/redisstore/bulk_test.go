package redisstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// Many changes of one shard share scripts, each of some of them. What goes wrong with one is that one's, and the indexes have all others.
func TestBulk(t *testing.T) {
	ctx := t.Context()
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)

	const many = 70
	var changes []schedules.Change
	var refs []schedules.Ref
	for i := 0; len(changes) < many; i++ {
		c := storetest.Create(fmt.Sprintf("b%d", i), "inc1", clock.Now())
		if int(c.Schedule.Ref().Placement())%s.Shards() == 3 {
			changes, refs = append(changes, c), append(refs, c.Schedule.Ref())
		}
	}
	prefix := fmt.Sprintf("pyworkflow:{%s:3}:", namespace)
	before := stat(t, client, "evalsha") + stat(t, client, "eval")
	for _, err := range s.Commit(ctx, changes...) {
		must(t, err)
	}
	if n := stat(t, client, "evalsha") + stat(t, client, "eval") - before; n > 2*3 { // each may be unknown at first
		t.Errorf("%d scripts for %d changes", n, many)
	}

	// One that cannot be written in the middle, one that was changed meanwhile, one that is gone.
	loaded, _, err := s.Load(ctx, refs...)
	must(t, err)
	var runs []schedules.Run
	for i := range changes {
		changes[i] = storetest.Next(loaded[i].State.Schedule, clock.Now())
		runs = append(runs, storetest.Start(&changes[i], schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()}))
	}
	must(t, client.Set(ctx, redisstore.ScheduleKey(s, refs[5])+":fates", "no history", 0).Err())
	changes[10].Expect = 7
	changes[20].Schedule.Incarnation = "other"
	broken := []int{5, 10, 20}
	for i, err := range s.Commit(ctx, changes...) {
		if !slices.Contains(broken, i) {
			must(t, err)
			continue
		}
		want := map[int]string{5: "WRONGTYPE", 10: "changed meanwhile", 20: "not found"}[i]
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) || strings.Contains(err.Error(), "\n") {
			t.Errorf("change %d: %v, want %s", i, err, want)
		}
	}
	for i, run := range runs {
		for _, index := range []string{"runs", "runs:active", "runs:w:flow", "runs:s:" + run.ScheduleID} {
			_, err := client.ZScore(ctx, prefix+index, run.ID).Result()
			if (err == nil) == slices.Contains(broken, i) {
				t.Errorf("run %d in %s: %v", i, index, err)
			}
		}
		if slices.Contains(broken, i) {
			continue
		}
		if _, err := client.ZScore(ctx, prefix+"outbox", run.ID+" 1 default").Result(); err != nil {
			t.Errorf("run %d is not in the outbox: %v", i, err)
		}
		if at, err := client.ZScore(ctx, prefix+"timers", "r"+run.ID).Result(); err != nil || int64(at) != run.Due.UnixMilli() {
			t.Errorf("run %d is to be looked at at %v: %v", i, at, err)
		}
	}

	// The same change twice in one call, as a client does whose answer was lost: the first counts.
	twice := storetest.Next(changes[0].Schedule, clock.Now())
	if errs := s.Commit(ctx, twice, twice); errs[0] != nil || errs[1] == nil {
		t.Errorf("the same revision twice: %v", errs)
	}
}

// An index of one schedule that is damaged is not the error of others whose changes share its script, and theirs are all written.
func TestBulkWithADamagedIndex(t *testing.T) {
	ctx := t.Context()
	client := redistest.Shared(t).Client(t)
	clock := storetest.NewClock()
	namespace := redistest.Namespace(t)
	s, err := redisstore.New(client, redisstore.Config{Namespace: namespace, Clock: clock.Now})
	must(t, err)
	var changes []schedules.Change
	for i := 0; len(changes) < 20; i++ {
		c := storetest.Create(fmt.Sprintf("b%d", i), "inc1", clock.Now())
		if int(c.Schedule.Ref().Placement())%s.Shards() == 3 {
			changes = append(changes, c)
		}
	}
	prefix := fmt.Sprintf("pyworkflow:{%s:3}:", namespace)
	var runs []schedules.Run
	for i, err := range s.Commit(ctx, changes...) {
		must(t, err)
		sch := changes[i].Schedule
		sch.Revision = 1
		changes[i] = storetest.Next(sch, clock.Now())
		runs = append(runs, storetest.Start(&changes[i], schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: clock.Now()}))
	}
	const damaged = 5
	must(t, client.Set(ctx, prefix+"runs:s:"+changes[damaged].Schedule.ID, "no list", 0).Err())
	for i, err := range s.Commit(ctx, changes...) {
		if (err != nil) != (i == damaged) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	for i, run := range runs {
		for index, member := range map[string]string{"runs": run.ID, "runs:active": run.ID, "runs:w:flow": run.ID, "timers": "r" + run.ID, "outbox": run.ID + " 1 default",
			"ticks": changes[i].Schedule.Ref().String()} {
			if err := client.ZScore(ctx, prefix+index, member).Err(); err != nil {
				t.Errorf("run %d in %s: %v", i, index, err)
			}
		}
		if err := client.ZScore(ctx, prefix+"runs:s:"+run.ScheduleID, run.ID).Err(); err != nil && i != damaged {
			t.Errorf("run %d of its schedule: %v", i, err)
		}
	}
}
