//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

var policies = []schedules.OverlapPolicy{schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll, schedules.OverlapCancelOther, schedules.OverlapAllowAll}

var catchups = []schedules.Catchup{schedules.CatchupOne, schedules.CatchupAll, schedules.CatchupNone}

// evenSeconds divide a minute, so that a cron or calendar over seconds ticks evenly.
var evenSeconds = []int{2, 3, 4, 5, 6, 10, 12}

// work is a workflow with an input that the lab understands.
type work struct {
	workflow string
	input    string
}

// draws a workflow: most are quick, some work in steps, fail at first, sleep until they are cancelled, panic, or are heavy.
func (w *world) work() work {
	switch n := w.draw(20); {
	case n < 9:
		return work{"faults_quick", fmt.Sprintf(`{"for":"%dms"}`, w.draw(300))}
	case n < 14:
		return work{"faults_steps", fmt.Sprintf(`{"steps":%d,"for":"%dms"}`, 1+w.draw(4), 20+w.draw(300))}
	case n < 16:
		return work{"faults_flaky", fmt.Sprintf(`{"failures":%d}`, 1+w.draw(2))}
	case n < 18:
		return work{"faults_sleep", fmt.Sprintf(`{"for":"%dms"}`, 1000+w.draw(4000))}
	case n < 19:
		return work{"faults_panic", `{}`}
	default:
		return work{"faults_big", fmt.Sprintf(`{"size":%d}`, 1000+w.draw(50_000))}
	}
}

// period draws a period that the kind of spec can have.
func (w *world) period(kind string) time.Duration {
	n := evenSeconds[w.draw(len(evenSeconds))]
	if kind == check.KindStart || kind == check.KindCompletion {
		n = 2 + w.draw(8)
	}
	return time.Duration(n) * time.Second
}

// spec makes a spec of the kind that ticks evenly.
func (w *world) spec(kind string, every time.Duration) (spec schedules.Spec) {
	n := int(every.Seconds())
	switch kind {
	case check.KindStart:
		spec.Interval, spec.IntervalFrom = fmt.Sprintf("%ds", n), schedules.FromStart
	case check.KindCompletion:
		spec.Interval = fmt.Sprintf("%ds", n)
	case check.KindCron:
		spec.Cron = fmt.Sprintf("*/%d * * * * *", n)
		spec.Timezone = []string{"", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}[w.draw(4)]
	case check.KindCalendar:
		c, err := schedules.ParseCalendar(fmt.Sprintf("second=*/%d minute=* hour=*", n))
		if err != nil {
			w.tb.Errorf("calendar of every %d s: %v", n, err)
		}
		spec.Calendar = []schedules.Calendar{c}
	}
	return spec
}

// define draws schedule number i. All end together.
func (w *world) define(i int, exact bool, end time.Time) client.CreateRequest {
	kind := []string{check.KindStart, check.KindCompletion, check.KindCron, check.KindCalendar}[w.draw(4)]
	every := w.period(kind)
	spec := w.spec(kind, every)
	spec.EndAt = end
	if w.draw(5) == 0 {
		spec.Jitter = schedules.Duration(500 * time.Millisecond)
	}
	policy := policies[i%len(policies)]
	catchup := catchups[w.draw(3)]
	if w.jump > 0 && catchup == schedules.CatchupAll {
		catchup = schedules.CatchupOne // an hour's ticks would be thousands of runs, more than are kept
	}
	job := w.work()
	def := schedules.Definition{Spec: spec, Overlap: policy, Catchup: catchup, Input: json.RawMessage(job.input)}
	if policy == schedules.OverlapCancelOther {
		def.CancelGrace = schedules.Duration(time.Duration(1+w.draw(4)) * time.Second)
	}
	if policy == schedules.OverlapBufferAll {
		def.BufferLimit = 5 + w.draw(20)
	}
	id := fmt.Sprintf("s%03d_%s_%s", i, policy, kind[len(kind)-4:])
	w.mu.Lock()
	w.inputs[id] = def.Input
	w.scene.Definitions = append(w.scene.Definitions, check.Definition{ID: id, Workflow: job.workflow, Every: every, Kind: kind,
		Overlap: string(policy), Catchup: string(def.Catchup), Exact: exact, End: end,
		Jitter: time.Duration(spec.Jitter)})
	w.mu.Unlock()
	return client.CreateRequest{ID: id, Workflow: job.workflow, Definition: def, Force: true}
}

// populate creates the world's schedules.
func (w *world) populate(ctx context.Context) {
	reqs := make([]client.CreateRequest, w.many)
	for i := range reqs {
		reqs[i] = w.define(i, i%10 < 7, w.ends)
	}
	w.create(ctx, reqs...)
}

func (w *world) create(ctx context.Context, reqs ...client.CreateRequest) {
	var group errgroup.Group
	group.SetLimit(16)
	for _, req := range reqs {
		group.Go(func() error {
			began := w.now()
			s, err := w.client.CreateSchedule(ctx, req)
			if err != nil {
				return fmt.Errorf("create %s: %w", req.ID, err)
			}
			w.act(check.Act{Began: began, What: check.ActCreate, Schedule: req.ID}, nil)
			w.mu.Lock()
			defer w.mu.Unlock()
			for i := range w.scene.Definitions {
				if w.scene.Definitions[i].ID == req.ID {
					w.scene.Definitions[i].Created = s.CreatedAt.Time
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		w.tb.Fatal(err)
	}
}

// act notes something people did.
func (w *world) act(a check.Act, err error) {
	a.Ended = w.now()
	if err != nil {
		a.Err = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scene.Acts = append(w.scene.Acts, a)
	if a.Run != "" && a.What == check.ActTrigger {
		w.runs = append(w.runs, a.Run)
	}
}

// people do this and that, until faults are mended. What fails because Redis is away is noted as such.
func (w *world) people(ctx context.Context) {
	for !isClosed(w.mending) {
		pause(w.mending, w.between(50*time.Millisecond, 250*time.Millisecond))
		w.mu.Lock()
		defs := w.scene.Definitions
		w.mu.Unlock()
		d := defs[w.draw(len(defs))]
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		switch n := w.draw(10); {
		case n < 4:
			w.trigger(ctx, d)
		case n < 5 && d.Kind != check.KindDaily:
			w.backfill(ctx, d)
		case n < 6:
			w.cancelRun(ctx)
		case !d.Exact:
			w.change(ctx, d)
		}
		cancel()
	}
}

func (w *world) trigger(ctx context.Context, d check.Definition) {
	a := check.Act{Began: w.now(), What: check.ActTrigger, Schedule: d.ID}
	var req client.TriggerRequest
	if w.draw(8) == 0 {
		req.Overlap, a.Allow = schedules.OverlapAllowAll, true
	}
	res, err := w.client.Trigger(ctx, d.ID, req)
	if err == nil {
		a.Outcome, a.Run = string(res.Outcome), string(res.RunID)
	}
	w.act(a, err)
}

func (w *world) backfill(ctx context.Context, d check.Definition) {
	a := check.Act{Began: w.now(), What: check.ActBackfill, Schedule: d.ID}
	req := client.BackfillRequest{Start: w.now().Add(-d.Every * time.Duration(2+w.draw(8)))}
	if w.draw(4) == 0 {
		req.Parallel, a.Allow = 3, true
	}
	res, err := w.client.Backfill(ctx, d.ID, req)
	if err == nil {
		a.Backfill, a.Runs = string(res.BackfillID), res.RunIDs
	}
	w.act(a, err)
}

func (w *world) cancelRun(ctx context.Context) {
	w.mu.Lock()
	var id string
	if n := len(w.runs); n > 0 {
		id = w.runs[n-1]
		w.runs = w.runs[:n-1]
	}
	w.mu.Unlock()
	if id == "" {
		return
	}
	a := check.Act{Began: w.now(), What: check.ActCancel, Run: id}
	_, err := w.client.CancelRun(ctx, id, "people change their minds")
	w.act(a, err)
}

// change does one of the acts that an exact schedule is spared.
func (w *world) change(ctx context.Context, d check.Definition) {
	a := check.Act{Began: w.now(), Schedule: d.ID}
	var err error
	switch w.draw(5) {
	case 0:
		a.What = check.ActPause
		_, err = w.client.Pause(ctx, d.ID, nil)
	case 1, 2:
		a.What = check.ActResume
		_, err = w.client.Resume(ctx, d.ID, nil)
	case 3:
		a.What = check.ActUpdate
		every, policy := w.period(d.Kind), policies[w.draw(len(policies))]
		spec := w.spec(d.Kind, every)
		spec.EndAt = d.End
		patch := schedules.Patch{Spec: &spec}
		if w.draw(2) == 0 {
			patch = schedules.Patch{Overlap: &policy}
			a.Overlap = string(policy)
		} else {
			a.Every = every
		}
		_, err = w.client.EditSchedule(ctx, d.ID, func(schedules.Schedule) (schedules.Patch, error) { return patch, nil })
	case 4:
		a.What = check.ActDelete
		if _, err = w.client.Delete(ctx, d.ID); err != nil {
			break
		}
		w.act(a, nil)
		a = check.Act{Began: w.now(), Schedule: d.ID, What: check.ActCreate}
		again := d
		again.Every, again.Created = w.period(d.Kind), a.Began
		spec := w.spec(d.Kind, again.Every)
		spec.EndAt = d.End
		var s client.Schedule
		s, err = w.client.CreateSchedule(ctx, client.CreateRequest{ID: d.ID, Workflow: d.Workflow, Force: true,
			Definition: schedules.Definition{Overlap: schedules.OverlapPolicy(d.Overlap), Spec: spec, Input: w.inputs[d.ID]}})
		if err == nil {
			again.Created = s.CreatedAt.Time
		}
		w.mu.Lock()
		w.scene.Definitions = append(w.scene.Definitions, again)
		w.mu.Unlock()
	}
	w.act(a, err)
}
