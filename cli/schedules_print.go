package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// words says in words when a spec ticks.
func words(s schedules.Spec) string {
	t, err := schedules.Compile(s)
	if err != nil {
		return "?" // not reached: it compiled when it was stored
	}
	return t.Describe()
}

// inLine is words for the middle of a line: "every minute".
func inLine(s schedules.Spec) string {
	text := words(s)
	if rest, ok := strings.CutPrefix(text, "Every"); ok {
		return "every" + rest
	}
	return text
}

// pageNote says on standard error that a list is empty, and where it was looked for, or how to go on.
func (p *program) pageNote(c *client.Client, what string, items int, next client.Text) {
	switch {
	case next != "":
		p.note("more %s: --cursor %s", what, next)
	case items == 0:
		p.note("no %s in %s", what, p.place(c.Describe()))
	}
}

func (p *program) printSchedules(c *client.Client, page client.Page[client.Schedule]) error {
	blocked := slices.ContainsFunc(page.Items, func(s client.Schedule) bool { return s.BlockedBy != "" })
	t := table{columns: []string{"id", "workflow", "status", "when", "overlap", "next run", "last run", "successful/total"}}
	if blocked {
		t.columns = append(t.columns, "blocked by")
	}
	for _, s := range page.Items {
		row := []string{s.ScheduleID, s.Workflow, string(s.Status), words(s.Spec), string(s.OverlapPolicy), p.when(s.NextRunTime), p.when(s.LastRunAt),
			fmt.Sprintf("%d/%d", s.SuccessfulRuns, s.TotalRuns)}
		if blocked {
			row = append(row, s.Blocked())
		}
		t.add(row...)
	}
	if len(page.Items) > 0 {
		if err := p.printTable(t); err != nil {
			return err
		}
	}
	p.pageNote(c, "schedules", len(page.Items), page.NextCursor)
	return nil
}

func (p *program) printSchedule(s client.Schedule) error {
	input := string(s.Input)
	if input == "null" {
		input = ""
	}
	counted := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return p.printPairs(
		"id", s.ScheduleID,
		"workflow", s.Workflow,
		"status", string(s.Status),
		"when", words(s.Spec),
		"spec", specText(s.Spec),
		"next run", p.whenExact(s.NextRunTime),
		"last run", joined(p.whenExact(s.LastRunAt), string(s.LastRunID)),
		"overlap", overlapText(s),
		"catchup", fmt.Sprintf("%s, within %s", s.Catchup, s.CatchupWindow),
		"queue", string(s.Queue),
		"input", input,
		"note", string(s.Note),
		"declared by", string(s.Origin),
		"overridden", strings.Join(s.Overridden, ", "),
		"blocked by", s.Blocked(),
		"active runs", joined(counted(s.ActiveRuns), strings.Join(s.ActiveRunIDs, " ")),
		"waiting ticks", counted(s.BufferedRuns),
		"runs", fmt.Sprintf("%d total, %d successful, %d failed, %d cancelled", s.TotalRuns, s.SuccessfulRuns, s.FailedRuns, s.CancelledRuns),
		"ticks", fmt.Sprintf("%d skipped, %d missed", s.SkippedRuns, s.MissedRuns),
		"created", p.whenExact(s.CreatedAt),
		"updated", fmt.Sprintf("%s, version %d", p.whenExact(s.UpdatedAt), s.Version),
	)
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "  ")
}

func overlapText(s client.Schedule) string {
	switch s.OverlapPolicy {
	case schedules.OverlapBufferAll:
		return fmt.Sprintf("%s, up to %d", s.OverlapPolicy, s.BufferLimit)
	case schedules.OverlapCancelOther:
		return fmt.Sprintf("%s, grace %s", s.OverlapPolicy, s.CancelGrace)
	default:
		return string(s.OverlapPolicy)
	}
}

// specText is the expression itself.
func specText(s schedules.Spec) string {
	var text string
	switch {
	case s.Cron != "":
		text = "cron " + s.Cron
	case s.Interval != "":
		text = "interval " + s.Interval + " from " + string(s.IntervalFrom)
	default:
		var cs []string
		for _, c := range s.Calendar {
			cs = append(cs, c.String())
		}
		text = "calendar " + strings.Join(cs, "; ")
	}
	return text + ", " + s.Timezone
}

func (p *program) printScheduleDetail(d client.ScheduleDetail) error {
	if err := p.printSchedule(d.Schedule); err != nil {
		return err
	}
	if len(d.Waiting) > 0 {
		t := table{columns: []string{"waiting", "trigger", "since", "run"}}
		for _, w := range d.Waiting {
			t.add(stamp(w.NominalTime), string(w.Trigger), p.when(w.Since), w.RunID)
		}
		if err := p.section(t); err != nil {
			return err
		}
	}
	if len(d.Backfills) > 0 {
		if err := p.section(p.backfillTable(d.Backfills)); err != nil {
			return err
		}
	}
	if len(d.NextTicks) > 0 {
		t := table{columns: []string{"next ticks", "local time", "in"}}
		for _, n := range d.NextTicks {
			t.add(stamp(n.NominalTime), n.LocalTime.Format("Mon 2006-01-02 15:04:05 -07:00"), p.when(n.NominalTime))
		}
		if err := p.section(t); err != nil {
			return err
		}
	}
	if len(d.RecentFates) > 0 {
		return p.section(fateTable(d.RecentFates))
	}
	return nil
}

// section prints a table after an empty line.
func (p *program) section(t table) error {
	if _, err := fmt.Fprintln(p.stdout); err != nil {
		return err
	}
	return p.printTable(t)
}

func fateTable(fates []client.Fate) table {
	t := table{columns: []string{"nominal time", "fate", "reason", "trigger", "decided", "waited", "blocked by", "run"}}
	for _, f := range fates {
		waited := ""
		if f.Waited.Duration > 0 {
			waited = f.Waited.String()
		}
		t.add(stamp(f.NominalTime), string(f.Fate), string(f.Reason), string(f.Trigger), stamp(f.DecidedAt), waited, string(f.BlockedBy), string(f.RunID))
	}
	return t
}

func (p *program) printFates(fates []client.Fate) error {
	if len(fates) == 0 {
		return nil
	}
	return p.printTable(fateTable(fates))
}
