package api

import (
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// What the document shows.
const (
	exampleRunID      = "run_5e0123456789abcdef0123"
	exampleBackfillID = "bf_5e0123456789abcdef0123"
)

var (
	exampleTime = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	exampleSpec = schedules.Spec{Cron: "0 9 * * mon-fri", Timezone: "Europe/Berlin"}

	exampleNew    = map[string]any{"schedule_id": "report", "workflow": "daily_report", "spec": map[string]any{"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"}, "overlap_policy": "skip"}
	exampleEnsure = map[string]any{"workflow": "sync_data", "spec": map[string]any{"interval": "5m"}, "overlap_policy": "buffer_one", "input": map[string]any{"full": false}}
	exampleChange = map[string]any{"spec": map[string]any{"interval": "10m"}, "note": "every five minutes was too much"}

	exampleSchedule = client.Schedule{ScheduleID: "report", Workflow: "daily_report", Status: schedules.StatusActive, Spec: exampleSpec, OverlapPolicy: schedules.OverlapSkip,
		BufferLimit: schedules.DefaultBufferLimit, CancelGrace: schedules.DefaultCancelGrace, Catchup: schedules.CatchupOne, CatchupWindow: schedules.DefaultCatchupWindow,
		Input: json.RawMessage("null"), Overridden: []string{}, CreatedAt: client.Time{Time: exampleTime.AddDate(0, 0, -3)}, UpdatedAt: client.Time{Time: exampleTime.AddDate(0, 0, -3)}, Version: 1,
		LastRunAt: client.Time{Time: exampleTime}, LastRunID: exampleRunID, NextRunTime: client.Time{Time: exampleTime.AddDate(0, 0, 1)}, ActiveRunIDs: []string{}, TotalRuns: 1, SuccessfulRuns: 1}
	exampleFate = client.Fate{NominalTime: client.Time{Time: exampleTime}, Trigger: schedules.TriggerSchedule, DecidedAt: client.Time{Time: exampleTime.Add(3 * time.Millisecond)},
		Fate: schedules.FateStarted, RunID: exampleRunID}
	exampleTicks  = []client.Tick{{NominalTime: client.Time{Time: exampleTime}, LocalTime: client.Zoned{Time: exampleTime.In(time.FixedZone("", 3600))}}}
	exampleDetail = client.ScheduleDetail{Schedule: exampleSchedule, NextTicks: exampleTicks, RecentFates: []client.Fate{exampleFate}}
	exampleRun    = client.Run{RunID: exampleRunID, ScheduleID: "report", Workflow: "daily_report", Queue: "default", Status: schedules.RunCompleted, Trigger: schedules.TriggerSchedule,
		NominalTime: client.Time{Time: exampleTime}, CreatedAt: client.Time{Time: exampleTime}, StartedAt: client.Time{Time: exampleTime.Add(20 * time.Millisecond)},
		EndedAt: client.Time{Time: exampleTime.Add(time.Second)}, Attempt: 1, Dispatch: 1, Worker: "host-2:7:abcd", Input: json.RawMessage("null"), Result: json.RawMessage(`{"rows":42}`),
		Steps: []client.Step{{Name: "fetch", Key: "fetch#1", Status: schedules.RunCompleted, Attempt: 1, StartedAt: client.Time{Time: exampleTime.Add(30 * time.Millisecond)},
			EndedAt: client.Time{Time: exampleTime.Add(900 * time.Millisecond)}, Result: json.RawMessage("42")}}}
	exampleEvent    = client.Event{At: client.Time{Time: exampleTime}, Kind: "log", Level: "INFO", Message: "fetched", Attrs: map[string]any{"rows": 42}}
	exampleBackfill = client.Backfill{BackfillID: exampleBackfillID, ScheduleID: "report", Workflow: "daily_report", Status: schedules.BackfillRunning,
		Start: client.Time{Time: exampleTime.AddDate(0, 0, -7)}, End: client.Time{Time: exampleTime}, Parallel: 1, Input: json.RawMessage("null"), CreatedAt: client.Time{Time: exampleTime},
		Count: 5, Waiting: 3, Active: 1, Successful: 1}
	exampleWorkflow = client.Workflow{Name: "daily_report", Doc: "Builds and sends the report", Queue: "default", MaxRetries: 3, MaxRecoveries: 3, Workers: 2,
		Backoff: schedules.Backoff{Initial: schedules.Duration(time.Second), Factor: 2, Max: schedules.Duration(time.Hour)}, Seen: client.Time{Time: exampleTime}}
	exampleProcess = client.Process{ID: "host-2:7:abcd", Host: "host-2", PID: 7, StartedAt: client.Time{Time: exampleTime}, Seen: client.Time{Time: exampleTime}, Roles: []string{"worker"},
		Queues: []string{"default"}, Workflows: []string{"daily_report"}, Running: []string{exampleRunID}, Capacity: 10, Shards: []int{}}
	exampleQueue = client.Queue{Name: "default", Waiting: 2, Active: 1, Oldest: client.Duration{Duration: schedules.Duration(3 * time.Second)}, Workers: 2}
)

var (
	exampleRate  = 0.95
	exampleStrip = client.Strip{Ticks: []client.StripTick{{NominalTime: client.Time{Time: exampleTime}, Trigger: schedules.TriggerSchedule, Fate: schedules.FateStarted, RunID: exampleRunID,
		RunStatus: schedules.RunCompleted, Took: client.Duration{Duration: schedules.Duration(time.Second)}}}, SuccessRate: &exampleRate,
		P50: client.Duration{Duration: schedules.Duration(time.Second)}, P95: client.Duration{Duration: schedules.Duration(2 * time.Second)}}
	exampleTimeline = client.TimelineTick{Fate: exampleFate, Status: schedules.RunCompleted, Started: client.Time{Time: exampleTime}, Ended: client.Time{Time: exampleTime.Add(time.Second)},
		Attempt: 1, Worker: "host-2:7:abcd"}
	exampleUpcoming = client.Upcoming{From: client.Time{Time: exampleTime}, Width: schedules.Duration(time.Minute), Counts: []int64{12, 0, 3}, Complete: true,
		Next: []client.UpcomingTick{{NominalTime: client.Time{Time: exampleTime}, DueAt: client.Time{Time: exampleTime}, ScheduleID: "report", Workflow: "daily_report"}}}
	exampleOverview = client.Overview{Now: client.Time{Time: exampleTime}, Store: "redis localhost:6379/0",
		Schedules:  map[schedules.Status]int64{schedules.StatusActive: 12, schedules.StatusPaused: 1, schedules.StatusFinished: 0, schedules.StatusDeleted: 2},
		ActiveRuns: 1, Running: []client.Run{}, Completed: 240, Failed: 1, Missed: 1, FailedRuns: []client.Run{},
		MissedTicks: []client.MissedTick{{ScheduleID: "report", Fate: client.Fate{NominalTime: client.Time{Time: exampleTime}, Trigger: schedules.TriggerSchedule,
			DecidedAt: client.Time{Time: exampleTime.Add(26 * time.Hour)}, Fate: schedules.FateMissed, Reason: "window"}}},
		Processes: []client.Process{exampleProcess}, Queues: []client.Queue{exampleQueue}}
)

var exampleFinding = func() client.Finding {
	f := client.Finding{Check: "workers", Message: "no live worker: runs wait (active schedules: 3, pending runs: 1)", Remedy: `start one: "worker run"`}
	f.Status = "warning"
	return f
}()

func page[T any](items ...T) client.Page[T] { return client.Page[T]{Items: items} }
