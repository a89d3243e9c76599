package schedules

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// claimed is the run as a worker's claim leaves it.
func claimed(r Run, now time.Time) Run {
	r.Status, r.Worker, r.Token, r.Lease, r.Due = RunRunning, "host-1", "t", now.Add(Lease), time.Time{}
	r.Revision++
	return r
}

var failed = Outcome{Kind: OutcomeFailed, Error: &RunError{Kind: ErrorFailed, Message: "boom"}}

// script plays what happens to a run, one word at a time, each a second after the one before, and says how the run stands after it.
func script(t *testing.T, opts *RunOptions, words string) (Run, string) {
	t.Helper()
	now := midnight
	r := NewRun("run_1", "w", "", nil, opts, now)
	trail := []string{}
	for word := range strings.FieldsSeq(words) {
		now = now.Add(time.Second)
		c, ok := RunChange{}, true
		switch word {
		case "claim":
			if r.Status != RunPending || !r.CancelAt.IsZero() {
				t.Fatalf("claim of a %s run", r.Status)
			}
			r = claimed(r, now)
			continue
		case "asked": // by a decision of its schedule: the store writes only the request
			r.CancelAt, r.CancelDeadline, r.Due = now, now.Add(30*time.Second), now
			if r.Status == RunRunning {
				r.Due = r.CancelDeadline
			}
			r.Revision++
			continue
		case "fails":
			c = EndAttempt(r, failed, RunOptions{}, now, 0)
		case "fatal":
			o := failed
			o.NoRetry = true
			c = EndAttempt(r, o, RunOptions{}, now, 0)
		case "later":
			o := failed
			o.RetryAfter = time.Hour
			c = EndAttempt(r, o, RunOptions{}, now, 0)
		case "completes":
			c = EndAttempt(r, Outcome{Kind: OutcomeCompleted, Result: json.RawMessage(`1`)}, RunOptions{}, now, 0)
		case "handback":
			c = EndAttempt(r, Outcome{Kind: OutcomeHandedBack}, RunOptions{}, now, 0)
		case "lost":
			c = LoseRun(r, now)
		case "return":
			c = ReturnRun(r, "host-2", false, now)
		case "cancel":
			c, ok = RequestCancel(r, "", 0, now)
		case "due", "gone", "due-renewed":
			if r.Due.After(now) {
				now = r.Due
			}
			if word == "due-renewed" { // by heartbeats until now
				r.Lease = now.Add(Lease)
			}
			c, ok = RunDue(r, word == "gone", now)
		default:
			t.Fatalf("no word %q", word)
		}
		if !ok {
			trail = append(trail, word+":-")
			continue
		}
		if c.Expect != r.Revision || c.Run.Revision != r.Revision+1 {
			t.Fatalf("%s: revision %d after %d", word, c.Run.Revision, r.Revision)
		}
		if c.Send != (c.Run.Sent && c.Run.Status == RunPending && (c.Run.Dispatch != r.Dispatch || !r.Sent)) {
			t.Errorf("%s: sent %v, %+v", word, c.Send, c.Run.RunProgress)
		}
		r = c.Run
		if !r.Status.Ended() && r.Status != RunRunning && !r.Due.After(now) {
			t.Errorf("%s: a %s run has no timer ahead", word, r.Status)
		}
		if r.Status.Ended() && (!r.Due.IsZero() || !r.Lease.IsZero() || !r.EndedAt.Equal(now)) {
			t.Errorf("%s: ended, yet %+v", word, r.RunProgress)
		}
		trail = append(trail, word+":"+string(r.Status))
	}
	return r, strings.Join(trail, " ")
}

func TestRunStates(t *testing.T) {
	retries := &RunOptions{MaxRetries: 2, MaxRecoveries: 2}
	for _, tt := range []struct {
		words, trail                            string
		attempt, dispatch, recoveries, returned int
	}{
		{"claim completes", "completes:completed", 1, 1, 0, 0},
		{"claim fails due claim fails due claim fails", "fails:retrying due:pending fails:retrying due:pending fails:failed", 3, 3, 0, 0},
		{"claim fatal", "fatal:failed", 1, 1, 0, 0},
		{"claim later", "later:retrying", 2, 2, 0, 0},
		{"claim fails cancel", "fails:retrying cancel:cancelled", 2, 2, 0, 0},
		{"cancel cancel due", "cancel:cancelled cancel:- due:-", 1, 1, 0, 0},
		{"claim cancel completes", "cancel:running completes:completed", 1, 1, 0, 0},
		{"claim cancel fails", "cancel:running fails:cancelled", 1, 1, 0, 0},
		{"claim cancel handback", "cancel:running handback:cancelled", 1, 1, 0, 0},
		{"claim cancel lost", "cancel:running lost:cancelled", 1, 1, 0, 0},
		{"claim cancel cancel due-renewed", "cancel:running cancel:- due-renewed:cancelled", 1, 1, 0, 0},
		{"claim cancel due due-renewed", "cancel:running due:running due-renewed:cancelled", 1, 1, 0, 0},
		{"asked due", "due:cancelled", 1, 1, 0, 0},
		{"asked return", "return:cancelled", 1, 1, 0, 0},
		{"claim asked due-renewed", "due-renewed:cancelled", 1, 1, 0, 0},
		{"claim fails asked due", "fails:retrying due:cancelled", 2, 2, 0, 0},
		{"claim handback claim handback claim completes", "handback:pending handback:pending completes:completed", 1, 3, 0, 0},
		{"claim lost claim fails due claim lost claim handback claim lost", "lost:pending fails:retrying due:pending lost:pending handback:pending lost:failed", 2, 5, 2, 0},
		{"return due return due", "return:pending due:pending return:pending due:pending", 1, 3, 0, 2},
		{"return due claim handback return", "return:pending due:pending handback:pending return:pending", 1, 4, 0, 1},
		{"due due gone", "due:pending due:pending gone:pending", 1, 2, 0, 0},
		{"claim fails gone", "fails:retrying gone:pending", 2, 2, 0, 0},
	} {
		t.Run(tt.words, func(t *testing.T) {
			r, trail := script(t, retries, tt.words)
			if trail != tt.trail {
				t.Errorf("got  %s\nwant %s", trail, tt.trail)
			}
			if r.Attempt != tt.attempt || r.Dispatch != tt.dispatch || r.Recoveries != tt.recoveries || r.Returns != tt.returned {
				t.Errorf("attempt %d, dispatch %d, %d recoveries, %d returns", r.Attempt, r.Dispatch, r.Recoveries, r.Returns)
			}
		})
	}
}

func TestRunErrors(t *testing.T) {
	one := &RunOptions{MaxRecoveries: 1}
	for words, kind := range map[string]string{
		"claim fails": ErrorFailed, "cancel": ErrorCancelled, "claim lost claim lost": ErrorWorkerLost, "claim cancel fails": ErrorCancelled,
	} {
		r, _ := script(t, one, words)
		if r.Error == nil || r.Error.Kind != kind || r.Error.Message == "" {
			t.Errorf("%s: %+v", words, r.Error)
		}
	}
	if r, _ := script(t, &RunOptions{MaxRetries: 1}, "claim fails due claim completes"); r.Error != nil || string(r.Result) != "1" {
		t.Errorf("completed after a retry: %+v, %s", r.Error, r.Result)
	}
	if r, _ := script(t, nil, "claim lost claim lost claim lost claim lost"); r.Status != RunFailed || r.Recoveries != DefaultMaxRecoveries {
		t.Errorf("without options: %s after %d recoveries", r.Status, r.Recoveries)
	}
}

func TestReturnsBackOff(t *testing.T) {
	r := NewRun("run_1", "w", "", nil, nil, midnight)
	const elsewhere = true
	for i, tt := range []struct {
		elsewhere bool
		want      int // seconds
	}{
		{want: 1}, {want: 2}, {want: 4}, {want: 8}, {want: 16}, {want: 30}, {want: 30},
		{elsewhere, 1}, {elsewhere, 1}, {elsewhere, 1}, {want: 2}, {want: 4},
	} {
		c := ReturnRun(r, "host", tt.elsewhere, midnight)
		if got := c.Run.Due.Sub(midnight); got != time.Duration(tt.want)*time.Second || c.Send || c.Run.Sent {
			t.Errorf("return %d: due after %s, want %d s", i+1, got, tt.want)
		}
		r = c.Run
	}
}

func TestBackoff(t *testing.T) {
	second := Duration(time.Second)
	for _, tt := range []struct {
		b       Backoff
		attempt int
		jitter  float64
		want    time.Duration
	}{
		{Backoff{}, 5, 0.9, time.Second},
		{Backoff{Initial: 2 * second, Factor: 2}, 1, 0, 2 * time.Second},
		{Backoff{Initial: 2 * second, Factor: 2}, 4, 0, 16 * time.Second},
		{Backoff{Initial: 2 * second, Factor: 2, Max: 10 * second}, 4, 0, 10 * time.Second},
		{Backoff{Initial: second, Factor: 10}, 1000, 0, time.Hour},
		{Backoff{Initial: second, Jitter: 0.5}, 1, 0.5, 1250 * time.Millisecond},
	} {
		if got := tt.b.Wait(tt.attempt, tt.jitter); got != tt.want {
			t.Errorf("%+v after attempt %d: %s, should be %s", tt.b, tt.attempt, got, tt.want)
		}
	}
}

func TestNeedsLook(t *testing.T) {
	for words, want := range map[string]bool{
		"due": true, "claim": false, "claim fails": false, "claim handback": true, "return": false, "return due": true, "asked": false, "cancel": false,
	} {
		if r, _ := script(t, &RunOptions{MaxRetries: 1}, words); r.NeedsLook() != want {
			t.Errorf("%s: %v", words, !want)
		}
	}
}

// A pending run is looked for the less often the longer it waits.
func TestLooksGetRarer(t *testing.T) {
	r := NewRun("run_1", "w", "", nil, nil, midnight)
	looks, last := 0, r.Due.Sub(midnight)
	for r.Due.Sub(midnight) < 24*time.Hour {
		c, ok := RunDue(r, false, r.Due)
		gap := c.Run.Due.Sub(r.Due)
		if !ok || gap < last && gap < 5*time.Minute || gap > 5*time.Minute {
			t.Fatalf("looks again %s after %s", gap, last)
		}
		r, last = c.Run, gap
		looks++
	}
	if looks > 330 {
		t.Errorf("%d looks in a day", looks)
	}
}

func TestCancelOfARunWhoseLeaseIsOut(t *testing.T) {
	r := claimed(NewRun("run_1", "w", "", nil, nil, midnight), midnight)
	late := midnight.Add(time.Hour) // the store's clock has stepped, or the worker is gone: one look does not tell
	c, ok := RequestCancel(r, "why", Duration(time.Minute), late)
	if !ok || c.Run.Status != RunRunning || !c.Run.Due.Equal(late.Add(time.Minute)) {
		t.Errorf("asked: %+v", c.Run.RunProgress)
	}
	over := c.Run.CancelDeadline.Add(time.Hour)
	waits, ok := RunDue(c.Run, false, over)
	if !ok || waits.Run.Status != RunRunning || !waits.Run.Due.After(over) {
		t.Errorf("the grace is over, and the worker may not have heard of the request: %+v", waits.Run.RunProgress)
	}
	heard := waits.Run
	heard.Lease = waits.Run.Due.Add(Lease)
	if end, ok := RunDue(heard, false, waits.Run.Due); !ok || end.Run.Status != RunCancelled || end.Run.Error.Message != "cancelled: why" {
		t.Errorf("the grace is over, and the worker has renewed its lease since: %+v", end.Run.RunProgress)
	}
	if end := LoseRun(waits.Run, over); end.Run.Status != RunCancelled {
		t.Errorf("lost: %+v", end.Run.RunProgress)
	}
}

// A run that was claimed and handed back before its code was called has not started, unless it had before.
func TestHandedBackUnbegun(t *testing.T) {
	for _, c := range []struct {
		before  time.Duration // how long before this claim the run was claimed first
		started bool
	}{{0, false}, {time.Minute, true}} {
		now := midnight.Add(time.Second)
		r := Run{ID: "run_1", RunProgress: RunProgress{Status: RunRunning, Dispatch: 1, Attempt: 1, StartedAt: midnight.Add(-c.before), Lease: midnight.Add(Lease)}}
		got := EndAttempt(r, Outcome{Kind: OutcomeHandedBack, Unbegun: FirstClaim(r)}, RunOptions{}, now, 0).Run
		if got.Status != RunPending || got.StartedAt.IsZero() == c.started {
			t.Errorf("first claimed %s before: %s, started at %v", c.before, got.Status, got.StartedAt)
		}
	}
}
