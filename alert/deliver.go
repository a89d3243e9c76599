package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// target is where messages go.
type target struct {
	url    *url.URL
	name   string // masked
	format Format
	queue  chan Message
}

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 4096

// newHTTP makes the client of all targets. It follows no redirects: what is posted is for the receiver that was named.
func newHTTP(attempt time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: attempt / 2, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Client{
		Timeout:       attempt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true, TLSHandshakeTimeout: attempt / 2,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableCompression: true,
			MaxResponseHeaderBytes: 1 << 16, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
	}
}

// deliver posts what its queue holds, one after the other, until quit is closed and the queue is empty. When ctx has ended, what is left is dropped.
func (s *Sender) deliver(ctx context.Context, t *target, quit <-chan struct{}) {
	for {
		select {
		case m := <-t.queue:
			s.send(ctx, t, m)
			continue
		default:
		}
		select {
		case m := <-t.queue:
			s.send(ctx, t, m)
		case <-quit:
			if len(t.queue) == 0 {
				return
			}
		}
	}
}

// send posts one message and counts what became of it.
func (s *Sender) send(ctx context.Context, t *target, m Message) {
	began := time.Now()
	attempts, err := s.post(ctx, t, m)
	log := s.cfg.Log.With("kind", string(m.Kind), "alert_id", m.ID, "schedule_id", string(m.ScheduleID), "to", t.name, "attempts", attempts)
	switch {
	case err == nil:
		s.sent.Add(1)
		log.Debug("an alert was delivered", "took", time.Since(began).Round(time.Millisecond).String())
	case ctx.Err() != nil:
		s.dropped.Add(1)
		s.unsent.Add(1)
	default:
		s.failed.Add(1)
		log.Warn("an alert was not delivered", "run_id", string(m.RunID), "error", t.scrub(err))
	}
}

// post sends a message, again and again if need be. Errors may show the address: see scrub.
func (s *Sender) post(ctx context.Context, t *target, m Message) (attempts int, err error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	body, err := m.body(t.format)
	if err != nil {
		return 0, fmt.Errorf("encode message: %w", err)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, t.url.String(), body)
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	prepare := func(r *http.Request) error {
		attempts++
		now := time.Now()
		r.Header = r.Header.Clone() // the attempt before may still be reading its own
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "pyworkflow")
		r.Header.Set(HeaderID, m.ID)
		r.Header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		if len(s.cfg.Secrets) > 0 {
			r.Header.Set(HeaderSignature, sign(s.cfg.Secrets, m.ID, now, body))
		}
		return nil
	}
	if err := prepare(req.Request); err != nil {
		return 0, err
	}
	again := &retryablehttp.Client{
		HTTPClient: s.http, RetryWaitMin: s.limits.waitMin, RetryWaitMax: s.limits.waitMax, RetryMax: s.limits.retries,
		CheckRetry: checkRetry, Backoff: backoff, PrepareRetry: prepare, ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	res, err := again.Do(req)
	if res == nil && err == nil { // not reached
		err = errors.New("no answer")
	}
	if err != nil {
		if res != nil {
			_ = res.Body.Close()
		}
		return attempts, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // what it says does not matter
	if res.StatusCode/100 != 2 {
		return attempts, &answerError{res.StatusCode}
	}
	return attempts, nil
}

// answerError is an answer other than that the message was taken.
type answerError struct{ status int }

func (e *answerError) Error() string {
	text := fmt.Sprintf("the receiver answers %d %s", e.status, http.StatusText(e.status))
	if e.status/100 == 3 {
		text += ", and redirects are not followed: give the address that it leads to"
	}
	return text
}

// checkRetry says whether another attempt may have another end.
func checkRetry(ctx context.Context, res *http.Response, err error) (bool, error) {
	var cert *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &cert):
		return false, err
	case err != nil:
		return true, nil
	}
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true, nil
	}
	return res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented, nil
}

// backoff doubles the pause, of which up to a half is left to chance; a receiver may ask for a longer one, up to the longest.
func backoff(least, most time.Duration, attempt int, res *http.Response) time.Duration {
	wait := least << min(attempt, 20)
	if wait <= 0 || wait > most {
		wait = most
	}
	wait -= rand.N(wait/2 + 1)
	if res != nil {
		if asked, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && asked > 0 {
			wait = min(max(wait, time.Duration(min(asked, 3600))*time.Second), most)
		}
	}
	return wait
}

// scrub is what can be said of an error: nothing of the address but its host.
func (t *target) scrub(err error) string {
	var of *url.Error
	if errors.As(err, &of) {
		if of.Timeout() {
			return "the receiver does not answer in time"
		}
		err = of.Err
	}
	text := err.Error()
	for _, part := range []string{t.url.String(), t.url.RequestURI(), strings.Trim(t.url.Path, "/"), t.url.RawQuery} {
		if len(part) > 1 {
			text = strings.ReplaceAll(text, part, masked)
		}
	}
	return strings.TrimSpace(clean(text, 300))
}
