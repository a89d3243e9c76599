package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// blockers finds out what is in the way of schedules; it reads the live processes at most once.
type blockers struct {
	c     *Client
	procs []store.Process
	read  bool
}

func (c *Client) newBlockers() *blockers { return &blockers{c: c} }

// view completes a schedule's view with its active runs and what blocks it.
func (c *Client) view(ctx context.Context, s schedules.Schedule) (Schedule, error) {
	return c.viewWith(ctx, c.newBlockers(), s)
}

func (c *Client) viewWith(ctx context.Context, b *blockers, s schedules.Schedule) (Schedule, error) {
	views, err := c.viewAll(ctx, b, []schedules.Schedule{s})
	if err != nil {
		return viewSchedule(s), err
	}
	return views[0], nil
}

// viewAll is view of many, in as many round trips as of one.
func (c *Client) viewAll(ctx context.Context, b *blockers, all []schedules.Schedule) ([]Schedule, error) {
	views := make([]Schedule, len(all))
	var busy []int
	var refs []schedules.Ref
	for i, s := range all {
		if views[i] = viewSchedule(s); s.Active > 0 {
			busy, refs = append(busy, i), append(refs, s.Ref())
		}
	}
	if len(busy) == 0 {
		return views, nil
	}
	active, err := c.store.ActiveRunsOf(ctx, refs, maxActiveIDs)
	if err != nil {
		return nil, fmt.Errorf("read active runs of schedules: %w", err)
	}
	blocking := map[int]string{} // the run by the place of its schedule
	var wanted []string
	for n, i := range busy {
		s, ids := &all[i], active[n]
		views[i].ActiveRunIDs = list(ids)
		by := s.BlockedBy
		if by == "" && s.Waiting() > 0 && len(ids) > 0 {
			by = ids[0]
		}
		if by != "" && (len(ids) == maxActiveIDs || slices.Contains(ids, by)) {
			blocking[i] = by
			wanted = append(wanted, by)
		}
	}
	if len(wanted) == 0 {
		return views, nil
	}
	runs, err := c.store.RunHeads(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	for i, by := range blocking {
		run, ok := runs[by]
		if !ok || run.Status.Ended() {
			continue
		}
		text, err := b.describe(ctx, run)
		if err != nil {
			return nil, err
		}
		views[i].BlockedBy, views[i].blocked = Text(by), text
	}
	return views, nil
}

// describe says how long an active run has been where: "run_… (running 3h on host-2)".
func (b *blockers) describe(ctx context.Context, r schedules.Run) (string, error) {
	now := b.c.store.Estimate()
	if r.Status == schedules.RunRunning {
		return fmt.Sprintf("%s (running %s on %s)", r.ID, Age(now.Sub(r.StartedAt)), Host(r.Worker)), nil
	}
	text := fmt.Sprintf("%s (%s %s", r.ID, r.Status, Age(now.Sub(r.CreatedAt)))
	if r.Status == schedules.RunPending {
		if !b.read {
			procs, err := b.c.store.Processes(ctx)
			if err != nil {
				return "", fmt.Errorf("read live processes: %w", err)
			}
			b.procs, b.read = procs, true
		}
		if why := whyPending(b.procs, r.Workflow, r.Queue); why != "" {
			text += ": " + why
		}
	}
	return text + ")", nil
}

// whyPending says why no live process can take a run; empty when one can.
func whyPending(procs []store.Process, workflow, queue string) string {
	has := false
	for _, p := range procs {
		if !executes(p) || !slices.Contains(p.Workflows, workflow) {
			continue
		}
		has = true
		if p.Local || slices.Contains(p.Queues, queue) {
			return ""
		}
	}
	if has {
		return fmt.Sprintf("no live worker with workflow %q serves queue %q", workflow, queue)
	}
	return fmt.Sprintf("no live worker has workflow %q", workflow)
}

func executes(p store.Process) bool { return p.Worker || p.Local }

// WhyPending says, in words, why no live worker can take a run of the workflow from the queue (empty: the workflow's own); empty when one can.
func (c *Client) WhyPending(ctx context.Context, workflow, queue string) (string, error) {
	if queue == "" {
		if opts := c.options(ctx, workflow); opts != nil {
			queue = opts.Queue
		}
		queue = cmp.Or(queue, schedules.DefaultQueue)
	}
	procs, err := c.store.Processes(ctx)
	if err != nil {
		return "", fmt.Errorf("read live processes: %w", err)
	}
	return whyPending(procs, workflow, queue), nil
}

// Age is a span of time in one unit: "45s", "12m", "3h", "2d".
func Age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// Host is the host of a process id, which is host:pid:random.
func Host(id string) string {
	for range 2 {
		for i := len(id) - 1; i >= 0; i-- {
			if id[i] == ':' {
				id = id[:i]
				break
			}
		}
	}
	return id
}
