package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/web/api"
)

// event is one event of a stream, as a browser sees it.
type event struct{ id, kind, data string }

// listener reads a stream.
type listener struct {
	t      *testing.T
	events chan event
	stop   func()
}

// served runs the API and its hub on a real server until the test ends.
func (w *world) served() *httptest.Server {
	w.t.Helper()
	server := httptest.NewServer(w.api)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.hub.Run(ctx)
	}()
	w.t.Cleanup(func() {
		stop()
		<-ended
		server.Close()
	})
	return server
}

// listen opens a stream; what it says arrives at once.
func listen(t *testing.T, server *httptest.Server, query string, header ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+api.Prefix+"/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	l := &listener{t: t, events: make(chan event, 1000)}
	ended := make(chan struct{})
	l.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(l.stop)
	go func() {
		defer close(ended)
		defer close(l.events)
		defer func() { _ = res.Body.Close() }()
		var e event
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.kind != "" {
					l.events <- e
				}
				e = event{}
			}
		}
	}()
	return l
}

// next waits for an event that passes.
func (l *listener) next(what string, want func(event) bool) event {
	l.t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				l.t.Fatalf("the stream ended before %s", what)
			}
			if want(e) {
				return e
			}
		case <-late:
			l.t.Fatalf("not in time: %s", what)
		}
	}
}

func reset(e event) bool { return e.kind == "reset" }

// run is an event of a run in that status.
func run(id, status string) func(event) bool {
	return func(e event) bool {
		var r client.RunHead
		return e.kind == "run" && json.Unmarshal([]byte(e.data), &r) == nil && r.RunID == id && (status == "" || string(r.Status) == status)
	}
}

func schedule(id string) func(event) bool {
	return func(e event) bool { return e.kind == "schedule" && e.data == `{"schedule_id":"`+id+`"}` }
}

// TestEvents: who listens hears of runs and schedules, and goes on where it was.
func TestEvents(t *testing.T) {
	for name, world := range map[string]func(*testing.T) *world{"redis": distributed, "sqlite": func(t *testing.T) *world { return local(t) }} {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			server := w.served()
			w.create("s", `"overlap_policy":"allow_all"`)
			w.create("other", `"overlap_policy":"allow_all"`)
			all, one := listen(t, server, ""), listen(t, server, "schedule=s")
			all.next("the first reset", reset)
			first := one.next("the first reset", reset)

			id, other := w.trigger("s"), w.trigger("other")
			all.next("the run", run(id, "pending"))
			all.next("the other run", run(other, "pending"))
			last := one.next("the run", func(e event) bool {
				if run(other, "")(e) {
					t.Errorf("not asked for: %+v", e)
				}
				return run(id, "pending")(e)
			})
			w.end(id, nil)
			all.next("the end", run(id, "completed"))

			// It was away.
			one.stop()
			again := listen(t, server, "schedule=s", "Last-Event-ID", last.id)
			again.next("the end that it missed", func(e event) bool {
				if e.kind == "reset" {
					t.Error("what came meanwhile was known")
				}
				return run(id, "completed")(e)
			})
			// From further back the same comes again, the run's start among it.
			back := listen(t, server, "schedule=s&kind=run", "Last-Event-ID", first.id)
			back.next("the start", run(id, "pending"))
			back.next("the end", func(e event) bool {
				if e.kind != "run" {
					t.Errorf("not asked for: %+v", e)
				}
				return run(id, "completed")(e)
			})
			for _, id := range []string{"made-up", "AAAAAAAAAA-1-1", strings.Replace(last.id, "-", "-9", 1)} {
				listen(t, server, "schedule=s", "Last-Event-ID", id).next("a reset for an unknown place", reset)
			}
			// A run's log.
			w.end(other, nil)
			one = listen(t, server, "run="+other)
			one.next("the first reset", reset)
			if got := w.ask("GET", "/runs/"+other+"/events", nil); !strings.Contains(got.body, `"fetched"`) {
				t.Errorf("%s", got.body)
			}
			changes := listen(t, server, "schedule=s&kind=schedule")
			changes.next("the first reset", reset)
			if got := w.ask("PATCH", "/schedules/s", `{"note":"x"}`); got.status != http.StatusOK {
				t.Fatal(got)
			}
			changes.next("the change", schedule("s"))
		})
	}
}

// TestEventsEndWithTheHub: a server that ends lets no stream hang.
func TestEventsEndWithTheHub(t *testing.T) {
	w := local(t)
	server := httptest.NewServer(w.api)
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.hub.Run(ctx) }()
	l := listen(t, server, "")
	l.next("the first reset", reset)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range l.events {
		continue // until it is closed
	}
	if got := w.ask("GET", "/events", nil); got.status != http.StatusServiceUnavailable || got.problem(t).Code != client.CodeUnavailable {
		t.Errorf("%d %s", got.status, got.body)
	}
}
