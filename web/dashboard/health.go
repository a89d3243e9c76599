package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

const (
	// healthFor is how long the findings of a look are shown before the next one.
	healthFor = 30 * time.Second
	// healthRecords is how many records of each kind a look reads, so that it does not hold up the page.
	healthRecords = 200
	healthTimeout = 3 * time.Second
)

// health is what doctor found, kept for a while: to look costs more than a page should.
type health struct {
	mu      sync.Mutex
	looking bool
	seen    findings
}

// findings are the outcome of one look.
type findings struct {
	At       time.Time
	Bad      []client.Finding // errors, then warnings
	Good     []client.Finding // all else
	Problem  string           // why the look failed; empty: it did not
	complete bool             // false: nobody has looked yet
}

// read gives the findings, and looks when they are old. While one request looks, others get the old ones.
func (h *health) read(ctx context.Context, c *client.Client, o client.DoctorOptions, now time.Time) findings {
	h.mu.Lock()
	if h.seen.complete && (h.looking || now.Sub(h.seen.At) < healthFor) {
		defer h.mu.Unlock()
		return h.seen
	}
	h.looking = true
	h.mu.Unlock()

	o.Records = healthRecords
	look, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	list, err := c.Doctor(look, o)
	seen := findings{At: now, complete: true}
	for _, status := range []string{"error", "warning", "skipped", "ok"} {
		for _, f := range list {
			switch {
			case string(f.Status) != status:
			case status == "error" || status == "warning":
				seen.Bad = append(seen.Bad, f)
			default:
				seen.Good = append(seen.Good, f)
			}
		}
	}
	if err != nil {
		seen.Problem = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looking = false
	if ctx.Err() == nil { // else the viewer went away: that says nothing about the store
		h.seen = seen
	}
	return seen
}
