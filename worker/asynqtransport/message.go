package asynqtransport

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// payload is what travels. The record of the run is authoritative; the queue is for the eyes of people.
type payload struct {
	Version int `json:"v"`
	store.Message
}

func encodeMessage(m store.Message) ([]byte, error) {
	return json.Marshal(payload{Version: formatVersion, Message: m})
}

func taskID(m store.Message) string { return fmt.Sprintf("%s:%d", m.RunID, m.Dispatch) }

// maxPayload is the most that is looked into; ours are some hundred bytes.
const maxPayload = 64 << 10

// readMessage says which dispatch of which run a task is for. Its id says it, too, and goes before the payload: asynq and the keepers know the message by
// it. So a payload that was forged or cut delays nothing. Problem is what is wrong with the payload, empty when nothing is. The error: neither says it.
func readMessage(id, kind string, data []byte) (m store.Message, problem string, err error) {
	said, bad := readPayload(kind, data)
	named, ok := parseTaskID(id)
	switch {
	case ok && bad == nil && (said.RunID != named.RunID || said.Dispatch != named.Dispatch):
		return named, fmt.Sprintf("it names %q, dispatch %d", clip(said.RunID), said.Dispatch), nil
	case ok && bad != nil:
		return named, bad.Error(), nil
	case ok:
		named.Queue, named.Workflow = said.Queue, said.Workflow
		return named, "", nil
	case bad != nil:
		return store.Message{}, "", fmt.Errorf("task %q names no run, and its payload cannot be read: %w", clip(id), bad)
	}
	return said, "", nil
}

func readPayload(kind string, data []byte) (store.Message, error) {
	var p payload
	switch {
	case kind != taskType:
		return p.Message, fmt.Errorf("type %q is not %q", clip(kind), taskType)
	case len(data) > maxPayload:
		return p.Message, fmt.Errorf("payload has %d bytes, more than %d", len(data), maxPayload)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p.Message, fmt.Errorf("payload is not what is sent: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if !isRun(p.RunID) || p.Dispatch < 1 {
		return p.Message, fmt.Errorf("payload names %q, dispatch %d, which is no run", clip(p.RunID), p.Dispatch)
	}
	if p.Version > formatVersion {
		return p.Message, nil // only its run is read
	}
	if p.Version < 1 {
		return p.Message, errors.New("payload has no version")
	}
	return p.Message, nil
}

// parseTaskID reads "<run id>:<dispatch>".
func parseTaskID(id string) (store.Message, bool) {
	run, dispatch, _ := strings.Cut(id, ":")
	n, err := strconv.Atoi(dispatch)
	m := store.Message{RunID: run, Dispatch: n}
	return m, isRun(run) && err == nil && n > 0 && taskID(m) == id
}

// isRun reports whether an id may be a run's; whether there is one, the store knows.
func isRun(id string) bool { return strings.HasPrefix(id, "run_") && len(id) <= 64 }

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// sentHeader is the header of a task that says when it was handed over, in milliseconds since 1970 by the sender's clock.
const sentHeader = "pyworkflow-sent"

// sentAt reads sentHeader; false: it says nothing, or nothing that could be.
func sentAt(headers map[string]string) (time.Time, bool) {
	ms, err := strconv.ParseInt(headers[sentHeader], 10, 64)
	if err != nil || ms <= 0 || ms > 1<<43 { // some time in 2248
		return time.Time{}, false
	}
	return time.UnixMilli(ms), true
}
