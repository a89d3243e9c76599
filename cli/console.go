package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// console tells a person what a long-running command does, a line each: it observes an engine and a worker. It never blocks them: when the terminal
// is too slow lines are left out, and how many is said.
type console struct {
	out  io.Writer
	json bool
	here bool // runs are executed in this process, so that they start when they are claimed

	lines chan line
	quit  chan struct{} // closed: print what is there and end
	done  chan struct{} // closed: ended

	mu   sync.Mutex
	lost int
}

// line is one thing that happened. As JSON it has all its fields.
type line struct {
	At       client.Time     `json:"time"`
	Event    string          `json:"event"`
	Schedule client.Text     `json:"schedule_id"`
	Workflow client.Text     `json:"workflow"`
	Run      client.Text     `json:"run_id"`
	Took     client.Text     `json:"took"`
	Detail   client.Text     `json:"detail"`
	Result   json.RawMessage `json:"result"`
}

func (p *program) newConsole(here bool) *console {
	c := &console{out: p.stdout, json: p.global.Output == "json", here: here, lines: make(chan line, 4096), quit: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

func (c *console) run() {
	defer close(c.done)
	for {
		select {
		case l := <-c.lines:
			c.print(l)
			continue
		default:
		}
		select {
		case l := <-c.lines:
			c.print(l)
		case <-c.quit:
			if len(c.lines) == 0 {
				return
			}
		}
	}
}

// close prints what is left. What is told afterwards, by code that was left behind, is lost.
func (c *console) close() {
	close(c.quit)
	<-c.done
}

func (c *console) tell(l line) {
	select {
	case c.lines <- l:
	default:
		c.mu.Lock()
		c.lost++
		c.mu.Unlock()
	}
}

func (c *console) print(l line) {
	c.mu.Lock()
	lost := c.lost
	c.lost = 0
	c.mu.Unlock()
	switch {
	case lost > 0 && c.json:
		fmt.Fprintf(c.out, "{\"event\":\"left out\",\"lines\":%d}\n", lost)
	case lost > 0:
		fmt.Fprintf(c.out, "… %d lines left out\n", lost)
	}
	if c.json {
		if l.Result == nil {
			l.Result = json.RawMessage("null")
		}
		text, err := json.Marshal(l)
		if err != nil {
			text = []byte(fmt.Sprintf(`{"event":%q}`, l.Event)) // not reached: results are JSON
		}
		fmt.Fprintln(c.out, string(text))
		return
	}
	name := l.Schedule
	if name == "" {
		name = l.Workflow
	}
	text := fmt.Sprintf("%s   %-10s %s", l.At.Local().Format("15:04:05"), l.Event, name)
	for _, part := range []string{string(l.Run), string(l.Took), string(l.Detail), visible(shorten(string(l.Result), 200))} {
		if part != "" {
			text += "  " + part
		}
	}
	fmt.Fprintln(c.out, text)
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func ofRun(at time.Time, event string, r schedules.Run) line {
	return line{At: client.Time{Time: at}, Event: event, Schedule: client.Text(r.ScheduleID), Workflow: client.Text(r.Workflow), Run: client.Text(r.ID)}
}

// Decided tells of ticks that did not start, and, where runs are executed elsewhere, of those that did.
func (c *console) Decided(change schedules.Change) {
	if !c.here {
		for _, r := range change.Start {
			c.tell(ofRun(change.Now, "started", r))
		}
	}
	for _, f := range change.Fates {
		if f.Fate == schedules.FateStarted {
			continue
		}
		l := line{At: client.Time{Time: change.Now}, Event: string(f.Fate), Schedule: client.Text(change.Schedule.ID), Workflow: client.Text(change.Schedule.Workflow),
			Run: client.Text(f.RunID), Detail: client.Text(f.Reason)}
		if f.BlockedBy != "" {
			l.Detail = client.Text(fmt.Sprintf("%s, behind %s", f.Reason, f.BlockedBy))
		}
		c.tell(l)
	}
}

// RunChanged tells of the end of a run, and of attempts that failed.
func (c *console) RunChanged(change schedules.RunChange) {
	r := change.Run
	switch {
	case r.Status.Ended():
		l := ofRun(change.Now, string(r.Status), r)
		if !r.StartedAt.IsZero() {
			l.Took = client.Text(short(r.EndedAt.Sub(r.StartedAt)))
		}
		if r.Status == schedules.RunCompleted {
			l.Result = r.Result
		} else if r.Error != nil {
			l.Detail = client.Text(oneLine(r.Error.Message))
		}
		c.tell(l)
	case r.Status == schedules.RunRetrying && r.Error != nil:
		l := ofRun(change.Now, "retrying", r)
		l.Detail = client.Text(fmt.Sprintf("attempt %d at %s: %s", r.Attempt, r.Due.Local().Format("15:04:05"), oneLine(r.Error.Message)))
		c.tell(l)
	}
}

// Claimed tells of a run whose execution begins.
func (c *console) Claimed(r schedules.Run) {
	l := ofRun(time.Now(), "started", r)
	if r.Attempt > 1 {
		l.Detail = client.Text(fmt.Sprintf("attempt %d", r.Attempt))
	}
	c.tell(l)
}

// Abandoned tells of code that ignores its cancelled context.
func (c *console) Abandoned(r schedules.Run) {
	l := ofRun(time.Now(), "abandoned", r)
	l.Detail = "its code ignores the cancelled context and was left behind"
	c.tell(l)
}

// greet prints the first line of a long-running command: what it is, and where it works.
func (p *program) greet(what string, s *session, rest string) {
	if p.global.Output == "json" {
		text, _ := json.Marshal(map[string]string{"event": what, "runtime": string(s.runtime), "storage": s.store.Describe(), "namespace": p.global.Namespace}) // strings always encode
		fmt.Fprintln(p.stdout, string(text))
		return
	}
	fmt.Fprintf(p.stdout, "%-9s  %s runtime, %s, %s, Ctrl+C to stop\n", what, s.runtime, s.place(), rest)
}

// tellActivation prints a line for every declared schedule.
func (p *program) tellActivation(all []client.ScheduleDetail) {
	if p.global.Output == "json" {
		for _, s := range all {
			text, _ := json.Marshal(map[string]any{"event": "activated", "schedule_id": s.ScheduleID, "next_run_time": s.NextRunTime}) // both always encode
			fmt.Fprintln(p.stdout, string(text))
		}
		return
	}
	var t table
	for _, s := range all {
		next := string(s.Status)
		if !s.NextRunTime.IsZero() {
			next = fmt.Sprintf("next %s (%s)", clock(p.now(), s.NextRunTime.Time), p.when(s.NextRunTime))
		}
		t.add("activated", s.ScheduleID, inLine(s.Spec), next)
	}
	_ = p.printTable(t) // nothing can be done about a terminal that is gone
}

// clock writes a time of day, with its date when it is not today.
func clock(now, t time.Time) string {
	t = t.Local()
	if now.Local().Format(time.DateOnly) == t.Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}
