package beat

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	pageSize = 1000 // entries a poll of one shard reads
	maxPolls = 4    // polls at a time
	maxActs  = 3    // batches at a time; what is more makes the calls of others, such as claims, wait at the server
	minBatch = 32   // entries worth a batch of their own

	prepareLead = 500 * time.Millisecond
	maxBatch    = 64
	gatherFor   = 10 * time.Millisecond // between two looks at what is due, once something was
	sameTime    = 100 * time.Millisecond
	actLimit    = 30 * time.Second // one batch takes no longer
	stopGrace   = 3 * time.Second  // batches in progress may take so long after a stop

	// Polls that wakes ask for keep a distance that grows with what a poll costs, so that polling takes a part of the time only.
	wakeGap    = 10 * time.Millisecond
	wakeCosts  = 10
	wakeGapMax = time.Second

	// An entry that did not move is held back, doubling.
	holdMin  = 2 * time.Millisecond
	holdMax  = time.Minute
	holdWarn = 10 // failures in a row after which it is logged

	newerWarn = time.Hour // between two complaints about records of a newer program

	shardRetryMin = 50 * time.Millisecond
	shardRetryMax = time.Second
	shardWarn     = 5

	// stepLimit is how far the store's clock may move against the process's own before everything is polled anew.
	stepLimit = time.Second
)

// outcome is what acting on an entry came to.
type outcome struct {
	err   error
	known bool          // next is what the index now says; else a poll finds out
	next  time.Time     // zero: no longer due
	after time.Duration // the same entry is to be acted on again after this long, however it stands
}

// loopConfig is what tells the beat's loop from the keeper's.
type loopConfig struct {
	name  string // for the log
	every time.Duration
	clock interface{ Estimate() time.Time }
	link  *link
	log   *slog.Logger
	// read gives a shard's entries due at or before until, the oldest first, at most limit.
	read func(ctx context.Context, shard int, until time.Time, limit int) ([]entry, error)
	// act moves due entries on and answers in order. Entries of one target never meet in it at a time.
	act func(ctx context.Context, due []entry) []outcome
	// prepare, when given, is told of entries shortly before they are due, so that less is left to do then. It is a hint: not all are told of.
	prepare func(ctx context.Context, soon []entry)
}

// loop polls the due indexes of the shards it holds and acts on each entry at its time. All its state belongs to run but for the mail.
type loop struct {
	loopConfig
	mail mail
	done chan func() // results of polls and batches, applied by run

	agenda  *agenda
	shards  map[int]*shardState
	ready   []entry // rung, waiting for a batch
	busy    map[target]bool
	polls   uint64
	polling int
	acting  int

	soon      []entry // to be prepared
	preparing bool

	seenStore, seenOwn time.Time // readings of the two clocks at the last step
	lastRing           time.Time // when something was due last, by the process's own clock
	toldNewer          time.Time // when leftToNewer last said so

	statsMu sync.Mutex
	stats   loopStats
}

type loopStats struct {
	held     []int
	armed    int
	acted    int64
	failed   int64
	lastPoll time.Time
	pollTook time.Duration
}

// shardState is what run knows of a shard it holds.
type shardState struct {
	nextPoll time.Time // by the process's own clock
	lastEnd  time.Time
	lastTook time.Duration
	dirty    bool // something changed since the last poll began
	polling  bool
	touched  map[target]bool // acted on while a poll is in progress, which may have read them as they were before
	horizon  time.Time       // what is due up to here is armed
	failures int
	holds    map[target]*hold
}

// hold keeps back an entry that did not move although it was acted on.
type hold struct {
	due   time.Time // of the entry; another due instant ends the hold
	until time.Time // by the store's clock
	tries int
	err   error // of the last try
}

// mail is what other goroutines tell the loop.
type mail struct {
	mu    sync.Mutex
	held  []int
	moved bool // held is news
	dirty map[int]bool
	all   bool // every shard is dirty
	anew  bool // forget what failed before
	ring  chan struct{}
}

func newLoop(cfg loopConfig) *loop {
	return &loop{
		loopConfig: cfg,
		mail:       mail{dirty: make(map[int]bool), ring: make(chan struct{}, 1)},
		done:       make(chan func()),
		agenda:     newAgenda(leadOf(cfg)),
		shards:     make(map[int]*shardState),
		busy:       make(map[target]bool),
	}
}

// leadOf is how long before their time entries are prepared.
func leadOf(cfg loopConfig) time.Duration {
	if cfg.prepare == nil {
		return 0
	}
	return prepareLead
}

func (m *mail) post(write func()) {
	m.mu.Lock()
	write()
	m.mu.Unlock()
	select {
	case m.ring <- struct{}{}:
	default:
	}
}

// hold tells the loop which shards it has.
func (l *loop) hold(shards []int) {
	l.mail.post(func() { l.mail.held, l.mail.moved = shards, true })
}

// wake tells the loop that a shard has changed, -1: any.
func (l *loop) wake(shard int) {
	l.mail.post(func() {
		if shard < 0 {
			l.mail.all = true
		} else {
			l.mail.dirty[shard] = true
		}
	})
}

// restart tells the loop that the store answers (again).
func (l *loop) restart() {
	l.mail.post(func() { l.mail.all, l.mail.anew = true, true })
}

// run works until ctx ends; batches in progress are ended first.
func (l *loop) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(l.step(ctx, work))
		select {
		case <-ctx.Done():
		case <-l.mail.ring:
		case apply := <-l.done:
			apply()
		case <-timer.C:
		}
	}
	stop := time.AfterFunc(stopGrace, cancel)
	defer stop.Stop()
	for l.polling+l.acting > 0 || l.preparing {
		(<-l.done)()
	}
}

// step starts whatever is to be started now and returns how long nothing else is.
func (l *loop) step(ctx, work context.Context) time.Duration {
	l.readMail()
	own, now := time.Now(), l.clock.Estimate()
	l.mindClock(own, now)
	wait := l.every
	if l.link.answers() {
		wait = min(wait, l.startPolls(ctx, own, now))
		// Where one thing after the other comes due, some are gathered: together they cost the store much less.
		gather := max(l.lastRing.Add(gatherFor).Sub(own), 0)
		if gather == 0 {
			if due := l.ring(now); len(due) > 0 {
				l.ready, l.lastRing = append(l.ready, due...), own
			}
		}
		l.startActs(work)
		l.startPreparing(ctx)
		if at, ok := l.agenda.next(); ok {
			wait = min(wait, max(at.Sub(now), gather))
		}
	}
	l.note()
	return max(wait, 100*time.Microsecond)
}

// mindClock polls everything anew after a step of the store's clock.
func (l *loop) mindClock(own, now time.Time) {
	if !l.seenOwn.IsZero() {
		if by := now.Sub(l.seenStore) - own.Sub(l.seenOwn); by.Abs() > stepLimit {
			l.log.Debug("the store's clock has stepped", "loop", l.name, "by", by.String())
			l.anew()
		}
	}
	l.seenOwn, l.seenStore = own, now
}

// anew forgets what failed and polls every shard.
func (l *loop) anew() {
	for shard, sh := range l.shards {
		for t, h := range sh.holds {
			if al := l.agenda.byShard[shard][t]; al != nil {
				l.agenda.set(al.entry, h.due, al.poll)
			}
		}
		clear(sh.holds)
		sh.failures, sh.nextPoll = 0, time.Time{}
	}
}

func (l *loop) readMail() {
	m := &l.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved {
		for shard := range l.shards {
			if !slices.Contains(m.held, shard) {
				l.agenda.dropShard(shard)
				delete(l.shards, shard)
			}
		}
		for _, shard := range m.held {
			if l.shards[shard] == nil {
				l.shards[shard] = &shardState{holds: make(map[target]*hold), touched: make(map[target]bool)}
			}
		}
	}
	for shard, sh := range l.shards {
		sh.dirty = sh.dirty || m.all || m.dirty[shard]
	}
	if m.anew {
		l.anew()
	}
	m.moved, m.all, m.anew = false, false, false
	clear(m.dirty)
}

// pollAt is when a shard is to be polled next.
func (l *loop) pollAt(sh *shardState) time.Time {
	if sh.failures > 0 || !sh.dirty {
		return sh.nextPoll
	}
	if at := sh.lastEnd.Add(l.gap(sh)); at.Before(sh.nextPoll) {
		return at
	}
	return sh.nextPoll
}

// gap is the least distance between two polls of a shard.
func (l *loop) gap(sh *shardState) time.Duration {
	costs := sh.lastTook * time.Duration(max(wakeCosts, 2*len(l.shards)))
	return min(max(wakeGap, costs), wakeGapMax)
}

// startPolls begins the polls that are due, as many as may be at a time; it returns how long none else is.
func (l *loop) startPolls(ctx context.Context, own, now time.Time) time.Duration {
	wait := l.every
	for shard, sh := range l.shards {
		if sh.polling {
			continue
		}
		if in := l.pollAt(sh).Sub(own); in > 0 {
			wait = min(wait, in)
		} else if l.polling < maxPolls { // else: the end of a poll makes room
			l.startPoll(ctx, shard, sh, now)
		}
	}
	return wait
}

func (l *loop) startPoll(ctx context.Context, shard int, sh *shardState, now time.Time) {
	sh.polling, sh.dirty = true, false
	clear(sh.touched)
	l.polling++
	l.polls++
	number, began := l.polls, time.Now()
	until := now.Add(l.every + l.every/4) // a poll that is late still finds everything armed
	limit := pageSize + len(sh.holds)     // what is held back does not hide the rest
	go func() {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		entries, err := l.read(ctx, shard, until, limit)
		if err != nil {
			l.link.suspect(ctx, err)
		}
		l.done <- func() {
			l.polling--
			sh.polling = false
			if l.shards[shard] != sh {
				return // lost meanwhile
			}
			own := time.Now()
			sh.lastEnd, sh.lastTook = own, own.Sub(began)
			if err != nil {
				l.pollFailed(shard, sh, own, err)
				return
			}
			l.polled(shard, sh, number, entries, until, len(entries) >= limit)
		}
	}()
}

func (l *loop) pollFailed(shard int, sh *shardState, own time.Time, err error) {
	sh.failures++
	sh.nextPoll = own.Add(doubled(shardRetryMin, shardRetryMax, sh.failures-1))
	if sh.failures == shardWarn && l.link.answers() {
		l.log.Warn("a shard of the store cannot be read; trying again", "loop", l.name, "shard", shard, "error", err)
	}
}

// polled arms what a poll found and disarms what it no longer found. A full page says nothing about what is due later than its last entry.
func (l *loop) polled(shard int, sh *shardState, number uint64, entries []entry, until time.Time, full bool) {
	if sh.failures >= shardWarn {
		l.log.Info("the shard can be read again", "loop", l.name, "shard", shard)
	}
	sh.failures = 0
	sh.nextPoll = sh.lastEnd.Add(l.every)
	sh.horizon = until
	if full {
		sh.horizon = entries[len(entries)-1].due
		in := sh.horizon.Sub(l.clock.Estimate())
		sh.nextPoll = sh.lastEnd.Add(min(l.every, max(in, l.gap(sh))))
	}
	seen := make(map[target]bool, len(entries))
	for _, e := range entries {
		seen[e.target] = true
		if l.busy[e.target] || sh.touched[e.target] {
			continue
		}
		at := e.due
		if h := sh.holds[e.target]; h != nil {
			if h.due.Equal(e.due) {
				at = later(at, h.until)
			} else {
				delete(sh.holds, e.target)
			}
		}
		l.agenda.set(e, at, number)
	}
	for t := range l.agenda.byShard[shard] {
		if sh.touched[t] {
			l.agenda.byShard[shard][t].poll = number
		}
	}
	if full {
		l.agenda.prune(shard, number, sh.horizon)
	} else {
		l.agenda.prune(shard, number, sh.horizon.Add(1))
		for t := range sh.holds {
			if !seen[t] && !sh.touched[t] && !l.busy[t] {
				delete(sh.holds, t)
			}
		}
	}
	l.statsMu.Lock()
	l.stats.lastPoll, l.stats.pollTook = sh.lastEnd, sh.lastTook
	l.statsMu.Unlock()
}

// ring takes what is due off the agenda.
func (l *loop) ring(now time.Time) []entry {
	due, soon := l.agenda.take(now)
	// Of what is due at about the same time, each shard's together: the store writes that with less.
	slices.SortStableFunc(due, func(a, b entry) int {
		return cmp.Or(a.due.Truncate(sameTime).Compare(b.due.Truncate(sameTime)), cmp.Compare(a.shard, b.shard))
	})
	for _, e := range due {
		l.busy[e.target] = true
	}
	l.soon = append(l.soon, soon...)
	return due
}

// startPreparing has entries prepared while nothing is to be acted on.
func (l *loop) startPreparing(ctx context.Context) {
	if l.preparing || len(l.soon) == 0 || len(l.ready) > 0 {
		return
	}
	n := min(len(l.soon), maxBatch)
	batch := l.soon[:n]
	if l.soon = l.soon[n:]; len(l.soon) == 0 {
		l.soon = nil
	}
	if now := l.clock.Estimate(); l.prepare == nil || batch[n-1].due.Sub(now) < leadLeast { // too late for these
		return
	}
	l.preparing = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		l.prepare(ctx, batch)
		l.done <- func() { l.preparing = false }
	}()
}

// startActs hands what has rung to batches, as many as may be at a time.
func (l *loop) startActs(work context.Context) {
	for l.acting < maxActs && len(l.ready) > 0 {
		free := maxActs - l.acting
		n := min(max((len(l.ready)+free-1)/free, minBatch), maxBatch, len(l.ready))
		var batch []entry
		for _, e := range l.ready[:n] {
			if l.shards[e.shard] != nil {
				batch = append(batch, e)
			} else {
				delete(l.busy, e.target)
			}
		}
		if l.ready = l.ready[n:]; len(l.ready) == 0 {
			l.ready = nil
		}
		if len(batch) == 0 {
			continue
		}
		l.acting++
		go func() {
			ctx, cancel := context.WithTimeout(work, actLimit)
			defer cancel()
			outs := l.act(ctx, batch)
			for _, o := range outs {
				l.link.suspect(ctx, o.err)
			}
			l.done <- func() {
				l.acting--
				l.acted(batch, outs)
			}
		}()
	}
}

// acted arms anew what a batch moved on, and holds back what did not move.
func (l *loop) acted(batch []entry, outs []outcome) {
	now := l.clock.Estimate()
	var failed int64
	var newer []entry
	var cause error
	for i, e := range batch {
		delete(l.busy, e.target)
		o := outs[i]
		if o.err != nil {
			failed++
		}
		sh := l.shards[e.shard]
		if sh == nil {
			continue
		}
		if sh.polling {
			sh.touched[e.target] = true
		}
		switch {
		case errors.Is(o.err, store.ErrFormat): // another try changes nothing, a newer program does
			l.holdBack(sh, e, now, holdMax, nil)
			newer, cause = append(newer, e), o.err
		case o.err == nil && o.after > 0:
			l.holdBack(sh, e, now, o.after, nil)
		case o.err == nil && !o.known:
			// A poll sees how it stands; if it still stands there, it is held back.
			l.holdBack(sh, e, now, 0, nil)
			l.agenda.remove(e.shard, e.target)
			sh.dirty = true
		case o.err == nil && !o.next.Equal(e.due):
			delete(sh.holds, e.target)
			if !o.next.IsZero() && !o.next.After(sh.horizon) {
				e.due = o.next
				l.agenda.set(e, e.due, l.polls)
			}
		default: // failed, or too early by the store's clock
			l.holdBack(sh, e, now, 0, o.err)
		}
	}
	l.leftToNewer(newer, cause)
	l.statsMu.Lock()
	l.stats.acted += int64(len(batch)) - failed
	l.stats.failed += failed
	l.statsMu.Unlock()
}

// holdBack arms an entry that did not move for another try, ever later unless the wait is given.
func (l *loop) holdBack(sh *shardState, e entry, now time.Time, wait time.Duration, err error) {
	h := sh.holds[e.target]
	if h == nil || !h.due.Equal(e.due) {
		h = &hold{due: e.due}
		sh.holds[e.target] = h
	}
	if wait <= 0 {
		wait = doubled(holdMin, holdMax, h.tries)
		h.tries++
	}
	h.until, h.err = now.Add(wait), err
	l.agenda.set(e, h.until, l.polls)
	if err != nil && (h.tries == holdWarn || wait == holdMax) && l.link.answers() {
		l.log.Error("what is due cannot be carried out; trying again", append(e.about(), "loop", l.name, "tries", h.tries, "again_in", wait.String(), "error", err)...)
	}
}

// leftToNewer says, once in a while, that what is due is held back because a newer program wrote it.
func (l *loop) leftToNewer(es []entry, cause error) {
	if len(es) == 0 || time.Since(l.toldNewer) < newerWarn {
		return
	}
	l.toldNewer = time.Now()
	l.log.Error("what is due was written by a newer version and is left to it; everything else goes on", append(es[0].about(), "loop", l.name, "count", len(es), "error", cause)...)
}

func (l *loop) note() {
	held := make([]int, 0, len(l.shards))
	for shard := range l.shards {
		held = append(held, shard)
	}
	slices.Sort(held)
	l.statsMu.Lock()
	l.stats.held, l.stats.armed = held, l.agenda.len()
	l.statsMu.Unlock()
}

func (l *loop) snapshot() loopStats {
	l.statsMu.Lock()
	defer l.statsMu.Unlock()
	s := l.stats
	s.held = slices.Clone(s.held)
	return s
}

// doubled is least × 2^n, at most most.
func doubled(least, most time.Duration, n int) time.Duration {
	if n > 40 || least<<n > most || least<<n <= 0 {
		return most
	}
	return least << n
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
