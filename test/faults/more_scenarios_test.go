//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// maxPayload is the default limit of inputs and results.
const maxPayload = 1 << 20

// exact creates a schedule that the checker knows every tick of.
func (w *world) exact(ctx context.Context, id, workflow, input string, every time.Duration, change func(*schedules.Definition)) {
	def := schedules.Definition{Input: json.RawMessage(input),
		Spec: schedules.Spec{Interval: fmt.Sprintf("%ds", int(every.Seconds())), IntervalFrom: schedules.FromStart, EndAt: w.ends}}
	if change != nil {
		change(&def)
	}
	if def.Overlap == "" {
		def.Overlap = schedules.OverlapSkip
	}
	w.mu.Lock()
	w.scene.Definitions = append(w.scene.Definitions, check.Definition{ID: id, Workflow: workflow, Every: every, Kind: check.KindStart,
		Overlap: string(def.Overlap), Catchup: "one", Exact: true, End: w.ends})
	w.mu.Unlock()
	w.create(ctx, client.CreateRequest{ID: id, Workflow: workflow, Definition: def, Force: true})
}

// overload makes ten times more due than the workers can run, until faults are to end; then more workers come.
var overload = scenario{name: "load", kind: 6, lasts: 12 * time.Second, many: 10,
	begin: func(_ context.Context, w *world) {
		w.add("beat", beatRole, nil)
		w.add("worker", workerRole, nil, "--concurrency", "4", "--drain-timeout", "5s")
	},
	breaks: func(ctx context.Context, w *world) {
		many, waiting := 20, 500
		if *full {
			many, waiting = 40, 10_000
		}
		for i := range many {
			w.exact(ctx, fmt.Sprintf("load%02d", i), "faults_quick", `{"for":"400ms"}`, time.Second, func(d *schedules.Definition) {
				d.Overlap = schedules.OverlapAllowAll
				if i%2 == 0 {
					d.Overlap, d.BufferLimit = schedules.OverlapBufferAll, 10
				}
			})
		}
		w.hit("10 times more due than workers can run")
		w.exact(ctx, "stubborn", "faults_stubborn", `{"for":"8s","ignore":"6s"}`, 2*time.Second, func(d *schedules.Definition) {
			d.Overlap, d.CancelGrace = schedules.OverlapCancelOther, schedules.Duration(2*time.Second)
		})
		w.hit("code that ignores its cancellation")
		pad := strings.Repeat("x", maxPayload-len(`{"size":1048576,"pad":""}`))
		w.exact(ctx, "large", "faults_big", fmt.Sprintf(`{"size":%d,"pad":%q}`, maxPayload, pad), 3*time.Second, nil)
		w.hit("input and result at the limit")
		w.exact(ctx, "queue", "faults_sleep", `{"for":"30s"}`, 30*time.Second, func(d *schedules.Definition) {
			d.Overlap, d.BufferLimit = schedules.OverlapBufferAll, waiting
		})
		w.faulting.Go(func() { w.fill(ctx, "queue", waiting) })
	},
	after: func(ctx context.Context, w *world) {
		s, err := w.client.GetSchedule(ctx, "queue")
		if err != nil {
			w.find("stuck", "show the schedule with waiting ticks: %v", err)
		}
		w.hit(fmt.Sprintf("schedule with %d waiting ticks", s.BufferedRuns))
		a := check.Act{Began: w.now(), What: check.ActDelete, Schedule: "queue"}
		_, err = w.client.Delete(ctx, "queue")
		w.act(a, err)
		if err != nil {
			w.find("stuck", "delete the schedule with waiting ticks: %v", err)
		}
		for i := range 2 {
			w.add(fmt.Sprintf("help%d", i), workerRole, nil, "--concurrency", "100", "--drain-timeout", "5s")
		}
	},
}

// fill lets a schedule have many waiting ticks, as many as can be had in a while.
func (w *world) fill(ctx context.Context, id string, n int) {
	enough := time.Now().Add(40 * time.Second) // a machine that has nothing else to do gets there
	var group errgroup.Group
	group.SetLimit(8)
	for range n {
		group.Go(func() error {
			if time.Now().After(enough) {
				return nil
			}
			a := check.Act{Began: w.now(), What: check.ActTrigger, Schedule: id}
			res, err := w.client.Trigger(ctx, id, client.TriggerRequest{})
			a.Outcome, a.Run = string(res.Outcome), string(res.RunID)
			w.act(a, err)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		w.find("stuck", "trigger %s: %v", id, err)
	}
}

// rolling replaces workers of an old release by those of a new one, while each knows a workflow that the other lacks.
var rolling = scenario{name: "rolling", kind: 7, lasts: 20 * time.Second, many: 20,
	begin: func(_ context.Context, w *world) {
		w.add("beat", beatRole, nil)
		for i := range 2 {
			w.add(fmt.Sprintf("old%d", i), bothRole, []string{"FAULTS_RELEASE=old"}, "--concurrency", "20", "--drain-timeout", "5s")
		}
	},
	breaks: func(ctx context.Context, w *world) {
		w.exact(ctx, "known_to_old", "faults_old_only", `{"for":"50ms"}`, 2*time.Second, nil)
		w.exact(ctx, "known_to_new", "faults_new_only", `{"for":"50ms"}`, 2*time.Second, nil)
		w.until(0, time.Millisecond, func() {
			pause(w.mending, 4*time.Second)
			w.saysSo(ctx, "known_to_new", "faults_new_only")
			w.add("new0", bothRole, []string{"FAULTS_RELEASE=new"}, "--concurrency", "20", "--drain-timeout", "5s")
			w.hit("new release beside the old")
			pause(w.mending, 5*time.Second)
			w.stopNamed("old0")
			w.add("new1", bothRole, []string{"FAULTS_RELEASE=new"}, "--concurrency", "20", "--drain-timeout", "5s")
			pause(w.mending, 2*time.Second)
			w.stopNamed("old1")
			w.hit("old release gone")
			pause(w.mending, time.Hour)
		})
	},
	after: func(ctx context.Context, w *world) {
		// Its ticks may have ended before the old release: one run that nobody can take, and a tick that waits behind it.
		for _, policy := range []schedules.OverlapPolicy{schedules.OverlapAllowAll, schedules.OverlapBufferOne} {
			a := check.Act{Began: w.now(), What: check.ActTrigger, Schedule: "known_to_old", Allow: policy == schedules.OverlapAllowAll}
			res, err := w.client.Trigger(ctx, "known_to_old", client.TriggerRequest{Overlap: policy})
			a.Outcome, a.Run = string(res.Outcome), string(res.RunID)
			w.act(a, err)
		}
		w.saysSo(ctx, "known_to_old", "faults_old_only")
		w.add("old2", bothRole, []string{"FAULTS_RELEASE=old"}, "--concurrency", "20", "--drain-timeout", "5s")
		w.hit("old release back")
	},
}

func (w *world) stopNamed(name string) {
	for _, p := range w.processes {
		if p.name == name {
			p.stop()
		}
	}
}

// saysSo wants a schedule's record to say that no live worker has its workflow.
func (w *world) saysSo(ctx context.Context, id, workflow string) {
	want := fmt.Sprintf("no live worker has workflow %q", workflow)
	said := ""
	for range 100 {
		s, err := w.client.GetSchedule(ctx, id)
		if err != nil {
			said = err.Error()
		} else if said = s.Blocked(); strings.Contains(said, want) {
			return
		}
		pause(w.over, 100*time.Millisecond)
	}
	w.find("silent", "schedule %s is blocked by %q; want %q", id, said, want)
}

// failover kills the primary behind Sentinel, and later has Sentinel change them back.
var failover = scenario{name: "failover", kind: 3, lasts: 40 * time.Second, full: true, many: 60,
	build: func(w *world) {
		w.sentinel = redistest.StartSentinel(w.tb)
		w.url = w.sentinel.URL()
	},
	breaks: func(ctx context.Context, w *world) {
		watched, stop := context.WithCancel(ctx)
		w.tb.Cleanup(stop)
		go w.watchPrimary(watched)
		w.faulting.Go(func() {
			pause(w.mending, 8*time.Second)
			from, what, change := w.now(), "primary killed", w.sentinel.Failover
			if w.seed%2 == 1 {
				what, change = "primary demoted", w.sentinel.SwitchOver // it goes on as a replica that refuses writes
			}
			w.hit("redis: failover, " + what)
			end := w.fault(check.FaultFailover, 0, what)
			change()
			end()
			w.lost(from.Add(-3*time.Second), w.now().Add(2*time.Second)) // a demoted primary takes writes, and loses them, until it has heard of it
			pause(w.mending, 5*time.Second)
			w.sentinel.Rejoin()
		})
	},
}

// lost notes that Redis may have lost what was written in that time.
func (w *world) lost(from, to time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scene.Losses = append(w.scene.Losses, check.Loss{From: from, To: to})
}

// watchPrimary notes every change of the primary until ctx ends: on a busy machine the sentinel may find one of its own to make.
func (w *world) watchPrimary(ctx context.Context) {
	var seen string
	for ctx.Err() == nil {
		addr, err := w.sentinel.PrimaryAddr(ctx)
		if err == nil && seen != "" && addr != seen {
			w.lost(w.now().Add(-5*time.Second), w.now().Add(5*time.Second))
		}
		if err == nil {
			seen = addr
		}
		pause(w.over, 100*time.Millisecond)
		if isClosed(w.over) {
			return
		}
	}
}

// nodeLost kills a node of a cluster and brings it back with its data.
var nodeLost = scenario{name: "cluster", kind: 3, lasts: 30 * time.Second, full: true, many: 60,
	build: func(w *world) {
		w.cluster = redistest.StartCluster(w.tb, 3, redistest.AppendOnly())
		w.url = "redis-cluster://" + strings.Join(w.cluster.Addrs(), ",")
	},
	breaks: func(_ context.Context, w *world) {
		w.until(3*time.Second, 6*time.Second, func() {
			w.hit("redis: cluster node lost and back")
			end := w.fault(check.FaultRedis, 0, "a node of the cluster lost")
			n := w.cluster.Nodes[w.draw(3)]
			n.Kill()
			pause(w.mending, w.between(2*time.Second, 5*time.Second))
			n.Restart()
			w.cluster.AwaitWhole(w.tb)
			end()
		})
	},
}
