package pyworkflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// App collects the workflows a program defines. The zero value is not usable: see NewApp. It is safe for concurrent use.
type App struct {
	mu    sync.RWMutex
	defs  map[string]*definition
	hooks []func(context.Context, RunEnded)
	limit schedules.Limits
}

// NewApp returns an empty App with the default limits.
func NewApp() *App { return &App{defs: make(map[string]*definition), limit: schedules.DefaultLimits()} }

// Limits bound inputs, results, steps and texts; see schedules.Limits.
type Limits = schedules.Limits

// SetLimits sets the limits that hold for the runs executed and for what clients made with this App are given; a zero field leaves that limit as it is. Call
// it before Register, which checks the inputs of declared schedules. An error wraps ErrInvalid, and nothing is changed. What the flags, the environment or the
// config file of a command line say goes before this.
func (a *App) SetLimits(l Limits) error {
	if err := l.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limit = l.Over(a.limit)
	return nil
}

// Limits are the limits that hold; no field is zero.
func (a *App) Limits() Limits {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.limit
}

// Registrable is what Register takes: a *Workflow of any types.
type Registrable interface {
	definition() *definition
}

// WorkflowInfo is what is known of a registered workflow.
type WorkflowInfo struct {
	Name      string
	Doc       string
	Options   schedules.RunOptions // Queue is never empty
	Schedules []DeclaredSchedule   // in the order of their declaration
	Origin    string               // path of the Go module that defines it; the package's where no module is known
}

// DeclaredSchedule is a schedule that is declared in code, with Schedule.
type DeclaredSchedule struct {
	ID         string // auto_<workflow>, or auto_<workflow>_<name>
	Workflow   string
	Definition schedules.Definition
	Origin     string // as WorkflowInfo.Origin
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)

const nameRule = "write up to 128 letters, digits, _ . : or -, a letter or digit first"

// Register adds workflows, all or, with an error, none of them. Refused are a name that is taken or is not of the form
// [A-Za-z0-9][A-Za-z0-9_.:-]{0,127}, an option or a schedule that makes no sense, and types that JSON cannot carry. Errors wrap ErrInvalid and are one
// line that names the workflow, what is wrong and what to write instead.
func (a *App) Register(defs ...Registrable) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	added := make(map[string]*definition, len(defs))
	for _, r := range defs {
		if r == nil {
			return fmt.Errorf("%w: Register was given nil", ErrInvalid)
		}
		d := r.definition()
		if d == nil {
			return fmt.Errorf("%w: Register was given a nil *Workflow", ErrInvalid)
		}
		if a.defs[d.name] != nil || added[d.name] != nil {
			return fmt.Errorf("%w: workflow %q is registered twice; give each its own name", ErrInvalid, d.name)
		}
		if err := d.check(a.limit); err != nil {
			return fmt.Errorf("%w: workflow %q: %w", ErrInvalid, d.name, err)
		}
		added[d.name] = d
	}
	if err := checkIDs(a.defs, added); err != nil {
		return err
	}
	maps.Copy(a.defs, added)
	return nil
}

// checkIDs refuses two schedules of one id: auto_a_b is a's schedule b, and a_b's own.
func checkIDs(sets ...map[string]*definition) error {
	owner := make(map[string]string)
	for _, defs := range sets {
		for _, name := range slices.Sorted(maps.Keys(defs)) {
			for _, s := range defs[name].schedules() {
				if other, taken := owner[s.ID]; taken {
					return fmt.Errorf("%w: schedule id %s is declared by workflow %q and by workflow %q; give one of them another name with Named",
						ErrInvalid, s.ID, other, name)
				}
				owner[s.ID] = name
			}
		}
	}
	return nil
}

// Workflows lists what is registered, by name.
func (a *App) Workflows() []WorkflowInfo {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]WorkflowInfo, 0, len(a.defs))
	for _, name := range slices.Sorted(maps.Keys(a.defs)) {
		out = append(out, a.defs[name].info())
	}
	return out
}

// Workflow finds a registered workflow by its name.
func (a *App) Workflow(name string) (WorkflowInfo, bool) {
	d, ok := a.find(name)
	if !ok {
		return WorkflowInfo{}, false
	}
	return d.info(), true
}

func (a *App) find(name string) (*definition, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	d, ok := a.defs[name]
	return d, ok
}

// Schedules lists the declared schedules of all workflows, by id.
func (a *App) Schedules() []DeclaredSchedule {
	var out []DeclaredSchedule
	for _, w := range a.Workflows() {
		out = append(out, w.Schedules...)
	}
	slices.SortFunc(out, func(x, y DeclaredSchedule) int {
		return cmp.Compare(x.ID, y.ID)
	})
	return out
}

// RunEnded says how a run ended.
type RunEnded struct {
	RunID      string
	ScheduleID string // empty: it belonged to no schedule
	Workflow   string
	Status     schedules.RunStatus // completed, failed or cancelled
	Trigger    schedules.Trigger
	Nominal    time.Time // zero: it belonged to no schedule
	Attempt    int
	CreatedAt  time.Time
	StartedAt  time.Time // zero: it never reached a worker
	EndedAt    time.Time
	Result     json.RawMessage // of a completed run
	Err        *RunError       // nil for a completed run
}

// OnRunEnd has f called after a run has ended, in the process that recorded the end, worker or not: register it wherever that may be. Calls
// come from goroutines of their own, in no order; each end is told at most once, and a process that dies may leave it untold. ctx is cancelled
// when the process cannot wait any longer.
func (a *App) OnRunEnd(f func(ctx context.Context, e RunEnded)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hooks = append(a.hooks, f)
}

// TellRunEnd calls what OnRunEnd registered, one after another; a panic becomes an error and the others are still called. For runtimes.
func (a *App) TellRunEnd(ctx context.Context, r schedules.Run) error {
	a.mu.RLock()
	hooks := slices.Clone(a.hooks)
	a.mu.RUnlock()
	if len(hooks) == 0 {
		return nil
	}
	e := RunEnded{RunID: r.ID, ScheduleID: r.ScheduleID, Workflow: r.Workflow, Status: r.Status, Trigger: r.Trigger, Nominal: r.Nominal,
		Attempt: r.Attempt, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt, Result: r.Result}
	if r.Status != schedules.RunCompleted {
		e.Err = NewRunError(r)
	}
	var errs []error
	for _, f := range hooks {
		errs = append(errs, protect(func() error {
			f(ctx, e)
			return nil
		}))
	}
	return errors.Join(errs...)
}

// HasRunEndHooks reports whether anybody wants to be told. For runtimes.
func (a *App) HasRunEndHooks() bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.hooks) > 0
}
