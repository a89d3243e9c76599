package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// workersRoutes adds the page of processes, queues and workflows.
func (d *dashboard) workersRoutes() {
	d.get("/workers", d.showWorkers)
	d.act("/queues/{name}/pause", d.pauseQueueForm, d.pauseQueue)
	d.act("/queues/{name}/resume", d.resumeQueueForm, d.resumeQueue)
}

// workersPage is who lives, and what they are served from.
type workersPage struct {
	Processes []processRow
	Versions  []versionCount // when live processes differ
	Queues    []queueRow
	Workflows []client.Workflow
	Local     bool
}

// processRow is a live process as pages show it.
type processRow struct{ client.Process }

// Taken is how many percents of its places are taken.
func (p processRow) Taken() float64 { return share(float64(len(p.Running)), float64(p.Capacity)) }

// Does says what it is there for.
func (p processRow) Does() string {
	var words []string
	for _, role := range p.Roles {
		if role == "local" {
			role = "worker" // it executes runs of its own process; it may call itself both
		}
		if !slices.Contains(words, role) {
			words = append(words, role)
		}
	}
	slices.SortFunc(words, func(a, b string) int { return strings.Compare(b, a) }) // worker, beat
	return strings.Join(words, ", ")
}

// Holds names the shards whose ticks it decides: "0–7, 12".
func (p processRow) Holds() string { return shardText(p.Shards) }

func processRows(list []client.Process) []processRow {
	rows := make([]processRow, len(list))
	for i, p := range list {
		rows[i] = processRow{p}
	}
	return rows
}

// queueRow is a queue as pages show it.
type queueRow struct{ client.Queue }

// Later is how many messages are offered later: put off, or given back by a worker.
func (q queueRow) Later() int { return q.Scheduled + q.Retry }

func queueRows(list []client.Queue) []queueRow {
	rows := make([]queueRow, len(list))
	for i, q := range list {
		rows[i] = queueRow{q}
	}
	return rows
}

// versionCount is how many live processes have a version.
type versionCount struct {
	Version string
	Count   int
}

func (d *dashboard) showWorkers(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p := workersPage{Local: d.local()}
	procs, err := d.Client.Processes(ctx)
	if err != nil {
		return err
	}
	p.Processes, p.Versions = processRows(procs), versionsOf(procs)
	queues, err := d.Client.Queues(ctx)
	if err != nil {
		return err
	}
	p.Queues = queueRows(queues)
	if p.Workflows, err = d.Client.Workflows(ctx); err != nil {
		return err
	}
	return d.show(w, r, page{Template: "workers", Title: "Workers", Nav: "workers", Events: url.Values{}, Data: p})
}

// versionsOf counts the versions of live processes; nil when there are not several.
func versionsOf(list []client.Process) []versionCount {
	counts := map[string]int{}
	for _, p := range list {
		if p.Version != "" {
			counts[string(p.Version)]++
		}
	}
	if len(counts) < 2 {
		return nil
	}
	var out []versionCount
	for v, n := range counts {
		out = append(out, versionCount{v, n})
	}
	slices.SortFunc(out, func(a, b versionCount) int { return strings.Compare(b.Version, a.Version) })
	return out
}

// shardText writes the shards that a beat holds: "0–7, 12".
func shardText(list []int) string {
	list = slices.Clone(list)
	slices.Sort(list)
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := strconv.Itoa(list[i])
		switch {
		case j == i+1:
			text += ", " + strconv.Itoa(list[j])
		case j > i:
			text += "–" + strconv.Itoa(list[j])
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

// queue finds the queue that an act is about.
func (d *dashboard) queue(r *http.Request) (client.Queue, error) {
	name := r.PathValue("name")
	all, err := d.Client.Queues(r.Context())
	if err != nil {
		return client.Queue{}, err
	}
	for _, q := range all {
		if q.Name == name {
			return q, nil
		}
	}
	if d.local() {
		return client.Queue{}, &statusError{http.StatusConflict, client.ErrNoQueues.Error()}
	}
	return client.Queue{}, notFound("there is no queue %s", name)
}

func (d *dashboard) pauseQueueForm(w http.ResponseWriter, r *http.Request) error {
	q, err := d.queue(r)
	if err != nil {
		return err
	}
	text := "Nothing waits in it now."
	if q.Waiting > 0 {
		count, _ := plural(q.Waiting, "run") // a whole number has a plural
		text = count + " wait in it now."
		if q.Waiting == 1 {
			text = count + " waits in it now."
		}
	}
	return d.showAct(w, r, "workers", actPage{
		Title: "Pause queue " + q.Name + "?", Submit: "Pause the queue", Back: "/workers",
		Text: []string{"Workers take no more runs from it, whichever schedule or workflow they belong to, until it is resumed; restarts do not end the pause. Runs that a worker has taken go on. " + text,
			"Schedules go on ticking: what they start waits, and counts as active for their overlap policies."},
	})
}

func (d *dashboard) resumeQueueForm(w http.ResponseWriter, r *http.Request) error {
	q, err := d.queue(r)
	if err != nil {
		return err
	}
	count, err := plural(q.Waiting, "run")
	if err != nil {
		return err
	}
	return d.showAct(w, r, "workers", actPage{
		Title: "Resume queue " + q.Name + "?", Submit: "Resume the queue", Back: "/workers",
		Text: []string{fmt.Sprintf("Workers take runs from it again, at once. Waiting now: %s.", count)},
	})
}

func (d *dashboard) pauseQueue(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := d.Client.PauseQueue(r.Context(), name); err != nil {
		return queueError(err)
	}
	return d.done(w, r, "/workers#queues", "Queue %s is paused: workers take nothing from it until it is resumed.", name)
}

func (d *dashboard) resumeQueue(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := d.Client.ResumeQueue(r.Context(), name); err != nil {
		return queueError(err)
	}
	return d.done(w, r, "/workers#queues", "Workers take runs from queue %s again.", name)
}

// queueError makes an act on queues where there are none a matter of how things stand, not a failure.
func queueError(err error) error {
	if errors.Is(err, client.ErrNoQueues) {
		return &statusError{http.StatusConflict, err.Error()}
	}
	return err
}
