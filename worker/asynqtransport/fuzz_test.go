package asynqtransport

import (
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// FuzzMessage: whatever task lies in a queue, it is read as a run's dispatch or refused on one line; a task id that names a run is never outvoted; and what
// is sent is read as it was.
func FuzzMessage(f *testing.F) {
	id := "run_5e0123456789abcdef0123"
	f.Add(id+":1", taskType, []byte(`{"v":1,"run_id":"`+id+`","dispatch":1,"queue":"default"}`), 1, "default")
	f.Add(id+":2", taskType, []byte(`{"v":1,"run_id":"run_x","dispatch":9}`), 2, "")
	f.Add("x", "email", []byte("\xff"), 0, "q")
	f.Add(id+":01", taskType, []byte(`{"v":`), -1, "q")
	f.Add(id+":99999999999999999999", "", []byte(nil), 1, "q")
	f.Fuzz(func(t *testing.T, id, kind string, data []byte, dispatch int, queue string) {
		m, problem, err := readMessage(id, kind, data)
		switch named, ok := parseTaskID(id); {
		case err != nil:
			if ok || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
				t.Fatalf("%q: %v", id, err)
			}
		case ok && (m.RunID != named.RunID || m.Dispatch != named.Dispatch), !isRun(m.RunID), m.Dispatch < 1, strings.ContainsAny(problem, "\n\r"), len(problem) > 1000:
			t.Fatalf("%q is read as %+v, %q", id, m, problem)
		}
		sent := store.Message{RunID: "run_" + strings.ToValidUTF8(clip(id), ""), Dispatch: dispatch, Queue: strings.ToValidUTF8(queue, "")}
		raw, err := encodeMessage(sent)
		if err != nil {
			t.Fatal(err)
		}
		if dispatch < 1 || !isRun(sent.RunID) || len(raw) > maxPayload {
			return
		}
		if got, problem, err := readMessage(taskID(sent), taskType, raw); err != nil || problem != "" || got != sent {
			if _, ok := parseTaskID(taskID(sent)); ok {
				t.Fatalf("%+v comes back as %+v, %q, %v", sent, got, problem, err)
			}
		}
	})
}
