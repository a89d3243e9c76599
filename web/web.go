package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/web/api"
	"github.com/pyworkflow-go/pyworkflow/web/dashboard"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

const (
	// MinToken is how many bytes a token has at least.
	MinToken = 16
	// BodyRoom is how many bytes a request to the API may have besides an input.
	BodyRoom = 1 << 20
)

// Config holds the parts of a Server.
type Config struct {
	// Client is required: everything goes through it.
	Client *client.Client
	// Token lets in whoever has it: as "Authorization: Bearer …", or given once on the page /login. At least MinToken bytes. Empty: everybody who reaches the
	// server is let in, which is for loopback addresses only; then requests that were sent to another name than localhost are refused.
	Token string
	// ReadOnly refuses every request that would change something.
	ReadOnly bool
	// AllowedHosts are the names, without port, that requests may be sent to. With a token none means any; without one, they are allowed besides localhost.
	AllowedHosts []string
	// MaxBody bounds the body of a request to the API, in bytes; 0: api.DefaultMaxBody.
	MaxBody int64
	// Doctor says what the doctor of the API and of the overview looks at.
	Doctor client.DoctorOptions
	// Metrics answers GET /metrics to whoever is let in; nil: nothing is there.
	Metrics http.Handler
	// Around stands before what answers requests that were let in, for their contexts: it adds whose trace they belong to. Nil: nothing does.
	Around func(http.Handler) http.Handler
	// Log is told of requests that failed for reasons that are not the caller's; nil: discards.
	Log *slog.Logger
	// Namespace, Runtime and Version are shown on pages and by the API.
	Namespace, Runtime, Version string
}

// Server answers all requests. Run or Serve keeps its event stream going.
type Server struct {
	handler http.Handler
	hub     *live.Hub
	log     *slog.Logger
}

// New checks the configuration and puts the parts together.
func New(cfg Config) (*Server, error) {
	if cfg.Client == nil {
		return nil, errors.New("web: Config.Client is nil")
	}
	if cfg.Token != "" && len(cfg.Token) < MinToken {
		return nil, fmt.Errorf("web: Config.Token has %d bytes; at least %d are needed", len(cfg.Token), MinToken)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	hub := live.New(cfg.Client, cfg.Log)
	rest, err := api.New(api.Config{Client: cfg.Client, ReadOnly: cfg.ReadOnly, Log: cfg.Log, Live: hub, MaxBody: cfg.MaxBody, Doctor: cfg.Doctor,
		Namespace: cfg.Namespace, Runtime: cfg.Runtime, Version: cfg.Version})
	if err != nil {
		return nil, err
	}
	logout := ""
	if cfg.Token != "" {
		logout = logoutPath
	}
	pages, err := dashboard.New(dashboard.Config{Logout: logout, Client: cfg.Client, ReadOnly: cfg.ReadOnly, Doctor: cfg.Doctor, Log: cfg.Log, Namespace: cfg.Namespace, Runtime: cfg.Runtime, Version: cfg.Version})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", rest)
	mux.Handle("/", pages)
	if cfg.Metrics != nil {
		mux.Handle("GET "+metricsPath, cfg.Metrics)
	}
	var all http.Handler = mux
	if cfg.Around != nil {
		all = cfg.Around(mux)
	}
	return &Server{handler: withHealth(cfg.Client, newGuard(cfg, all)), hub: hub, log: cfg.Log}, nil
}

// readyTimeout is how long the store may take to show that it is there.
const readyTimeout = time.Second

// withHealth answers /healthz and /readyz, to everybody: they say whether the process lives, and whether its store answers, and nothing else.
func withHealth(c *client.Client, next http.Handler) http.Handler {
	answer := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body+"\n") // who asked may be gone
	}
	const fine = `{"problems":[],"status":"ok"}`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			next.ServeHTTP(w, r)
		case r.URL.Path == "/healthz":
			answer(w, http.StatusOK, fine)
		case r.URL.Path == "/readyz":
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			if _, err := c.Processes(ctx); err != nil { // something that is read
				answer(w, http.StatusServiceUnavailable, `{"problems":["the store does not answer"],"status":"unavailable"}`)
				return
			}
			answer(w, http.StatusOK, fine)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run keeps the event stream going until ctx ends; then it ends the streams that are open.
func (s *Server) Run(ctx context.Context) error { return s.hub.Run(ctx) }

// How long one request may take to arrive, and how long an idle connection is kept. Answers have no bound: an event stream lasts as long as its reader.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 5 * time.Second
)

// Serve answers requests on the listener until ctx ends, then lets those under way end, for at most five seconds; event streams are ended at once. It closes the
// listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close() // who still reads then is cut off
		}
	}()
	err := server.Serve(l)
	stop()
	<-drained
	if live := <-ended; live != nil {
		return live
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// Loopback reports whether a listener at the address, HOST:PORT, is reached from its own machine only.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	return loopbackHost(host)
}

// loopbackHost reports whether a name or an address means the own machine.
func loopbackHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
