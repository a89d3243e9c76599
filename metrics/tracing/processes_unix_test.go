//go:build unix

package tracing_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/metrics/tracing"
)

// receiver takes spans over OTLP/HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string]received // by span id
	twice []string
	news  chan struct{}
}

type received struct {
	*otlp.Span
	service, process string // of the resource, and which process it is
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{spans: map[string]received{}, news: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var msg coltrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &msg)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
			t.Errorf("export to %s: %v", req.URL.Path, err)
			return
		}
		r.take(&msg)
		w.Header().Set("Content-Type", "application/x-protobuf")
		answer, _ := proto.Marshal(&coltrace.ExportTraceServiceResponse{})
		_, _ = w.Write(answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take(msg *coltrace.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range msg.ResourceSpans {
		var from received
		for _, a := range rs.Resource.Attributes {
			switch a.Key {
			case "service.name":
				from.service = a.Value.GetStringValue()
			case "process":
				from.process = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				id := hex.EncodeToString(s.SpanId)
				if _, known := r.spans[id]; known {
					r.twice = append(r.twice, s.Name)
				}
				r.spans[id] = received{s, from.service, from.process}
			}
		}
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// await waits until a trace has all of what is wanted, and gives its spans as a tree, a line each.
func (r *receiver) await(t *testing.T, enough func(all []received) bool) []received {
	t.Helper()
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	for {
		r.mu.Lock()
		var all []received
		for _, s := range r.spans {
			all = append(all, s)
		}
		twice := r.twice
		r.mu.Unlock()
		if len(twice) > 0 {
			t.Fatalf("spans came twice: %v", twice)
		}
		if enough(all) {
			return all
		}
		select {
		case <-r.news:
		case <-limit.C:
			t.Fatalf("not in time; spans so far:\n%s", tree(all))
		}
	}
}

// attr gives an attribute as text.
func (s received) attr(key string) string {
	for _, a := range s.Attributes {
		if a.Key == "pyworkflow."+key {
			if a.Value.GetStringValue() != "" {
				return a.Value.GetStringValue()
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

// tree writes spans as "process: grandparent/parent/name", sorted by start.
func tree(all []received) string {
	at := map[string]received{}
	for _, s := range all {
		at[hex.EncodeToString(s.SpanId)] = s
	}
	var path func(s received) string
	path = func(s received) string {
		label := s.Name
		if n := s.attr("attempt"); n != "" && s.Name == "attempt" {
			label += n + "." + s.attr("dispatch") + "(" + s.attr("outcome") + ")"
		}
		if len(s.ParentSpanId) == 0 {
			return label
		}
		parent, ok := at[hex.EncodeToString(s.ParentSpanId)]
		if !ok {
			return "?/" + label
		}
		return path(parent) + "/" + label
	}
	lines := map[string]int{}
	for _, s := range all {
		lines[s.process+": "+path(s)]++
	}
	var out []string
	for l, n := range lines {
		out = append(out, fmt.Sprintf("%d × %s", n, l))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// process is one of the program's.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  *locked
}

type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// world is a Redis, a namespace and a receiver.
type world struct {
	t     *testing.T
	url   string
	ns    string
	spans *receiver
}

func (w *world) command(name string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = w.t.TempDir()
	cmd.Env = append(os.Environ(), append([]string{programEnv + "=1", "PYWORKFLOW_REDIS_URL=" + w.url, "PYWORKFLOW_NAMESPACE=" + w.ns, "PYWORKFLOW_LOG_FORMAT=json",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + w.spans.URL, "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_RESOURCE_ATTRIBUTES=process=" + name}, env...)...)
	return cmd
}

func (w *world) start(name string, env []string, args ...string) *process {
	w.t.Helper()
	p := &process{cmd: w.command(name, env, args...), done: make(chan struct{}), out: &locked{}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	w.t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", name, p.out)
		}
	})
	return p
}

func (p *process) end(sig os.Signal) {
	_ = p.cmd.Process.Signal(sig)
	<-p.done
}

func newWorld(t *testing.T) *world {
	return &world{t: t, url: redistest.Shared(t).URL(), ns: redistest.Namespace(t), spans: newReceiver(t)}
}

// ended reports whether a root span of the workflow came; gives the spans of its trace.
func ended(all []received, workflow string) ([]received, bool) {
	for _, root := range all {
		if root.Name == "run "+workflow {
			var trace []received
			for _, s := range all {
				if string(s.TraceId) == string(root.TraceId) {
					trace = append(trace, s)
				}
			}
			return trace, true
		}
	}
	return nil, false
}

func TestOneTraceFromTheTickToTheEnd(t *testing.T) {
	w := newWorld(t)
	worker := w.start("worker", nil, "worker", "run")
	w.start("beat", nil, "scheduler", "run", "--runtime", "asynq")
	const want = `1 × beat: run retries/dispatch
1 × beat: run retries/tick
1 × worker: run retries
1 × worker: run retries/attempt1.1(failed)
1 × worker: run retries/attempt1.1(failed)/beside
1 × worker: run retries/attempt2.2(completed)
1 × worker: run retries/attempt2.2(completed)/beside
1 × worker: run retries/attempt2.2(completed)/step fetch
1 × worker: run retries/attempt2.2(completed)/step fetch/inside
2 × worker: run retries/claim
2 × worker: run retries/queue`
	var got string
	trace := w.spans.await(t, func(all []received) bool {
		trace, over := ended(all, "retries")
		got = anyKeeper(tree(trace))
		return over && (got == want || len(trace) > 16)
	})
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	trace, _ = ended(trace, "retries")
	run := ""
	for _, s := range trace {
		if s.service != "pyworkflow" {
			t.Errorf("service %q", s.service)
		}
		if s.Name == "run retries" {
			if run = s.attr("run_id"); hex.EncodeToString(s.TraceId) != tracing.TraceID(run).String() || s.attr("status") != "completed" || s.attr("schedule_id") != "auto_retries" {
				t.Errorf("root %v", s.Attributes)
			}
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s ends before it begins", s.Name)
		}
	}
	// The run's own line in the process's log names the trace, and goes to the run's events.
	line := ""
	for l := range strings.Lines(worker.out.String()) {
		if strings.Contains(l, "on its way") {
			line = l
		}
	}
	for _, part := range []string{`"trace_id":"` + tracing.TraceID(run).String() + `"`, `"run_id":"` + run + `"`, `"schedule_id":"auto_retries"`, `"attempt":2`} {
		if !strings.Contains(line, part) {
			t.Errorf("line %s lacks %s", line, part)
		}
	}
	out, err := w.command("asks", nil, "runs", "logs", run).CombinedOutput()
	if err != nil || strings.Count(string(out), "on its way") != 2 {
		t.Errorf("runs logs: %v\n%s", err, out)
	}
}

// anyKeeper leaves out what either process's keeper may have done: sending the retry.
func anyKeeper(tree string) string {
	const dispatch = ": run retries/dispatch"
	lines := slices.DeleteFunc(strings.Split(tree, "\n"), func(l string) bool { return l == "1 × worker"+dispatch })
	if i := slices.Index(lines, "2 × beat"+dispatch); i >= 0 {
		lines[i] = "1 × beat" + dispatch
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestATraceOutlivesItsWorker(t *testing.T) {
	w := newWorld(t)
	first := w.start("first", []string{hangEnv + "=1"}, "worker", "run")
	start := w.command("caller", []string{"TRACEPARENT=00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}, "workflows", "run", "dies", "--runtime", "asynq", "--output", "plain")
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("start: %v\n%s", err, out)
	}
	w.spans.await(t, func(all []received) bool { return strings.Contains(tree(all), "step first") })
	first.end(syscall.SIGKILL)
	w.start("second", nil, "worker", "run")
	const want = `1 × caller: run dies/dispatch
1 × caller: run dies/start
1 × first: run dies/attempt1.1(lost)/step first
1 × first: run dies/claim
1 × first: run dies/queue
1 × second: run dies
1 × second: run dies/attempt1.1(lost)
1 × second: run dies/attempt1.2(completed)
1 × second: run dies/claim
1 × second: run dies/dispatch
1 × second: run dies/queue
1 × second: run dies/recovery`
	var got string
	all := w.spans.await(t, func(all []received) bool {
		trace, over := ended(all, "dies")
		got = tree(trace)
		return over && (got == want || len(trace) > 12)
	})
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, s := range all {
		if s.Name == "start" && (len(s.Links) != 1 || hex.EncodeToString(s.Links[0].TraceId) != "0123456789abcdef0123456789abcdef") {
			t.Errorf("the start links to %v", s.Links)
		}
	}
}

func TestTheAPILinksToItsCaller(t *testing.T) {
	w := newWorld(t)
	if out, err := w.command("setup", nil, "schedules", "activate", "--runtime", "asynq").CombinedOutput(); err != nil {
		t.Fatalf("activate: %v\n%s", err, out)
	}
	page := w.start("page", nil, "dashboard", "--runtime", "asynq", "--listen", "127.0.0.1:0")
	var address string
	said := regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+/`)
	eventually(t, "the dashboard says where it is", func() bool {
		address = said.FindString(page.out.String())
		return address != ""
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"api/v1/schedules/auto_retries/trigger", strings.NewReader(`{"overlap_policy": "allow_all"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		t.Fatalf("trigger: %s", res.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	w.spans.await(t, func(all []received) bool {
		for _, s := range all {
			if s.Name == "trigger" && s.process == "page" && len(s.Links) == 1 && hex.EncodeToString(s.Links[0].SpanId) == "0123456789abcdef" {
				return true
			}
		}
		return false
	})
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(limit) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}
