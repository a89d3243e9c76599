package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// schedulePage is all of one schedule.
type schedulePage struct {
	client.ScheduleDetail
	When       string
	Expression string
	Zone       string
	Numbers    client.Strip
	Timeline   timeline
	Durations  durations
	Spans      []tab // how many ticks the pictures show
	Active     []client.Run
	MoreActive int64
	Backfills  []backfillRow
	History    []fateRow
	Fates      []tab
	Pager      pager
	Fate       string
	Deleted    bool
	InCode     bool
	ReadOnly   bool
}

// tab is one of several ways to look at a list.
type tab struct {
	Href, Text string
	Current    bool
}

// fateRow is a row of the history, with what became of its run as far as that is at hand.
type fateRow struct {
	client.Fate
	Status schedules.RunStatus
}

// backfillRow is a backfill with its bar.
type backfillRow struct {
	client.Backfill
	Ended int64
	Parts []backfillPart
}

// backfillPart is a part of a backfill's bar, of 1,000.
type backfillPart struct {
	Tone string
	X, W float64
	Word string
}

const (
	historyShown  = 25
	activeShown   = 10
	picturedTicks = 50
)

func (d *dashboard) schedule(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), r.PathValue("id")
	s, err := d.Client.GetSchedule(ctx, id)
	if err != nil {
		return err
	}
	if err := d.readClock(ctx); err != nil {
		return err
	}
	p := schedulePage{ScheduleDetail: s, When: describe(s.Spec), Expression: expression(s.Spec), Zone: zoneOf(s.Spec).String(), Deleted: s.Status == schedules.StatusDeleted,
		InCode: s.DeclaredInCode(), ReadOnly: d.ReadOnly}
	pictured := picturedTicks
	if n, err := strconv.Atoi(r.URL.Query().Get("ticks")); err == nil && (n == 20 || n == 200) {
		pictured = n
	}
	for _, n := range []int{20, picturedTicks, 200} {
		p.Spans = append(p.Spans, tab{with(r.URL, "timeline", "ticks", strconv.Itoa(n)), strconv.Itoa(n), n == pictured})
	}
	ticks, err := d.Client.Timeline(ctx, id, pictured)
	if err != nil {
		return err
	}
	numbers, err := d.Client.Strips(ctx, []string{id}, pictured)
	if err != nil {
		return err
	}
	p.Numbers = numbers[id]
	p.Timeline, p.Durations = newTimeline(ticks, s.NextTicks, d.now(), zoneOf(s.Spec)), newDurations(ticks, d.now())
	if err := p.readActive(ctx, d.Client); err != nil {
		return err
	}
	backfills, err := d.Client.ListBackfills(ctx, id, client.PageRequest{Limit: 10})
	if err != nil && statusOf(err) != http.StatusNotFound { // of a deleted schedule there are none
		return err
	}
	for _, b := range backfills.Items {
		p.Backfills = append(p.Backfills, newBackfillRow(b))
	}
	if err := d.readHistory(r, &p, ticks); err != nil {
		return err
	}
	events := url.Values{"schedule": {id}}
	return d.show(w, r, page{Template: "schedule", Title: id, Nav: "schedules", Events: events, Data: &p})
}

// readActive reads the first active runs.
func (p *schedulePage) readActive(ctx context.Context, c *client.Client) error {
	for i, id := range p.ActiveRunIDs {
		if i == activeShown {
			break
		}
		run, err := c.GetRun(ctx, id)
		if statusOf(err) == http.StatusNotFound {
			continue // pruned since
		}
		if err != nil {
			return err
		}
		p.Active = append(p.Active, run)
	}
	p.MoreActive = max(0, p.ActiveRuns-int64(len(p.Active)))
	return nil
}

// readHistory reads a page of the history. The pictured ticks know what became of their runs.
func (d *dashboard) readHistory(r *http.Request, p *schedulePage, ticks []client.TimelineTick) error {
	p.Fate = r.URL.Query().Get("fate")
	switch kind := schedules.FateKind(p.Fate); kind {
	case "", schedules.FateStarted, schedules.FateBuffered, schedules.FateDropped, schedules.FateSkipped, schedules.FateMissed:
	default:
		return &schedules.FieldError{Field: "fate", Value: p.Fate, Problem: "must be started, buffered, dropped, skipped or missed"}
	}
	here := *r.URL
	q := here.Query()
	q.Del("cursor")
	here.RawQuery = q.Encode()
	for _, f := range []string{"", "started", "buffered", "skipped", "missed", "dropped"} {
		text := f
		if f == "" {
			text = "all"
		}
		p.Fates = append(p.Fates, tab{with(&here, "history", "fate", f), text, f == p.Fate})
	}
	got, err := d.Client.ListHistory(r.Context(), p.ScheduleID, client.FateFilter{Fate: schedules.FateKind(p.Fate)}, pageRequest(r, "", historyShown))
	if err != nil {
		return err
	}
	statuses := map[client.Text]schedules.RunStatus{}
	for _, t := range ticks {
		statuses[t.RunID] = t.Status
	}
	for _, f := range got.Items {
		p.History = append(p.History, fateRow{f, statuses[f.RunID]})
	}
	p.Pager = newPager(r, "", "history", len(got.Items), "tick", got.NextCursor)
	return nil
}

func newBackfillRow(b client.Backfill) backfillRow {
	row := backfillRow{Backfill: b, Ended: b.Successful + b.Failed + b.Cancelled + b.Dropped}
	at := 0.0
	for _, part := range []struct {
		n          int64
		tone, word string
	}{{b.Successful, "good", "completed"}, {b.Failed, "bad", "failed"}, {b.Cancelled, "idle", "cancelled"}, {b.Dropped, "idle", "dropped"}, {b.Active, "busy", "active"}} {
		if part.n == 0 || b.Count == 0 {
			continue
		}
		width := float64(part.n) / float64(b.Count) * 1000
		row.Parts = append(row.Parts, backfillPart{part.tone, tenth(at), tenth(width), fmt.Sprintf("%d %s", part.n, part.word)})
		at += width
	}
	return row
}

// expression is a spec as it was written.
func expression(s schedules.Spec) string {
	switch {
	case s.Cron != "":
		return "cron " + s.Cron
	case s.Interval != "":
		return "interval " + s.Interval + " from " + string(s.IntervalFrom)
	}
	var lines []string
	for _, c := range s.Calendar {
		lines = append(lines, c.String())
	}
	return "calendar " + strings.Join(lines, "; ")
}
