package pyworkflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// Option sets something about a workflow; Define and DefineFunc take them.
type Option interface {
	applyWorkflow(d *definition)
}

// ScheduleOption sets something about a declared schedule; Schedule takes them.
type ScheduleOption interface {
	applySchedule(s *declaration)
}

type option func(*definition)

func (f option) applyWorkflow(d *definition) { f(d) }

type scheduleOption func(*declaration)

func (f scheduleOption) applySchedule(s *declaration) { f(s) }

// Backoff says how long to wait between attempts.
type Backoff = schedules.Backoff

// What a workflow's and a step's backoff are when nothing is said: 1 s, doubling, with jitter.
const (
	defaultWait    = time.Second
	defaultMaxWait = 5 * time.Minute
	backoffJitter  = 0.2
)

// Fixed is a backoff that always waits the same time.
func Fixed(wait time.Duration) Backoff {
	return Backoff{Initial: schedules.Duration(wait), Factor: 1, Max: schedules.Duration(wait)}
}

// Exponential is a backoff that waits initial first and doubles up to max; every wait is lengthened by up to a fifth of itself.
func Exponential(initial, max time.Duration) Backoff {
	return Backoff{Initial: schedules.Duration(initial), Factor: 2, Max: schedules.Duration(max), Jitter: backoffJitter}
}

// checkBackoff reports a backoff that makes no sense.
func checkBackoff(b Backoff) error {
	if b.Initial < 0 || b.Max < 0 || b.Factor < 0 || b.Jitter < 0 {
		return errors.New("its backoff has a negative part; write waits such as Fixed(time.Second)")
	}
	return nil
}

// MaxRetries is how many times a run whose attempt failed is tried again; default 0.
func MaxRetries(n int) Option {
	return option(func(d *definition) {
		if n < 0 {
			d.fail(fmt.Errorf("MaxRetries(%d) is negative; write 0 or more", n))
		}
		d.options.MaxRetries = n
	})
}

// RetryBackoff is how long a run waits before it is tried again; default Exponential(time.Second, 5*time.Minute).
func RetryBackoff(b Backoff) Option {
	return option(func(d *definition) {
		d.fail(checkBackoff(b))
		d.options.Backoff = b
	})
}

// Timeout limits how long one attempt may take; default no limit. An attempt that takes longer has its context cancelled (cause ErrTimeout) and
// counts as failed, whatever it returns.
func Timeout(limit time.Duration) Option {
	return option(func(d *definition) {
		if limit < 0 {
			d.fail(fmt.Errorf("Timeout(%s) is negative; write 0 for no limit", limit))
		}
		d.options.Timeout = schedules.Duration(limit)
	})
}

// MaxRecoveries is how many times a run whose worker died goes to another worker before it fails; default 3.
func MaxRecoveries(n int) Option {
	return option(func(d *definition) {
		if n < 0 {
			d.fail(fmt.Errorf("MaxRecoveries(%d) is negative; write 0 or more", n))
		}
		d.options.MaxRecoveries = n
	})
}

// Doc describes the workflow in a line or two, for lists.
func Doc(text string) Option {
	return option(func(d *definition) { d.doc = text })
}

// QueueOption names a queue: for a workflow, a schedule or a single start.
type QueueOption string

// Queue names the queue whose workers execute the runs: of a workflow (default "default"), of a schedule or of a single start (default the
// workflow's own). A name is of the form [A-Za-z0-9][A-Za-z0-9_.-]{0,63}.
func Queue(name string) QueueOption { return QueueOption(name) }

func (q QueueOption) applyWorkflow(d *definition)  { d.options.Queue = string(q) }
func (q QueueOption) applySchedule(s *declaration) { s.def.Queue = string(q) }
func (q QueueOption) applyStart(o *StartOptions)   { o.Queue = string(q) }

// Spec says when a schedule ticks: see Cron, Every and Calendar.
type Spec = schedules.Spec

// CalendarSpec names times by the parts of date and time of day, such as {DayOfMonth: "1,15", Hour: "0"}.
type CalendarSpec = schedules.Calendar

// OverlapPolicy says what becomes of a tick that comes due while a run of the same schedule is active.
type OverlapPolicy = schedules.OverlapPolicy

// The overlap policies.
const (
	OverlapSkip        = schedules.OverlapSkip        // nothing starts: when it is safe to miss a run (the default)
	OverlapBufferOne   = schedules.OverlapBufferOne   // one tick waits: when one more run must follow a long one
	OverlapBufferAll   = schedules.OverlapBufferAll   // every tick waits its turn, up to the buffer limit
	OverlapCancelOther = schedules.OverlapCancelOther // the active run is cancelled: when only the latest data matters
	OverlapAllowAll    = schedules.OverlapAllowAll    // every tick starts at once: when runs are independent
)

// The choices of Catchup.
const (
	CatchupOne  = schedules.CatchupOne  // one run, for the latest of the missed ticks (the default)
	CatchupAll  = schedules.CatchupAll  // each in order
	CatchupNone = schedules.CatchupNone // none
)

// The choices of IntervalFrom.
const (
	FromCompletion = schedules.FromCompletion // the end of the most recently started regular run (the default)
	FromStart      = schedules.FromStart      // the first tick: a fixed grid
)

// Cron ticks at wall-clock times: five fields, six with leading seconds, or a macro such as @daily.
func Cron(expr string) Spec { return Spec{Cron: expr} }

// Every ticks at an interval: text such as "30s", "5m", "1h30m" or "1d", or a time.Duration of whole seconds. The first tick is the creation of the
// schedule, each next one is counted from the end of the run before: see IntervalFrom.
func Every[D ~string | time.Duration](interval D) Spec {
	if d, ok := any(interval).(time.Duration); ok {
		return Spec{Interval: schedules.Duration(d).String()}
	}
	return Spec{Interval: fmt.Sprint(interval)}
}

// Calendar ticks whenever one of the calendars matches.
func Calendar(specs ...CalendarSpec) Spec { return Spec{Calendar: specs} }

// Schedule declares a schedule of the workflow. It becomes a record, with the id auto_<workflow>, when a beat or the local scheduler starts with the
// workflow inside, or when it is activated by hand. A workflow may have several: give the further ones a name with Named.
func Schedule(spec Spec, opts ...ScheduleOption) Option {
	return option(func(d *definition) {
		s := &declaration{def: schedules.Definition{Spec: spec}}
		for _, o := range opts {
			if o != nil {
				o.applySchedule(s)
			}
		}
		d.declared = append(d.declared, s)
	})
}

// Named makes the schedule's id auto_<workflow>_<name>.
func Named(name string) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.name = name })
}

// Timezone is the IANA zone of the schedule's wall clock, such as "Europe/Berlin"; default UTC.
func Timezone(name string) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Spec.Timezone = name })
}

// Overlap is what becomes of a tick that comes due while a run of the schedule is active; default OverlapSkip.
func Overlap(policy OverlapPolicy) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Overlap = policy })
}

// BufferLimit is how many ticks may wait under OverlapBufferAll; default 1000.
func BufferLimit(n int) ScheduleOption {
	return scheduleOption(func(s *declaration) {
		if n <= 0 {
			s.fail(fmt.Errorf("BufferLimit(%d) leaves no room; write 1 or more", n))
		}
		s.def.BufferLimit = n
	})
}

// CancelGrace is how long a cancelled run may take to end under OverlapCancelOther before it is declared cancelled; default 30 s.
func CancelGrace(d time.Duration) ScheduleOption {
	return scheduleOption(func(s *declaration) {
		if d <= 0 {
			s.fail(fmt.Errorf("CancelGrace(%s) is no time at all; write a duration above zero", d))
		}
		s.def.CancelGrace = schedules.Duration(d)
	})
}

// Catchup is what becomes of ticks missed while nothing polled; default CatchupOne.
func Catchup(c schedules.Catchup) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Catchup = c })
}

// CatchupWindow is how far back Catchup reaches; default 24 h.
func CatchupWindow(d time.Duration) ScheduleOption {
	return scheduleOption(func(s *declaration) {
		if d <= 0 {
			s.fail(fmt.Errorf("CatchupWindow(%s) is no time at all; write 10s or more", d))
		}
		s.def.CatchupWindow = schedules.Duration(d)
	})
}

// StartAt is the first possible tick, inclusive. An interval is counted from it.
func StartAt(t time.Time) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Spec.StartAt = t })
}

// EndAt ends the schedule: no tick comes at or after it.
func EndAt(t time.Time) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Spec.EndAt = t })
}

// Jitter delays each tick by up to d, always the same for the same tick.
func Jitter(d time.Duration) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Spec.Jitter = schedules.Duration(d) })
}

// IntervalFrom is what each tick of an interval is counted from; default FromCompletion.
func IntervalFrom(f schedules.IntervalFrom) ScheduleOption {
	return scheduleOption(func(s *declaration) { s.def.Spec.IntervalFrom = f })
}

// Input is the input of the schedule's runs, of the workflow's input type; default none.
func Input(v any) ScheduleOption {
	return scheduleOption(func(s *declaration) {
		raw, err := json.Marshal(v)
		if err != nil {
			s.fail(fmt.Errorf("encode Input: %w", err))
		}
		s.def.Input = raw
	})
}

// declaration is a schedule as declared.
type declaration struct {
	name string
	def  schedules.Definition
	err  error // the first mistake
}

func (s *declaration) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *declaration) id(workflow string) string {
	if s.name == "" {
		return "auto_" + workflow
	}
	return "auto_" + workflow + "_" + s.name
}

// check reports what is wrong with the declaration, and normalizes its spec.
func (s *declaration) check(d *definition) error {
	if s.err != nil {
		return s.err
	}
	if id := s.id(d.name); !namePattern.MatchString(id) {
		return errors.New("is no schedule id; " + nameRule)
	}
	if s.def.Queue != "" {
		if err := schedules.ValidateQueue(s.def.Queue); err != nil {
			return err
		}
	}
	switch s.def.Overlap {
	case "", OverlapSkip, OverlapBufferOne, OverlapBufferAll, OverlapCancelOther, OverlapAllowAll:
	default:
		return fmt.Errorf("overlap %q is unknown; write one of the Overlap constants", s.def.Overlap)
	}
	switch s.def.Catchup {
	case "", CatchupOne, CatchupAll, CatchupNone:
	default:
		return fmt.Errorf("catchup %q is unknown; write one of the Catchup constants", s.def.Catchup)
	}
	if _, err := schedules.Compile(s.def.Spec); err != nil {
		return err
	}
	if err := d.checkInput(s.def.Input); err != nil {
		return err
	}
	return nil
}
