package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// Config holds the parts of a dashboard.
type Config struct {
	// Client is required: everything that pages show and do goes through it.
	Client *client.Client
	// ReadOnly leaves out and refuses every act.
	ReadOnly bool
	// Doctor says what the overview's look at the store and the work looks at; Records is not used.
	Doctor client.DoctorOptions
	// Log is told of requests that failed for reasons that are not the viewer's; nil: discards.
	Log *slog.Logger
	// Namespace, Runtime and Version are shown on each page; empty ones are left out.
	Namespace, Runtime, Version string
	// Logout is the path that ends the viewer's session, by POST; empty: there are no sessions.
	Logout string
}

// dashboard answers the requests.
type dashboard struct {
	Config
	mux    *http.ServeMux
	static *static
	pages  pages
	health health
	skew   atomic.Int64 // nanoseconds that the store's clock is ahead of this host's
}

// New gives the handler of all pages, for the root of a server. It is safe for concurrent use.
func New(cfg Config) (http.Handler, error) {
	if cfg.Client == nil {
		return nil, errors.New("dashboard: Config.Client is nil")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &dashboard{Config: cfg, mux: http.NewServeMux()}
	var err error
	if d.static, err = newStatic(); err != nil {
		return nil, err
	}
	if d.pages, err = d.parsePages(); err != nil {
		return nil, err
	}
	d.mux.Handle("GET /static/", d.static)
	for _, routes := range []func(){
		d.overviewRoutes, d.schedulesRoutes, d.runsRoutes, d.workersRoutes,
	} {
		routes()
	}
	d.get("/", func(_ http.ResponseWriter, r *http.Request) error {
		return notFound("there is no page %s", r.URL.Path)
	})
	return d.mux, nil
}

// handler answers a request, or gives the error that is to be shown in place of the page.
type handler func(w http.ResponseWriter, r *http.Request) error

// get routes requests for a page.
func (d *dashboard) get(pattern string, h handler) {
	d.mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			d.showError(w, r, err)
		}
	})
}

// act routes an act: GET shows its form, as a page or in a dialog, POST carries it out. Both are refused on a page that only shows.
func (d *dashboard) act(pattern string, form, do handler) {
	d.get(pattern, d.writing(form))
	d.post(pattern, do)
}

// post routes an act that has no form of its own.
func (d *dashboard) post(pattern string, do handler) {
	d.mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := d.writing(do)(w, r); err != nil {
			d.showError(w, r, err)
		}
	})
}

// writing refuses the request where nothing may be changed.
func (d *dashboard) writing(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if d.ReadOnly {
			return &statusError{http.StatusForbidden, "this dashboard only shows: it was started with --read-only"}
		}
		return h(w, r)
	}
}

// now is the store's clock as last seen, carried on by this host's.
func (d *dashboard) now() time.Time {
	return time.Now().Add(time.Duration(d.skew.Load())).UTC()
}

// readClock looks at the store's clock anew.
func (d *dashboard) readClock(ctx context.Context) error {
	now, err := d.Client.Now(ctx)
	if err == nil {
		d.skew.Store(int64(time.Until(now)))
	}
	return err
}
