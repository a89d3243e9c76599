package live

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	// newest is how many of the newest runs are looked at.
	newest = 100
	// mostActive is how many active runs beyond those are followed until they end.
	mostActive = 500
)

// look compares what is with what it saw before. It is for one goroutine.
type look struct {
	source    Source
	begun     bool
	runs      map[string]client.RunHead // the newest, those that are active, those that are watched
	logs      map[string]int64          // watched run → how far its log was read
	revisions map[string]int64          // watched schedule → its revision
	processes map[string]client.Process
}

func newLook(source Source) *look {
	return &look{source: source, runs: map[string]client.RunHead{}, logs: map[string]int64{}, revisions: map[string]int64{}, processes: map[string]client.Process{}}
}

// take looks at everything, and gives what differs. What is seen for the first time is no change, but for runs and processes that are new after the first look.
// After an error it has seen nothing.
func (l *look) take(ctx context.Context, scheduleIDs, runIDs []string) ([]Event, error) {
	heads, err := l.heads(ctx, runIDs)
	if err != nil {
		return nil, err
	}
	grown, logs, err := l.grown(ctx, runIDs)
	if err != nil {
		return nil, err
	}
	revisions := map[string]int64{}
	if len(scheduleIDs) > 0 {
		if revisions, err = l.source.Revisions(ctx, scheduleIDs); err != nil {
			return nil, err
		}
	}
	procs, err := l.source.Processes(ctx)
	if err != nil {
		return nil, err
	}
	var events []Event
	events = l.compareRuns(events, heads, grown)
	events = l.compareSchedules(events, scheduleIDs, revisions)
	events = l.compareProcesses(events, procs)
	l.logs, l.begun = logs, true
	return events, nil
}

// heads reads the newest runs, and all that are followed besides.
func (l *look) heads(ctx context.Context, watched []string) (map[string]client.RunHead, error) {
	got := map[string]client.RunHead{}
	filters := []client.RunFilter{{}}
	if !l.begun { // later ones are among the newest once
		for _, s := range []schedules.RunStatus{schedules.RunRunning, schedules.RunRetrying, schedules.RunPending} {
			filters = append(filters, client.RunFilter{Status: s})
		}
	}
	for _, f := range filters {
		list, err := l.source.RunHeads(ctx, f, newest)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			got[r.RunID] = r
		}
	}
	more := slices.Clone(watched)
	active := 0
	for id, r := range l.runs {
		if !r.Status.Ended() && active < mostActive {
			active++
			more = append(more, id)
		}
	}
	more = slices.DeleteFunc(more, func(id string) bool { _, ok := got[id]; return ok })
	slices.Sort(more)
	if more = slices.Compact(more); len(more) > 0 {
		list, err := l.source.RunHeadsOf(ctx, more)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			got[r.RunID] = r
		}
	}
	return got, nil
}

// grown reads on in the logs of watched runs, and gives those that have new lines. A run that cannot be read has none.
func (l *look) grown(ctx context.Context, watched []string) (map[string]bool, map[string]int64, error) {
	grown, logs := map[string]bool{}, map[string]int64{}
	for _, id := range watched {
		after, seen := l.logs[id]
		_, next, err := l.source.RunEvents(ctx, id, after)
		switch {
		case client.CodeOf(err) == client.CodeNotFound:
			continue
		case err != nil:
			return nil, nil, err
		}
		grown[id] = seen && next != after
		logs[id] = next
	}
	return grown, logs, nil
}

func (l *look) compareRuns(events []Event, heads map[string]client.RunHead, grown map[string]bool) []Event {
	for _, id := range slices.Sorted(maps.Keys(heads)) {
		now := heads[id]
		old, known := l.runs[id]
		// An old run that is seen for the first time is one that somebody has begun to watch; it comes with an interest of its own, and so with a reset.
		fresh := !known && l.begun
		if fresh || known && (now.Revision() != old.Revision() || now.Status != old.Status) || grown[id] {
			events = append(events, Event{Kind: KindRun, Data: object(now), run: id, schedule: string(now.ScheduleID)})
		}
	}
	l.runs = heads
	return events
}

func (l *look) compareSchedules(events []Event, ids []string, revisions map[string]int64) []Event {
	seen := map[string]int64{}
	for _, id := range ids {
		now := revisions[id]
		if old, known := l.revisions[id]; known && old != now {
			events = append(events, Event{Kind: KindSchedule, Data: object(map[string]string{"schedule_id": id}), schedule: id})
		}
		seen[id] = now
	}
	l.revisions = seen
	return events
}

// processChange is what an event says of a process.
type processChange struct {
	ID   string `json:"id"`
	Host string `json:"host"`
	PID  int    `json:"pid"`
	Live bool   `json:"live"`
}

func (l *look) compareProcesses(events []Event, procs []client.Process) []Event {
	seen := map[string]client.Process{}
	tell := func(p client.Process, lives bool) {
		events = append(events, Event{Kind: KindProcess, Data: object(processChange{p.ID, p.Host, p.PID, lives})})
	}
	for _, p := range procs {
		old, known := l.processes[p.ID]
		if l.begun && (!known || !sameProcess(old, p)) {
			tell(p, true)
		}
		seen[p.ID] = p
	}
	for _, id := range slices.Sorted(maps.Keys(l.processes)) {
		if _, lives := seen[id]; !lives {
			tell(l.processes[id], false)
		}
	}
	l.processes = seen
	return events
}

// sameProcess compares what people see of a process but for when it was seen.
func sameProcess(a, b client.Process) bool {
	return slices.Equal(a.Roles, b.Roles) && slices.Equal(a.Running, b.Running) && slices.Equal(a.Shards, b.Shards) && slices.Equal(a.Queues, b.Queues) && a.Capacity == b.Capacity
}

func object(v any) json.RawMessage {
	text, _ := json.Marshal(v) // texts and numbers always encode
	return text
}
