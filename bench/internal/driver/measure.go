package driver

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/fires"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/judge"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/redisd"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/report"
)

// system is how a load is put on one of the systems that are measured.
type system interface {
	// launch registers the schedules and starts the processes. It returns what registering took, and the first tick.
	launch(context.Context, *world) (registration, error)
	// started counts what has started so far.
	started(context.Context, *world, judge.Grid) (tally, error)
	// fires reads what the processes wrote down when they ended.
	fires(*world) ([]fires.Fire, error)
}

// tally is how many runs have started.
type tally struct {
	all    int
	window int // of ticks in the measured window
}

func systemOf(name string) system {
	switch name {
	case load.Asynq:
		return asynqSystem{}
	case load.Gocron:
		return gocronSystem{}
	default:
		return ours{}
	}
}

const (
	// before is how long before the window's ticks the counters are read: after the work of the ticks before, as far as they have been kept up with.
	before = 30 * time.Millisecond
	// around is how long before a burst, and after the last start, they are read: preparations and the ends of runs are part of the work.
	around = time.Second
)

// measure puts a load on a system and measures it.
func measure(ctx context.Context, o options, l load.Load, name string, p *progress) (report.Result, error) {
	w, err := newWorld(o, l, name, p)
	if err != nil {
		return report.Result{}, err
	}
	defer w.close()
	sys := systemOf(name)
	reg, err := sys.launch(ctx, w)
	if err != nil {
		return report.Result{}, err
	}
	g := w.grid(reg.first)
	r := report.Result{Date: time.Now().UTC().Format(time.RFC3339), Machine: report.ThisMachine("none"), Load: l.Name, Text: l.Text, System: name,
		Schedules: l.Schedules, Stored: l.Stored, Processes: l.Processes, WarmUp: w.warmUp.Seconds(), Window: float64(g.End-g.Begin) / 1000, Register: reg.took.Seconds()}
	if l.Burst {
		r.WarmUp, r.Window = 0, 0
	}
	if reg.took > 0 {
		r.RegisterPerS = float64(reg.count) / reg.took.Seconds()
	}
	r.BytesPerSchedule = float64(reg.bytes) / float64(max(1, reg.count))

	from, to, err := w.window(ctx, sys, g)
	if err != nil {
		return r, err
	}
	if len(from.redis) > 0 {
		r.Machine = report.ThisMachine(from.redis[0].Version)
	}
	freshAt, err := w.afterwards(ctx, &r)
	if err != nil {
		return r, err
	}
	if err := w.stop(); err != nil {
		return r, err
	}
	starts, err := sys.fires(w)
	if err != nil {
		return r, err
	}
	fill(&r, judge.Judge(g, starts))
	spent(&r, from, to, judge.Between(starts, from.at, to.at))
	if l.Burst {
		r.FiresPerSecond = float64(r.Started) / (r.Max / 1000)
	}
	if at, ok := judge.FirstAfter(starts, freshAt); ok && !freshAt.IsZero() {
		r.FirstFireMS = at.Sub(freshAt).Seconds() * 1000
	}
	return r, nil
}

// grid is the ticks to measure: those of the window after the warm-up, or the only one of a burst.
func (w *world) grid(first time.Time) judge.Grid {
	if w.load.Burst {
		at := first.UnixMilli()
		return judge.Grid{Schedules: w.load.Schedules, Period: 1, Begin: at, End: at + 1}
	}
	period := w.load.Period
	from := first
	if now := time.Now(); now.After(first) {
		from = now
	}
	begin := from.Add(w.warmUp - 1).Truncate(period).Add(period)
	return judge.Grid{Schedules: w.load.Schedules, Period: period.Milliseconds(), Spread: w.load.Spread,
		Begin: begin.UnixMilli(), End: begin.Add(max(w.measured.Truncate(period), period)).UnixMilli()}
}

// sample is what was counted up to an instant.
type sample struct {
	at      time.Time
	cpu     map[string]time.Duration // by role
	mallocs map[string]uint64        // by role
	redis   []server
}

// server is what a redis-server had done.
type server struct {
	redisd.Info
	cpu time.Duration
}

func (w *world) sample(ctx context.Context) (s sample, err error) {
	s = sample{at: time.Now(), cpu: map[string]time.Duration{}, mallocs: map[string]uint64{}}
	for _, m := range w.members {
		d, err := m.CPU()
		if err != nil {
			return s, err
		}
		s.cpu[m.role] += d
	}
	for _, r := range w.redis {
		cpu, err := r.CPU()
		if err != nil {
			return s, err
		}
		info, err := r.Info(ctx)
		if err != nil {
			return s, err
		}
		s.cpu[redisRole] += cpu
		s.redis = append(s.redis, server{info, cpu})
	}
	for _, m := range w.members {
		if m.probe == nil {
			continue
		}
		mem, err := m.probe.Memory(ctx)
		if err != nil {
			return s, err
		}
		s.mallocs[m.role] += mem.Mallocs
	}
	return s, nil
}

// window waits through the warm-up and the window and reads the counters at both ends of it, then waits for late starts. The end of a burst is when all have started.
func (w *world) window(ctx context.Context, sys system, g judge.Grid) (from, to sample, err error) {
	begin, end := time.UnixMilli(g.Begin), time.UnixMilli(g.End)
	tell := w.teller(ctx, sys, g)
	if w.load.Burst {
		w.progress.say("all is due at %s", begin.UTC().Format("15:04:05"))
	} else {
		w.progress.say("warming up until %s, measuring until %s", begin.UTC().Format("15:04:05"), end.UTC().Format("15:04:05"))
	}
	ahead := before
	if w.load.Burst {
		ahead = around
	}
	if err := w.wait(ctx, begin.Add(-ahead), tell); err != nil {
		return from, to, err
	}
	if from, err = w.sample(ctx); err != nil {
		return from, to, err
	}
	profiles := w.profile(ctx, end.Sub(begin))
	if !w.load.Burst {
		if err := w.wait(ctx, end.Add(-before), tell); err != nil {
			return from, to, err
		}
		if to, err = w.sample(ctx); err != nil {
			return from, to, err
		}
	}
	if err := w.settled(ctx, sys, g, tell); err != nil {
		return from, to, err
	}
	if w.load.Burst {
		if err := w.wait(ctx, time.Now().Add(around), nil); err != nil {
			return from, to, err
		}
		if to, err = w.sample(ctx); err != nil {
			return from, to, err
		}
	}
	return from, to, profiles.Wait()
}

// settled waits until all ticks of the window have started: at most w.settle, and no longer than starts still come in.
func (w *world) settled(ctx context.Context, sys system, g judge.Grid, tell func()) error {
	const quiet = 5 * time.Second // without a start nothing more is expected
	end := time.UnixMilli(g.End)
	if err := w.wait(ctx, end, tell); err != nil {
		return err
	}
	last, since := -1, time.Now()
	for time.Since(end) < w.settle {
		t, err := sys.started(ctx, w, g)
		if err != nil {
			return err
		}
		have, want := t.window, g.Expected()
		if have >= want {
			return nil
		}
		if t.all != last {
			last, since = t.all, time.Now()
		} else if time.Since(since) > quiet {
			w.progress.say("%d of %d have started, and nothing more for %s", have, want, quiet)
			return nil
		}
		if err := w.wait(ctx, time.Now().Add(200*time.Millisecond), tell); err != nil {
			return err
		}
	}
	w.progress.say("not all have started within %s after the last tick", w.settle)
	return nil
}

// teller says how far it is.
func (w *world) teller(ctx context.Context, sys system, g judge.Grid) func() {
	return func() {
		t, err := sys.started(ctx, w, g)
		if err != nil {
			return // whoever waits sees it
		}
		left := time.Until(time.UnixMilli(g.End)).Round(time.Second)
		if left < 0 {
			w.progress.say("%d of %d started, waiting for late ones", t.window, g.Expected())
			return
		}
		w.progress.say("%d started, %d of %d in the window, %s to go", t.all, t.window, g.Expected(), left)
	}
}

// profile takes CPU profiles of the recording processes, if they are wanted.
func (w *world) profile(ctx context.Context, d time.Duration) *errgroup.Group {
	group, ctx := errgroup.WithContext(ctx)
	if w.profiles == "" {
		return group
	}
	if w.load.Burst {
		d = 5 * time.Second
	}
	for _, m := range w.members {
		if m.probe != nil {
			path := filepath.Join(w.profiles, fmt.Sprintf("%s-%s.pprof", w.load.Name, m.Name()))
			group.Go(func() error { return m.probe.Profile(ctx, d, path) })
		}
	}
	return group
}

// afterwards measures what would disturb the window: peaks of memory, polls, and how soon a beat that is started anew fires.
func (w *world) afterwards(ctx context.Context, r *report.Result) (freshAt time.Time, err error) {
	r.PeakRSS = map[string]float64{}
	for _, m := range w.members {
		rss, err := m.PeakRSS()
		if err != nil {
			return freshAt, err
		}
		r.PeakRSS[m.role] = max(r.PeakRSS[m.role], float64(rss)/(1<<20))
	}
	for _, s := range w.redis {
		rss, err := s.PeakRSS()
		if err != nil {
			return freshAt, err
		}
		r.PeakRSS[redisRole] = max(r.PeakRSS[redisRole], float64(rss)/(1<<20))
	}
	if !w.load.Fresh {
		return freshAt, nil
	}
	if r.PollMS, err = w.pollTime(ctx); err != nil {
		return freshAt, err
	}
	return w.freshBeat(ctx)
}

// fill takes over the outcome.
func fill(r *report.Result, o judge.Outcome) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.Expected, r.Started, r.Lost, r.Doubled, r.Stray = o.Expected, o.Started, o.Lost, o.Doubled, o.Stray
	r.P50, r.P99, r.Max = ms(o.Lateness.P50), ms(o.Lateness.P99), ms(o.Lateness.Max)
}

// spent works out what the starts between two samples have cost.
func spent(r *report.Result, from, to sample, n int) {
	lasted := to.at.Sub(from.at).Seconds()
	per := func(v float64) float64 { return v / float64(max(1, n)) }
	r.Fires, r.FiresPerSecond = n, float64(n)/lasted
	r.CPU, r.CPUPercent, r.Mallocs = map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, kind := range slices.Sorted(keys(to.cpu)) {
		if kind == netRole {
			continue // it stands for wires
		}
		d := (to.cpu[kind] - from.cpu[kind]).Seconds()
		r.CPU[kind], r.CPUPercent[kind] = per(1000*d), 100*d/lasted
		r.CPUSum += r.CPU[kind]
		r.CPUBusy += r.CPUPercent[kind]
	}
	for kind, m := range to.mallocs {
		r.Mallocs[kind] = per(float64(m - from.mallocs[kind]))
	}
	nodes := make([]report.Node, len(to.redis))
	for i, b := range to.redis {
		a := from.redis[i]
		nodes[i] = report.Node{Commands: per(float64(b.Commands - a.Commands)), Evalsha: per(float64(b.Evalsha - a.Evalsha)), Reads: per(float64(b.Reads - a.Reads)),
			In: per(float64(b.In - a.In)), Out: per(float64(b.Out - a.Out)), CPU: per(1000 * (b.cpu - a.cpu).Seconds()), Memory: float64(b.Memory) / (1 << 20)}
		r.BytesPerRun += per(float64(b.Memory - a.Memory))
	}
	r.SetNodes(nodes)
}
