package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	cookieName = "pyworkflow_session"
	// sessionAge is how long a login lasts.
	sessionAge = 12 * time.Hour
)

// sessions gives out and checks the cookies of those who have shown the token. A cookie is a time of expiry and a random number, signed with a key made from the
// token: it holds after a restart and at every server with the same token, and no longer than the token does. Safe for concurrent use.
type sessions struct {
	token [sha256.Size]byte // hash of the token
	key   []byte
	now   func() time.Time

	mu    sync.Mutex
	ended map[string]time.Time // payloads of cookies that somebody logged out of, until they expire
}

func newSessions(token string) *sessions {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("pyworkflow dashboard session"))
	return &sessions{token: sha256.Sum256([]byte(token)), key: mac.Sum(nil), now: time.Now, ended: map[string]time.Time{}}
}

// knows reports whether that is the token, in a time that does not depend on it.
func (s *sessions) knows(token string) bool {
	given := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(given[:], s.token[:]) == 1
}

const payloadSize = 8 + 16

func (s *sessions) sign(payload []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(payload)
	return mac.Sum(payload)
}

// begin gives the browser a session.
func (s *sessions) begin(w http.ResponseWriter, r *http.Request) {
	payload := make([]byte, payloadSize, payloadSize+sha256.Size)
	binary.BigEndian.PutUint64(payload, uint64(s.now().Add(sessionAge).Unix()))
	_, _ = rand.Read(payload[8:]) // never fails
	setCookie(w, r, base64.RawURLEncoding.EncodeToString(s.sign(payload)), int(sessionAge/time.Second))
}

// valid reports whether the request comes with a session that has neither expired nor been ended.
func (s *sessions) valid(r *http.Request) bool {
	_, _, ok := s.read(r)
	return ok
}

// read gives what is signed in the request's session: the text of a cookie is not unique, since its last character has bits that nothing reads.
func (s *sessions) read(r *http.Request) (signed string, expires time.Time, ok bool) {
	for _, c := range r.CookiesNamed(cookieName) {
		raw, err := base64.RawURLEncoding.DecodeString(c.Value)
		if err != nil || len(raw) != payloadSize+sha256.Size {
			continue
		}
		payload := raw[:payloadSize:payloadSize]
		expires := time.Unix(int64(binary.BigEndian.Uint64(payload)), 0)
		if !hmac.Equal(s.sign(payload), raw) || !s.now().Before(expires) {
			continue
		}
		s.mu.Lock()
		_, over := s.ended[string(payload)]
		s.mu.Unlock()
		if !over {
			return string(payload), expires, true
		}
	}
	return "", time.Time{}, false
}

// end ends the request's session, at this server, and takes the cookie away.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	if signed, expires, ok := s.read(r); ok {
		s.mu.Lock()
		maps.DeleteFunc(s.ended, func(_ string, until time.Time) bool { return !s.now().Before(until) })
		s.ended[signed] = expires
		s.mu.Unlock()
	}
	setCookie(w, r, "", -1)
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r)})
}

// encrypted reports whether the browser's connection is: to this server, or to a proxy in front that says so. Nothing but the cookie's Secure rests on what a proxy says.
func encrypted(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// How many wrong tokens are taken from one address in a minute, and of how many addresses that is known.
const (
	maxTries     = 10
	triesWindow  = time.Minute
	maxAddresses = 10_000
	others       = "others" // those beyond them, counted together
)

// tries counts wrong tokens. Safe for concurrent use.
type tries struct {
	now func() time.Time

	mu    sync.Mutex
	from  map[string]*tally
	swept time.Time // when those that are over were last forgotten
}

type tally struct {
	since time.Time
	wrong int
}

func newTries() *tries { return &tries{now: time.Now, from: map[string]*tally{}} }

// wait is how long the address has to wait before its next try; 0: it may.
func (t *tries) wait(addr string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.from[addr]
	if c == nil && len(t.from) >= maxAddresses {
		c = t.from[others]
	}
	if c == nil || c.wrong < maxTries {
		return 0
	}
	return max(0, triesWindow-t.now().Sub(c.since))
}

// wrong notes that the address gave a wrong token.
func (t *tries) wrong(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	c := t.from[addr]
	if c == nil || now.Sub(c.since) >= triesWindow {
		if len(t.from) >= maxAddresses && now.Sub(t.swept) >= time.Second {
			t.swept = now
			maps.DeleteFunc(t.from, func(_ string, c *tally) bool { return now.Sub(c.since) >= triesWindow })
		}
		if len(t.from) >= maxAddresses { // a flood from everywhere: who comes next counts as one
			addr = others
			if c = t.from[addr]; c != nil && now.Sub(c.since) < triesWindow {
				c.wrong++
				return
			}
		}
		c = &tally{since: now}
		t.from[addr] = c
	}
	c.wrong++
}
