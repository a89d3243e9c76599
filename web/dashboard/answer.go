package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// page is what a handler shows.
type page struct {
	Template string     // file in templates/, without .html
	Title    string     // of the window, and where the page has no heading of its own
	Nav      string     // item of the navigation it belongs to: overview, schedules, runs, workers
	Status   int        // 0: 200
	Events   url.Values // what to listen for on the event stream: schedule=ID, run=ID; nil: the page does not change by itself
	Data     any        // .Data in the template
}

// frame is what the layout shows: the page and what surrounds it.
type frame struct {
	page
	Flash     *flash
	ReadOnly  bool
	Namespace string
	Runtime   string
	Version   string
	Logout    string
	Store     string
	Now       time.Time
}

// EventsURL is the address of the event stream; empty: there is nothing to listen for.
func (f frame) EventsURL() string {
	if f.Events == nil {
		return ""
	}
	return eventsPath + "?" + f.Events.Encode()
}

const (
	eventsPath = "/api/v1/events"
	// liveHeader marks requests of our script, which takes parts of the page: they use up no message.
	liveHeader = "X-Live"
)

// show renders a page.
func (d *dashboard) show(w http.ResponseWriter, r *http.Request, p page) error {
	if err := d.readClock(r.Context()); err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	return d.write(w, r, p)
}

// write renders a page without asking the store.
func (d *dashboard) write(w http.ResponseWriter, r *http.Request, p page) error {
	t := d.pages[p.Template]
	if t == nil {
		return fmt.Errorf("no template %q", p.Template)
	}
	f := frame{page: p, ReadOnly: d.ReadOnly, Namespace: d.Namespace, Runtime: d.Runtime, Version: d.Version, Logout: d.Logout, Store: d.Client.Describe(), Now: d.now()}
	if r.Header.Get(liveHeader) == "" {
		f.Flash = takeFlash(w, r)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", f); err != nil {
		return fmt.Errorf("render page %s: %w", p.Template, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", liveHeader)
	w.WriteHeader(max(p.Status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the viewer may be gone
	return nil
}

// done ends an act: it goes back to a page, which shows the message once.
func (d *dashboard) done(w http.ResponseWriter, r *http.Request, to, format string, args ...any) error {
	setFlash(w, r, flash{Kind: "ok", Text: fmt.Sprintf(format, args...)})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// warned is done for an act that came out otherwise than one may have wished.
func (d *dashboard) warned(w http.ResponseWriter, r *http.Request, to, format string, args ...any) error {
	setFlash(w, r, flash{Kind: "warn", Text: fmt.Sprintf(format, args...)})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// statusError is an error with its HTTP status.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func notFound(format string, args ...any) error {
	return &statusError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	var coded *statusError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &coded):
		return coded.status
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	default:
		return client.CodeOf(err).HTTPStatus()
	}
}

// showError shows an error in the place of the page.
func (d *dashboard) showError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // nobody reads it
	}
	status := statusOf(err)
	if status >= http.StatusInternalServerError {
		d.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	p := page{Template: "error", Title: errorTitle(status), Nav: navOf(r.URL.Path), Status: status, Data: errorPage{Status: status, Title: errorTitle(status), Text: err.Error(), Remedy: errorRemedy(status)}}
	if err := d.write(w, r, p); err != nil {
		d.Log.Error("error page failed", "path", r.URL.Path, "error", err)
		http.Error(w, http.StatusText(status), status)
	}
}

type errorPage struct {
	Status              int
	Title, Text, Remedy string
}

func errorTitle(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Not found"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusConflict:
		return "Not possible as things stand"
	case http.StatusServiceUnavailable:
		return "The store does not answer"
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return "That can't be read"
	default:
		return "That went wrong"
	}
}

func errorRemedy(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "It may have been deleted or pruned since the link was made."
	case status >= http.StatusInternalServerError:
		return "Nothing was lost by this: schedulers and workers go on by themselves. \"pyworkflow doctor\" looks for the cause."
	default:
		return ""
	}
}

// navOf is the item of the navigation that a path belongs to.
func navOf(path string) string {
	head, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if head == "" {
		return "overview"
	}
	return head
}
