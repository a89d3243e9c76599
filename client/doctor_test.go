package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// carrier is a transport with queues as they are said to be.
type carrier []store.QueueState

func (carrier) Inspect(context.Context) ([]store.Finding, error) { return nil, nil }

func (c carrier) Queues(context.Context) ([]store.QueueState, error) { return c, nil }

// finds checks that there is a finding whose message and remedy hold the texts.
func finds(t *testing.T, list []client.Finding, check string, status store.FindingStatus, message, remedy string) {
	t.Helper()
	if !slices.ContainsFunc(list, func(f client.Finding) bool {
		return f.Check == check && f.Status == status && strings.Contains(f.Message, message) && strings.Contains(string(f.Remedy), remedy)
	}) {
		t.Errorf("no finding %s, %s, %q, %q in %+v", check, status, message, remedy, list)
	}
}

func TestDoctorFindsWorkThatNobodyDoes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		look := func(o client.DoctorOptions) []client.Finding {
			t.Helper()
			list, err := w.CheckWork(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range list {
				if (f.Remedy == "") != (f.Status == store.FindingOK) || strings.Contains(f.Message, "\n") {
					t.Errorf("%+v: wants one line, and a remedy unless it is ok", f)
				}
			}
			return list
		}
		alive := func(p store.Process) {
			t.Helper()
			if err := w.store.AnnounceProcess(ctx, p, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		asynq := client.DoctorOptions{Carrier: carrier{{Queue: "stale", Waiting: 3}, {Queue: "slow", Paused: true, Resume: "unpause it"}, {Queue: "empty"}}}

		for _, f := range look(client.DoctorOptions{}) {
			if f.Status != store.FindingOK {
				t.Errorf("of an empty store: %+v", f)
			}
		}

		w.create("a", daily)
		w.create("b", daily, func(r *client.CreateRequest) { r.Queue = "reports" })
		w.create("c", daily, func(r *client.CreateRequest) { r.Workflow, r.Force = "nosuch", true })
		list := look(asynq)
		finds(t, list, "workers", store.FindingWarning, "active schedules: 3", "worker run")
		finds(t, list, "beats", store.FindingWarning, "nothing starts on schedule (active schedules: 3)", "--beat")
		finds(t, list, "workflows", store.FindingWarning, `nobody has ever announced workflow "nosuch", needed by schedule c`, `defines "nosuch"`)
		finds(t, list, "queues", store.FindingWarning, `no live worker serves queue "reports", needed by schedule b`, "worker run --queues reports")
		finds(t, list, "queues", store.FindingWarning, `queue "stale", needed by 3 messages that wait`, "worker run --queues stale")
		finds(t, list, "queues", store.FindingWarning, `queue "slow" is paused`, "unpause it")
		finds(t, list, "overdue", store.FindingOK, "", "")
		for _, f := range list {
			if strings.Contains(f.Message, `"empty"`) || strings.Contains(f.Message, `"minute_task"`) {
				t.Errorf("nothing is wrong with that: %+v", f)
			}
		}
		finds(t, look(client.DoctorOptions{}), "workers", store.FindingWarning, "no live worker", `"scheduler run"`)

		// A run that waits counts as what schedules need.
		if _, err := w.StartRun(ctx, "minute_task", nil, pyworkflow.StartOptions{Queue: "adhoc"}); err != nil {
			t.Fatal(err)
		}
		finds(t, look(asynq), "queues", store.FindingWarning, `queue "adhoc", needed by run run_`, "--queues adhoc")

		// A worker that lacks a workflow somebody once announced; a beat.
		if err := w.store.PublishWorkflows(ctx, store.Workflow{Name: "nosuch"}); err != nil {
			t.Fatal(err)
		}
		alive(store.Process{ID: "h:1:a", Worker: true, Workflows: []string{"minute_task"}, Queues: []string{"default", "reports", "stale", "slow", "adhoc"}})
		alive(store.Process{ID: "h:2:b", Beat: true})
		list = look(asynq)
		finds(t, list, "workers", store.FindingOK, "live workers: 1", "")
		finds(t, list, "beats", store.FindingOK, "live beats: 1", "")
		finds(t, list, "workflows", store.FindingWarning, `no live worker has workflow "nosuch"`, "pause or delete")
		if slices.ContainsFunc(list, func(f client.Finding) bool { return strings.Contains(f.Message, "serves queue") }) {
			t.Errorf("every queue is served: %+v", list)
		}
		finds(t, look(client.DoctorOptions{Carrier: carrier{}, Records: 1}), "queues", store.FindingOK, "(looked at 1 active schedules)", "")

		w.now = w.now.Add(26 * time.Hour)
		finds(t, look(asynq), "overdue", store.FindingWarning, "3 schedules are overdue, the longest since", "log")
	})
}
