// Package browsertest drives the dashboard in a real browser: every act, as a person does it, on a real server with a worker, a beat and the event stream. It
// fails on any error on the console and any failed request.
//
// It runs Chromium from $CHROME, or else from where it is commonly installed. Screenshots go to $SCREENSHOTS, or else to the test's artifact folder.
package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/web"
	"github.com/pyworkflow-go/pyworkflow/worker"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
	"github.com/pyworkflow-go/pyworkflow/worker/localtransport"
)

// patience is how long something on a page may take to be so.
const patience = 20 * time.Second

// browser is the one browser of all tests; each test has a tab of its own in a profile of its own.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.stop != nil {
		browser.stop()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goleak:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// chrome is the path of the browser.
func chrome() (string, error) {
	if path := os.Getenv("CHROME"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed: `make deps` installs it, or set CHROME to its path")
}

func startBrowser() {
	path, err := chrome()
	if err != nil {
		browser.err = err
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, // containers often have no user namespaces; it loads our own pages only
		chromedp.Flag("lang", "en-US"), chromedp.Env("TZ=America/New_York"))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(alloc)
	browser.ctx = ctx
	browser.stop = func() {
		last, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = chromedp.Cancel(last) // what it leaves behind, goleak finds
		stop()
		stopAlloc()
	}
	browser.err = chromedp.Do(ctx)
}

// site is a running program with its dashboard, and a tab of the browser.
type site struct {
	*testing.T
	*client.Client
	URL string

	tab      context.Context
	mu       sync.Mutex
	faults   []string
	expected map[int64]int // how many answers of a status may come yet
	shots    int
}

// size is that of a window.
type size struct{ w, h int64 }

var (
	desktop = size{1280, 860}
	phone   = size{390, 844}
)

// open starts the program on the embedded database and a tab with its dashboard.
func open(t *testing.T, window size) *site {
	t.Helper()
	return openOn(t, window, (*site).local)
}

// openOn is open for a runtime of the test's choice.
func openOn(t *testing.T, window size, runtime func(*site) base) *site {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		t.Fatal(browser.err)
	}
	s := &site{T: t, expected: map[int64]int{}}
	s.serve(runtime(s))
	tab, closeTab := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	s.tab = tab
	t.Cleanup(func() {
		if t.Failed() {
			s.shot("failed")
		}
		closeTab()
		for _, f := range s.taken() {
			t.Error(f)
		}
	})
	s.must(chromedp.Listen(tab, s.hear))
	s.do(chromedp.EmulateViewport(window.w, window.h), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
		return err
	}))
	s.visit("/schedules")
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// base is what a program runs on.
type base struct {
	name      string // of the runtime
	store     store.Store
	transport worker.Transport
	queues    client.QueueKeeper // nil: there are none
	carrier   client.Carrier     // nil: there is none
}

// local is the local runtime on a database in memory.
func (s *site) local() base {
	s.Helper()
	st, err := sqlitestore.Open(s.Context(), sqlitestore.Config{Memory: true})
	s.must(err)
	return base{name: "local", store: st, transport: localtransport.New()}
}

// asynq is the distributed runtime, on a Redis of the test's own.
func (s *site) asynq() base {
	s.Helper()
	c := redistest.Start(s).Client(s)
	st, err := redisstore.New(c, redisstore.Config{Namespace: "tests"})
	s.must(err)
	transport, err := asynqtransport.New(asynqtransport.Config{Client: c, Namespace: "tests"})
	s.must(err)
	return base{name: "asynq", store: st, transport: transport, queues: transport, carrier: transport}
}

// serve runs a worker, a beat, a keeper and the web server until the test ends.
func (s *site) serve(on base) {
	s.Helper()
	app := pyworkflow.NewApp()
	s.must(app.Register(pyworkflow.Define("report", report, pyworkflow.Doc("Writes a report; its input says how that goes."))))
	eng, err := engine.New(engine.Config{Store: on.store, Dispatcher: on.transport})
	s.must(err)
	s.Client, err = client.New(client.Config{Store: on.store, Engine: eng, App: app, Queues: on.queues})
	s.must(err)
	local := on.name == "local"
	wk, err := worker.New(worker.Config{App: app, Store: on.store, Engine: eng, Transport: on.transport, Local: local, DrainTimeout: -1, Version: "v1.2.3"})
	s.must(err)
	b, err := beat.New(beat.Config{Store: on.store, Engine: eng, PollInterval: time.Second, Process: &store.Process{Local: local}})
	s.must(err)
	keeper, err := beat.NewKeeper(beat.KeeperConfig{Store: on.store, Engine: eng, Looker: on.transport, SweepAfter: -1})
	s.must(err)
	server, err := web.New(web.Config{Client: s.Client, Doctor: client.DoctorOptions{Carrier: on.carrier}, Namespace: "tests", Runtime: on.name, Version: "v1.2.3",
		Log: slog.New(slog.NewTextHandler(s.Output(), nil))})
	s.must(err)
	l, err := (&net.ListenConfig{}).Listen(s.Context(), "tcp", "127.0.0.1:0")
	s.must(err)
	s.URL = "http://" + l.Addr().String()

	ctx, stop := context.WithCancel(context.Background())
	parts := []func(context.Context) error{wk.Run, b.Run, keeper.Run, func(ctx context.Context) error { return server.Serve(ctx, l) }}
	ended := make(chan error, len(parts))
	for _, run := range parts {
		go func() { ended <- run(ctx) }()
	}
	s.Cleanup(func() {
		stop()
		for range parts {
			if err := <-ended; err != nil {
				s.Errorf("a part of the program: %v", err)
			}
		}
		s.must(on.store.Close())
	})
}

// order is the input of the workflow.
type order struct {
	Takes string `json:"takes"` // how long it runs
	Fail  string `json:"fail"`  // with what it fails
}

func report(ctx context.Context, in order) (string, error) {
	takes := time.Duration(0)
	if in.Takes != "" {
		d, err := schedules.ParseDuration(in.Takes)
		if err != nil {
			return "", err
		}
		takes = time.Duration(d)
	}
	pyworkflow.Logger(ctx).Info("writing the report", "takes", takes.String())
	return pyworkflow.Step(ctx, "write", func(ctx context.Context) (string, error) {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-timer.C:
		}
		if in.Fail != "" {
			return "", pyworkflow.NoRetry(errors.New(in.Fail))
		}
		return "written", nil
	})
}

// create makes a schedule of the workflow with this input.
func (s *site) create(id string, spec schedules.Spec, in order, change ...func(*client.CreateRequest)) {
	s.Helper()
	input, err := json.Marshal(in)
	s.must(err)
	req := client.CreateRequest{ID: id, Workflow: "report", Definition: schedules.Definition{Spec: spec, Input: input}}
	for _, f := range change {
		f(&req)
	}
	_, err = s.CreateSchedule(s.Context(), req)
	s.must(err)
}

// hear notes what a page without fault does not do.
func (s *site) hear(ev any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		s.faults = append(s.faults, "exception: "+fmt.Sprint(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, arg := range e.Args {
				s.faults = append(s.faults, fmt.Sprintf("console: %s %s", arg.Value, arg.Description))
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork { // those of the network are seen below
			s.faults = append(s.faults, "console: "+e.Entry.Text)
		}
	case *network.EventResponseReceived:
		status := e.Response.Status
		if status < 400 {
			return
		}
		if s.expected[status] > 0 {
			s.expected[status]--
			return
		}
		s.faults = append(s.faults, fmt.Sprintf("answer %d: %s", status, e.Response.URL))
	case *network.EventLoadingFailed:
		if !e.Canceled { // a page that is left gives its requests up
			s.faults = append(s.faults, fmt.Sprintf("request failed: %s (%s)", e.ErrorText, e.Type))
		}
	}
}

// taken gives the faults so far, and what was expected and did not come.
func (s *site) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for status, n := range s.expected {
		if n > 0 {
			s.faults = append(s.faults, fmt.Sprintf("%d expected answers of status %d did not come", n, status))
		}
	}
	return s.faults
}

// refused says that the next act is refused with a status.
func (s *site) refused(status int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected[status]++
}

// do carries out steps in the tab.
func (s *site) do(steps ...chromedp.Action[chromedp.Void]) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.tab, patience)
	defer cancel()
	first := s.tab
	if chromedp.FromContext(s.tab).Target != nil {
		first = ctx
	}
	if err := chromedp.Do(first, steps...); err != nil {
		s.Fatalf("%v\n%s", err, s.page())
	}
}

func (s *site) visit(path string) {
	s.Helper()
	s.do(chromedp.Navigate(s.URL + path))
}

// click clicks on what a CSS selector finds.
func (s *site) click(selector string) {
	s.Helper()
	s.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// typeIn replaces what a field holds, key by key.
func (s *site) typeIn(selector, text string) {
	s.Helper()
	s.do(chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.Focus(chromedp.CSS(selector)))
	s.js(`document.querySelector(` + quoted(selector) + `).select()`)
	s.press(kb.Backspace)
	for line := range strings.Lines(text) {
		s.press(line)
	}
}

// choose takes one of a field's options.
func (s *site) choose(selector, value string) {
	s.Helper()
	s.do(chromedp.WaitVisible(chromedp.CSS(selector)))
	s.js(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("change", { bubbles: true })); return true })()`, selector, value))
}

// press sends keys to whatever has the focus.
func (s *site) press(keys ...string) {
	s.Helper()
	for _, k := range keys {
		s.do(chromedp.KeyEvent(k))
	}
}

// js evaluates an expression; "" when the page was being left.
func (s *site) js(expression string) string {
	ctx, cancel := context.WithTimeout(s.tab, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
	if err != nil {
		return ""
	}
	return fmt.Sprint(got)
}

// page is what the tab shows, for messages.
func (s *site) page() string {
	return s.js(`location.href + "\n" + document.body.innerText`)
}

// until waits for a condition on the page.
func (s *site) until(what, expression string) {
	s.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for s.js(expression) != "true" {
		select {
		case <-deadline.C:
			s.Fatalf("%s: not within %s\n%s", what, patience, s.page())
		case <-tick.C:
		}
	}
}

// sees waits until the page shows every text.
func (s *site) sees(texts ...string) {
	s.Helper()
	for _, text := range texts {
		s.until(fmt.Sprintf("the page shows %q", text), fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
	}
}

// at waits until the tab is at a path.
func (s *site) at(path string) {
	s.Helper()
	s.until("the tab is at "+path, fmt.Sprintf(`location.pathname + location.hash === %q && document.readyState === "complete"`, path))
}

// focused waits until what a CSS selector finds has the focus.
func (s *site) focused(selector string) {
	s.Helper()
	s.until("the focus is on "+selector, fmt.Sprintf(`document.activeElement.matches(%q)`, selector))
}

// eventually waits for a condition on the store.
func (s *site) eventually(what string, is func() bool) {
	s.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			s.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// theme lets the page be light or dark, as the system wants it.
func (s *site) theme(scheme string) {
	s.Helper()
	s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// shot keeps a picture of the window.
func (s *site) shot(name string) {
	ctx, cancel := context.WithTimeout(s.tab, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		s.Logf("no picture %s: %v", name, err)
		return
	}
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		folder = s.ArtifactDir()
	}
	s.shots++
	file := filepath.Join(folder, fmt.Sprintf("%s-%02d-%s.png", strings.ReplaceAll(s.Name(), "/", "-"), s.shots, name))
	if err = os.MkdirAll(folder, 0o755); err == nil {
		err = os.WriteFile(file, picture, 0o644)
	}
	if err != nil {
		s.Errorf("keep picture %s: %v", name, err)
	}
}

// fits fails the test if the page is wider than its window.
func (s *site) fits() {
	s.Helper()
	if wide := s.js(`document.documentElement.scrollWidth > document.documentElement.clientWidth`); wide != "false" {
		s.Errorf("%s is wider than the window: %s", s.js(`location.pathname`), s.js(`document.documentElement.scrollWidth`))
	}
}

// quoted is a text as a literal of the script.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return `""` // not reached: a text always encodes
	}
	return string(b)
}
