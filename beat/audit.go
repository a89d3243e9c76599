package beat

import (
	"context"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	auditPage  = 100             // records of one shard compared at a time
	auditRound = 5 * time.Second // rounds of one shard begin no more often
	auditLines = 20              // log lines of one page; the rest is counted
	noBeatWarn = time.Minute     // between two warnings that no beat is running
)

// auditor takes the audits of the shards held round, a page at a time.
type auditor struct {
	cfg  KeeperConfig
	core *core
	next map[int]time.Time // by shard: when its next page is due, by the process's own clock
	from map[int]time.Time // by shard: when its round began
}

func newAuditor(cfg KeeperConfig, c *core) *auditor {
	return &auditor{cfg: cfg, core: c, next: make(map[int]time.Time), from: make(map[int]time.Time)}
}

func (a *auditor) run(ctx context.Context) {
	if a.cfg.AuditInterval < 0 {
		return
	}
	for pause(ctx, a.cfg.AuditInterval) {
		for _, shard := range a.core.shares.now() {
			if !a.core.link.answers() {
				break
			}
			if !time.Now().Before(a.next[shard]) {
				a.page(ctx, shard)
			}
		}
	}
}

// page compares the next records of a shard.
func (a *auditor) page(ctx context.Context, shard int) {
	now := time.Now()
	if a.from[shard].IsZero() {
		a.from[shard] = now
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	got, err := a.cfg.Store.Audit(ctx, shard, auditPage)
	if err != nil {
		a.core.link.suspect(ctx, err)
		a.cfg.Log.Debug("indexes not compared with their records", "shard", shard, "error", err)
		return
	}
	if got.Round {
		a.next[shard] = later(now, a.from[shard].Add(auditRound))
		delete(a.from, shard)
	}
	a.core.mended.Add(int64(len(got.Mended)))
	for i, m := range got.Mended {
		if i == auditLines {
			a.cfg.Log.Warn("further index entries did not fit their records and were mended", "shard", shard, "count", len(got.Mended)-i)
			break
		}
		a.tell(m)
	}
}

func (a *auditor) tell(m store.Mend) {
	attrs := []any{"index", string(m.Index), "was", entryText(m.Was), "is", entryText(m.Is)}
	if m.RunID != "" {
		attrs = append(attrs, "run_id", m.RunID)
	} else {
		attrs = append(attrs, "schedule_id", m.Ref.ID)
	}
	a.cfg.Log.Warn("an index entry did not fit its record; it is mended", attrs...)
}

// entryText is an entry's time for the log.
func entryText(t time.Time) string {
	if t.IsZero() {
		return "absent"
	}
	return t.Format(time.RFC3339Nano)
}

// beatless warns while schedules of the shards held are overdue and no beat lives. A keeper does not decide ticks: only a beat does.
type beatless struct {
	cfg   KeeperConfig
	core  *core
	tardy *tardy
	told  time.Time // by the process's own clock
}

func (b *beatless) run(ctx context.Context) {
	for pause(ctx, b.cfg.OverdueAfter/DefaultOverduePolls) {
		if b.core.link.answersFor(b.cfg.OverdueAfter) {
			if err := b.look(ctx); err != nil {
				b.core.link.suspect(ctx, err)
				b.cfg.Log.Debug("overdue schedules not looked for", "error", err)
			}
		}
	}
}

func (b *beatless) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	now := b.cfg.Store.Estimate()
	due, err := readOverdue(ctx, b.cfg.Store, b.core.shares.now(), now.Add(-b.cfg.OverdueAfter), nil)
	if err != nil {
		return err
	}
	if len(due) > 0 {
		alive, err := b.beatLives(ctx)
		if err != nil {
			return err
		}
		if alive { // and looks after them
			due = nil
		}
	}
	fresh := b.tardy.sieve(due)
	b.core.overdue.Add(int64(len(fresh)))
	if b.cfg.Observer != nil {
		for _, e := range fresh {
			b.cfg.Observer.Overdue(Overdue{Ref: e.ref, Due: e.due, At: now, Err: ErrNoBeat})
		}
	}
	if len(due) == 0 || time.Since(b.told) < noBeatWarn {
		return nil
	}
	b.told = time.Now()
	b.cfg.Log.Warn("schedules are overdue: "+ErrNoBeat.Error(),
		"overdue", len(due), "schedule_id", due[0].ref.ID, "due", due[0].due, "late", now.Sub(due[0].due).Round(time.Millisecond).String())
	return nil
}

// beatLives reports whether some beat has a seat.
func (b *beatless) beatLives(ctx context.Context) (bool, error) {
	beats := &shares{prefix: beatPart}
	var names []string
	for n := range b.cfg.Store.Shards() {
		names = append(names, beats.seatName(n), beats.shardName(n))
	}
	holders, err := b.cfg.Store.LeaseHolders(ctx, names...)
	if err != nil {
		return false, err
	}
	for _, h := range holders {
		if h != "" {
			return true, nil
		}
	}
	return false, nil
}
