package dashboard

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// runWorld is a store in memory, a client of it and, after work, a worker.
type runWorld struct {
	client    *client.Client
	app       *pyworkflow.App
	store     *sqlitestore.Store
	engine    *engine.Engine
	transport *localtransport.Transport
}

func newRunWorld(t *testing.T, app *pyworkflow.App) *runWorld {
	t.Helper()
	w := &runWorld{app: app, transport: localtransport.New()}
	var err error
	if w.store, err = sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if w.engine, err = engine.New(engine.Config{Store: w.store, Dispatcher: w.transport}); err != nil {
		t.Fatal(err)
	}
	if w.client, err = client.New(client.Config{Store: w.store, Engine: w.engine, App: app}); err != nil {
		t.Fatal(err)
	}
	return w
}

// work runs a worker and a beat until the test ends.
func (w *runWorld) work(t *testing.T) {
	t.Helper()
	wk, err := worker.New(worker.Config{App: w.app, Store: w.store, Engine: w.engine, Transport: w.transport, Local: true, DrainTimeout: -1, Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := beat.New(beat.Config{Store: w.store, Engine: w.engine, Process: &store.Process{Local: true}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- wk.Run(ctx) }()
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("worker or beat: %v", err)
			}
		}
	})
}

func (w *runWorld) start(t *testing.T, workflow, input string) string {
	t.Helper()
	id, err := w.client.StartRun(t.Context(), workflow, json.RawMessage(input), pyworkflow.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *runWorld) ended(t *testing.T, id string) client.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := w.client.WaitRun(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
