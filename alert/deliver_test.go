package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A failed run is posted once, signed, with all that is documented and nothing of its input, result or stack.
func TestFailedRun(t *testing.T) {
	var hook receiver
	server := hook.listen(t)
	s, stop := start(t, Config{URLs: []string{server.URL + "/hooks/1", server.URL + "/hooks/1"}, Secrets: secrets(t, testSecret), Namespace: "prod", Link: "https://jobs.example.com/x/"}, quick(), nil)
	s.RunChanged(failure("nightly", "run_1", "no room: \"disk\" <full>"))
	ended := failure("nightly", "run_2", "")
	ended.Run.Status = "completed"
	s.RunChanged(ended)
	stop()
	got := hook.all()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(got[0].body), &fields); err != nil {
		t.Fatal(err)
	}
	id := got[0].header.Get("webhook-id")
	want := map[string]any{
		"id": id, "kind": "failed", "at": "2026-11-22T09:00:00.25Z", "since": "2026-11-22T09:00:00.25Z", "count": 1.0, "namespace": "prod", "schedule_id": "nightly",
		"schedule_ids": []any{"nightly"}, "workflow": "report", "run_id": "run_1", "nominal_time": "2026-11-22T08:59:00.25Z", "reason": "error",
		"message": "no room: \"disk\" <full>", "summary": `run run_1 of schedule nightly failed after 3 attempts: no room: "disk" <full>`, "link": "https://jobs.example.com/x/runs/run_1",
	}
	if fmt.Sprint(fields) != fmt.Sprint(want) {
		t.Errorf("posted\n%v, want\n%v", fields, want)
	}
	if !strings.HasPrefix(id, "alert_") || got[0].header.Get("Content-Type") != "application/json" || strings.Contains(got[0].body, hidden) {
		t.Errorf("posted %v %s", got[0].header, got[0].body)
	}
	if !verified(got[0], testSecret, time.Now()) || verified(got[0], "whsec_"+strings.Repeat("AAAA", 8), time.Now()) {
		t.Errorf("signature %q", got[0].header.Get("webhook-signature"))
	}
	if st := s.Stats(); st != (Stats{Sent: 1}) {
		t.Errorf("stats %+v", st)
	}
}

// The id depends on the fact alone, whichever process sends it.
func TestIDOfAFact(t *testing.T) {
	ids := map[string]int{}
	for _, namespace := range []string{"a", "a", "b"} {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{hook.listen(t).URL}, Namespace: namespace}, quick(), nil)
		s.RunChanged(failure("one", "run_1", "x"))
		s.RunChanged(failure("", "run_2", "x"))
		s.Decided(missing("one", at, 1))
		stop()
		for _, d := range hook.all() {
			ids[d.message(t).ID]++
		}
	}
	twice := 0
	for _, n := range ids {
		if n == 2 {
			twice++
		}
	}
	if len(ids) != 6 || twice != 3 {
		t.Errorf("ids %v", ids)
	}
}

// A receiver that fails is tried again, with the same id and a signature of the moment; one that refuses is not.
func TestAgain(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   func(n int, w http.ResponseWriter, r *http.Request)
		requests int
		want     Stats
		log      string
	}{
		{"500, then 200", func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}, 2, Stats{Sent: 1}, "attempts=2"},
		{"cut off, then 204", func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusNoContent)
		}, 2, Stats{Sent: 1}, "attempts=2"},
		{"always 503", func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, 4, Stats{Failed: 1}, "answers 503 Service Unavailable"},
		{"429, then 200", func(n int, w http.ResponseWriter, _ *http.Request) {
			if n < 3 {
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}, 3, Stats{Sent: 1}, "attempts=3"},
		{"404", func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, 1, Stats{Failed: 1}, "answers 404 Not Found"},
		{"410 with a long answer that shows the address", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, strings.Repeat(r.URL.String(), 100_000))
		}, 1, Stats{Failed: 1}, "answers 410 Gone"},
		{"a redirect that is nonsense", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "::"+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 4, Stats{Failed: 1}, "failed to parse Location header"},
		{"a redirect to itself", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.String())
			w.WriteHeader(http.StatusPermanentRedirect)
		}, 1, Stats{Failed: 1}, "redirects are not followed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hook := receiver{answer: c.answer}
			var log log
			s, stop := start(t, Config{URLs: []string{hook.listen(t).URL + "/" + hidden + "?token=" + hidden}, Secrets: secrets(t, testSecret), Log: log.logger()}, quick(), nil)
			s.RunChanged(failure("nightly", "run_1", "boom"))
			stop()
			got := hook.all()
			if len(got) != c.requests || s.Stats() != c.want || !strings.Contains(log.String(), c.log) {
				t.Errorf("%d requests, %+v:\n%s", len(got), s.Stats(), log.String())
			}
			for _, d := range got {
				if !verified(d, testSecret, time.Now()) || d.header.Get("webhook-id") != got[0].header.Get("webhook-id") || d.body != got[0].body {
					t.Errorf("request %v %s", d.header, d.body)
				}
			}
			if strings.Contains(log.String(), hidden) {
				t.Errorf("the address is in the log:\n%s", log.String())
			}
		})
	}
}

// What is posted goes to the receiver that was named and nowhere else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var other receiver
	elsewhere := other.listen(t).URL
	for _, status := range []int{301, 302, 303, 307, 308} {
		hook := receiver{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere)
			w.WriteHeader(status)
		}}
		s, stop := start(t, Config{URLs: []string{hook.listen(t).URL}}, quick(), nil)
		s.RunChanged(failure("nightly", "run_1", "boom"))
		stop()
		if len(hook.all()) != 1 || s.Stats() != (Stats{Failed: 1}) {
			t.Errorf("%d: %d requests, %+v", status, len(hook.all()), s.Stats())
		}
	}
	if n := len(other.all()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// A receiver that takes a message and never answers holds up neither the engine nor other receivers, and the end of the process only for a bound. What finds no room
// is counted and logged.
func TestHangingReceiver(t *testing.T) {
	release := make(chan struct{})
	hung := receiver{answer: func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}}
	var good receiver
	l := quick()
	l.attempt, l.drain, l.queue = 100*time.Millisecond, 300*time.Millisecond, 3
	l.waitMin, l.waitMax = time.Hour, time.Hour
	var log log
	hungURL := hung.listen(t).URL
	t.Cleanup(func() { close(release) }) // before the server closes
	s, stop := start(t, Config{URLs: []string{hungURL + "/" + hidden, good.listen(t).URL}, Log: log.logger()}, l, nil)
	for i := range 10 {
		began := time.Now()
		s.RunChanged(failure(fmt.Sprint("s", i), fmt.Sprint("run_", i), "boom"))
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("the engine waited %s", took)
		}
		for len(good.all()) <= i { // the other receiver has it at once
			if time.Since(began) > 10*time.Second {
				t.Fatal("the other receiver waits")
			}
			<-time.After(time.Millisecond)
		}
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the end took %s", took)
	}
	if st := s.Stats(); st.Sent != 10 || st.Dropped != 10 || st.Failed != 0 || st.Waiting != 0 {
		t.Errorf("stats %+v", st)
	}
	for _, want := range []string{"alerts were dropped", "alerts were not delivered before the end of the process\" count=4"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), hidden) {
		t.Errorf("the address is in the log:\n%s", log.String())
	}
}

// Nobody listens, the name is unknown, the certificate is nobody's: the log says why and shows no address.
func TestUnreachable(t *testing.T) {
	var hook receiver
	closed := hook.listen(t)
	closed.Close()
	for _, c := range []struct{ url, want string }{
		{closed.URL, "connection refused"},
		{"http://no-such-host.invalid", "no such host"},
		{"https" + strings.TrimPrefix(hook.listen(t).URL, "http"), "HTTP response to HTTPS client"},
	} {
		var log log
		secure := strings.Replace(c.url, "://", "://me:"+hidden+"@", 1) + "/" + hidden + "?t=" + hidden
		s, stop := start(t, Config{URLs: []string{secure}, Log: log.logger()}, quick(), nil)
		s.RunChanged(failure("nightly", "run_1", "boom"))
		stop()
		if st := s.Stats(); st != (Stats{Failed: 1}) || !strings.Contains(log.String(), c.want) || !strings.Contains(log.String(), "/***") || strings.Contains(log.String(), hidden) {
			t.Errorf("%+v, want %q:\n%s", st, c.want, log.String())
		}
	}
}

// Attempts go on for some minutes, with longer and longer pauses; a receiver may ask for a longer pause, but for no more than a minute.
func TestPauses(t *testing.T) {
	for _, c := range []struct {
		name, after string
		last        time.Duration // of the last attempt, at least and at most
		most        time.Duration
	}{
		{"doubled", "", 2 * time.Minute, 6 * time.Minute},
		{"asked for", "30", 5 * time.Minute, 8 * time.Minute},
		{"asked for too much", "100000000", 9 * time.Minute, 10*time.Minute + time.Second},
		{"asked for in nonsense", "-1e99", 2 * time.Minute, 6 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook := receiver{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
					if c.after != "" {
						w.Header().Set("Retry-After", c.after)
					}
					w.WriteHeader(http.StatusServiceUnavailable)
				}}
				s, stop := start(t, Config{URLs: []string{"http://hook.test"}, Secrets: secrets(t, testSecret)}, defaultLimits(), hook.serve(t).dial)
				began := time.Now()
				s.RunChanged(failure("nightly", "run_1", "boom"))
				<-time.After(time.Hour)
				got := hook.all()
				if len(got) != 11 || s.Stats() != (Stats{Failed: 1}) {
					t.Fatalf("%d requests, %+v", len(got), s.Stats())
				}
				for i, d := range got {
					if !verified(d, testSecret, d.at) || i > 0 && d.at.Sub(got[i-1].at) > time.Minute {
						t.Errorf("attempt %d after %s, signed at %s", i, d.at.Sub(began), d.header.Get("webhook-timestamp"))
					}
				}
				if last := got[10].at.Sub(began); last < c.last || last > c.most {
					t.Errorf("the last attempt is %s after the first", last)
				}
				stop()
			})
		})
	}
}

// When Run ends what is gathered goes out, and what cannot within the bound is dropped.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook receiver
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}}, defaultLimits(), hook.serve(t).dial)
		for i := range 5 {
			s.RunChanged(failure("nightly", fmt.Sprint("run_", i), "boom"))
		}
		synctest.Wait()
		if n := len(hook.all()); n != 1 {
			t.Errorf("%d messages at once", n)
		}
		began := time.Now()
		stop()
		got := hook.all()
		if len(got) != 2 || got[1].message(t).Count != 4 || got[1].message(t).RunID != "run_4" || time.Since(began) > time.Second {
			t.Errorf("after %s: %+v", time.Since(began), got)
		}
		if err := s.Run(cancelled()); err != nil { // once more, and at once over
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		hook := receiver{answer: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}
		s, stop := start(t, Config{URLs: []string{"http://hook.test"}}, defaultLimits(), hook.serve(t).dial)
		s.RunChanged(failure("nightly", "run_1", "boom"))
		synctest.Wait()
		if err := s.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Run: %v", err)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took != 5*time.Second || s.Stats() != (Stats{Dropped: 1}) {
			t.Errorf("the end took %s: %+v", took, s.Stats())
		}
	})
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
