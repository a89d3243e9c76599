package check

import (
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// leftovers checks that every key of ours, and every entry of an index, belongs to something that exists, that asynq holds nothing for us, and that nobody
// else's keys were touched. The table of keys in docs/redis.md says what there may be.
func (j *judge) leftovers() {
	for _, k := range j.stock.ours {
		j.ourKey(k)
	}
	for ref, s := range j.stock.schedules {
		if s.Head == "" {
			j.left("history of schedule %s, which is not there", ref)
		}
	}
	j.messages()
	j.strangers()
}

func (j *judge) left(format string, args ...any) { j.find(time.Time{}, KindLeftover, format, args...) }

// ourKey checks one key.
func (j *judge) ourKey(k ourKey) {
	global := strings.HasSuffix(k.shard, "{"+j.Namespace+"}:")
	switch {
	case strings.HasPrefix(k.name, "lock:"):
	case global:
		if k.name != "processes" && k.name != "processes:live" && k.name != "workflows" {
			j.left("key %s is none that there should be", k.key)
		}
	case k.name == "ids" || k.name == "trim" || k.name == "ping":
	case isIndex(k.name):
		for _, m := range j.stock.sets[k.key] {
			j.entry(k, m)
		}
	case strings.HasPrefix(k.name, "s:"):
		j.scheduleKey(k)
	case strings.HasPrefix(k.name, "r:"):
		id, what := part(k.name)
		switch {
		case j.stock.runs[id] == nil:
			j.left("key %s of a run that is not there", k.key)
		case what == "" && !j.indexed(k.shard+"runs", id):
			j.left("run %s is in no list", id)
		case what != "" && what != "steps" && what != "log":
			j.left("key %s is none that there should be", k.key)
		}
	case strings.HasPrefix(k.name, "b:"):
		if id := k.name[2:]; !j.indexed(k.shard+"backfills", id) {
			j.left("backfill %s is in no list", id)
		}
	default:
		j.left("key %s is none that there should be", k.key)
	}
}

func (j *judge) scheduleKey(k ourKey) {
	ref, what := part(k.name)
	s := j.stock.schedules[ref]
	switch {
	case s == nil || s.Head == "":
		j.left("key %s of a schedule that is not there", k.key)
	case what == "":
		if j.stock.current[s.Rec.ID] != s.Rec.Inc && !j.indexed(k.shard+"old", ref) {
			j.left("schedule %s is neither the current one of its id nor among the old ones", ref)
		}
	case what == "active":
		for _, m := range j.stock.sets[k.key] {
			j.left("run %v is in the active set of schedule %s at rest", m.Member, ref)
		}
	case what != "fates" && what != "keys" && what != "wait:r" && what != "wait:m":
		j.left("key %s is none that there should be", k.key)
	}
}

// indexed reports whether an index has a member.
func (j *judge) indexed(key, id string) bool {
	sets := j.index
	if sets == nil {
		sets = map[string]map[string]bool{}
		j.index = sets
	}
	set := sets[key]
	if set == nil {
		set = map[string]bool{}
		for _, m := range j.stock.sets[key] {
			if text, ok := m.Member.(string); ok {
				set[text] = true
			}
		}
		sets[key] = set
	}
	return set[id]
}

// entry checks one member of an index.
func (j *judge) entry(k ourKey, m member) {
	id, _ := m.Member.(string)
	gone := func(what string) { j.left("%s holds %s, %s", k.key, id, what) }
	name, of, _ := strings.Cut(k.name, ":")
	switch name {
	case "list":
		s := j.stock.schedules[id+"@"+j.stock.current[id]]
		if workflow, ok := strings.CutPrefix(of, "w:"); s == nil {
			gone("which is no schedule")
		} else if ok && (s.Rec.Workflow != workflow || s.Rec.Status == schedules.StatusDeleted) || !ok && string(s.Rec.Status) != of {
			gone("which is a schedule of " + s.Rec.Workflow + " that is " + string(s.Rec.Status))
		}
	case "old":
		if j.stock.schedules[id] == nil {
			gone("which is no schedule")
		}
	case "ticks":
		if s := j.stock.schedules[id]; s == nil || s.Rec.Status != schedules.StatusActive {
			gone("which is no active schedule")
		}
	case "timers":
		ref, isRun := strings.CutPrefix(id, "r")
		if r := j.stock.runs[ref]; isRun && (r == nil || r.Mut.Status.Ended()) {
			gone("a run that has ended or is not there")
		}
		if !isRun && j.stock.schedules[strings.TrimPrefix(id, "s")] == nil {
			gone("which is no schedule")
		}
	case "leases":
		if r := j.stock.runs[id]; r == nil || r.Mut.Status.Ended() {
			gone("a run that has ended or is not there")
		}
	case "missed":
		if ref, _, _ := strings.Cut(id, " "); j.stock.schedules[ref] == nil {
			gone("a tick of a schedule that is not there")
		}
	case "outbox":
		gone("a message that was never sent")
	case "runs":
		j.runEntry(id, of, gone)
	case "backfills":
		if j.stock.backfills[id] == nil {
			gone("which is no backfill")
		}
	}
}

// runEntry checks one member of a list of runs.
func (j *judge) runEntry(id, of string, gone func(string)) {
	r := j.stock.runs[id]
	wrong := r == nil
	if r != nil {
		list, name, named := strings.Cut(of, ":")
		switch {
		case named && list == "s":
			wrong = r.Fix.Schedule != name
		case named && list == "w":
			wrong = r.Fix.Workflow != name
		case of == "free":
			wrong = r.Fix.Schedule != ""
		case of == "active":
			wrong = r.Mut.Status.Ended()
		case of != "":
			wrong = string(r.Mut.Status) != of
		}
	}
	if wrong {
		gone("a run that is not there or does not belong there")
	}
}

// messages checks asynq's keys of the namespace's queues: counters and marks may stay, messages may not.
func (j *judge) messages() {
	for _, key := range j.stock.asynq {
		_, what, _ := strings.Cut(key, "}:")
		kind, _, _ := strings.Cut(what, ":")
		switch kind {
		case "processed", "failed", "paused":
			continue
		case "t", "active", "lease", "retry":
			if j.asynqMends() {
				continue
			}
		}
		j.left("asynq's key %s is still there", key)
	}
}

// asynqMends reports whether a worker was lost, or asynq's records damaged, so shortly before the rest that asynq and the keepers have not looked after its messages yet.
func (j *judge) asynqMends() bool {
	return slices.ContainsFunc(j.Faults, func(f Fault) bool {
		return (f.Kind == FaultKillWorker || f.Kind == FaultFreeze || f.Kind == FaultRedis || f.Kind == FaultFailover || f.Kind == FaultAsynq) && j.Rest.Sub(f.Ended) < asynqSlack
	})
}

// strangers checks that keys which are not ours are those that were there before.
func (j *judge) strangers() {
	own := func(key string) bool {
		_, mine := ours(key, j.Namespace)
		return mine || strings.HasPrefix(key, "asynq:{pyworkflow:"+j.Namespace+":") || key == "asynq:queues" || key == "asynq:servers" || key == "asynq:workers" ||
			strings.HasPrefix(key, "asynq:servers:{") || strings.HasPrefix(key, "asynq:workers:{")
	}
	before := map[string]bool{}
	for _, key := range j.KeysBefore {
		if !own(key) {
			before[key] = true
		}
	}
	for _, key := range j.stock.foreign {
		if own(key) {
			continue
		}
		if !before[key] {
			j.left("key %s is not ours, and was not there before", key)
		}
		delete(before, key)
	}
	for key := range before {
		j.left("key %s, which is not ours, is gone", key)
	}
}
