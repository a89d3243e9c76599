package web

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/web/dashboard"
)

const token = "a-token-of-many-characters"

// open makes a server on a store in memory with one schedule.
func open(t *testing.T, cfg Config) *Server {
	t.Helper()
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	app := pyworkflow.NewApp()
	if err := app.Register(pyworkflow.DefineFunc("minute_task", func(context.Context) (string, error) { return "", nil })); err != nil {
		t.Fatal(err)
	}
	if cfg.Client, err = client.New(client.Config{Store: st, App: app}); err != nil {
		t.Fatal(err)
	}
	req := client.CreateRequest{ID: "s", Workflow: "minute_task", Definition: schedules.Definition{Spec: schedules.Spec{Cron: "0 9 1 1 *"}}}
	if _, err := cfg.Client.CreateSchedule(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request to localhost. Headers are pairs of name and value; Host and RemoteAddr are not among them but may be given.
func ask(t *testing.T, h http.Handler, method, path, body string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, "http://localhost:8585"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch header[i] {
		case "Host":
			r.Host = header[i+1]
		case "RemoteAddr":
			r.RemoteAddr = header[i+1]
		default:
			r.Header.Add(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	for name, cfg := range map[string]Config{"open": {}, "token": {Token: token}} {
		s := open(t, cfg)
		for _, path := range []string{"/", "/schedules", "/nothing", "/static/nothing", "/login", "/api/v1/version", "/api/v1/nothing", "/api/v1/openapi.json", "/api"} {
			res := ask(t, s, "GET", path, "")
			for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s %s: %s: %q", name, path, name, got)
				}
			}
			if strings.Contains(bodyOf(t, res), token) {
				t.Errorf("%s %s: the token is in the answer", name, path)
			}
		}
	}
}

func TestToken(t *testing.T) {
	s := open(t, Config{Token: token})
	for _, c := range []struct {
		name, method, path string
		header             []string
		status             int
		location           string
	}{
		{"page", "GET", "/", nil, 303, "/login"},
		{"deep page", "GET", "/schedules/s?x=1", nil, 303, "/login?next=%2Fschedules%2Fs%3Fx%3D1"},
		{"part of a page", "GET", "/schedules", []string{"X-Live", "1"}, 401, ""},
		{"act", "POST", "/schedules/s/pause", nil, 401, ""},
		{"API", "GET", "/api/v1/schedules", nil, 401, ""},
		{"stream", "GET", "/api/v1/events", nil, 401, ""},
		{"metrics", "GET", "/metrics", nil, 401, ""},
		{"document", "GET", "/api/v1/openapi.json", nil, 401, ""},
		{"token", "GET", "/api/v1/schedules", []string{"Authorization", "Bearer " + token}, 200, ""},
		{"token in other letters", "GET", "/api/v1/schedules", []string{"Authorization", "bearer  " + token + " "}, 200, ""},
		{"wrong token", "GET", "/api/v1/schedules", []string{"Authorization", "Bearer " + token + "x"}, 401, ""},
		{"no token", "GET", "/api/v1/schedules", []string{"Authorization", "Bearer "}, 401, ""},
		{"another scheme", "GET", "/api/v1/schedules", []string{"Authorization", "Basic " + token}, 401, ""},
		{"made-up session", "GET", "/api/v1/schedules", []string{"Cookie", cookieName + "=" + strings.Repeat("A", 75)}, 401, ""},
		{"login", "GET", "/login", nil, 200, ""},
		{"login by another method", "PUT", "/login", nil, 405, ""},
		{"logout by a link", "GET", "/logout", nil, 405, ""},
	} {
		res := ask(t, s, c.method, c.path, "", c.header...)
		if res.StatusCode != c.status || res.Header.Get("Location") != c.location {
			t.Errorf("%s: %d %q: %s", c.name, res.StatusCode, res.Header.Get("Location"), bodyOf(t, res))
		}
		if c.status == 401 && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q", c.name, res.Header.Get("WWW-Authenticate"))
		}
	}
}

func form(token, next string) string { return url.Values{"token": {token}, "next": {next}}.Encode() }

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Token: token})
		for _, name := range []string{"app.css", "login.css", "theme.js", "icon.svg"} {
			if res := ask(t, s, "GET", dashboard.Static(name), ""); res.StatusCode != http.StatusOK {
				t.Errorf("%s at %q: %d", name, dashboard.Static(name), res.StatusCode)
			}
		}
		res := ask(t, s, "POST", "/login", form("wrong", "/runs"))
		if text := bodyOf(t, res); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) != 0 || !strings.Contains(text, "That is not the token") || !strings.Contains(text, `value="/runs"`) {
			t.Errorf("wrong token: %d %v %s", res.StatusCode, res.Cookies(), text)
		}
		res = ask(t, s, "POST", "/login", form(" "+token+"\n", "/runs?x=1"))
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs?x=1" || len(res.Cookies()) != 1 {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		c := res.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.MaxAge != 12*3600 || strings.Contains(c.Value, token) {
			t.Errorf("%+v", c)
		}
		session := c.Name + "=" + c.Value
		if text := bodyOf(t, ask(t, s, "GET", "/schedules", "", "Cookie", session)); !strings.Contains(text, `action="/logout"`) {
			t.Error("no page ends the session")
		}
		known := func(s *Server, cookie string) bool {
			return ask(t, s, "GET", "/api/v1/schedules/s", "", "Cookie", cookie).StatusCode == http.StatusOK
		}
		if !known(s, session) || known(s, session+"A") || known(s, session[:len(session)-1]) {
			t.Error("a session holds, and no other does")
		}
		if !known(open(t, Config{Token: token}), session) {
			t.Error("it does not hold after a restart")
		}
		if known(open(t, Config{Token: token + "2"}), session) {
			t.Error("it holds with another token")
		}
		if res := ask(t, s, "GET", "/login?next=/runs", "", "Cookie", session); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs" {
			t.Errorf("who is known is asked again: %d", res.StatusCode)
		}
		if res := ask(t, s, "POST", "/login", form(token, "/"), "X-Forwarded-Proto", "https"); !res.Cookies()[0].Secure || res.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("behind TLS: %+v", res.Cookies()[0])
		}
		res = ask(t, s, "POST", "/logout", "", "Cookie", session)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" || res.Cookies()[0].MaxAge >= 0 || known(s, session) {
			t.Errorf("logout: %d %+v", res.StatusCode, res.Cookies())
		}
		for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			if known(s, session[:len(session)-1]+string(last)) {
				t.Errorf("the session that was ended is known again by a cookie that ends in %q", last)
			}
		}
		c = ask(t, s, "POST", "/login", form(token, "/")).Cookies()[0]
		<-time.After(11 * time.Hour)
		if !known(s, c.Name+"="+c.Value) {
			t.Error("it ended early")
		}
		<-time.After(2 * time.Hour)
		if known(s, c.Name+"="+c.Value) {
			t.Error("it never ends")
		}
	})
}

func TestLoginGoesOnInside(t *testing.T) {
	for next, want := range map[string]string{
		"": "/", "/": "/", "/runs": "/runs", "/runs?a=b&c=%2F": "/runs?a=b&c=%2F", "//evil.com": "/", "https://evil.com": "/", "/\\evil.com": "/", "evil": "/", "javascript:alert(1)": "/",
		"/login": "/", "/logout": "/", "/api/v1/runs": "/", "/a\r\nb": "/", "/%0d%0ax": "/%0d%0ax", "http:/x": "/", "%": "/", "///x": "/",
	} {
		if got := inside(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
}

func TestTriesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Token: token})
		bearer := func(from, token string) *http.Response {
			return ask(t, s, "GET", "/api/v1/version", "", "Authorization", "Bearer "+token, "RemoteAddr", from)
		}
		for i := range maxTries {
			if got := bearer("192.0.2.1:"+string(rune('0'+i))+"000", "wrong").StatusCode; got != 401 {
				t.Fatalf("try %d: %d", i, got)
			}
		}
		res := bearer("192.0.2.1:1", token)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "60" {
			t.Errorf("the right token after many wrong ones: %d %v", res.StatusCode, res.Header)
		}
		res = ask(t, s, "POST", "/login", form(token, "/"), "RemoteAddr", "192.0.2.1:2")
		if text := bodyOf(t, res); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(text, "Too many wrong tokens") {
			t.Errorf("login: %d %s", res.StatusCode, text)
		}
		if got := bearer("192.0.2.2:1", token).StatusCode; got != 200 {
			t.Errorf("somebody else: %d", got)
		}
		for range maxTries {
			bearer("[2001:db8::1]:1", "wrong")
		}
		if a, b := bearer("[2001:db8::ffff]:1", token).StatusCode, bearer("[2001:db8:0:1::1]:1", token).StatusCode; a != 429 || b != 200 {
			t.Errorf("the same household %d, another %d", a, b)
		}
		<-time.After(triesWindow)
		if got := bearer("192.0.2.1:1", token).StatusCode; got != 200 {
			t.Errorf("a minute later: %d", got)
		}
	})
	tries := newTries()
	for i := range 3 * maxAddresses {
		tries.wrong(string(rune(i)))
	}
	if len(tries.from) > maxAddresses+1 {
		t.Errorf("%d addresses are remembered", len(tries.from))
	}
	if tries.wait("one more") == 0 {
		t.Error("whoever comes after the addresses that are remembered may try for ever")
	}
}

func TestOtherSites(t *testing.T) {
	s := open(t, Config{})
	for _, c := range []struct {
		name   string
		header []string
		ok     bool
	}{
		{"program", nil, true},
		{"own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8585"}, true},
		{"own page of an old browser", []string{"Origin", "http://localhost:8585"}, true},
		{"other site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.com"}, false},
		{"other site of an old browser", []string{"Origin", "https://evil.com"}, false},
		{"other port", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:9999"}, false},
		{"sandboxed page", []string{"Origin", "null"}, false},
	} {
		for _, path := range []string{"/schedules/s/pause", "/api/v1/schedules/s/pause"} {
			res := ask(t, s, "POST", path, "", c.header...)
			if (res.StatusCode != http.StatusForbidden) != c.ok || res.StatusCode >= http.StatusInternalServerError {
				t.Errorf("%s %s: %d %s", c.name, path, res.StatusCode, bodyOf(t, res))
			}
		}
		if got := ask(t, s, "GET", "/api/v1/schedules/s", "", c.header...).StatusCode; got != 200 {
			t.Errorf("%s may not read: %d", c.name, got)
		}
	}
}

func TestHost(t *testing.T) {
	free, named, asked := open(t, Config{}), open(t, Config{AllowedHosts: []string{"Dash.example."}}), open(t, Config{Token: token})
	strict := open(t, Config{Token: token, AllowedHosts: []string{"dash.example"}})
	for _, c := range []struct {
		host                       string
		free, named, asked, strict bool
	}{
		{"localhost:8585", true, true, true, false},
		{"LOCALHOST", true, true, true, false},
		{"app.localhost:1", true, true, true, false},
		{"127.0.0.1:8585", true, true, true, false},
		{"127.9.9.9", true, true, true, false},
		{"[::1]:8585", true, true, true, false},
		{"dash.example", false, true, true, true},
		{"dash.example.:443", false, true, true, true},
		{"evil.com:8585", false, false, true, false},
		{"localhost.evil.com", false, false, true, false},
		{"192.0.2.1:8585", false, false, true, false},
		{"127.0.0.1.evil.com", false, false, true, false},
		{"", false, false, true, false},
	} {
		for _, way := range []struct {
			name string
			s    *Server
			ok   bool
		}{{"no token", free, c.free}, {"a name is allowed", named, c.named}, {"token", asked, c.asked}, {"token and name", strict, c.strict}} {
			res := ask(t, way.s, "GET", "/api/v1/version", "", "Host", c.host, "Authorization", "Bearer "+token)
			if want := map[bool]int{true: 200, false: 421}[way.ok]; res.StatusCode != want {
				t.Errorf("%s, %q: %d %s", way.name, c.host, res.StatusCode, bodyOf(t, res))
			}
		}
	}
}

func TestReadOnly(t *testing.T) {
	s := open(t, Config{Token: token, ReadOnly: true})
	res := ask(t, s, "POST", "/login", form(token, "/"))
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("login: %d", res.StatusCode)
	}
	cookie := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/schedules/s/pause", "/api/v1/schedules/s", "/nothing"} {
			if res := ask(t, s, method, path, "", "Cookie", cookie); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d", method, path, res.StatusCode)
			}
		}
	}
	if got := ask(t, s, "GET", "/api/v1/schedules/s", "", "Cookie", cookie).StatusCode; got != 200 {
		t.Errorf("%d", got)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a secret thing") })
	s := open(t, Config{})
	h := newGuard(Config{Log: s.log}, broken)
	res := ask(t, h, "GET", "/api/v1/x", "")
	if text := bodyOf(t, res); res.StatusCode != http.StatusInternalServerError || strings.Contains(text, "secret") || !strings.Contains(text, `"code":"failed"`) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no client")
	}
	if _, err := New(Config{Client: &client.Client{}, Token: "short"}); err == nil || !strings.Contains(err.Error(), "16") || strings.Contains(err.Error(), "short") {
		t.Errorf("%v", err)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:8585": true, "localhost:1": true, "[::1]:1": true, "127.1.2.3:1": true, ":8585": false, "0.0.0.0:8585": false, "[::]:1": false,
		"192.0.2.1:1": false, "example.com:80": false, "nonsense": false} {
		if got := Loopback(addr); got != want {
			t.Errorf("%q: %v", addr, got)
		}
	}
}

// TestServe: it serves until it is told to end, and lets no stream keep it.
func TestServe(t *testing.T) {
	s := open(t, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	stream, err := c.Get("http://" + l.Addr().String() + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	lines := bufio.NewScanner(stream.Body)
	for lines.Scan() && lines.Text() != "event: reset" {
		continue // until it is there
	}
	began := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for lines.Scan() {
		continue // until it ends
	}
	if lines.Err() != nil || time.Since(began) > 4*time.Second {
		t.Errorf("%v, after %s", lines.Err(), time.Since(began))
	}
	if _, err := c.Get("http://" + l.Addr().String() + "/"); err == nil {
		t.Error("it still answers")
	}
}

// TestHealth: whoever asks learns whether it lives, and nothing else.
func TestHealth(t *testing.T) {
	s := open(t, Config{Token: token, AllowedHosts: []string{"dash.example"}})
	for _, path := range []string{"/healthz", "/readyz"} {
		res := ask(t, s, "GET", path, "", "Host", "10.0.0.1:8585")
		if text := bodyOf(t, res); res.StatusCode != http.StatusOK || text != `{"problems":[],"status":"ok"}`+"\n" {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	if res := ask(t, s, "POST", "/healthz", ""); res.StatusCode == http.StatusOK {
		t.Errorf("POST: %d", res.StatusCode)
	}
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = New(Config{Client: c}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	res := ask(t, s, "GET", "/readyz", "")
	if text := bodyOf(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "the store does not answer") {
		t.Errorf("store that is gone: %d %s", res.StatusCode, text)
	}
	if res := ask(t, s, "GET", "/healthz", ""); res.StatusCode != http.StatusOK {
		t.Errorf("it lives: %d", res.StatusCode)
	}
}
