package client

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Schedule is a schedule as people see it.
type Schedule struct {
	ScheduleID    string                  `json:"schedule_id"`
	Workflow      string                  `json:"workflow"`
	Origin        Text                    `json:"origin"` // module path of the code that declares it; empty: made by hand
	Status        schedules.Status        `json:"status"`
	Spec          schedules.Spec          `json:"spec"`
	OverlapPolicy schedules.OverlapPolicy `json:"overlap_policy"`
	BufferLimit   int                     `json:"buffer_limit"`
	CancelGrace   schedules.Duration      `json:"cancel_grace"`
	Catchup       schedules.Catchup       `json:"catchup"`
	CatchupWindow schedules.Duration      `json:"catchup_window"`
	Queue         Text                    `json:"queue"` // empty: the workflow's own
	Input         json.RawMessage         `json:"input"`
	Note          Text                    `json:"note"`
	Overridden    []string                `json:"overridden"` // fields that people changed since the activation
	CreatedAt     Time                    `json:"created_at"`
	UpdatedAt     Time                    `json:"updated_at"`
	Version       int64                   `json:"version"` // counts people's changes
	LastRunAt     Time                    `json:"last_run_at"`
	LastRunID     Text                    `json:"last_run_id"`
	NextRunTime   Time                    `json:"next_run_time"` // when the next regular tick is due; none unless active

	ActiveRuns     int64    `json:"active_runs"`
	ActiveRunIDs   []string `json:"active_run_ids"` // at most 100
	BufferedRuns   int64    `json:"buffered_runs"`  // ticks that wait for a run to end
	BlockedBy      Text     `json:"blocked_by"`     // the active run that ticks wait or were skipped for
	TotalRuns      int64    `json:"total_runs"`     // started; = successful + failed + cancelled + active
	SuccessfulRuns int64    `json:"successful_runs"`
	FailedRuns     int64    `json:"failed_runs"`
	CancelledRuns  int64    `json:"cancelled_runs"`
	SkippedRuns    int64    `json:"skipped_runs"`
	MissedRuns     int64    `json:"missed_runs"`

	ref     schedules.Ref
	blocked string // of BlockedBy, for people: "run_… (running 3h on host-2)"
}

// Blocked says what BlockedBy is, for how long and where, in words: "run_… (running 3h on host-2)". Empty when nothing is in the way.
func (s *Schedule) Blocked() string { return s.blocked }

// Ref names the incarnation this is a view of.
func (s *Schedule) Ref() schedules.Ref { return s.ref }

// maxActiveIDs is how many active run ids a view carries.
const maxActiveIDs = 100

// viewSchedule makes the view without what other records say: active ids and what blocks it.
func viewSchedule(s schedules.Schedule) Schedule {
	return Schedule{
		ScheduleID: s.ID, Workflow: s.Workflow, Origin: Text(s.Origin), Status: s.Status, Spec: s.Spec, OverlapPolicy: s.Overlap,
		BufferLimit: s.BufferLimit, CancelGrace: s.CancelGrace, Catchup: s.Catchup, CatchupWindow: s.CatchupWindow, Queue: Text(s.Queue),
		Input: raw(s.Input), Note: Text(s.Note), Overridden: list(schedules.Overridden(&s)), CreatedAt: Time{s.CreatedAt}, UpdatedAt: Time{s.UpdatedAt},
		Version: s.Version, LastRunAt: Time{s.LastRunAt}, LastRunID: Text(s.LastRunID), NextRunTime: Time{s.NextRunTime()},
		ActiveRuns: s.Active, ActiveRunIDs: []string{}, BufferedRuns: s.Waiting(), TotalRuns: s.Total, SuccessfulRuns: s.Successful,
		FailedRuns: s.Failed, CancelledRuns: s.Cancelled, SkippedRuns: s.Skipped, MissedRuns: s.Missed, ref: s.Ref(),
	}
}

// Tick is one nominal time, as previews show it.
type Tick struct {
	NominalTime Time  `json:"nominal_time"`
	LocalTime   Zoned `json:"local_time"`
}

// Zoned is an instant at the offset of its own zone; in JSON RFC 3339 with that offset.
type Zoned struct{ time.Time }

// MarshalJSON writes the offset, Z for UTC.
func (z Zoned) MarshalJSON() ([]byte, error) { return json.Marshal(z.Format(time.RFC3339Nano)) }

// ScheduleDetail is a schedule with what comes next and what became of its latest ticks.
type ScheduleDetail struct {
	Schedule
	NextTicks   []Tick `json:"next_ticks"`   // 5
	RecentFates []Fate `json:"recent_fates"` // 10, the newest first

	Waiting   []Waiting  `json:"-"` // the first ticks that wait, in the order they will start
	Backfills []Backfill `json:"-"` // unfinished ones
}

// Waiting is a tick that waits for a run to end.
type Waiting struct {
	NominalTime Time
	Trigger     schedules.Trigger
	Since       Time
	RunID       string // of the run it will become
}

// Fate is what became of one tick.
type Fate struct {
	NominalTime Time               `json:"nominal_time"`
	Trigger     schedules.Trigger  `json:"trigger"`
	DecidedAt   Time               `json:"decided_at"`
	Fate        schedules.FateKind `json:"fate"`
	Reason      Text               `json:"reason"`
	Waited      Duration           `json:"waited"`     // how long it waited before it started or was dropped
	BlockedBy   Text               `json:"blocked_by"` // the run that was in the way
	RunID       Text               `json:"run_id"`
}

func viewFate(f schedules.Fate) Fate {
	return Fate{NominalTime: Time{f.Tick.Nominal}, Trigger: f.Tick.Trigger, DecidedAt: Time{f.DecidedAt}, Fate: f.Fate, Reason: Text(f.Reason),
		Waited: Duration{f.Waited}, BlockedBy: Text(f.BlockedBy), RunID: Text(f.RunID)}
}

// Run is a run as people see it.
type Run struct {
	RunID       string              `json:"run_id"`
	ScheduleID  Text                `json:"schedule_id"`
	Workflow    string              `json:"workflow"`
	Queue       string              `json:"queue"`
	Status      schedules.RunStatus `json:"status"`
	Trigger     schedules.Trigger   `json:"trigger"`
	NominalTime Time                `json:"nominal_time"`
	CreatedAt   Time                `json:"created_at"`
	StartedAt   Time                `json:"started_at"` // of the first claim
	EndedAt     Time                `json:"ended_at"`
	Attempt     int                 `json:"attempt"`
	Dispatch    int                 `json:"dispatch"`
	Recoveries  int                 `json:"recoveries"`
	Worker      Text                `json:"worker"`
	Input       json.RawMessage     `json:"input"`
	Result      json.RawMessage     `json:"result"`
	Error       *Failure            `json:"error"`
	Steps       []Step              `json:"steps"`
}

// Failure says why an attempt or a step failed.
type Failure struct {
	Message string `json:"message"`
	Kind    string `json:"kind"`
	Stack   Text   `json:"stack"`
}

// Step is a recorded part of a run.
type Step struct {
	Name      string              `json:"name"`
	Key       string              `json:"key"`
	Status    schedules.RunStatus `json:"status"`
	Attempt   int                 `json:"attempt"`
	StartedAt Time                `json:"started_at"`
	EndedAt   Time                `json:"ended_at"`
	Result    json.RawMessage     `json:"result"`
	Error     *Failure            `json:"error"`
}

func viewRun(r schedules.Run, steps []schedules.Step) Run {
	v := Run{RunID: r.ID, ScheduleID: Text(r.ScheduleID), Workflow: r.Workflow, Queue: r.Queue, Status: r.Status, Trigger: r.Trigger,
		NominalTime: Time{r.Nominal}, CreatedAt: Time{r.CreatedAt}, StartedAt: Time{r.StartedAt}, EndedAt: Time{r.EndedAt}, Attempt: r.Attempt,
		Dispatch: r.Dispatch, Recoveries: r.Recoveries, Worker: Text(r.Worker), Input: raw(r.Input), Result: raw(r.Result),
		Error: viewFailure(r.Error), Steps: []Step{}}
	for _, s := range steps {
		v.Steps = append(v.Steps, Step{Name: s.Name, Key: s.Key, Status: s.Status, Attempt: s.Attempt, StartedAt: Time{s.StartedAt},
			EndedAt: Time{s.EndedAt}, Result: raw(s.Result), Error: viewFailure(s.Error)})
	}
	return v
}

func viewFailure(e *schedules.RunError) *Failure {
	if e == nil {
		return nil
	}
	return &Failure{Message: e.Message, Kind: e.Kind, Stack: Text(e.Stack)}
}

// Event is one line of a run's log.
type Event struct {
	At      Time           `json:"at"`
	Kind    string         `json:"kind"`
	Level   Text           `json:"level"`
	Message string         `json:"message"`
	Attrs   map[string]any `json:"attrs"`
}

// Backfill is a backfill as people see it.
type Backfill struct {
	BackfillID string                   `json:"backfill_id"`
	ScheduleID string                   `json:"schedule_id"`
	Workflow   string                   `json:"workflow"`
	Queue      Text                     `json:"queue"` // empty: the workflow's own
	Status     schedules.BackfillStatus `json:"status"`
	Start      Time                     `json:"start"`
	End        Time                     `json:"end"`
	Parallel   int                      `json:"parallel"`
	Input      json.RawMessage          `json:"input"`
	CreatedAt  Time                     `json:"created_at"`
	EndedAt    Time                     `json:"ended_at"`
	Count      int64                    `json:"count"`   // its nominal times
	Waiting    int64                    `json:"waiting"` // not started yet
	Active     int64                    `json:"active_runs"`
	Successful int64                    `json:"successful_runs"`
	Failed     int64                    `json:"failed_runs"`
	Cancelled  int64                    `json:"cancelled_runs"`
	Dropped    int64                    `json:"dropped"` // never started, since the backfill was cancelled
}

// Ended reports whether nothing of the backfill is left to start or to end.
func (b *Backfill) Ended() bool {
	return (b.Status == schedules.BackfillCompleted || b.Status == schedules.BackfillCancelled) && b.Active == 0
}

func viewBackfill(b schedules.Backfill) Backfill {
	return Backfill{BackfillID: b.ID, ScheduleID: b.Schedule.ID, Workflow: b.Workflow, Queue: Text(b.Queue), Status: b.Status, Start: Time{b.Start}, End: Time{b.End},
		Parallel: b.Parallel, Input: raw(b.Input), CreatedAt: Time{b.CreatedAt}, EndedAt: Time{b.EndedAt}, Count: b.Count,
		Waiting: b.Count - b.Started - b.Dropped, Active: b.Active, Successful: b.Successful, Failed: b.Failed, Cancelled: b.Cancelled, Dropped: b.Dropped}
}

// Workflow is what is known of a workflow.
type Workflow struct {
	Name          string            `json:"name"`
	Doc           Text              `json:"doc"`
	Queue         string            `json:"queue"`
	MaxRetries    int               `json:"max_retries"`
	Backoff       schedules.Backoff `json:"backoff"`
	Timeout       Duration          `json:"timeout"` // none: no time limit
	MaxRecoveries int               `json:"max_recoveries"`
	Here          bool              `json:"here"`    // it is in this program
	Workers       int               `json:"workers"` // live processes that can execute it
	Seen          Time              `json:"seen"`    // when it was last announced
}

// Process is a live worker or beat.
type Process struct {
	ID        string   `json:"id"`
	Host      string   `json:"host"`
	PID       int      `json:"pid"`
	StartedAt Time     `json:"started_at"`
	Seen      Time     `json:"seen"`
	Roles     []string `json:"roles"`     // worker, beat, local
	Queues    []string `json:"queues"`    // it serves
	Workflows []string `json:"workflows"` // it can execute
	Running   []string `json:"running"`   // run ids, at most 100
	Capacity  int      `json:"capacity"`  // runs at a time
	Shards    []int    `json:"shards"`    // whose ticks it decides
	Version   Text     `json:"version"`
}

func viewProcess(p store.Process) Process {
	v := Process{ID: p.ID, Host: p.Host, PID: p.PID, StartedAt: Time{p.StartedAt}, Seen: Time{p.Seen}, Roles: []string{}, Queues: list(p.Queues),
		Workflows: list(p.Workflows), Running: list(p.Running), Capacity: p.Capacity, Shards: list(p.Shards), Version: Text(p.Version)}
	for _, role := range []struct {
		has  bool
		name string
	}{{p.Worker, "worker"}, {p.Beat, "beat"}, {p.Local, "local"}} {
		if role.has {
			v.Roles = append(v.Roles, role.name)
		}
	}
	return v
}

// merge adds what another announcement of the same process says: its worker and its beat announce themselves apart.
func (p *Process) merge(o Process) {
	p.Roles = union(p.Roles, o.Roles)
	slices.SortFunc(p.Roles, func(a, b string) int { return -strings.Compare(a, b) }) // worker, local, beat
	p.Queues, p.Workflows, p.Running, p.Shards = union(p.Queues, o.Queues), union(p.Workflows, o.Workflows), union(p.Running, o.Running), union(p.Shards, o.Shards)
	p.Capacity = max(p.Capacity, o.Capacity)
	if p.Version == "" {
		p.Version = o.Version
	}
	if o.StartedAt.Before(p.StartedAt.Time) {
		p.StartedAt = o.StartedAt
	}
	if o.Seen.After(p.Seen.Time) {
		p.Seen = o.Seen
	}
}

func union[T comparable](a, b []T) []T {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}
