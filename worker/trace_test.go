package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

type traceKey struct{}

// tracer writes down what it is asked, and marks the contexts it gives.
type tracer struct {
	mu    sync.Mutex
	notes []string
	waits []time.Duration // between sent and received
}

func (t *tracer) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *tracer) Attempt(ctx context.Context, r schedules.Run, sent, received time.Time) (context.Context, func(schedules.Run, schedules.Outcome, bool)) {
	t.note("attempt %d", r.Attempt)
	t.waits = append(t.waits, received.Sub(sent))
	return context.WithValue(ctx, traceKey{}, "attempt"), func(after schedules.Run, o schedules.Outcome, recorded bool) {
		t.note("attempt %d ended %s, recorded %v", r.Attempt, after.Status, recorded)
	}
}

func (t *tracer) Step(ctx context.Context, r schedules.Run, s schedules.Step) (context.Context, func(schedules.Step, error)) {
	t.note("step %s in %v", s.Key, ctx.Value(traceKey{}))
	return context.WithValue(ctx, traceKey{}, "step "+s.Name), func(s schedules.Step, err error) { t.note("step %s ended after %d: %v", s.Key, s.Attempt, err) }
}

// counts is an observer that is told of steps.
type counts struct {
	mu    sync.Mutex
	steps []string
}

func (*counts) Claimed(schedules.Run)                                           {}
func (*counts) Attempted(schedules.Run, schedules.Outcome, time.Duration, bool) {}
func (*counts) Abandoned(schedules.Run)                                         {}
func (c *counts) Stepped(r schedules.Run, s schedules.Step, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, fmt.Sprintf("%s of %s: %d attempts in %s, %v", s.Key, r.Workflow, s.Attempt, took, err))
}

func TestAttemptsAndStepsGetTheirContexts(t *testing.T) {
	inWorld(t, func(w *world) {
		tr, told := &tracer{}, &counts{}
		fails := true
		def := pyworkflow.DefineFunc("flow", func(ctx context.Context) (string, error) {
			tr.note("code in %v", ctx.Value(traceKey{}))
			return pyworkflow.Step(ctx, "fetch", func(ctx context.Context) (string, error) {
				tr.note("code in %v", ctx.Value(traceKey{}))
				if fails {
					fails = false
					return "", errors.New("once")
				}
				return "ok", nil
			}, pyworkflow.StepRetries(1), pyworkflow.StepBackoff(pyworkflow.Fixed(time.Second)))
		})
		id := w.submit("flow", "", nil)
		sleep(time.Second) // nobody serves yet
		w.start(worker.Config{Tracer: tr, Observer: told}, def)
		w.ended(id)
		sleep(time.Second)
		tr.mu.Lock()
		got := strings.Join(tr.notes, "\n")
		tr.mu.Unlock()
		want := "attempt 1\ncode in attempt\nstep fetch#1 in attempt\ncode in step fetch\ncode in step fetch\nstep fetch#1 ended after 2: <nil>\nattempt 1 ended completed, recorded true"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if len(tr.waits) != 1 || tr.waits[0] < 0 || tr.waits[0] > time.Minute {
			t.Errorf("between sent and received: %v", tr.waits)
		}
		if len(told.steps) != 1 || told.steps[0] != "fetch#1 of flow: 2 attempts in 1s, <nil>" {
			t.Errorf("told of steps %q", told.steps)
		}
	})
}

func TestLinesAboutARunSayWhich(t *testing.T) {
	inWorld(t, func(w *world) {
		stuck := pyworkflow.DefineFunc("stuck", func(ctx context.Context) (string, error) {
			pyworkflow.Logger(ctx).Info("said by the code")
			<-time.After(time.Minute) // whatever its context says
			return "", nil
		}, pyworkflow.Timeout(time.Second), pyworkflow.MaxRetries(1), pyworkflow.RetryBackoff(pyworkflow.Fixed(time.Second)))
		c, err := schedules.Create(schedules.CreateRequest{ID: "nightly", Incarnation: "1", Workflow: "stuck",
			Definition: schedules.Definition{Spec: schedules.Spec{Interval: "24h"}}}, time.Now().UTC())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.eng.Create(w.ctx, c); err != nil {
			t.Fatal(err)
		}
		w.start(worker.Config{}, stuck)
		d := w.eng.Decide(w.ctx, c.Schedule.Ref())
		if d[0].Err != nil {
			t.Fatal(d[0].Err)
		}
		id := d[0].Schedule.LastRunID
		w.status(id, schedules.RunRetrying)
		w.ended(id)
		sleep(2 * time.Minute)
		attempts, said := map[string]int{}, 0
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		for line := range strings.Lines(w.log.text.String()) {
			if !strings.Contains(line, id) {
				continue
			}
			for _, key := range []string{" run_id=" + id, " workflow=stuck", " schedule_id=nightly", " attempt="} {
				if strings.Count(line, key) != 1 {
					t.Errorf("%q is there %d times in: %s", key, strings.Count(line, key), line)
				}
			}
			if strings.Contains(line, "said by the code") {
				said++
			} else if !strings.Contains(line, " dispatch=") || !strings.Contains(line, " worker=") {
				t.Errorf("neither dispatch nor worker: %s", line)
			}
			_, after, _ := strings.Cut(line, " attempt=")
			attempts[after[:1]]++
		}
		if said != 2 || attempts["1"] < 4 || attempts["2"] < 4 {
			t.Errorf("lines by attempt: %v, %d said by the code, of\n%s", attempts, said, w.log.text.String())
		}
		var events int
		for _, e := range w.events(id) {
			if e == "log: said by the code" {
				events++
			}
		}
		if events != 2 {
			t.Errorf("events %q", w.events(id))
		}
	})
}
