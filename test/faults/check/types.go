// Package check judges what happened under faults from the outside: from what the store says at the end, from what the workers wrote into logs of their
// own, and from what the driver did and when. It shares no code with what it judges but the client it reads with.
package check

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// Line is one entry of a worker's own log, a JSON object a line, on the disk before the code goes on.
type Line struct {
	At       time.Time      `json:"at"`   // by the true clock of the host, whatever clock the worker was given
	PID      int            `json:"pid"`  // of the worker
	Exec     string         `json:"exec"` // random: one execution of the workflow's function
	What     string         `json:"what"` // LineStart, …
	Run      string         `json:"run"`
	Schedule string         `json:"schedule,omitempty"`
	Nominal  time.Time      `json:"nominal,omitzero"`
	Workflow string         `json:"workflow"`
	Attempt  int            `json:"attempt"`
	Step     string         `json:"step,omitempty"`
	Outcome  string         `json:"outcome,omitempty"` // of an end: ok or an error's text
	More     map[string]any `json:"more,omitempty"`
}

// What a line tells.
const (
	LineStart    = "start"     // the workflow's function begins
	LineStep     = "step"      // a step's function begins
	LineStepDone = "step_done" // it is about to return
	LineCancel   = "cancel"    // the function saw its context cancelled; Outcome has the cause
	LineEnd      = "end"       // the function is about to return
)

// Definition is a schedule as the driver made it.
type Definition struct {
	ID       string        // of the schedule
	Workflow string        // what it runs
	Every    time.Duration // its period: of the interval, or of a cron or calendar that ticks evenly
	Kind     string        // KindStart, KindCompletion, KindCron, KindCalendar, KindDaily
	Overlap  string        // the policy it was created with
	Catchup  string        // one, all, none
	Exact    bool          // no act but trigger and backfill touches it: the checker knows every nominal time that came due
	Created  time.Time     // by the store's clock
	End      time.Time     // the spec's end_at: no tick at or after it
	Jitter   time.Duration // of the spec
	Expect   []time.Time   // of KindDaily: every nominal time from Created to the rest, written by hand; empty: only doubles are looked for
}

// Kinds of specs.
const (
	KindStart      = "interval from start"
	KindCompletion = "interval from completion"
	KindCron       = "cron"
	KindCalendar   = "calendar"
	KindDaily      = "daily" // a wall-clock time in a zone; Every is zero
)

// Act is something the driver asked for. Its effect lies between Began and Ended, by the store's clock; when Err is set it may or may not have happened.
type Act struct {
	Began, Ended time.Time
	What         string // ActPause, …
	Schedule     string
	Run          string // of a trigger that started one, or of a cancel
	Backfill     string // of a backfill
	Outcome      string // of a trigger: started, buffered or skipped
	Allow        bool   // a trigger with overlap allow_all, or a backfill with more than one run at a time
	Runs         []string
	Err          string

	// Of an update. All three zero: anything may have been changed, and little is checked from then on.
	Every   time.Duration // the spec became another even one of the same kind, with this period
	Spec    bool          // the spec became something else: no grid is known from then on
	Overlap string        // the policy became this one
}

// What the driver does.
const (
	ActCreate   = "create"
	ActPause    = "pause"
	ActResume   = "resume"
	ActUpdate   = "update" // of the spec or the policy
	ActDelete   = "delete"
	ActTrigger  = "trigger"
	ActBackfill = "backfill"
	ActCancel   = "cancel" // of a run
)

// Fault is something the driver broke, from Began to Ended (the same instant for a kill).
type Fault struct {
	Began, Ended time.Time
	Kind         string // FaultKillWorker, …
	PID          int    // of the process it was done to; 0: none
	Note         string // what a person wants to know of it
}

// Faults that the checker looks at; others are counted by their Kind only.
const (
	FaultKillWorker = "kill worker"
	FaultKillBeat   = "kill beat"
	FaultFreeze     = "freeze" // SIGSTOP until Ended
	FaultStopBeat   = "stop beat"
	FaultRedis      = "redis" // Redis did not answer all or some clients, or refused their writes, between Began and Ended
	FaultFailover   = "failover"
	FaultClock      = "clock" // the store's clock stepped
	FaultAsynq      = "asynq" // records of asynq were damaged
)

// Scene is all that the checker knows.
type Scene struct {
	Client      *client.Client        // reads the store, past all proxies
	Redis       redis.UniversalClient // the same
	Namespace   string
	Logs        string // folder of the workers' logs, *.jsonl
	Definitions []Definition
	Acts        []Act
	Faults      []Fault
	KeysBefore  []string      // of the whole server, before anything was made
	Began, Rest time.Time     // by the store's clock: the first act; when everything had come to rest
	Slack       time.Duration // what a busy machine may add to a bound; zero: 1 s
	Stepped     bool          // the store's clock stepped: instants can't be compared with the workers' clocks
	Losses      []Loss        // in which Redis may have lost what was written (failovers)
}

// Loss is a time in which Redis may have lost what was written.
type Loss struct{ From, To time.Time }

// Finding is a broken promise. Kind is for counting; Text says it all on one line.
type Finding struct {
	Kind string // KindLost, …
	Text string
}

// Kinds of findings.
const (
	KindLost     = "lost"     // a tick that came due has no fate, one that started has no run, a run has vanished or was never executed
	KindDoubled  = "doubled"  // a tick has two fates or two runs
	KindStray    = "stray"    // a tick or a run that nothing asked for: off the grid, while paused, without the other half of it
	KindOverlap  = "overlap"  // two runs of a schedule, or two executions of a run, at a time
	KindStuck    = "stuck"    // it should have ended, started or been sent by now
	KindStep     = "step"     // a step was executed again without need
	KindCounter  = "counter"  // a counter differs from what it counts
	KindLeftover = "leftover" // a key, or an entry of an index, of something gone
	KindOrder    = "order"    // waiting ticks started out of order
	KindCancel   = "cancel"   // a cancelled run was not told in time
	KindFence    = "fence"    // somebody ended a run while the code of its worker, to which nothing had happened, went on
)

// Report counts what was looked at.
type Report struct {
	Ticks, Runs, Executions, Steps, Triggers, Backfilled, Recovered, Cancelled int
	Fates                                                                      map[string]int
	Lost, Doubled                                                              int             // among what Redis is not to blame for
	RedisLost                                                                  int             // fell into the window of a failover
	LongestRun                                                                 time.Duration   // from creation to end: the bound that every run ended within
	Resume                                                                     []time.Duration // lost worker → its run is executed again
	Handover                                                                   []time.Duration // lost beat → lateness of the first tick started after
	Stopped                                                                    []time.Duration // stopped beat → the same
	Back                                                                       []time.Duration // Redis back → first tick started
	CancelSeen                                                                 []time.Duration // cancel asked for → seen by live code
	Late                                                                       []time.Duration // start in the worker − nominal time, outside of faults
}
