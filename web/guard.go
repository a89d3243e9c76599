package web

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/web/api"
)

// policy is the content security policy of every answer: nothing from elsewhere, nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const (
	loginPath   = "/login"
	logoutPath  = "/logout"
	staticPath  = "/static/"
	apiPath     = "/api/"
	metricsPath = "/metrics"
)

// guard stands before all handlers: who may ask, from where, and for what.
type guard struct {
	next     http.Handler
	sessions *sessions // nil: no token is asked for
	tries    *tries
	hosts    []string
	readOnly bool
	log      *slog.Logger
}

func newGuard(cfg Config, next http.Handler) http.Handler {
	g := &guard{next: next, tries: newTries(), readOnly: cfg.ReadOnly, log: cfg.Log}
	for _, h := range cfg.AllowedHosts {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	}
	if cfg.Token != "" {
		g.sessions = newSessions(cfg.Token)
	}
	var cross http.CrossOriginProtection
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusForbidden, "the request comes from a page of another site: open the dashboard itself and try again there")
	}))
	return g.safely(g.headers(g.host(cross.Handler(http.HandlerFunc(g.admit)))))
}

// safely turns a panic into an answer and a line in the log.
func (g *guard) safely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // what net/http itself compares
				panic(v)
			}
			g.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			refuse(w, r, http.StatusInternalServerError, "something went wrong here; the log of the dashboard says what")
		}()
		next.ServeHTTP(w, r)
	})
}

// headers are those of every answer.
func (g *guard) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if encrypted(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// host refuses requests that were sent to a name that is not ours. Without a token that is what keeps a page of another site, whose name was made to lead to
// the own machine, from reading and writing here.
func (g *guard) host(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostOf(r.Host)
		ok := slices.Contains(g.hosts, name)
		if g.sessions == nil {
			ok = ok || loopbackHost(name)
		} else {
			ok = ok || len(g.hosts) == 0
		}
		if !ok {
			refuse(w, r, http.StatusMisdirectedRequest, fmt.Sprintf("host %s is not served here: open http://localhost instead, or start the dashboard with --allowed-host %s", strconv.Quote(name), name))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// admit lets in who has the token, and refuses changes where nothing may be changed.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == loginPath && g.sessions != nil:
		g.login(w, r)
		return
	case r.URL.Path == logoutPath && g.sessions != nil:
		g.logout(w, r)
		return
	case g.sessions != nil && !strings.HasPrefix(r.URL.Path, staticPath) && !g.known(w, r):
		return
	case g.readOnly && !safe(r.Method):
		refuse(w, r, http.StatusForbidden, "nothing can be changed here: the dashboard was started with --read-only")
		return
	}
	g.next.ServeHTTP(w, r)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// known reports whether the request shows the token or a session; else it has answered.
func (g *guard) known(w http.ResponseWriter, r *http.Request) bool {
	if g.sessions.valid(r) {
		return true
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		from := addressOf(r)
		if wait := g.tries.wait(from); wait > 0 {
			tooMany(w, r, wait)
			return false
		}
		if g.sessions.knows(strings.TrimSpace(token)) {
			return true
		}
		g.tries.wrong(from)
		w.Header().Set("WWW-Authenticate", `Bearer realm="pyworkflow", error="invalid_token"`)
		refuse(w, r, http.StatusUnauthorized, "that is not the token of this dashboard")
		return false
	}
	if strings.HasPrefix(r.URL.Path, apiPath) || r.URL.Path == metricsPath || !safe(r.Method) || r.Header.Get("X-Live") != "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pyworkflow"`)
		refuse(w, r, http.StatusUnauthorized, `a token is needed: send it as "Authorization: Bearer TOKEN", or log in at `+loginPath)
		return false
	}
	to := loginPath
	if r.URL.Path != "/" {
		to += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return false
}

// addressOf is whose tries are counted together.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String() // one household of IPv6
	}
	return host
}

func tooMany(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	refuse(w, r, http.StatusTooManyRequests, fmt.Sprintf("too many wrong tokens: wait %d seconds", seconds))
}

// refuse answers in a way that fits who asked: problem details for programs, a line of text for people.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if strings.HasPrefix(r.URL.Path, apiPath) {
		code := client.CodeInvalid
		switch {
		case status >= http.StatusInternalServerError:
			code = client.CodeFailed
		case status != http.StatusMisdirectedRequest:
			code = api.CodeRefused
		}
		api.WriteProblem(w, &api.Problem{Status: status, Code: code, Detail: text})
		return
	}
	http.Error(w, text, status)
}
