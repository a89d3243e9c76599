package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// overviewRoutes adds the first page.
func (d *dashboard) overviewRoutes() {
	d.get("/{$}", d.showOverview)
}

// The picture of what comes: sixty bars of a minute.
const (
	skySlice = time.Minute
	skyBars  = 60
)

// overviewShown is how many entries each list of the overview shows.
const overviewShown = 8

// overviewPage is everything at a glance.
type overviewPage struct {
	client.Overview
	Sky       skyline
	Fails     []client.Run
	Misses    []missGroup
	Processes []processRow
	Queues    []queueRow
	Health    findings
	Local     bool
	First     *firstSteps // nil: there is something to show
}

// missGroup is missed ticks of one schedule and one reason.
type missGroup struct {
	ScheduleID string
	Reason     client.Text
	Count      int
	From, To   time.Time // nominal times
}

// firstSteps tells a newcomer what to do, and what is done already.
type firstSteps struct {
	Workflows []client.Workflow
	Workers   int
	Beats     int
	Name      string // of a workflow, for the commands
	Local     bool
}

func (d *dashboard) showOverview(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	o, err := d.Client.Overview(ctx)
	if err != nil {
		return err
	}
	next, err := d.Client.Upcoming(ctx, o.Now.Truncate(skySlice), skySlice, skyBars)
	if err != nil {
		return fmt.Errorf("read what comes next: %w", err)
	}
	p := overviewPage{Overview: o, Sky: newSkyline(next), Fails: head(o.FailedRuns), Misses: head(groupMisses(o.MissedTicks)), Local: d.local(),
		Processes: processRows(head(o.Processes)), Queues: queueRows(o.Queues), Health: d.health.read(ctx, d.Client, d.Doctor, o.Now.Time)}
	p.Running = head(o.Running)
	p.Sky.Next = head(firstTicks(p.Sky.Next))
	var all int64
	for _, n := range o.Schedules {
		all += n
	}
	if all+o.ActiveRuns+o.Completed+o.Failed+o.Cancelled == 0 {
		if p.First, err = d.firstSteps(r, o.Processes); err != nil {
			return err
		}
	}
	return d.show(w, r, page{Template: "overview", Title: "Overview", Nav: "overview", Events: url.Values{}, Data: p})
}

// local reports whether runs execute where they are scheduled.
func (d *dashboard) local() bool { return d.Runtime == "local" }

func head[T any](list []T) []T { return list[:min(len(list), overviewShown)] }

// Rate is the share of completed runs among those of the last day that nobody cancelled; nil: there are none.
func (p overviewPage) Rate() *float64 {
	n := p.Completed + p.Failed
	if n == 0 {
		return nil
	}
	return new(float64(p.Completed) / float64(n))
}

// MoreFails and MoreMisses report whether there are more than the lists show.
func (p overviewPage) MoreFails() bool { return p.Failed > int64(len(p.Fails)) }

// MoreMisses is as MoreFails; several ticks are one line of the list.
func (p overviewPage) MoreMisses() bool { return p.Missed > int64(len(p.MissedTicks)) }

// MoreRunning is how many active runs the list leaves out.
func (p overviewPage) MoreRunning() int64 { return p.ActiveRuns - int64(len(p.Running)) }

// Other names the schedules that are not active: "3 paused, 1 finished".
func (p overviewPage) Other() string {
	text := ""
	for _, s := range []schedules.Status{schedules.StatusPaused, schedules.StatusFinished} {
		n := p.Schedules[s]
		if n == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		count, _ := num(n) // a whole number
		text += count + " " + string(s)
	}
	return text
}

// Count is how many schedules have a status.
func (p overviewPage) Count(status string) int64 { return p.Schedules[schedules.Status(status)] }

// firstTicks leaves of each schedule the first tick: one that ticks often would hide the others.
func firstTicks(list []client.UpcomingTick) []client.UpcomingTick {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(t client.UpcomingTick) bool {
		again := seen[t.ScheduleID]
		seen[t.ScheduleID] = true
		return again
	})
}

// groupMisses puts missed ticks that differ in their time only into one line, the latest first.
func groupMisses(list []client.MissedTick) []missGroup {
	var out []missGroup
	at := map[[2]string]int{}
	for _, m := range list {
		key := [2]string{m.ScheduleID, string(m.Reason)}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, missGroup{ScheduleID: m.ScheduleID, Reason: m.Reason, From: m.NominalTime.Time, To: m.NominalTime.Time})
		}
		g := &out[i]
		g.Count++
		g.From, g.To = earlier(g.From, m.NominalTime.Time), later(g.To, m.NominalTime.Time)
	}
	return out
}

func (d *dashboard) firstSteps(r *http.Request, procs []client.Process) (*firstSteps, error) {
	f := &firstSteps{Name: "NAME", Local: d.local()}
	var err error
	if f.Workflows, err = d.Client.Workflows(r.Context()); err != nil {
		return nil, err
	}
	if len(f.Workflows) > 0 {
		f.Name = f.Workflows[0].Name
	}
	for _, p := range procs {
		if slices.Contains(p.Roles, "worker") || slices.Contains(p.Roles, "local") {
			f.Workers++
		}
		if slices.Contains(p.Roles, "beat") {
			f.Beats++
		}
	}
	return f, nil
}
