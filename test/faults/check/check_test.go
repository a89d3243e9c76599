package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

func TestAStoryWithoutFaultsHasNoFindings(t *testing.T) {
	w := story(t)
	rep, findings := w.judge()
	for _, f := range findings {
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
	for name, n := range map[string]int{"ticks": rep.Ticks, "runs": rep.Runs, "executions": rep.Executions, "steps": rep.Steps, "triggers": rep.Triggers,
		"backfilled": rep.Backfilled, "cancelled": rep.Cancelled, "started": rep.Fates["started"], "seen": len(rep.CancelSeen), "late": len(rep.Late)} {
		if n == 0 {
			t.Errorf("the report counts no %s", name)
		}
	}
	if rep.LongestRun < 7*time.Second {
		t.Errorf("longest run %s; one of them takes 7 s", rep.LongestRun)
	}
}

// A record tells its creation in whole milliseconds; in the same one the schedule before it may have been deleted.
func TestADeleteInTheMillisecondOfTheNextCreation(t *testing.T) {
	w := story(t)
	at := w.scene.Definitions[0].Created
	step := func(n int) time.Time { return at.Add(time.Duration(n) * 100 * time.Microsecond) }
	w.scene.Acts = append([]check.Act{
		{What: check.ActDelete, Schedule: "grid", Began: step(1), Ended: step(2)},
		{What: check.ActCreate, Schedule: "grid", Began: step(3), Ended: step(9)},
	}, w.scene.Acts...)
	_, findings := w.judge()
	for _, f := range findings {
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
}

// edit changes the rows of a history that match.
func (w *world) edit(id, kind string, n int, change func(string) string) {
	w.t.Helper()
	row := w.fates(id, kind)[n]
	key := w.row(id) + ":fates"
	score, err := w.redis.ZScore(w.ctx, key, row).Result()
	w.must(err)
	w.must(w.redis.ZRem(w.ctx, key, row).Err())
	if row = change(row); row != "" {
		w.must(w.redis.ZAdd(w.ctx, key, redis.Z{Score: score, Member: row}).Err())
	}
}

// without makes of a row none at all.
func without(string) string { return "" }

// put replaces text in a field of a hash; it must be there.
func (w *world) put(key, field, old, text string) {
	w.t.Helper()
	was, err := w.redis.HGet(w.ctx, key, field).Result()
	w.must(err)
	now := regexp.MustCompile(old).ReplaceAllString(was, text)
	if now == was {
		w.t.Fatalf("%s %s: no %s in %s", key, field, old, was)
	}
	w.must(w.redis.HSet(w.ctx, key, field, now).Err())
}

// each changes every line of a run's log.
func (w *world) each(run string, change func(l *check.Line)) {
	for i := range w.lines {
		if w.lines[i].Run == run {
			change(&w.lines[i])
		}
	}
}

// again copies a run's execution into another process and later.
func (w *world) again(run string, later time.Duration) {
	for _, l := range slices.Clone(w.lines) {
		if l.Run == run {
			l.PID, l.Exec, l.At = pid+1, "again", l.At.Add(later)
			w.lines = append(w.lines, l)
		}
	}
	key := w.prefix(w.lines[len(w.lines)-1].Schedule) + "r:" + run
	mut, err := w.redis.HGet(w.ctx, key, "mut").Result()
	w.must(err)
	mut = endedAt.ReplaceAllStringFunc(mut, func(at string) string {
		ms, err := strconv.ParseInt(endedAt.FindStringSubmatch(at)[1], 10, 64)
		w.must(err)
		return fmt.Sprintf(`"ended_at":%d`, ms+later.Milliseconds())
	})
	w.must(w.redis.HSet(w.ctx, key, "mut", mut).Err())
}

var endedAt = regexp.MustCompile(`"ended_at":(\d+)`)

// cut ends the log of a run's execution before a line.
func (w *world) cut(run, what string) {
	gone := false
	w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool {
		gone = gone || l.Run == run && l.What == what
		return l.Run == run && gone && l.PID == pid
	})
}

func (w *world) fault(f check.Fault) { w.scene.Faults = append(w.scene.Faults, f) }

func (w *world) start(run string) time.Time {
	w.t.Helper()
	for _, l := range w.lines {
		if l.Run == run && l.What == check.LineStart {
			return l.At
		}
	}
	w.t.Fatalf("no start of %s", run)
	return time.Time{}
}

// doctored are histories with something wrong in them, and what is to be found.
var doctored = []struct {
	name   string
	doctor func(w *world)
	kind   string
	text   string // a part of the finding's text
}{
	{"a fate of an interval is gone", func(w *world) { w.edit("grid", "r", 2, without) }, check.KindLost, "tick 10:00:04.000 has no fate"},
	{"the first fate is gone", func(w *world) { w.edit("grid", "r", 0, without) }, check.KindLost, "tick 10:00:00.000 has no fate"},
	{"the last fate is gone", func(w *world) { w.edit("grid", "r", 5, without) }, check.KindLost, "tick 10:00:10.000 has no fate"},
	{"a fate of a cron is gone", func(w *world) { w.edit("wall", "r", 1, without) }, check.KindLost, "tick 10:00:05.000 has no fate"},
	{"a fate of an interval from completion is gone", func(w *world) { w.edit("done", "r", 2, without) }, check.KindLost, "which no run's start or end"},
	{"the last one of an interval from completion is gone", func(w *world) { w.edit("done", "r", 4, without) }, check.KindLost, "which follows"},
	{"a fate before a pause is gone", func(w *world) { w.edit("held", "r", 2, without) }, check.KindLost, "tick 10:00:02.000 has no fate"},
	{"a fate after a resume is gone", func(w *world) { w.edit("held", "r", 4, without) }, check.KindLost, "tick 10:00:07.000 has no fate"},
	{"a run is gone", func(w *world) {
		w.must(w.redis.Del(w.ctx, w.prefix("grid")+"r:"+w.ran("grid")[1]).Err())
	}, check.KindLost, "there is no such run"},
	{"a triggered run is not there", func(w *world) {
		w.act(check.Act{What: check.ActTrigger, Schedule: "wall", Outcome: "started", Run: "run_00112233445566778899aa"})
	}, check.KindLost, "trigger of schedule wall"},
	{"a buffered trigger came to nothing", func(w *world) {
		w.act(check.Act{What: check.ActTrigger, Schedule: "wall", Outcome: "buffered", Run: "run_00112233445566778899aa"})
	}, check.KindLost, "neither started nor was dropped"},
	{"a run of a backfill is not there", func(w *world) {
		a := &w.scene.Acts[slices.IndexFunc(w.scene.Acts, func(a check.Act) bool { return a.What == check.ActBackfill })]
		a.Runs = append(a.Runs, "run_00112233445566778899aa")
	}, check.KindLost, "of 5 runs given 1 are not there"},
	{"a completed run was never executed", func(w *world) { w.cut(w.ran("grid")[1], check.LineStart) }, check.KindLost, "no worker logged an execution"},
	{"a run nobody knows was executed", func(w *world) {
		w.each(w.ran("grid")[1], func(l *check.Line) { l.Run = "run_00112233445566778899aa" })
	}, check.KindLost, "there is no such run"},
	{"a schedule is in no list", func(w *world) {
		w.must(w.redis.ZRem(w.ctx, w.prefix("all")+"list:finished", "all").Err())
	}, check.KindLost, "is not listed"},

	{"a tick has two fates", func(w *world) {
		row := w.fates("grid", "r")[2]
		w.must(w.redis.ZAdd(w.ctx, w.row("grid")+":fates", redis.Z{Score: float64(w.begin.Add(4 * time.Second).UnixMilli()), Member: strings.Replace(row, `"fate"`, ` "fate"`, 1)}).Err())
	}, check.KindDoubled, "tick 10:00:04.000 has two fates"},
	{"a tick has two runs", func(w *world) {
		p, id := w.prefix("grid"), w.ran("grid")[1]
		w.must(w.redis.Copy(w.ctx, p+"r:"+id, p+"r:run_00112233445566778899aa", 0, false).Err())
	}, check.KindDoubled, "has two runs"},
	{"two ticks have one run", func(w *world) {
		runs := w.ran("grid")
		w.edit("grid", "r", 2, func(row string) string { return strings.ReplaceAll(row, runs[2], runs[1]) })
	}, check.KindDoubled, "are both started as"},

	{"a tick is off the grid", func(w *world) {
		w.edit("grid", "r", 2, func(row string) string { return strings.ReplaceAll(row, "4000", "4500") })
	}, check.KindStray, "is off the grid"},
	{"a tick came due while paused", func(w *world) {
		w.edit("held", "r", 2, func(row string) string { return strings.ReplaceAll(row, "2000", "5000") })
	}, check.KindStray, "while the schedule was paused"},
	{"a tick came due after the end", func(w *world) {
		w.edit("grid", "r", 5, func(row string) string {
			return strings.ReplaceAll(row, fmt.Sprint(w.begin.Add(10*time.Second).UnixMilli()), fmt.Sprint(w.begin.Add(12*time.Second).UnixMilli()))
		})
	}, check.KindStray, "at or after end_at"},
	{"a run has no fate", func(w *world) { w.edit("wall", "m", 0, without) }, check.KindStray, "has no fate that says it was started"},
	{"a run names another tick", func(w *world) {
		w.put(w.prefix("grid")+"r:"+w.ran("grid")[1], "fix", `"trigger":"schedule"`, `"trigger":"manual"`)
	}, check.KindStray, "which says it is tick"},

	{"two runs were executed at a time", func(w *world) {
		runs := w.ran("queue")
		w.each(runs[1], func(l *check.Line) {
			if l.What != check.LineEnd {
				l.At = l.At.Add(-time.Second)
			}
		})
	}, check.KindOverlap, "schedule queue@"},
	{"two processes executed one run", func(w *world) { w.again(w.ran("all")[0], time.Second) }, check.KindOverlap, "to which nothing had happened"},
	{"a healthy run was taken from its worker", func(w *world) {
		run := w.ran("all")[0]
		for _, l := range w.lines {
			if l.Run == run && l.What == check.LineStart {
				l.At, l.What, l.Outcome = l.At.Add(900*time.Millisecond), check.LineCancel, "lease lost: taken"
				w.lines = append(w.lines, l)
				break
			}
		}
		w.again(run, time.Second)
	}, check.KindOverlap, "to which nothing had happened"},

	{"a run was ended over its worker's head", func(w *world) {
		run := w.ran("all")[0]
		w.each(run, func(l *check.Line) {
			if l.What == check.LineEnd {
				l.At = l.At.Add(500 * time.Millisecond)
			}
		})
	}, check.KindFence, "to which nothing had happened"},

	{"a run goes on", func(w *world) {
		w.put(w.prefix("grid")+"r:"+w.ran("grid")[1], "mut", `"status":"completed"`, `"status":"running"`)
	}, check.KindStuck, "is running"},
	{"a tick still waits", func(w *world) {
		w.edit("queue", "r", 1, func(row string) string { return strings.Replace(row, `"started"`, `"buffered"`, 1) })
	}, check.KindStuck, "still waits"},
	{"a waiting list is not empty", func(w *world) {
		w.must(w.redis.RPush(w.ctx, w.row("queue")+":wait:r", "{}").Err())
	}, check.KindStuck, "still holds 1 waiting ticks"},
	{"a backfill goes on", func(w *world) {
		w.put(w.prefix("wall")+"b:"+w.backfill(), "row", `"status":"completed"`, `"status":"running"`)
	}, check.KindStuck, "is running"},

	{"a recorded step was executed again", func(w *world) {
		run := w.ran("all")[0]
		w.again(run, 2*time.Second)
		w.cut(run, check.LineEnd)
		w.fault(check.Fault{Began: w.start(run).Add(time.Second), Ended: w.start(run).Add(time.Second), Kind: check.FaultKillWorker, PID: pid})
	}, check.KindStep, "step one was executed again"},
	{"a step was executed twice without need", func(w *world) {
		run := w.ran("all")[0]
		w.again(run, 2*time.Second)
		w.cut(run, check.LineStepDone)
		w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool {
			return l.Run == run && l.PID == pid && l.What != check.LineStart && l.Step != "one"
		})
	}, check.KindStep, "was begun again"},

	{"total_runs is off by one", func(w *world) { w.put(w.row("grid"), "tally", `"total":6`, `"total":7`) }, check.KindCounter, "total_runs is 7, and should be 6"},
	{"skipped_runs is off by one", func(w *world) { w.put(w.row("grid"), "tally", `{`, `{"skipped":1,`) }, check.KindCounter, "skipped_runs is 1"},
	{"missed_runs is off by one", func(w *world) { w.put(w.row("grid"), "tally", `{`, `{"missed":1,`) }, check.KindCounter, "missed_runs is 1"},
	{"active_runs is not zero", func(w *world) { w.put(w.row("grid"), "tally", `{`, `{"active":1,`) }, check.KindCounter, "active_runs is 1"},
	{"buffered_runs is not zero", func(w *world) { w.put(w.row("grid"), "tally", `{`, `{"waiting_regular":1,`) }, check.KindCounter, "waiting regular ticks is 1"},
	{"a success is counted as a failure", func(w *world) { w.put(w.row("grid"), "tally", `"successful":`, `"failed":`) }, check.KindCounter, "failed_runs"},
	{"a backfill's counter is off", func(w *world) {
		w.put(w.prefix("wall")+"b:"+w.backfill(), "tally", `"successful":4`, `"successful":3`)
	}, check.KindCounter, "3 of its runs ended"},

	{"a key of no kind", func(w *world) { w.must(w.redis.Set(w.ctx, w.prefix("grid")+"junk", 1, 0).Err()) }, check.KindLeftover, "none that there should be"},
	{"a global key of no kind", func(w *world) {
		w.must(w.redis.Set(w.ctx, "pyworkflow:{faults}:junk", 1, 0).Err())
	}, check.KindLeftover, "none that there should be"},
	{"steps of a run that is gone", func(w *world) {
		w.must(w.redis.HSet(w.ctx, w.prefix("grid")+"r:run_00112233445566778899aa:steps", "a", "1 {}").Err())
	}, check.KindLeftover, "of a run that is not there"},
	{"half a run", func(w *world) {
		w.must(w.redis.HSet(w.ctx, w.prefix("grid")+"r:run_00112233445566778899aa", "lease", "1").Err())
	}, check.KindLeftover, "record cannot be read"},
	{"history of a schedule that is gone", func(w *world) {
		w.must(w.redis.Copy(w.ctx, w.row("grid")+":fates", w.prefix("grid")+"s:gone@0011:fates", 0, false).Err())
	}, check.KindLeftover, "which is not there"},
	{"a lease of a run that has ended", w1("leases", func(w *world) string { return w.ran("grid")[0] }), check.KindLeftover, ":leases holds run_"},
	{"a timer of a run that has ended", w1("timers", func(w *world) string { return "r" + w.ran("grid")[0] }), check.KindLeftover, ":timers holds rrun_"},
	{"a message in the outbox", w1("outbox", func(w *world) string { return w.ran("grid")[0] + " 1 default" }), check.KindLeftover, "never sent"},
	{"an ended run in the active set", func(w *world) {
		w.must(w.redis.ZAdd(w.ctx, w.row("grid")+":active", redis.Z{Member: w.ran("grid")[0]}).Err())
	}, check.KindLeftover, "in the active set"},
	{"an ended run among the active ones", w1("runs:active", func(w *world) string { return w.ran("grid")[0] }), check.KindLeftover, ":runs:active holds run_"},
	{"a tick of a schedule that has ended", w1("ticks", func(w *world) string { return w.ref("grid").String() }), check.KindLeftover, "no active schedule"},
	{"a schedule in the wrong list", w1("list:paused", func(*world) string { return "grid" }), check.KindLeftover, ":list:paused holds grid"},
	{"a message of asynq", func(w *world) {
		w.must(w.redis.HSet(w.ctx, "asynq:{pyworkflow:faults:default}:t:run_1:1", "msg", "x").Err())
	}, check.KindLeftover, "asynq's key"},
	{"an archive of asynq", func(w *world) {
		w.must(w.redis.ZAdd(w.ctx, "asynq:{pyworkflow:faults:default}:archived", redis.Z{Member: "run_1:1"}).Err())
	}, check.KindLeftover, "asynq's key"},
	{"a key elsewhere", func(w *world) { w.must(w.redis.Set(w.ctx, "stray", 1, 0).Err()) }, check.KindLeftover, "was not there before"},
	{"somebody else's key is gone", func(w *world) { w.must(w.redis.Del(w.ctx, "somebody:else").Err()) }, check.KindLeftover, "which is not ours, is gone"},

	{"waiting ticks started out of order", func(w *world) {
		runs := w.ran("queue")
		w.each(runs[1], func(l *check.Line) { l.Run = "" })
		w.each(runs[2], func(l *check.Line) { l.Run = runs[1] })
		w.each("", func(l *check.Line) { l.Run = runs[2] })
	}, check.KindOrder, "after the later tick"},

	{"a cancelled run was told late", func(w *world) {
		for i := range w.lines {
			if l := &w.lines[i]; l.Schedule == "other" && (l.What == check.LineCancel || l.What == check.LineEnd) {
				l.At = l.At.Add(2500 * time.Millisecond)
			}
		}
	}, check.KindCancel, "saw it 2.8s later"},
	{"a cancelled run was never told", func(w *world) {
		for i := range w.lines {
			if l := &w.lines[i]; l.Schedule == "other" && l.What == check.LineEnd {
				l.At = l.At.Add(3 * time.Second)
			}
		}
		w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool { return l.What == check.LineCancel })
	}, check.KindCancel, "saw it 3."},
}

// w1 puts one more member into an index.
func w1(index string, member func(w *world) string) func(w *world) {
	return func(w *world) {
		w.must(w.redis.ZAdd(w.ctx, w.prefix("grid")+index, redis.Z{Score: 1, Member: member(w)}).Err())
	}
}

func (w *world) backfill() string {
	for _, a := range w.scene.Acts {
		if a.Backfill != "" {
			return a.Backfill
		}
	}
	w.t.Fatal("the story has no backfill")
	return ""
}

func TestWhatIsWrongIsFound(t *testing.T) {
	seen := map[string]bool{}
	told := story(t)
	for _, c := range doctored {
		seen[c.kind] = true
		t.Run(c.name, func(t *testing.T) {
			w := told.retold(t)
			c.doctor(w)
			_, findings := w.judge()
			if !slices.ContainsFunc(findings, func(f check.Finding) bool { return f.Kind == c.kind && strings.Contains(f.Text, c.text) }) {
				t.Errorf("no finding %q with %q; found: %q", c.kind, c.text, findings)
			}
		})
	}
	for _, kind := range []string{check.KindLost, check.KindDoubled, check.KindStray, check.KindOverlap, check.KindStuck, check.KindStep, check.KindCounter,
		check.KindLeftover, check.KindOrder, check.KindCancel, check.KindFence} {
		if !seen[kind] {
			t.Errorf("no doctored history has a finding %q", kind)
		}
	}
}

func TestFaultsExplain(t *testing.T) {
	told := story(t)
	for name, doctor := range map[string]func(w *world){
		"a killed worker's run is executed again": func(w *world) {
			run := w.ran("all")[0]
			w.again(run, 2*time.Second)
			w.cut(run, check.LineStepDone)
			w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool { return l.Run == run && l.PID == pid && l.What == check.LineEnd })
			w.fault(check.Fault{Began: w.start(run).Add(time.Second), Ended: w.start(run).Add(time.Second), Kind: check.FaultKillWorker, PID: pid})
		},
		"a frozen worker goes on as a zombie": func(w *world) {
			run := w.ran("all")[0]
			w.again(run, time.Second)
			w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool { return l.Run == run && l.PID != pid && strings.HasPrefix(l.What, "step") })
			w.fault(check.Fault{Began: w.start(run).Add(500 * time.Millisecond), Ended: w.start(run).Add(2 * time.Second), Kind: check.FaultFreeze, PID: pid})
		},
		"lines after a run's recorded end are its own": func(w *world) {
			run := w.ran("grid")[0]
			w.each(run, func(l *check.Line) {
				if l.What == check.LineEnd {
					told := *l
					told.What, told.Outcome = check.LineCancel, "cancelled"
					w.lines = append(w.lines, told)
					l.At = l.At.Add(5 * time.Second)
				}
			})
		},
		"a run that was allowed to overlap": func(w *world) {
			runs := w.ran("queue")
			w.each(runs[1], func(l *check.Line) {
				if l.What != check.LineEnd {
					l.At = l.At.Add(-time.Second)
				}
			})
			w.act(check.Act{What: check.ActTrigger, Schedule: "queue", Outcome: "started", Run: runs[1], Allow: true})
		},
		"a pause that failed may have happened": func(w *world) {
			a := &w.scene.Acts[slices.IndexFunc(w.scene.Acts, func(a check.Act) bool { return a.What == check.ActResume })]
			a.Err = "timeout"
			w.edit("held", "r", 5, without)
			w.put(w.row("held"), "tally", `"total":8`, `"total":7`)
			w.put(w.row("held"), "tally", `"successful":8`, `"successful":7`)
			last := w.ran("held")[5]
			p := w.prefix("held")
			for _, index := range []string{"runs", "runs:s:held", "runs:w:faults_steps"} {
				w.must(w.redis.ZRem(w.ctx, p+index, last).Err())
			}
			w.must(w.redis.Del(w.ctx, p+"r:"+last, p+"r:"+last+":log").Err())
			w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool { return l.Run == last })
		},
		"Redis was away when a run was to be told": func(w *world) {
			for i := range w.lines {
				if l := &w.lines[i]; l.Schedule == "other" && (l.What == check.LineCancel || l.What == check.LineEnd) {
					l.At = l.At.Add(2500 * time.Millisecond)
				}
			}
			w.fault(check.Fault{Began: w.begin.Add(4 * time.Second), Ended: w.begin.Add(30 * time.Second), Kind: check.FaultRedis})
		},
		"asynq has not looked after a lost worker yet": func(w *world) {
			w.must(w.redis.HSet(w.ctx, "asynq:{pyworkflow:faults:default}:t:run_1:1", "msg", "x").Err())
			w.fault(check.Fault{Began: w.now, Ended: w.now, Kind: check.FaultKillWorker, PID: 1})
		},
		"another schedule had the id a moment before": func(w *world) {
			before := check.Definition{ID: "grid", Every: 3 * time.Second, Kind: check.KindStart, Overlap: "skip", Exact: true, Created: w.begin.Add(-500 * time.Millisecond)}
			w.scene.Definitions = append([]check.Definition{before}, w.scene.Definitions...)
		},
		"a worker was killed while it wrote": func(w *world) {
			w.must(os.WriteFile(filepath.Join(w.scene.Logs, "9-9.jsonl"), []byte(`{"at":"2026-03-`), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := told.retold(t)
			doctor(w)
			_, findings := w.judge()
			for _, f := range findings {
				t.Errorf("%s: %s", f.Kind, f.Text)
			}
		})
	}
}

func TestAFailoverLosesApart(t *testing.T) {
	w := story(t)
	w.act(check.Act{What: check.ActTrigger, Schedule: "wall", Outcome: "started", Run: "run_00112233445566778899aa"})
	w.scene.Acts[len(w.scene.Acts)-1].Ended = w.begin.Add(5 * time.Second)
	w.scene.Losses = []check.Loss{{From: w.begin.Add(4 * time.Second), To: w.begin.Add(6 * time.Second)}}
	rep, findings := w.judge()
	if len(findings) > 0 || rep.Lost != 0 || rep.RedisLost != 1 {
		t.Errorf("lost %d, by Redis %d, findings %q; want 1 by Redis and nothing else", rep.Lost, rep.RedisLost, findings)
	}
}

func TestOneLossIsMeasuredAtATime(t *testing.T) {
	told := story(t)
	stop := check.Fault{Began: told.begin.Add(3 * time.Second), Ended: told.begin.Add(3100 * time.Millisecond), Kind: check.FaultStopBeat, PID: 1}
	w := told.retold(t)
	w.fault(stop)
	if rep, _ := w.judge(); len(rep.Stopped) != 1 || len(rep.Handover) != 0 {
		t.Errorf("stopped %s, lost %s; want one stopped", rep.Stopped, rep.Handover)
	}
	w = told.retold(t)
	w.fault(stop)
	w.fault(check.Fault{Began: stop.Began.Add(time.Second), Ended: stop.Began.Add(time.Second), Kind: check.FaultKillBeat, PID: 2})
	if rep, _ := w.judge(); len(rep.Stopped)+len(rep.Handover) != 0 {
		t.Errorf("stopped %s, lost %s; want none, since nobody knows which of both it was", rep.Stopped, rep.Handover)
	}
}

func TestRecoveryIsMeasured(t *testing.T) {
	w := story(t)
	run := w.ran("all")[0]
	w.again(run, 2*time.Second)
	w.cut(run, check.LineStepDone)
	w.lines = slices.DeleteFunc(w.lines, func(l check.Line) bool { return l.Run == run && l.PID == pid && l.What == check.LineEnd })
	killed := w.start(run).Add(time.Second)
	w.fault(check.Fault{Began: killed, Ended: killed, Kind: check.FaultKillWorker, PID: pid})
	w.fault(check.Fault{Began: w.begin.Add(7 * time.Second), Ended: w.begin.Add(7 * time.Second), Kind: check.FaultKillBeat, PID: 1})
	w.fault(check.Fault{Began: w.begin.Add(8100 * time.Millisecond), Ended: w.begin.Add(8500 * time.Millisecond), Kind: check.FaultRedis})
	rep, findings := w.judge()
	if len(findings) > 0 {
		t.Errorf("findings %q", findings)
	}
	if rep.Recovered != 1 || len(rep.Resume) != 1 || rep.Resume[0] != time.Second {
		t.Errorf("resumed %d after %s; want one after 1s", rep.Recovered, rep.Resume)
	}
	if len(rep.Handover) != 1 || rep.Handover[0] != 0 {
		t.Errorf("handed over with lateness %s; want one of 0s", rep.Handover)
	}
	if len(rep.Back) != 1 || rep.Back[0] > 3*time.Second {
		t.Errorf("first tick after Redis came back: %s; want one", rep.Back)
	}
	var sum check.Report
	sum.Add(rep)
	sum.Add(rep)
	if sum.Runs != 2*rep.Runs || sum.Recovered != 2 || len(sum.Resume) != 2 || sum.LongestRun != rep.LongestRun {
		t.Errorf("twice %+v is %+v", rep, sum)
	}
}
