package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hidden     = "hunter2-s3cret"
)

// delivery is one request that a receiver has had.
type delivery struct {
	header http.Header
	body   string
	at     time.Time
}

func (d delivery) message(t *testing.T) Message {
	t.Helper()
	var m Message
	if err := json.Unmarshal([]byte(d.body), &m); err != nil {
		t.Fatalf("%v: %s", err, d.body)
	}
	return m
}

// receiver is a webhook. answer says what it does with its nth request, from 1; nil: 200.
type receiver struct {
	answer func(n int, w http.ResponseWriter, r *http.Request)

	mu  sync.Mutex
	got []delivery
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // who sent it has hung up
	}
	r.mu.Lock()
	r.got = append(r.got, delivery{req.Header.Clone(), string(body), time.Now()})
	n := len(r.got)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, w, req)
	}
}

func (r *receiver) all() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// listen serves on a real socket.
func (r *receiver) listen(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return server
}

// pipes is a network in memory, which lets a bubble's clock go on.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error {
	close(p.conns)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// serve serves in memory, until the test's end.
func (r *receiver) serve(t *testing.T) pipes {
	t.Helper()
	p := pipes{make(chan net.Conn, 100)}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Hour}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(p) // ends with the listener
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return p
}

// log is what a Sender logs, all of it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *log) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// quick bounds delivery for tests in real time.
func quick() limits {
	return limits{attempt: 5 * time.Second, waitMin: time.Millisecond, waitMax: 4 * time.Millisecond, retries: 3, drain: 5 * time.Second, queue: 100}
}

// start runs a Sender; stop ends it and waits.
func start(t *testing.T, cfg Config, l limits, dial func(context.Context, string, string) (net.Conn, error)) (s *Sender, stop func()) {
	t.Helper()
	s, err := newSender(cfg, l, dial)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return s, stop
}

func secrets(t *testing.T, text string) []Secret {
	t.Helper()
	out, err := ParseSecrets(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verified checks a request as a receiver would, by the rules of Standard Webhooks alone.
func verified(d delivery, secret string, now time.Time) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	seconds, err := strconv.ParseInt(d.header.Get("webhook-timestamp"), 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(d.header.Get("webhook-id") + "." + d.header.Get("webhook-timestamp") + "." + d.body))
	for part := range strings.FieldsSeq(d.header.Get("webhook-signature")) {
		if sum, ok := strings.CutPrefix(part, "v1,"); ok {
			if got, err := base64.StdEncoding.DecodeString(sum); err == nil && hmac.Equal(got, mac.Sum(nil)) {
				return true
			}
		}
	}
	return false
}

var at = time.Date(2026, 11, 22, 9, 0, 0, 250e6, time.UTC)

// failure is the end of a failed run of a schedule.
func failure(schedule, id, message string) schedules.RunChange {
	r := schedules.Run{ID: id, ScheduleID: schedule, Incarnation: "1", Workflow: "report", Nominal: at.Add(-time.Minute), Input: []byte(`"` + hidden + `"`)}
	if schedule == "" {
		r.Incarnation, r.Nominal = "", time.Time{}
	}
	r.Status, r.Attempt, r.EndedAt, r.Result = schedules.RunFailed, 3, at, []byte(`"`+hidden+`"`)
	r.Error = &schedules.RunError{Kind: schedules.ErrorFailed, Message: message, Stack: hidden}
	return schedules.RunChange{Now: at, Run: r}
}

// missing is a change in which ticks of a schedule were missed.
func missing(schedule string, first time.Time, n int) schedules.Change {
	c := schedules.Change{Now: at}
	c.Schedule.ID, c.Schedule.Incarnation, c.Schedule.Workflow = schedule, "1", "report"
	for i := range n {
		c.Fates = append(c.Fates, schedules.Fate{Tick: schedules.Tick{Trigger: schedules.TriggerSchedule, Nominal: first.Add(time.Duration(i) * time.Second)},
			Fate: schedules.FateMissed, Reason: schedules.ReasonCatchup})
	}
	return c
}
