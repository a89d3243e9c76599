package workflowtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/internal/nearest"
	"github.com/pyworkflow-go/pyworkflow/internal/stephook"
)

// ErrCallThrough, returned by a Stub, has the step's own function called.
var ErrCallThrough = errors.New("call the step's own function")

// Call is one execution of a step.
type Call struct {
	RunID    string
	Workflow string
	Step     string // its name
	Key      string // the step's name and number, or its StepKey
	N        int    // how often the step has been executed in this World, this time included
}

// Stub stands in for the function of a step: what it returns is recorded, retried and returned as if that function had returned it. The value travels as JSON. ctx
// is the step's; a panic is a failed attempt. It may be called concurrently.
type Stub func(ctx context.Context, call Call) (any, error)

// Return is a Stub that always returns v.
func Return(v any) Stub { return func(context.Context, Call) (any, error) { return v, nil } }

// Fail is a Stub that always fails.
func Fail(err error) Stub { return func(context.Context, Call) (any, error) { return nil, err } }

// FailTimes is a Stub that fails the first n times in the World and then calls the step's own function.
func FailTimes(n int, err error) Stub {
	return func(_ context.Context, c Call) (any, error) {
		if c.N <= n {
			return nil, err
		}
		return nil, ErrCallThrough
	}
}

// stepName names a step of a workflow.
type stepName struct{ workflow, step string }

func (n stepName) String() string { return fmt.Sprintf("step %q of workflow %q", n.step, n.workflow) }

// stubs is what a test says about steps, and what was executed.
type stubs struct {
	mu       sync.Mutex
	stub     map[stepName]Stub
	used     map[stepName]bool
	executed map[stepName]int
	before   map[stepName]bool // crashes to come
	after    map[stepName]bool
}

func newStubs() *stubs {
	return &stubs{stub: map[stepName]Stub{}, used: map[stepName]bool{}, executed: map[stepName]int{}, before: map[stepName]bool{}, after: map[stepName]bool{}}
}

// ask is asked before every attempt of a step.
func (s *stubs) ask(ctx context.Context, c stephook.Call) (json.RawMessage, bool, error) {
	name := stepName{c.Workflow, c.Step}
	s.mu.Lock()
	s.executed[name]++
	call := Call{RunID: c.RunID, Workflow: c.Workflow, Step: c.Step, Key: c.Key, N: s.executed[name]}
	stub := s.stub[name]
	s.used[name] = s.used[name] || stub != nil
	s.mu.Unlock()
	if stub == nil {
		return nil, false, nil
	}
	v, err := stub(ctx, call)
	if errors.Is(err, ErrCallThrough) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, true, pyworkflow.NoRetry(fmt.Errorf("encode what the stub returned: %w", err))
	}
	return raw, true, nil
}

// crashes says whether the process dies before or after a step's result is recorded; each crash happens once.
func (s *stubs) crashes(workflow, step string) (before, after bool) {
	name := stepName{workflow, step}
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.before[name]
	after = !before && s.after[name]
	if before {
		delete(s.before, name)
	}
	if after {
		delete(s.after, name)
	}
	return before, after
}

// unused says what the test asked for in vain.
func (s *stubs) unused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	add := func(what string, name stepName) {
		out = append(out, fmt.Sprintf("%s: %s was never executed; %s", what, name, s.others(name)))
	}
	for name := range s.stub {
		if !s.used[name] {
			add("StubStep", name)
		}
	}
	for name := range s.before {
		add("CrashInStep", name)
	}
	for name := range s.after {
		add("CrashAfterStep", name)
	}
	slices.Sort(out)
	return out
}

// others names the steps of the workflow that were executed.
func (s *stubs) others(name stepName) string {
	var names []string
	for n := range maps.Keys(s.executed) {
		if n.workflow == name.workflow {
			names = append(names, n.step)
		}
	}
	if len(names) == 0 {
		return "none of its steps was"
	}
	slices.Sort(names)
	return "executed were: " + strings.Join(names, ", ")
}

// StubStep puts a stub in the place of a step, by the names of workflow and step, until another is put there; nil takes it away. A stub that was never asked
// for fails the test.
func (w *World) StubStep(workflow, step string, stub Stub) {
	w.t.Helper()
	name := w.step("StubStep", workflow, step)
	w.stubs.mu.Lock()
	defer w.stubs.mu.Unlock()
	if stub == nil {
		delete(w.stubs.stub, name)
		return
	}
	w.stubs.stub[name] = stub
}

// CrashAfterStep kills the process when the step's result has next been recorded: the run goes on elsewhere, and does not execute the step again. A crash that
// never comes fails the test.
func (w *World) CrashAfterStep(workflow, step string) {
	w.t.Helper()
	name := w.step("CrashAfterStep", workflow, step)
	w.stubs.mu.Lock()
	defer w.stubs.mu.Unlock()
	w.stubs.after[name] = true
}

// CrashInStep kills the process when the step has next been executed and before its result is recorded: the run goes on elsewhere, and executes the step once more.
// A crash that never comes fails the test.
func (w *World) CrashInStep(workflow, step string) {
	w.t.Helper()
	name := w.step("CrashInStep", workflow, step)
	w.stubs.mu.Lock()
	defer w.stubs.mu.Unlock()
	w.stubs.before[name] = true
}

// Executed is how often the step has been executed, stubbed or not, every attempt counted.
func (w *World) Executed(workflow, step string) int {
	w.t.Helper()
	name := w.step("Executed", workflow, step)
	synctestWait()
	w.stubs.mu.Lock()
	defer w.stubs.mu.Unlock()
	return w.stubs.executed[name]
}

// step refuses a workflow that is not there.
func (w *World) step(method, workflow, step string) stepName {
	w.t.Helper()
	if _, ok := w.app.Workflow(workflow); !ok {
		var names []string
		for _, info := range w.app.Workflows() {
			names = append(names, info.Name)
		}
		hint := "registered are: " + strings.Join(names, ", ")
		if near := nearest.Names(workflow, names, 2); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		w.t.Fatalf("%s: no workflow %q: %s", method, workflow, hint)
	}
	return stepName{workflow, step}
}
