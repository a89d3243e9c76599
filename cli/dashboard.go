package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/web"
)

// defaultListen is where the dashboard is found unless told otherwise: on this machine only.
const defaultListen = "127.0.0.1:8585"

// dashboardFlags say where the dashboard listens and whom it lets in.
type dashboardFlags struct {
	listen           string
	token, tokenFile string
	readOnly         bool
	allowedHosts     []string
}

func (f *dashboardFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", defaultListen, "address of the web page and the API; beyond this machine a token is needed")
	fs.StringVar(&f.token, "dashboard-token", "", "let in only who gives this token, of 16 characters or more; better in the environment or a file")
	fs.StringVar(&f.tokenFile, "dashboard-token-file", "", "file with the token")
	fs.BoolVar(&f.readOnly, "read-only", false, "show everything, change nothing")
	fs.StringSliceVar(&f.allowedHosts, "allowed-host", nil, "name that browsers may reach it by, besides localhost; may be repeated (default with a token any)")
	config.OptIn(fs, config.Plain, "listen", "read-only", "allowed-host")
	config.OptIn(fs, config.Secret, "dashboard-token")
	config.OptIn(fs, config.Path, "dashboard-token-file")
}

// secret is the token; empty when none is asked for.
func (f *dashboardFlags) secret() (string, error) {
	token, from := f.token, "--dashboard-token"
	if f.tokenFile != "" {
		if f.token != "" {
			return "", config.Usagef("--dashboard-token and --dashboard-token-file: give one of them")
		}
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			var path *fs.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
			return "", config.Usagef("--dashboard-token-file %q: %v", f.tokenFile, err)
		}
		token, from = strings.TrimSpace(string(text)), fmt.Sprintf("--dashboard-token-file %q", f.tokenFile)
		if token == "" {
			return "", config.Usagef("%s: is empty; put a token of %d characters or more into it", from, web.MinToken)
		}
	}
	if token != "" && len(token) < web.MinToken {
		return "", config.Usagef("%s: has %d characters, and can be guessed; give %d or more, such as those of \"openssl rand -hex 16\"", from, len(token), web.MinToken)
	}
	return token, nil
}

// check finds what is wrong with the flags, and gives the token; empty when none is asked for.
func (f *dashboardFlags) check() (token string, err error) {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return "", config.Usagef("--listen %q: must be HOST:PORT, such as %s", f.listen, defaultListen)
	}
	if token, err = f.secret(); err != nil {
		return "", err
	}
	if token == "" && !web.Loopback(f.listen) {
		return "", config.Usagef("--listen %q: others can reach it, so a token is needed: set %s, or give --dashboard-token-file; or listen on %s, for this machine only",
			f.listen, config.EnvName("dashboard-token"), defaultListen)
	}
	return token, nil
}

// webServer is a dashboard that is bound to its address.
type webServer struct {
	server   *web.Server
	listener net.Listener
	flags    *dashboardFlags
}

// listenWeb binds the address and puts the dashboard of a session together. Call run, or close.
func (p *program) listenWeb(s *session, f *dashboardFlags) (*webServer, error) {
	token, err := f.check()
	if err != nil {
		return nil, err
	}
	var around func(http.Handler) http.Handler
	if p.tracer != nil {
		around = p.tracer.Incoming
	}
	server, err := web.New(web.Config{Client: s.client, Token: token, Metrics: s.metrics.Handler(), Around: around, ReadOnly: f.readOnly, AllowedHosts: f.allowedHosts, MaxBody: int64(p.app.Limits().Input) + web.BodyRoom,
		Doctor: s.doctorOptions(startRecords), Log: p.log, Namespace: p.global.Namespace, Runtime: string(s.runtime), Version: version()})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return nil, config.Usagef("--listen %q: %s; give an address that is free, such as 127.0.0.1:8586", f.listen, strings.TrimPrefix(bareNet(err).Error(), "bind: "))
	}
	return &webServer{server, l, f}, nil
}

// url is where the dashboard is found: by the address as given, with the port that was taken.
func (w *webServer) url() string {
	host, _, _ := net.SplitHostPort(w.flags.listen) // it was checked
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/"}
	return u.String()
}

// run serves until ctx ends.
func (w *webServer) run(ctx context.Context) error { return w.server.Serve(ctx, w.listener) }

// close gives the address back where run is not called.
func (w *webServer) close() {
	_ = w.listener.Close() // the process is about to end
}

func newDashboard(p *program) *cobra.Command {
	var f dashboardFlags
	var perSchedule int
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve the web page and the API",
		Long: `Serves the page on which schedules and runs are seen and managed, the REST API under /api/v1 (described at /api/v1/openapi.json), metrics at /metrics and health
checks at /healthz and /readyz. It neither schedules nor executes: workers and schedulers do, on the same store.

It listens on this machine only. Beyond it, a token is needed; browsers give it once, programs send "Authorization: Bearer TOKEN". There is no TLS here: put a proxy that has
it in front. The first Ctrl+C or SIGTERM lets requests end, the second ends at once.`,
		Example: `  pyworkflow dashboard
  PYWORKFLOW_DASHBOARD_TOKEN=$(openssl rand -hex 16) pyworkflow --redis-url redis://redis:6379/0 dashboard --listen 0.0.0.0:8585
  pyworkflow dashboard --read-only --listen 127.0.0.1:8586`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.check(); err != nil { // before any store is opened
				return err
			}
			mode := creates
			if f.readOnly {
				mode = reads
			}
			s, err := p.open(cmd.Context(), mode, false)
			if err != nil {
				return err
			}
			defer s.close()
			if _, empty := s.store.(standIn); empty {
				return config.Usagef("--read-only: there are no records in %s yet; start a scheduler there first, or leave it out", s.store.Describe())
			}
			watch, err := s.observe(perSchedule, 0)
			if err != nil {
				return err
			}
			defer watch.Close()
			if err := s.wire(); err != nil { // anew: what it does is counted
				return err
			}
			w, err := p.listenWeb(s, &f)
			if err != nil {
				return err
			}
			p.greetWeb(s, w)
			return w.run(cmd.Context())
		},
	}
	f.register(cmd)
	metricsFlag(cmd, &perSchedule)
	return cmd
}

// greetWeb prints the first line of a dashboard: where it is found, and what it shows.
func (p *program) greetWeb(s *session, w *webServer) {
	if p.global.Output == "json" {
		text, _ := json.Marshal(map[string]any{"event": "dashboard", "url": w.url(), "runtime": s.runtime, "storage": s.store.Describe(), "namespace": p.global.Namespace,
			"read_only": w.flags.readOnly}) // all of it always encodes
		fmt.Fprintln(p.stdout, string(text))
		return
	}
	more := ""
	if w.flags.readOnly {
		more = "read only, "
	}
	fmt.Fprintf(p.stdout, "dashboard  %s  %s runtime, %s, %sCtrl+C to stop\n", w.url(), s.runtime, s.place(), more)
}
