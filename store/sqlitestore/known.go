package sqlitestore

import (
	"encoding/json"
	"reflect"
	"sync"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	// knownMost is how many schedules, runs and records are remembered, each about a kilobyte.
	knownMost = 16_384
	// knownSize, in bytes, is how much people may have set of a schedule that is remembered: inputs may be large, and each version of them would stay.
	knownSize = 8 << 10
)

// known is what this process remembers of rows as it read or wrote them last, so that the next statement about one need not read it first. What is remembered says of
// which revision it is, and is used only in statements that name that revision, or compare the whole text: where another process was faster such a statement finds no row, and the
// row is read. Nobody writes into what is remembered.
type known struct {
	mu        sync.Mutex
	schedules map[schedules.Ref]knownSchedule
	tallies   map[int64]knownTally // by sid
	runs      map[string]knownRun
	records   map[string]schedules.Record // by their text
}

type knownSchedule struct {
	sid, revision int64
	tick          any // as in the column
	whole         schedules.Schedule
}

type knownTally struct {
	revision int64
	tally    schedules.Tally
}

// knownRun is a run that has not ended. What it is to do lies in its row.
type knownRun struct {
	rid, sid int64 // sid is 0 for a run without a schedule
	run      schedules.Run
}

// remember puts an entry into a map of bounded size; when that is full, some other entries go.
func remember[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	if _, there := (*m)[key]; !there && len(*m) >= knownMost {
		n := 0
		for other := range *m {
			delete(*m, other)
			if n++; n == knownMost/4 {
				break
			}
		}
	}
	(*m)[key] = v
}

// latest gives what is known of a schedule, whatever has become of it.
func (k *known) latest(ref schedules.Ref) (knownSchedule, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, ok := k.schedules[ref]
	return got, ok
}

// schedule gives what is known of a schedule at a revision.
func (k *known) schedule(ref schedules.Ref, revision int64) (knownSchedule, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, ok := k.schedules[ref]
	return got, ok && got.revision == revision
}

func (k *known) putSchedule(sid int64, whole schedules.Schedule) {
	s := knownSchedule{sid: sid, revision: whole.Revision, tick: dueMS(whole.NextRunTime()), whole: whole}
	ref := whole.Ref()
	k.mu.Lock()
	defer k.mu.Unlock()
	if sizeOf(&whole.Record) > knownSize {
		delete(k.schedules, ref)
	} else if old, ok := k.schedules[ref]; !ok || old.revision <= s.revision {
		remember(&k.schedules, ref, s)
	}
	k.putTallyLocked(sid, knownTally{s.revision, whole.Tally})
}

// sizeOf is about how many bytes of a record may be large.
func sizeOf(r *schedules.Record) int {
	n := len(r.Input) + len(r.Note)
	if r.Declared != nil {
		n += len(r.Declared.Input)
	}
	return n
}

// ended notes that the end of a run raised a schedule's revision from one to the next, and left the rest of what is known of it.
func (k *known) ended(ref schedules.Ref, revision int64, tally schedules.Tally) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.schedules[ref]; ok && s.revision == revision {
		s.revision++
		s.whole.Revision, s.whole.Tally = s.revision, tally
		k.schedules[ref] = s
	}
}

func (k *known) tally(sid int64) (knownTally, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, ok := k.tallies[sid]
	return got, ok
}

func (k *known) putTally(sid int64, t knownTally) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.putTallyLocked(sid, t)
}

func (k *known) putTallyLocked(sid int64, t knownTally) {
	if old, ok := k.tallies[sid]; !ok || old.revision < t.revision {
		remember(&k.tallies, sid, t)
	}
}

func (k *known) run(id string) (knownRun, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, ok := k.runs[id]
	return got, ok
}

// putRun remembers a run as it was written, and forgets one that has ended.
func (k *known) putRun(r knownRun) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.run.Status.Ended() {
		delete(k.runs, r.run.ID)
		return
	}
	remember(&k.runs, r.run.ID, r)
}

func (k *known) forgetRun(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.runs, id)
}

// record decodes what people set of a schedule, once for each text that is not large.
func (k *known) record(text string) (schedules.Record, error) {
	k.mu.Lock()
	got, ok := k.records[text]
	k.mu.Unlock()
	if ok {
		return got, nil
	}
	var r schedules.Record
	if err := json.Unmarshal([]byte(text), &r); err != nil || len(text) > knownSize {
		return r, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	remember(&k.records, text, r)
	return r, nil
}

// same reports whether a record is for certain the one that is known. Most share their parts, since a decision copies what it was given.
func same(a, b *schedules.Record) bool { return reflect.DeepEqual(a, b) }
