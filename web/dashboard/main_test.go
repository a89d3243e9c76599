package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

// start is the time of a world that no test has moved.
var start = time.Date(2026, 3, 2, 10, 0, 30, 0, time.UTC)

// world is a dashboard over a store in memory, whose clock the test moves, and a browser without script that keeps cookies.
type world struct {
	t *testing.T
	*client.Client
	app    *pyworkflow.App
	store  store.Store
	engine *engine.Engine
	now    time.Time
	url    string
	web    *http.Client
	log    bytes.Buffer
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, now: start, app: pyworkflow.NewApp()}
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true, Clock: func() time.Time { return w.now }})
	w.must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.store = st
	w.must(w.app.Register(pyworkflow.DefineFunc("report", func(context.Context) (string, error) { return "", nil })))
	w.engine, err = engine.New(engine.Config{Store: st})
	w.must(err)
	w.Client, err = client.New(client.Config{Store: st, Engine: w.engine, App: w.app})
	w.must(err)
	cfg := Config{Client: w.Client, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Namespace: "tests", Runtime: "local", Version: "v1.2.3"}
	for _, f := range change {
		f(&cfg)
	}
	h, err := New(cfg)
	w.must(err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.url = server.URL
	jar, err := cookiejar.New(nil)
	w.must(err)
	w.web = &http.Client{Jar: jar, Transport: server.Client().Transport}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// answer is a page as it was received, after redirects.
type answer struct {
	t      *testing.T
	Status int
	Path   string // with its query: where redirects led
	Header http.Header
	Body   string
}

func (w *world) do(req *http.Request) answer {
	w.t.Helper()
	res, err := w.web.Do(req)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return answer{w.t, res.StatusCode, res.Request.URL.RequestURI(), res.Header, string(body)}
}

func (w *world) get(path string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	w.must(err)
	return w.do(req)
}

// post submits a form: name, value, name, value.
func (w *world) post(path string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(req)
}

// has fails the test unless the page has the status and holds every text, in its markup as it is.
func (a answer) has(status int, texts ...string) answer {
	a.t.Helper()
	var lacking []string
	for _, text := range texts {
		if !strings.Contains(a.Body, text) {
			lacking = append(lacking, text)
		}
	}
	if a.Status != status || len(lacking) > 0 {
		a.t.Errorf("%s: status %d, want %d; lacks %q:\n%s", a.Path, a.Status, status, lacking, a.text())
	}
	return a
}

func (a answer) lacks(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.Body, text) {
			a.t.Errorf("%s has %q:\n%s", a.Path, text, a.text())
		}
	}
	return a
}

var (
	mainPart = regexp.MustCompile(`(?s)<main.*</main>`)
	pictures = regexp.MustCompile(`(?s)<svg.*?</svg>`)
	tags     = regexp.MustCompile(`<[^>]*>`)
	blanks   = regexp.MustCompile(`\s+`)
)

// text is what the page says, for messages.
func (a answer) text() string {
	text := tags.ReplaceAllString(pictures.ReplaceAllString(mainPart.FindString(a.Body), ""), " ")
	return schedules.Cut(blanks.ReplaceAllString(text, " "), 4000)
}

func (w *world) create(id string, spec schedules.Spec, change ...func(*client.CreateRequest)) client.Schedule {
	w.t.Helper()
	req := client.CreateRequest{ID: id, Workflow: "report", Definition: schedules.Definition{Spec: spec}, Force: true}
	for _, f := range change {
		f(&req)
	}
	s, err := w.CreateSchedule(w.t.Context(), req)
	w.must(err)
	return s
}

func (w *world) schedule(id string) client.ScheduleDetail {
	w.t.Helper()
	s, err := w.GetSchedule(w.t.Context(), id)
	w.must(err)
	return s
}

// pass moves the clock on, second by second where there are few, and lets a beat and a keeper decide what came due.
func (w *world) pass(d time.Duration, ids ...string) {
	w.t.Helper()
	w.now = w.now.Add(d)
	for _, id := range ids {
		w.engine.Decide(w.t.Context(), new(w.schedule(id)).Ref())
	}
}

// claim lets a worker begin a run.
func (w *world) claim(id string) {
	w.t.Helper()
	r, err := w.store.GetRun(w.t.Context(), id)
	w.must(err)
	_, err = w.store.Claim(w.t.Context(), id, r.Dispatch, store.Claim{Worker: "host-2:7:abcd", Token: "t" + id})
	w.must(err)
}

// end ends a run as a worker would, and lets a keeper decide what follows.
func (w *world) end(id string, status schedules.RunStatus) {
	w.t.Helper()
	ref := schedules.Ref{}
	_, err := w.engine.ChangeRun(w.t.Context(), id, nil, func(r schedules.Run, now time.Time) (schedules.RunChange, bool, error) {
		ref = r.Ref()
		o := schedules.Outcome{Kind: schedules.OutcomeCompleted, Result: json.RawMessage(`{"ok":true}`)}
		if status == schedules.RunFailed {
			o = schedules.Outcome{Kind: schedules.OutcomeFailed, Error: &schedules.RunError{Message: "broken", Kind: schedules.ErrorFailed}}
		}
		return schedules.EndAttempt(r, o, schedules.RunOptions{}, now, 0), true, nil
	})
	w.must(err)
	w.engine.Decide(w.t.Context(), ref)
}

var daily = schedules.Spec{Cron: "0 9 * * *"}
