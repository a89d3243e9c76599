package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Finding is what a look came to in one respect.
type Finding struct {
	Check   string              `json:"check"` // in a word: eviction, clock, workflows
	Status  store.FindingStatus `json:"status"`
	Message string              `json:"message"` // one line: what was found
	Remedy  Text                `json:"remedy"`  // one line: what to do; empty when there is nothing
}

// Carrier is what Doctor asks of the transport between processes.
type Carrier interface {
	// Inspect looks at what the transport needs of its server.
	Inspect(ctx context.Context) ([]store.Finding, error)
	// Queues lists the queues it knows, by name.
	Queues(ctx context.Context) ([]store.QueueState, error)
}

const (
	// DefaultDoctorRecords is DoctorOptions.Records when it is zero.
	DefaultDoctorRecords = 10_000
	// overdueBound is how late a tick may be before it counts as overdue: three polls of a beat at its default interval.
	overdueBound = 15 * time.Second
	// doctorNames is how many names a finding lists.
	doctorNames = 5
)

// DoctorOptions says what to look at. The zero value is good where runs execute in the process that schedules them.
type DoctorOptions struct {
	Carrier Carrier // between processes; nil: there is none, and every live process takes any run
	Records int     // how many records of each kind to look at, at most; 0: DefaultDoctorRecords
}

// Doctor looks at the store, the transport, and the work that nobody does: CheckStore and CheckWork. It changes nothing that lasts. An error says that the store
// does not answer; all else is among the findings.
func (c *Client) Doctor(ctx context.Context, o DoctorOptions) ([]Finding, error) {
	settings, err := c.CheckStore(ctx, o)
	if err != nil {
		return nil, err
	}
	work, err := c.CheckWork(ctx, o)
	return append(settings, work...), err
}

// CheckStore looks at the settings of the store and of the transport: version, eviction, persistence, clock, latency, rights, records of a newer version of the program.
func (c *Client) CheckStore(ctx context.Context, o DoctorOptions) ([]Finding, error) {
	list, err := c.store.Inspect(ctx, o.records())
	if err != nil {
		return nil, err
	}
	if o.Carrier != nil {
		more, err := o.Carrier.Inspect(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	out := make([]Finding, len(list))
	for i, f := range list {
		out[i] = Finding{Check: f.Check, Status: f.Status, Message: f.Message, Remedy: Text(f.Remedy)}
	}
	return out, nil
}

func (o DoctorOptions) records() int { return cmp.Or(o.Records, DefaultDoctorRecords) }

// CheckWork looks for work that nobody does: workers and beats that do not live, workflows and queues that no live worker has, schedules that are overdue.
func (c *Client) CheckWork(ctx context.Context, o DoctorOptions) ([]Finding, error) {
	d := &checkup{c: c, o: o, now: c.store.Estimate(), known: map[string]store.Workflow{}}
	for _, read := range []func(context.Context) error{d.readProcesses, d.readSchedules, d.readRuns, d.readQueues} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	d.workers()
	d.beats()
	d.workflows()
	d.queues()
	if err := d.overdue(ctx); err != nil {
		return nil, err
	}
	return d.list, nil
}

// checkup is one look at the work.
type checkup struct {
	c    *Client
	o    DoctorOptions
	now  time.Time
	list []Finding

	procs      []store.Process
	known      map[string]store.Workflow // announced
	active     []schedules.Schedule
	pending    []schedules.Run
	states     []store.QueueState
	looked     string // at how much, when that was not all
	unreadable string // why schedules or runs could not be read to the end
}

func (d *checkup) add(check string, status store.FindingStatus, remedy, format string, args ...any) {
	d.list = append(d.list, Finding{Check: check, Status: status, Message: fmt.Sprintf(format, args...), Remedy: Text(remedy)})
}

func (d *checkup) readProcesses(ctx context.Context) error {
	var err error
	if d.procs, err = d.c.store.Processes(ctx); err != nil {
		return fmt.Errorf("read live processes: %w", err)
	}
	ws, err := d.c.store.Workflows(ctx)
	if err != nil {
		return fmt.Errorf("read announced workflows: %w", err)
	}
	for _, w := range ws {
		d.known[w.Name] = w
	}
	return nil
}

func (d *checkup) readSchedules(ctx context.Context) (err error) {
	d.active, err = readMost(d, "active schedules", func(p store.Page) ([]schedules.Schedule, string, error) {
		return d.c.store.ListSchedules(ctx, store.ScheduleFilter{Status: schedules.StatusActive}, p)
	})
	return err
}

func (d *checkup) readRuns(ctx context.Context) (err error) {
	d.pending, err = readMost(d, "pending runs", func(p store.Page) ([]schedules.Run, string, error) {
		return d.c.store.ListRuns(ctx, store.RunFilter{Status: schedules.RunPending}, p)
	})
	return err
}

// readMost reads a list up to the bound. A record of a newer version of the program ends it, and is said.
func readMost[T any](d *checkup, what string, read func(store.Page) ([]T, string, error)) ([]T, error) {
	var all []T
	for p := (store.Page{Limit: min(500, d.o.records())}); ; {
		items, next, err := read(p)
		if errors.Is(err, store.ErrFormat) {
			d.unreadable = fmt.Sprintf("not all %s can be read: %v", what, err)
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		if len(all) >= d.o.records() {
			d.looked += fmt.Sprintf(" (looked at %d %s)", len(all), what)
			return all, nil
		}
		p.Cursor = next
	}
}

func (d *checkup) readQueues(ctx context.Context) error {
	if d.o.Carrier == nil {
		return nil
	}
	var err error
	d.states, err = d.o.Carrier.Queues(ctx)
	return err
}

// executors are the live processes that execute runs.
func (d *checkup) executors() []store.Process {
	return slices.DeleteFunc(slices.Clone(d.procs), func(p store.Process) bool { return !executes(p) })
}

func (d *checkup) start(local, apart string) string {
	if d.o.Carrier == nil {
		return local
	}
	return apart
}

func (d *checkup) workers() {
	live := d.executors()
	switch {
	case len(live) > 0:
		d.add("workers", store.FindingOK, "", "live workers: %d", len(live))
	case len(d.active)+len(d.pending) == 0:
		d.add("workers", store.FindingOK, "", "no live worker, and nothing to do")
	default:
		d.add("workers", store.FindingWarning, d.start(`start one: "scheduler run"`, `start one: "worker run"`),
			"no live worker: runs wait (active schedules: %d, pending runs: %d)", len(d.active), len(d.pending))
	}
}

func (d *checkup) beats() {
	n := 0
	for _, p := range d.procs {
		if p.Beat {
			n++
		}
	}
	switch {
	case n > 0:
		d.add("beats", store.FindingOK, "", "live beats: %d", n)
	case len(d.active) == 0:
		d.add("beats", store.FindingOK, "", "no live beat, and no active schedule")
	default:
		d.add("beats", store.FindingWarning, d.start(`start one: "scheduler run"`, `start one: "worker run --beat" or "scheduler run"`),
			"no live beat: nothing starts on schedule (active schedules: %d)", len(d.active))
	}
}

// workflows finds the active schedules and pending runs whose workflow nobody has.
func (d *checkup) workflows() {
	live := d.executors()
	has := map[string]bool{}
	for _, p := range live {
		for _, w := range p.Workflows {
			has[w] = true
		}
	}
	if len(live) == 0 { // nobody to ask: what was ever announced counts, and what this program has
		for w := range d.known {
			has[w] = true
		}
		if d.c.app != nil {
			for _, w := range d.c.app.Workflows() {
				has[w.Name] = true
			}
		}
	}
	lost := map[string][]string{}
	for _, s := range d.active {
		if !has[s.Workflow] {
			lost[s.Workflow] = append(lost[s.Workflow], "schedule "+s.ID)
		}
	}
	for _, r := range d.pending {
		if !has[r.Workflow] {
			lost[r.Workflow] = append(lost[r.Workflow], "run "+r.ID)
		}
	}
	for _, w := range slices.Sorted(maps.Keys(lost)) {
		what := "nobody has ever announced workflow %q, needed by %s"
		if _, ever := d.known[w]; ever {
			what = "no live worker has workflow %q, needed by %s"
		}
		d.add("workflows", store.FindingWarning, fmt.Sprintf("run a worker of the program that defines %q (--module), or pause or delete what needs it", w), what, w, some(lost[w]))
	}
	switch {
	case d.unreadable != "":
		d.add("workflows", store.FindingSkipped, "upgrade this program", "%s", d.unreadable)
	case len(lost) == 0:
		d.add("workflows", store.FindingOK, "", "every workflow that active schedules and pending runs need is there%s", d.looked)
	}
}

// some joins names, the first few of them.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), doctorNames)], ", ")
	if more := len(names) - doctorNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// queues finds the queues that something waits in, or will be sent to, and that no live worker serves.
func (d *checkup) queues() {
	if d.o.Carrier == nil {
		d.add("queues", store.FindingOK, "", "runs are taken from all queues (local runtime)")
		return
	}
	served := map[string]bool{}
	for _, p := range d.procs {
		for _, q := range p.Queues {
			served[q] = true
		}
	}
	need := map[string][]string{}
	want := func(queue, by string) {
		if !served[queue] {
			need[queue] = append(need[queue], by)
		}
	}
	for _, s := range d.states {
		if s.Waiting > 0 {
			want(s.Queue, fmt.Sprintf("%d messages that wait", s.Waiting))
		}
	}
	for _, r := range d.pending {
		want(r.Queue, "run "+r.ID)
	}
	for _, s := range d.active {
		want(cmp.Or(s.Queue, d.queueOf(s.Workflow)), "schedule "+s.ID)
	}
	for _, q := range slices.Sorted(maps.Keys(need)) {
		d.add("queues", store.FindingWarning, fmt.Sprintf(`run a worker for it: "worker run --queues %s"`, q), "no live worker serves queue %q, needed by %s", q, some(need[q]))
	}
	paused := 0
	for _, s := range d.states {
		if s.Paused {
			paused++
			d.add("queues", store.FindingWarning, s.Resume, "queue %q is paused: workers take nothing from it (waiting: %d)", s.Queue, s.Waiting)
		}
	}
	if len(need)+paused == 0 {
		d.add("queues", store.FindingOK, "", "every queue that something is sent to is served%s", d.looked)
	}
}

// queueOf is the queue that a workflow names.
func (d *checkup) queueOf(workflow string) string {
	return cmp.Or(d.known[workflow].Options.Queue, schedules.DefaultQueue)
}

// overdue finds active schedules whose tick is late.
func (d *checkup) overdue(ctx context.Context) error {
	const most = 100 // of a shard
	var ids []string
	var oldest time.Time
	more := ""
	for shard := range d.c.store.Shards() {
		due, err := d.c.store.DueTicks(ctx, shard, d.now.Add(-overdueBound), most)
		if err != nil {
			return fmt.Errorf("read due schedules: %w", err)
		}
		if len(due) == most {
			more = " or more"
		}
		for _, s := range due {
			ids = append(ids, "schedule "+s.Ref.ID)
			if oldest.IsZero() || s.Due.Before(oldest) {
				oldest = s.Due
			}
		}
	}
	if len(ids) == 0 {
		d.add("overdue", store.FindingOK, "", "no schedule is overdue by more than %s", overdueBound)
		return nil
	}
	d.add("overdue", store.FindingWarning, d.start(`see that a "scheduler run" lives, and its log`, `see that a beat lives ("worker list"), and its log`),
		"%d%s schedules are overdue, the longest since %s: %s", len(ids), more, Age(d.now.Sub(oldest)), some(ids))
	return nil
}
