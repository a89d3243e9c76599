package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// DefaultBlockedAfter is how long ticks must have been skipped or have waited behind one run before that is told of, unless a Sender is told otherwise.
const DefaultBlockedAfter = 15 * time.Minute

// ErrRunning: Run was called while another call of it had not returned.
var ErrRunning = errors.New("already running")

// Schedules shows what is in the way of a schedule; *client.Client does.
type Schedules interface {
	GetSchedule(ctx context.Context, id string) (client.ScheduleDetail, error)
}

// Config holds a Sender's parts. URLs is required.
type Config struct {
	// URLs are where messages are posted, all of them to each. One that is given twice counts once.
	URLs []string
	// Format is the shape of what is posted. Empty: JSON. hooks.slack.com is sent Slack all the same.
	Format Format
	// On are the kinds to send. Empty: all.
	On []Kind
	// Secrets sign messages, each for itself. Empty: no signature.
	Secrets []Secret
	// Link is the address of the dashboard, under which messages link to schedules and runs; see ParseLink. Empty: no links.
	Link string
	// Namespace is told in every message, and is part of its id.
	Namespace string
	// BlockedAfter is how long ticks must have been skipped or have waited behind one run before that is told of. Zero: DefaultBlockedAfter. Not negative.
	BlockedAfter time.Duration
	// Schedules confirms that a schedule is still blocked. Nil: no message of the kind Blocked is sent.
	Schedules Schedules
	Log       *slog.Logger // nil: discards
}

// Sender sends messages about what it is told: it observes an engine.Engine, a beat.Beat and a beat.Keeper. It is safe for concurrent use, and no method but Run blocks.
type Sender struct {
	cfg     Config
	to      []*target
	http    *http.Client
	limits  limits
	blocks  *blocks
	running atomic.Bool
	wake    chan struct{} // a window was opened where none was

	sent, failed, dropped atomic.Int64
	unsent                atomic.Int64 // of those dropped: not delivered when Run ended

	mu     sync.Mutex
	fold   *fold
	lost   int       // messages dropped since that was logged
	lostAt time.Time // when it was
}

// limits bound delivery.
type limits struct {
	attempt          time.Duration // of one request with its answer
	waitMin, waitMax time.Duration // between attempts: doubled from the one to the other
	retries          int
	drain            time.Duration // of all that is left when Run is to end
	queue            int           // messages per URL
}

func defaultLimits() limits {
	return limits{attempt: 10 * time.Second, waitMin: time.Second, waitMax: time.Minute, retries: 10, drain: 5 * time.Second, queue: 1000}
}

// New checks the configuration. Errors show no address.
func New(cfg Config) (*Sender, error) { return newSender(cfg, defaultLimits(), nil) }

// newSender makes a Sender whose connections are made by dial, nil for the network's own.
func newSender(cfg Config, l limits, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*Sender, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("alert: Config.URLs is empty")
	}
	if cfg.Format != "" && cfg.Format != JSON && cfg.Format != Slack {
		return nil, fmt.Errorf("alert: format %q: must be json or slack", cfg.Format)
	}
	for _, k := range cfg.On {
		if !slices.Contains(Kinds(), k) {
			return nil, fmt.Errorf("alert: kind %q: must be failed, missed, overdue or blocked", k)
		}
	}
	if len(cfg.On) == 0 {
		cfg.On = Kinds()
	}
	if cfg.BlockedAfter < 0 {
		return nil, fmt.Errorf("alert: blocked after %s: must not be negative", cfg.BlockedAfter)
	}
	if cfg.BlockedAfter == 0 {
		cfg.BlockedAfter = DefaultBlockedAfter
	}
	var err error
	if cfg.Link, err = ParseLink(cfg.Link); err != nil {
		return nil, fmt.Errorf("alert: link %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sender{cfg: cfg, limits: l, fold: newFold(), wake: make(chan struct{}, 1)}
	var seen []string
	for _, text := range cfg.URLs {
		if slices.Contains(seen, text) {
			continue
		}
		seen = append(seen, text)
		u, err := ParseURL(text)
		if err != nil {
			return nil, fmt.Errorf("alert: url %s: %w", MaskURL(text), err)
		}
		s.to = append(s.to, &target{url: u, name: MaskURL(text), format: formatFor(u, cfg.Format), queue: make(chan Message, l.queue)})
	}
	if cfg.Schedules != nil && slices.Contains(cfg.On, Blocked) {
		s.blocks = newBlocks(cfg.BlockedAfter)
	}
	s.http = newHTTP(l.attempt, dial)
	return s, nil
}

func formatFor(u *url.URL, f Format) Format {
	if f == "" {
		f = JSON
	}
	if strings.EqualFold(u.Hostname(), slackHost) {
		f = Slack
	}
	return f
}

// Names are the addresses, masked.
func (s *Sender) Names() []string {
	names := make([]string, len(s.to))
	for i, t := range s.to {
		names[i] = t.name
	}
	return names
}

// Stats counts since the Sender was made. A message to two addresses counts twice.
type Stats struct {
	Sent    int64 // delivered
	Failed  int64 // given up after an answer that will not change, or after the last attempt
	Dropped int64 // never tried to the end: the queue was full, or the process ended
	Waiting int   // in queues now
}

// Stats tells how delivery is doing.
func (s *Sender) Stats() Stats {
	out := Stats{Sent: s.sent.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load()}
	for _, t := range s.to {
		out.Waiting += len(t.queue)
	}
	return out
}

// Run delivers messages until ctx ends, then sends what is gathered and waits, within 5 s, for what is left. It returns nil. ErrRunning while another call
// of it runs.
func (s *Sender) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return fmt.Errorf("run alerts: %w", ErrRunning)
	}
	defer s.running.Store(false)
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	quit := make(chan struct{})
	var posts, watch sync.WaitGroup
	for _, t := range s.to {
		posts.Go(func() { s.deliver(sending, t, quit) })
	}
	if s.blocks != nil {
		watch.Go(func() { s.watchBlocks(ctx) })
	}
	s.pump(ctx)
	watch.Wait()

	s.mu.Lock()
	for _, m := range s.fold.all() {
		s.enqueue(m)
	}
	s.mu.Unlock()
	last := time.AfterFunc(s.limits.drain, stop)
	defer last.Stop()
	close(quit)
	posts.Wait()
	s.http.CloseIdleConnections()
	if n := s.unsent.Swap(0); n > 0 {
		s.cfg.Log.Warn("alerts were not delivered before the end of the process", "count", n, "waited", s.limits.drain.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLost(time.Time{})
	return nil
}

// pump sends what was gathered when its window ends.
func (s *Sender) pump(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		now := time.Now()
		ready, next := s.fold.due(now)
		for _, m := range ready {
			s.enqueue(m)
		}
		s.mu.Unlock()
		wait := time.Hour
		if !next.IsZero() {
			wait = next.Sub(now)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// tell takes a fact in.
func (s *Sender) tell(m Message) {
	if !slices.Contains(s.cfg.On, m.Kind) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.fold.order) == 0
	if m.Since.IsZero() {
		m.Since = m.At
	}
	if ready, ok := s.fold.add(time.Now(), m); ok {
		s.enqueue(ready)
	}
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// enqueue puts a message into every queue that has room; s.mu is held.
func (s *Sender) enqueue(m Message) {
	m.finish(s.cfg.Namespace, s.cfg.Link)
	for _, t := range s.to {
		select {
		case t.queue <- m:
		default:
			s.dropped.Add(1)
			s.lost++
		}
	}
	s.tellLost(time.Now())
}

// tellLost logs dropped messages, at most once a minute; always when now is zero. s.mu is held.
func (s *Sender) tellLost(now time.Time) {
	if s.lost == 0 || !now.IsZero() && !s.lostAt.IsZero() && now.Sub(s.lostAt) < foldTime {
		return
	}
	s.cfg.Log.Warn("alerts were dropped: their receiver does not take them fast enough", "count", s.lost, "waiting_at_most", s.limits.queue)
	s.lost, s.lostAt = 0, now
}

// RunChanged tells of a run that has ended failed.
func (s *Sender) RunChanged(c schedules.RunChange) {
	r := c.Run
	if r.Status != schedules.RunFailed {
		return
	}
	m := Message{Kind: Failed, At: client.Time{Time: c.Now}, Count: 1, ScheduleID: client.Text(r.ScheduleID), Workflow: client.Text(r.Workflow), RunID: client.Text(r.ID),
		NominalTime: client.Time{Time: r.Nominal}, about: "workflow " + r.Workflow, mark: r.ID}
	m.say = fmt.Sprintf("run %s of workflow %q failed", r.ID, clean(r.Workflow, 200))
	if r.ScheduleID != "" {
		m.about, m.ScheduleIDs = "schedule "+r.Ref().String(), []string{r.ScheduleID}
		m.say = fmt.Sprintf("run %s of schedule %s failed", r.ID, r.ScheduleID)
	}
	if r.Attempt > 1 {
		m.say += fmt.Sprintf(" after %d attempts", r.Attempt)
	}
	if r.Error != nil {
		m.Reason, m.Message = client.Text(r.Error.Kind), client.Text(r.Error.Message)
	}
	s.tell(m)
}

// why says in words what the reason of a missed tick means.
var why = map[string]string{
	schedules.ReasonCatchup: "nothing decided it when it was due, and the catchup setting leaves it out",
	schedules.ReasonWindow:  "nothing decided it until it was older than the catchup window",
	schedules.ReasonPaused:  "it was due but not decided when the schedule was paused",
	schedules.ReasonDeleted: "it was due but not decided when the schedule was deleted",
}

// Decided tells of ticks that were missed, and notes those that are skipped or wait behind a run.
func (s *Sender) Decided(c schedules.Change) {
	var last schedules.Fate
	missed := 0
	for _, f := range c.Fates {
		if f.Fate == schedules.FateMissed {
			missed++
			last = f
		}
	}
	if missed > 0 {
		id := c.Schedule.ID
		s.tell(Message{Kind: Missed, At: client.Time{Time: c.Now}, Count: missed, ScheduleID: client.Text(id), ScheduleIDs: []string{id},
			Workflow: client.Text(c.Schedule.Workflow), NominalTime: client.Time{Time: last.Tick.Nominal}, Reason: client.Text(last.Reason), Message: client.Text(why[last.Reason]),
			about: "schedule " + c.Schedule.Ref().String(), mark: last.Tick.Key(),
			say: fmt.Sprintf("the tick of schedule %s of %s was missed", id, stamp(last.Tick.Nominal))})
	}
	if s.blocks != nil {
		s.blocks.note(c, time.Now())
	}
}

// Overdue tells of a schedule that was not decided in time.
func (s *Sender) Overdue(o beat.Overdue) {
	id, late := o.Ref.ID, o.At.Sub(o.Due).Round(time.Second)
	m := Message{Kind: Overdue, At: client.Time{Time: o.At}, Count: 1, ScheduleID: client.Text(id), ScheduleIDs: []string{id}, Workflow: client.Text(o.Workflow),
		Message: client.Text(o.Cause), about: "schedule " + o.Ref.String(), mark: stamp(o.Due)}
	if o.Err == nil {
		m.say = fmt.Sprintf("schedule %s was overdue: its tick was due at %s and was decided %s late", id, stamp(o.Due), late)
	} else {
		m.say = fmt.Sprintf("schedule %s is overdue: its tick was due at %s, %s ago, and is not decided", id, stamp(o.Due), late)
		m.Message = client.Text(strings.TrimPrefix(o.Cause+": "+o.Err.Error(), ": "))
	}
	s.tell(m)
}
