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

// FuzzBatch: whatever a batch's payload says, it is read as dispatches of runs or refused on one line, and a task's fields are found or not.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"v":1,"queue":"default","batch":["run_1 1 w","run_2 3 other flow"]}`))
	f.Add([]byte(`{"v":1,"batch":["run_1 0"]}`))
	f.Add([]byte("\x0a\x01x\x12\x02{}\x1a\x07batch:1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = fieldOf(data, 2)
		if n := sizeOf(batchPrefix + string(data)); n < 1 || n > batchMost {
			t.Fatalf("a task of %d messages", n)
		}
		msgs, err := readBatch(taskType, data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
				t.Fatalf("refused: %q", err)
			}
			return
		}
		for _, m := range msgs {
			if !isRun(m.RunID) || m.Dispatch < 1 {
				t.Fatalf("%q is read as %+v", data, m)
			}
		}
		raw, err := encodeBatch(msgs)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := readBatch(taskType, raw); len(raw) <= maxPayload && (err != nil || len(again) != len(msgs)) {
			t.Fatalf("%+v comes back as %+v, %v", msgs, again, err)
		}
	})
}
