package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

const (
	// stepsPerPage is how many steps of a run one page shows.
	stepsPerPage = 200
	// maxShown is how many bytes of a JSON value a page shows; of a step's, maxShownStep.
	maxShown     = 32 << 10
	maxShownStep = 4 << 10
)

// runPage is one run.
type runPage struct {
	Run       client.Run
	Waits     string  // why nobody executes it, in words; empty: somebody can, or it does not wait
	Trying    *trying // the attempt that failed, and when the next one begins
	Asked     *ask    // somebody asked it to cancel, and it has not ended
	Active    bool
	Began     time.Time // of what counts on: zero when nothing does
	Waterfall waterfall
	Steps     pageOf
	Log       runLog
	LogPager  logPager
	Input     shown
	Result    shown
}

// ask is a request to cancel.
type ask struct {
	At   time.Time
	Text string
}

// trying is what a run's log says of an attempt that is followed by another one.
type trying struct {
	Text string
	Next time.Time // zero: it does not say
}

var nextIn = regexp.MustCompile(`; next attempt in (\S+)$`)

func newTrying(e client.Event) *trying {
	t := &trying{Text: e.Message}
	if m := nextIn.FindStringSubmatchIndex(e.Message); m != nil {
		if wait, err := time.ParseDuration(e.Message[m[2]:m[3]]); err == nil {
			t.Text, t.Next = e.Message[:m[0]], e.At.Add(wait)
		}
	}
	return t
}

// pageOf is the part of a list in memory that a page shows.
type pageOf struct {
	First, Last, Total int    // from 1
	Before, After      string // addresses; empty: there is no more
}

// logPager leads through a run's log.
type logPager struct{ Older, Newer, Newest string }

// shown is a JSON value as a page shows it.
type shown struct {
	Text string
	Cut  int // bytes that are left out
}

// show lays a value out and cuts what is too long.
func show(raw json.RawMessage, most int) shown {
	text := indented(raw)
	if len(text) <= most {
		return shown{Text: text}
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return shown{text[:end], len(text) - end}
}

func (d *dashboard) showRun(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id := r.PathValue("id")
	run, err := d.Client.GetRun(ctx, id)
	if err != nil {
		return err
	}
	events, _, err := d.Client.RunEvents(ctx, id, 0)
	if err != nil {
		return err
	}
	if err := d.readClock(ctx); err != nil {
		return err
	}
	p := runPage{Run: run, Active: !run.Status.Ended(), Waterfall: newWaterfall(run, events, d.now()), Input: show(run.Input, maxShown), Result: show(run.Result, maxShown)}
	if run.Status == schedules.RunPending {
		if p.Waits, err = d.Client.WhyPending(ctx, run.Workflow, run.Queue); err != nil {
			return err
		}
	}
	p.tell(events)
	p.pageSteps(r)
	q := r.URL.Query()
	last, _ := strconv.Atoi(q.Get("log")) // what is no number means the newest
	p.Log = newRunLog(run, events, last)
	if p.Log.Older > 0 {
		p.LogPager.Older = with(r.URL, "log", "log", strconv.Itoa(p.Log.Older))
	}
	if !p.Log.Newest {
		p.LogPager.Newest = with(r.URL, "log", "log", "")
		p.LogPager.Newer = with(r.URL, "log", "log", strconv.Itoa(p.Log.Newer))
	}
	listen := url.Values{"run": {run.RunID}}
	if run.Status.Ended() {
		listen = nil
	}
	return d.show(w, r, page{Template: "run", Title: run.Workflow + " " + shortID(run.RunID), Nav: "runs", Events: listen, Data: p})
}

// tell finds in the log what the record does not say: a request to cancel, and when the next attempt begins.
func (p *runPage) tell(events []client.Event) {
	if !p.Active {
		return
	}
	for _, e := range events {
		switch e.Kind {
		case "cancel":
			if p.Asked == nil {
				p.Asked = &ask{e.At.Time, e.Message}
			}
		case "retry":
			p.Trying = newTrying(e)
		}
	}
	if p.Run.Status != schedules.RunRetrying {
		p.Trying = nil
	}
}

// pageSteps leaves of the steps those that the page shows: the last ones, or those up to the number that is asked for.
func (p *runPage) pageSteps(r *http.Request) {
	n := len(p.Waterfall.Steps)
	last := n
	if asked, err := strconv.Atoi(r.URL.Query().Get("steps")); err == nil && asked > 0 && asked < n {
		last = max(asked, min(n, stepsPerPage))
	}
	from := max(0, last-stepsPerPage)
	p.Steps = pageOf{First: min(from+1, n), Last: last, Total: n}
	if from > 0 {
		p.Steps.Before = with(r.URL, "steps", "steps", strconv.Itoa(from))
	}
	if last < n {
		p.Steps.After = with(r.URL, "steps", "steps", strconv.Itoa(min(n, last+stepsPerPage)))
	}
	p.Waterfall.Steps = p.Waterfall.Steps[from:last]
	for i := range p.Waterfall.Steps {
		p.Waterfall.Steps[i].Result = show(p.Waterfall.Steps[i].Step.Result, maxShownStep)
	}
}

// runJSON is a run as other programs get it.
type runJSON struct {
	Run  client.Run
	Text string
	Raw  string // where the API gives it
}

func (d *dashboard) showRunJSON(w http.ResponseWriter, r *http.Request) error {
	run, err := d.Client.GetRun(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return err
	}
	return d.show(w, r, page{Template: "runjson", Title: "Run " + shortID(run.RunID) + " as JSON", Nav: "runs", Data: runJSON{run, string(text), href("api", "v1", "runs", run.RunID)}})
}

// cancelForm asks before a run is cancelled.
func (d *dashboard) cancelForm(w http.ResponseWriter, r *http.Request) error {
	return d.showCancel(w, r, newForm())
}

func (d *dashboard) showCancel(w http.ResponseWriter, r *http.Request, f *form) error {
	run, err := d.Client.GetRun(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	to := href("runs", run.RunID)
	if run.Status.Ended() {
		return d.warned(w, r, to, "The run has ended already: %s.", run.Status)
	}
	text := "No worker executes it now, so it ends at once."
	if run.Status == schedules.RunRunning {
		text = "Its code is told to stop, and has its cancel grace to do so; then the run counts as cancelled whatever the code does."
	}
	return d.showAct(w, r, "runs", actPage{
		Title: "Cancel this run of " + run.Workflow + "?", Text: []string{text, "Steps that are completed stay recorded; nothing is undone."},
		Fields: []actField{{Name: "reason", Label: "Reason", Optional: "optional", Hint: "Kept with the run, for whoever looks at it later."}},
		Back:   to, Submit: "Cancel the run", Dismiss: "Let it run", Danger: true, Form: f,
	})
}

func (d *dashboard) cancel(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(r)
	if err != nil {
		return err
	}
	run, err := d.Client.CancelRun(r.Context(), r.PathValue("id"), f.Get("reason"))
	if err != nil {
		if f.refuse(err, "reason") {
			return d.showCancel(w, r, f)
		}
		return err
	}
	to := href("runs", run.RunID)
	switch run.Status {
	case schedules.RunCancelled:
		return d.done(w, r, to, "Run %s is cancelled.", shortID(run.RunID))
	case schedules.RunCompleted, schedules.RunFailed:
		return d.warned(w, r, to, "The run had ended before it could be cancelled: %s.", run.Status)
	default:
		return d.done(w, r, to, "Run %s was asked to cancel.", shortID(run.RunID))
	}
}

// againForm asks before a run is started again.
func (d *dashboard) againForm(w http.ResponseWriter, r *http.Request) error {
	run, err := d.Client.GetRun(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	p := actPage{
		Title: "Run " + run.Workflow + " again?", Text: []string{"A new run with the same input on the same queue, outside its schedule. It begins at the first step: what this run recorded is not used."},
		Back: href("runs", run.RunID), Submit: "Run again",
	}
	if !run.Status.Ended() {
		p.Text = append(p.Text, "This run has not ended yet: both will be active at the same time.")
	}
	return d.showAct(w, r, "runs", p)
}

func (d *dashboard) again(w http.ResponseWriter, r *http.Request) error {
	if _, err := readForm(r); err != nil {
		return err
	}
	old := r.PathValue("id")
	id, err := d.Client.RunAgain(r.Context(), old)
	if err != nil {
		return err
	}
	return d.done(w, r, href("runs", id), "This is a new run, with the input of %s.", shortID(old))
}
