package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

const (
	// heartbeat is how often a stream without events says where it is.
	heartbeat = 15 * time.Second
	// slowest is how long a reader may take for what is written to it.
	slowest = 30 * time.Second
	// comeBack is after how long a browser connects again, in milliseconds.
	comeBack = 2000
)

// streamed is a body that is written while there is something to write.
type streamed struct{ Body func(huma.Context) }

// addEvents registers the event stream.
func (s *server) addEvents() {
	type input struct {
		Schedule []string `query:"schedule,explode" doc:"Watch these schedules, and the runs of no others; may be repeated."`
		Run      []string `query:"run,explode" doc:"Watch these runs, and no others; may be repeated."`
		Kind     []string `query:"kind,explode" enum:"run,schedule,process" doc:"Events of these kinds only; may be repeated."`
		Since    string   `query:"since" format:"date-time" doc:"Begin with what changed since, by the clock of the server (its Date header)."`
		LastID   string   `header:"Last-Event-ID" doc:"Go on behind this event. Browsers send it by themselves."`
	}
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}, Example: "id: MZXW6YTBOI-7-1772442000000\nevent: run\ndata: {\"run_id\":\"" + exampleRunID + "\",\"schedule_id\":\"report\",\"workflow\":\"daily_report\",\"queue\":\"default\",\"status\":\"completed\",\"attempt\":1}\n\n"}
	add(s, huma.Operation{OperationID: "events", Method: http.MethodGet, Path: "/events", Tags: []string{tagSystem}, Summary: "Hear of changes as they happen",
		Description: `Server-sent events: run (a run became active, changed or ended), schedule (a watched schedule changed), process (a worker or beat came, went or took something else), reset (read anew what you show: what came before is not known).
Events are hints that say what to read again. With Last-Event-ID a stream goes on where it broke off. Without schedule and run it has all runs and processes.`,
		Responses: map[string]*huma.Response{"200": {Description: "A stream of events", Content: map[string]*huma.MediaType{"text/event-stream": text}}}}, example{},
		func(_ context.Context, in *input) (*streamed, error) {
			for _, l := range []struct {
				name string
				ids  []string
			}{{"schedule", in.Schedule}, {"run", in.Run}} {
				if len(l.ids) > live.MaxWatched {
					return nil, &schedules.FieldError{Field: l.name, Problem: fmt.Sprintf("names %d; at most %d can be watched in one stream", len(l.ids), live.MaxWatched)}
				}
			}
			from := live.From{Since: instantOf(in.Since)}
			if in.LastID != "" {
				from.Last, _ = live.ParsePosition(in.LastID) // an id that is not ours: a reset
			}
			sub, err := s.Live.Subscribe(live.Filter{Schedules: in.Schedule, Runs: in.Run, Kinds: in.Kind}, from)
			if err != nil {
				return nil, err
			}
			return &streamed{func(ctx huma.Context) {
				defer sub.Close()
				r, w := humago.Unwrap(ctx)
				s.stream(w, r, sub)
			}}, nil
		})
}

// stream writes events until either side ends.
func (s *server) stream(w http.ResponseWriter, r *http.Request, sub *live.Subscription) {
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // that of the request; where it cannot be lifted the browser connects again
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	write := func(format string, args ...any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(slowest)) // where it cannot be set, the queue of events bounds a slow reader
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if r.Method == http.MethodHead || !write("retry: %d\n\n", comeBack) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		ok := true
		select {
		case <-r.Context().Done():
			return
		case e, more := <-sub.Events():
			switch {
			case more:
				ok = write("id: %s\nevent: %s\ndata: %s\n\n", e.Position, e.Kind, e.Data)
			case sub.Slow():
				write("id: \nevent: %s\ndata: {}\n\n", live.KindReset)
				return
			default:
				return
			}
		case <-beat.C:
			if at, here := sub.Here(); here {
				ok = write("id: %s\n\n", at)
			} else {
				ok = write(": still here\n\n")
			}
		}
		if !ok {
			return
		}
	}
}
