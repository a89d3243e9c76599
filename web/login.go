package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/web/dashboard"
)

//go:embed login.html
var loginText string

var loginPage = template.Must(template.New("login").Funcs(template.FuncMap{"static": dashboard.Static}).Parse(loginText))

// loginForm is what the page of the login shows.
type loginForm struct {
	Next    string // where to go on
	Problem string
}

// maxLogin bounds the form, in bytes.
const maxLogin = 8 << 10

// login shows the form, and begins a session for who gives the token.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if g.sessions.valid(r) {
			http.Redirect(w, r, inside(r.URL.Query().Get("next")), http.StatusSeeOther)
			return
		}
		g.showLogin(w, r, http.StatusOK, inside(r.URL.Query().Get("next")), "")
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
		if err := r.ParseForm(); err != nil {
			g.showLogin(w, r, http.StatusBadRequest, "/", "That form cannot be read. Try again.")
			return
		}
		g.tryLogin(w, r, r.PostForm.Get("token"), inside(r.PostForm.Get("next")))
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		refuse(w, r, http.StatusMethodNotAllowed, "method "+r.Method+" is not allowed here")
	}
}

func (g *guard) tryLogin(w http.ResponseWriter, r *http.Request, token, next string) {
	from := addressOf(r)
	if wait := g.tries.wait(from); wait > 0 {
		seconds := int(wait.Seconds()) + 1
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		g.showLogin(w, r, http.StatusTooManyRequests, next, fmt.Sprintf("Too many wrong tokens. Wait %d seconds.", seconds))
		return
	}
	if !g.sessions.knows(strings.TrimSpace(token)) {
		g.tries.wrong(from)
		g.showLogin(w, r, http.StatusUnauthorized, next, "That is not the token of this dashboard.")
		return
	}
	g.sessions.begin(w, r)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// logout ends the session.
func (g *guard) logout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, r, http.StatusMethodNotAllowed, "method "+r.Method+" is not allowed here")
		return
	}
	g.sessions.end(w, r)
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

func (g *guard) showLogin(w http.ResponseWriter, _ *http.Request, status int, next, problem string) {
	var b bytes.Buffer
	if err := loginPage.Execute(&b, loginForm{Next: next, Problem: problem}); err != nil {
		g.log.Error("login page failed", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the viewer may be gone
}

// inside gives a path on this server to go on to; whatever else was asked for becomes the first page.
func inside(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, loginPath) || strings.HasPrefix(u.Path, logoutPath) || strings.HasPrefix(u.Path, apiPath) {
		return "/"
	}
	return next
}
