package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// damaged is a shard with a schedule that has a running, a pending and waiting things, to be broken by hand.
type damaged struct {
	t                *testing.T
	client           *redis.Client
	st               *redisstore.Store
	clock            *storetest.Clock
	prefix           string
	ref              schedules.Ref
	due              time.Time
	pending, running schedules.Run
}

func newDamaged(t *testing.T) *damaged {
	t.Helper()
	d := &damaged{t: t, client: redistest.Shared(t).Client(t), clock: storetest.NewClock()}
	namespace := redistest.Namespace(t)
	var err error
	d.st, err = redisstore.New(d.client, redisstore.Config{Namespace: namespace, Clock: d.clock.Now})
	must(t, err)
	t.Cleanup(func() { _ = d.st.Close() })
	ctx := t.Context()
	c := storetest.Create("a", "i1", d.clock.Now())
	d.ref, d.due = c.Schedule.Ref(), c.Schedule.NextDue
	d.prefix = fmt.Sprintf("pyworkflow:{%s:%d}:", namespace, int(d.ref.Placement())%16)
	must(t, d.st.Commit(ctx, c)[0])
	got, _, err := d.st.Load(ctx, d.ref)
	must(t, err)
	c = storetest.Next(got[0].State.Schedule, d.clock.Now())
	d.pending = storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: d.clock.Now()})
	bf := storetest.NewBackfill(d.ref, "x", d.clock.Now())
	filled := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerBackfill, Nominal: bf.Start, Backfill: bf.ID})
	bf.Active, bf.Started = 1, 1
	c.Backfills, c.Schedule.Backfills = []schedules.Backfill{bf}, []string{bf.ID}
	c.PushRegular, c.Schedule.WaitingRegular = storetest.Waiting(schedules.TriggerSchedule, 0, d.clock.Now(), 1), 1
	must(t, d.st.Commit(ctx, c)[0])
	d.running, err = d.st.Claim(ctx, filled.ID, 1, store.Claim{Worker: "w", Token: "t"})
	must(t, err)
	return d
}

// lost is the id of a run of the schedule that is nowhere.
func (d *damaged) lost() string {
	return schedules.TickRunID(d.ref, schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: d.due.Add(time.Hour)})
}

// Whatever an index says that its record does not, an audit of everything and one of what is named find and mend it, once.
func TestAuditMends(t *testing.T) {
	year := float64(365 * 24 * time.Hour / time.Millisecond)
	for name, test := range map[string]struct {
		harm func(d *damaged, key string) error
		want func(d *damaged) store.Mend
	}{
		"ticks lost": {
			func(d *damaged, p string) error { return d.client.ZRem(d.t.Context(), p+"ticks", d.ref.String()).Err() },
			func(d *damaged) store.Mend { return store.Mend{Ref: d.ref, Index: store.IndexTicks, Is: d.due} },
		},
		"ticks a year ahead": {
			func(d *damaged, p string) error {
				return d.client.ZIncrBy(d.t.Context(), p+"ticks", year, d.ref.String()).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{Ref: d.ref, Index: store.IndexTicks, Was: d.due.Add(365 * 24 * time.Hour), Is: d.due}
			},
		},
		"timer of what waits lost": {
			func(d *damaged, p string) error {
				return d.client.ZRem(d.t.Context(), p+"timers", "s"+d.ref.String()).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{Ref: d.ref, Index: store.IndexTimers, Is: d.clock.Now()}
			},
		},
		"timer of what waits a year ahead": {
			func(d *damaged, p string) error {
				return d.client.ZAdd(d.t.Context(), p+"timers", redis.Z{Member: "s" + d.ref.String(), Score: float64(d.due.UnixMilli()) + year}).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{Ref: d.ref, Index: store.IndexTimers, Was: d.due.Add(365 * 24 * time.Hour), Is: d.clock.Now()}
			},
		},
		"timer of a run lost": {
			func(d *damaged, p string) error {
				return d.client.ZRem(d.t.Context(), p+"timers", "r"+d.pending.ID).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.pending.ID, Index: store.IndexTimers, Is: d.pending.Due}
			},
		},
		"timer of a run that has none": {
			func(d *damaged, p string) error {
				return d.client.ZAdd(d.t.Context(), p+"timers", redis.Z{Score: float64(d.due.UnixMilli()), Member: "r" + d.running.ID}).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.running.ID, Index: store.IndexTimers, Was: d.due}
			},
		},
		"lease lost": {
			func(d *damaged, p string) error { return d.client.ZRem(d.t.Context(), p+"leases", d.running.ID).Err() },
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.running.ID, Index: store.IndexLeases, Is: d.running.Lease}
			},
		},
		"lease lost from the record": {
			func(d *damaged, p string) error {
				_ = d.client.ZAdd(d.t.Context(), p+"leases", redis.Z{Member: d.running.ID, Score: float64(d.running.Lease.UnixMilli())}).Err() // the next line says so, too
				return d.client.HDel(d.t.Context(), p+"r:"+d.running.ID, "lease").Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.running.ID, Index: store.IndexLeases, Was: d.running.Lease, Is: d.clock.Now()}
			},
		},
		"not in the active set": {
			func(d *damaged, p string) error {
				return d.client.ZRem(d.t.Context(), p+"s:"+d.ref.String()+":active", d.running.ID).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.running.ID, Index: store.IndexActive, Is: time.UnixMilli(0).UTC()}
			},
		},
		"a stranger in the active set": {
			func(d *damaged, p string) error {
				return d.client.ZAdd(d.t.Context(), p+"s:"+d.ref.String()+":active", redis.Z{Member: schedules.FreeRunID("stranger"), Score: 1}).Err()
			},
			func(*damaged) store.Mend {
				return store.Mend{RunID: schedules.FreeRunID("stranger"), Index: store.IndexActive, Was: time.UnixMilli(1).UTC()}
			},
		},
		"not among the active of all": {
			func(d *damaged, p string) error {
				return d.client.ZRem(d.t.Context(), p+"runs:active", d.pending.ID).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.pending.ID, Index: store.IndexRuns, Is: d.pending.CreatedAt}
			},
		},
		"a lost run among the active of all": {
			func(d *damaged, p string) error {
				return d.client.ZAdd(d.t.Context(), p+"runs:active", redis.Z{Member: d.lost(), Score: 5}).Err()
			},
			func(d *damaged) store.Mend {
				return store.Mend{RunID: d.lost(), Index: store.IndexRuns, Was: time.UnixMilli(5).UTC()}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDamaged(t)
			storetest.Audit(t, d.st)
			for _, round := range []bool{true, false} {
				must(t, test.harm(d, d.prefix))
				want := test.want(d)
				var mended []store.Mend
				var err error
				if round {
					_, mended, err = storetest.AuditAll(t.Context(), d.st, 2)
				} else {
					mended, err = d.st.Reindex(t.Context(), store.Timer{Ref: d.ref}, store.Timer{RunID: d.pending.ID}, store.Timer{RunID: d.running.ID}, store.Timer{RunID: want.RunID})
				}
				must(t, err)
				if len(mended) != 1 || mended[0] != want {
					t.Errorf("round %v mended %+v, want %+v", round, mended, want)
				}
				storetest.Audit(t, d.st)
			}
			after, err := d.st.GetRun(t.Context(), d.pending.ID)
			must(t, err)
			if after.Revision != d.pending.Revision {
				t.Errorf("revision %d, was %d", after.Revision, d.pending.Revision)
			}
		})
	}
}

// What is left in the indexes of a schedule that is gone goes when it is named; a record that cannot be read, or that a newer program wrote, stops no audit.
func TestAuditOfWhatCannotBeRead(t *testing.T) {
	d := newDamaged(t)
	ctx := t.Context()
	row := d.prefix + "s:" + d.ref.String()
	hot, err := d.client.HGet(ctx, row, "hot").Result()
	must(t, err)
	for _, broken := range []string{"", "nothing", "7"} {
		must(t, d.client.HSet(ctx, row, "hot", broken).Err())
		must(t, d.client.ZRem(ctx, d.prefix+"ticks", d.ref.String()).Err())
		storetest.Audit(t, d.st)
	}
	must(t, d.client.HDel(ctx, row, "hot").Err())
	storetest.Audit(t, d.st)
	must(t, d.client.HSet(ctx, row, "hot", hot).Err())
	mended, err := d.st.Reindex(ctx, store.Timer{Ref: d.ref})
	must(t, err)
	if len(mended) != 1 {
		t.Errorf("mended %+v once it could be read, want its tick", mended)
	}

	head, err := d.client.HGet(ctx, row, "head").Result()
	must(t, err)
	must(t, d.client.HSet(ctx, row, "head", "9"+head[1:]).Err())
	must(t, d.client.ZRem(ctx, d.prefix+"ticks", d.ref.String()).Err())
	storetest.Audit(t, d.st)

	gone := schedules.Ref{ID: "a", Incarnation: "gone"}
	must(t, d.client.ZAdd(ctx, d.prefix+"ticks", redis.Z{Member: gone.String(), Score: 1}).Err())
	mended, err = d.st.Reindex(ctx, store.Timer{Ref: gone})
	must(t, err)
	if want := (store.Mend{Ref: gone, Index: store.IndexTicks, Was: time.UnixMilli(1).UTC()}); len(mended) != 1 || mended[0] != want {
		t.Errorf("mended %+v, want %+v", mended, want)
	}
}
