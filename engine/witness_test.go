package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

// witness notes what it is told.
type witness struct {
	told
	created    []schedules.Run
	callers    []any // what the contexts of the calls carried
	moved      [][2]schedules.Run
	dispatched []handing
}

type handing struct {
	asked, sent    int
	written, began time.Time
}

type callerKey struct{}

func (w *witness) Created(ctx context.Context, runs []schedules.Run) {
	w.created, w.callers = append(w.created, runs...), append(w.callers, ctx.Value(callerKey{}))
}

func (w *witness) Moved(before schedules.Run, c schedules.RunChange) {
	w.moved = append(w.moved, [2]schedules.Run{before, c.Run})
}

func (w *witness) Dispatched(msgs, sent []store.Message, written, began time.Time) {
	w.dispatched = append(w.dispatched, handing{len(msgs), len(sent), written, began})
}

func TestAWitnessIsToldMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlitestore.Open(context.Background(), sqlitestore.Config{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		w, transport := &witness{}, &sent{}
		e, err := engine.New(engine.Config{Store: st, Dispatcher: transport, Observers: []engine.Observer{&told{}, w}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithValue(context.Background(), callerKey{}, "somebody")
		run, _, err := e.CreateRun(ctx, schedules.NewRun(schedules.FreeRunID("x"), "flow", "", nil, nil, st.Estimate()))
		if err != nil {
			t.Fatal(err)
		}
		if _, created, _ := e.CreateRun(ctx, run); created || len(w.created) != 1 || w.created[0].ID != run.ID || w.callers[0] != "somebody" {
			t.Errorf("created %v by %v", w.created, w.callers)
		}
		if len(w.dispatched) != 1 || w.dispatched[0].sent != 1 || w.dispatched[0].written.IsZero() || w.dispatched[0].began.Before(w.dispatched[0].written) {
			t.Errorf("handed over: %+v", w.dispatched)
		}
		if run, err = st.Claim(ctx, run.ID, 1, store.Claim{Worker: "w", Token: "t"}); err != nil {
			t.Fatal(err)
		}
		transport.err = errors.New("away")
		if _, err := e.ChangeRun(ctx, run.ID, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
			return schedules.LoseRun(r, now), true, nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(w.moved) != 1 || w.moved[0][0].Status != schedules.RunRunning || w.moved[0][1].Status != schedules.RunPending || w.moved[0][1].Recoveries != 1 || len(w.changed) != 1 {
			t.Errorf("moved %+v", w.moved)
		}
		transport.err = nil
		e.Send(ctx, store.Message{RunID: run.ID, Dispatch: 2, Queue: run.Queue})
		if d := w.dispatched; len(d) != 3 || d[1].asked != 1 || d[1].sent != 0 || d[1].written.IsZero() || d[2].sent != 1 || !d[2].written.IsZero() {
			t.Errorf("handed over: %+v", d)
		}
	})
}
