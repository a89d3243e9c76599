package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// timeValue is a flag that takes an RFC 3339 time, or nothing for none. With ago it takes a length of time before now, too.
type timeValue struct {
	at  *time.Time
	ago func() time.Time // nil: RFC 3339 only
}

func (v timeValue) String() string {
	if v.at == nil || v.at.IsZero() {
		return ""
	}
	return v.at.Format(time.RFC3339Nano)
}

func (v timeValue) Type() string { return "time" }

func (v timeValue) Set(text string) error {
	if text == "" {
		*v.at = time.Time{}
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err == nil {
		*v.at = at.UTC()
		return nil
	}
	if v.ago == nil {
		return errors.New("is no time; write RFC 3339, such as 2026-03-01T09:00:00Z or 2026-03-01T09:00:00+01:00")
	}
	d, err := schedules.ParseDuration(text)
	if err != nil {
		return errors.New("is no time; write RFC 3339, such as 2026-03-01T09:00:00Z, or how long ago, such as 30m or 1d")
	}
	*v.at = v.ago().Add(-time.Duration(d))
	return nil
}

// durationValue is a flag that takes a duration with units: 30s, 5m, 1d12h.
type durationValue struct{ d *schedules.Duration }

func (v durationValue) String() string {
	if v.d == nil || *v.d == 0 {
		return ""
	}
	return v.d.String()
}

func (v durationValue) Type() string { return "duration" }

func (v durationValue) Set(text string) error {
	d, err := schedules.ParseDuration(text)
	var bad *schedules.FieldError
	if errors.As(err, &bad) {
		return errors.New(bad.Problem)
	}
	if err != nil {
		return err
	}
	*v.d = d
	return nil
}

// specFlags are the flags that say when a schedule ticks.
type specFlags struct {
	cron, interval, intervalFrom, timezone string
	calendars                              []string
	startAt, endAt                         time.Time
	jitter                                 schedules.Duration
}

func (f *specFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.cron, "cron", "", `five fields, six with leading seconds, or a macro: "0 9 * * mon-fri", @daily`)
	fs.StringVar(&f.interval, "interval", "", "a number and a unit (s m h d), or several: 30s, 5m, 1h30m, 1d")
	fs.StringArrayVar(&f.calendars, "calendar", nil, `parts of date and time: "day_of_month=1,15 hour=9"; may be repeated, any of them ticks`)
	fs.StringVar(&f.timezone, "timezone", "", "IANA zone of the wall clock, such as Europe/Berlin (default UTC)")
	fs.Var(timeValue{at: &f.startAt}, "start-at", "first possible tick, inclusive (RFC 3339)")
	fs.Var(timeValue{at: &f.endAt}, "end-at", "no tick at or after this time (RFC 3339)")
	fs.Var(durationValue{&f.jitter}, "jitter", "delay each tick by a part of this, the same for the same tick everywhere")
	fs.StringVar(&f.intervalFrom, "interval-from", "", "what an interval is counted from: completion of the last run, or start: a fixed grid (default completion)")
}

// spec is what the flags say.
func (f *specFlags) spec() (schedules.Spec, error) {
	s := schedules.Spec{Cron: f.cron, Interval: f.interval, IntervalFrom: schedules.IntervalFrom(f.intervalFrom), Timezone: f.timezone,
		StartAt: f.startAt, EndAt: f.endAt, Jitter: f.jitter}
	for _, text := range f.calendars {
		c, err := schedules.ParseCalendar(text)
		if err != nil {
			return s, err
		}
		s.Calendar = append(s.Calendar, c)
	}
	return s, nil
}

// kindFlags are those of which a new one replaces the others.
var kindFlags = []string{"cron", "interval", "calendar"}

// changed reports whether any flag of the spec was given.
func (f *specFlags) changed(fs *pflag.FlagSet) bool {
	return anyChanged(fs, append([]string{"timezone", "start-at", "end-at", "jitter", "interval-from"}, kindFlags...)...)
}

func anyChanged(fs *pflag.FlagSet, names ...string) bool {
	for _, n := range names {
		if fs.Changed(n) {
			return true
		}
	}
	return false
}

// patch is the old spec with the given flags in place. A new cron, interval or calendar replaces the old one, whichever it was.
func (f *specFlags) patch(fs *pflag.FlagSet, old schedules.Spec) (schedules.Spec, error) {
	given, err := f.spec()
	if err != nil {
		return old, err
	}
	s := old
	if anyChanged(fs, kindFlags...) {
		s.Cron, s.Interval, s.Calendar, s.IntervalFrom = given.Cron, given.Interval, given.Calendar, ""
		if given.Interval != "" && old.Interval != "" {
			s.IntervalFrom = old.IntervalFrom
		}
	}
	if fs.Changed("interval-from") {
		s.IntervalFrom = given.IntervalFrom
	}
	if fs.Changed("timezone") {
		s.Timezone = given.Timezone
	}
	if fs.Changed("start-at") {
		s.StartAt = given.StartAt
	}
	if fs.Changed("end-at") {
		s.EndAt = given.EndAt
	}
	if fs.Changed("jitter") {
		s.Jitter = given.Jitter
	}
	return s, nil
}

// definitionFlags are all flags of a schedule.
type definitionFlags struct {
	specFlags
	overlap, catchup, queue, input, note string
	bufferLimit                          int
	cancelGrace, catchupWindow           schedules.Duration
}

func (f *definitionFlags) register(fs *pflag.FlagSet) {
	f.specFlags.register(fs)
	fs.StringVar(&f.overlap, "overlap", "", "when a run is still active: skip, buffer_one, buffer_all, cancel_other or allow_all (default skip)")
	fs.IntVar(&f.bufferLimit, "buffer-limit", 0, "ticks that may wait under buffer_all (default 1000)")
	fs.Var(durationValue{&f.cancelGrace}, "cancel-grace", "how long a run that is asked to cancel may take (default 30s)")
	fs.StringVar(&f.catchup, "catchup", "", "ticks missed while nothing polled: one, all or none of them run (default one)")
	fs.Var(durationValue{&f.catchupWindow}, "catchup-window", "how far back catchup reaches (default 24h)")
	fs.StringVar(&f.queue, "queue", "", "queue of its runs (default the workflow's)")
	fs.StringVar(&f.input, "input", "", "input of its runs, as JSON (default null)")
	fs.StringVar(&f.note, "note", "", "a note for people")
}

// checkZero refuses what would silently become a default.
func (f *definitionFlags) checkZero(fs *pflag.FlagSet) error {
	for name, zero := range map[string]bool{"buffer-limit": f.bufferLimit == 0, "cancel-grace": f.cancelGrace == 0, "catchup-window": f.catchupWindow == 0} {
		if fs.Changed(name) && zero {
			return config.Usagef("--%s %q: must be more than 0", name, cmp.Or(fs.Lookup(name).Value.String(), "0s")) // a Duration of zero prints as nothing
		}
	}
	return nil
}

// definition is what the flags say.
func (f *definitionFlags) definition(fs *pflag.FlagSet) (schedules.Definition, error) {
	spec, err := f.spec()
	if err == nil {
		err = f.checkZero(fs)
	}
	if err != nil {
		return schedules.Definition{}, err
	}
	input, err := jsonFlag(fs, "input")
	return schedules.Definition{Spec: spec, Overlap: schedules.OverlapPolicy(f.overlap), BufferLimit: f.bufferLimit, CancelGrace: f.cancelGrace,
		Catchup: schedules.Catchup(f.catchup), CatchupWindow: f.catchupWindow, Queue: f.queue, Input: input}, err
}

// checkPatch finds what is wrong with a change without knowing the schedule.
func (f *definitionFlags) checkPatch(fs *pflag.FlagSet) error {
	def, err := f.definition(fs)
	if err != nil {
		return err
	}
	if !anyChanged(fs, kindFlags...) {
		def.Spec.Interval = "1h" // any spec will do for checking the rest
	}
	_, err = schedules.Normalize(def)
	return err
}

// patch is what the given flags change of a schedule.
func (f *definitionFlags) patch(fs *pflag.FlagSet, old schedules.Spec) (schedules.Patch, error) {
	var p schedules.Patch
	if err := f.checkZero(fs); err != nil {
		return p, err
	}
	if f.changed(fs) {
		spec, err := f.specFlags.patch(fs, old)
		if err != nil {
			return p, err
		}
		p.Spec = &spec
	}
	if fs.Changed("overlap") {
		p.Overlap = (*schedules.OverlapPolicy)(&f.overlap)
	}
	if fs.Changed("buffer-limit") {
		p.BufferLimit = &f.bufferLimit
	}
	if fs.Changed("cancel-grace") {
		p.CancelGrace = &f.cancelGrace
	}
	if fs.Changed("catchup") {
		p.Catchup = (*schedules.Catchup)(&f.catchup)
	}
	if fs.Changed("catchup-window") {
		p.CatchupWindow = &f.catchupWindow
	}
	if fs.Changed("queue") {
		p.Queue = &f.queue
	}
	input, err := jsonFlag(fs, "input")
	if err != nil {
		return p, err
	}
	if input != nil {
		p.Input = &input
	}
	if fs.Changed("note") {
		p.Note = &f.note
	}
	return p, nil
}

// jsonFlag reads a flag that takes JSON; nil when it was not given.
func jsonFlag(fs *pflag.FlagSet, name string) (json.RawMessage, error) {
	if !fs.Changed(name) {
		return nil, nil
	}
	text := fs.Lookup(name).Value.String()
	if !json.Valid([]byte(text)) {
		return nil, &schedules.FieldError{Field: name, Value: text, Problem: `is not JSON; write such as '{"name": "value"}', 42 or '"text"'`}
	}
	return json.RawMessage(text), nil
}

// pageFlags ask for part of a list.
type pageFlags struct{ client.PageRequest }

func (f *pageFlags) register(fs *pflag.FlagSet) {
	fs.IntVar(&f.Limit, "limit", 100, "how many to list at most")
	fs.StringVar(&f.Cursor, "cursor", "", "go on from here: the next_cursor of the list before")
}

func (f *pageFlags) check() error {
	if f.Limit < 1 {
		return config.Usagef("--limit %q: must be 1 or more", strconv.Itoa(f.Limit))
	}
	return nil
}

// oneOfFlag checks a word that filters a list.
func oneOfFlag(cmd *cobra.Command, name string, words ...string) error {
	text := cmd.Flags().Lookup(name).Value.String()
	if text == "" {
		return nil
	}
	for _, w := range words {
		if text == w {
			return nil
		}
	}
	return config.Usagef("--%s %q: must be %s or %s", name, text, strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
}
