package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/beat"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
)

// httpServer answers health checks, /healthz while the process lives, whatever the store does, /readyz when it can do its work, and /metrics.
type httpServer struct {
	listener net.Listener
	server   *http.Server
}

// listenHTTP binds the address; nil when there is none.
func (p *program) listenHTTP(addr string, ps *parts) (*httpServer, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, config.Usagef("--http-listen %q: %s; give an address that is free, such as 127.0.0.1:8081", addr, strings.TrimPrefix(bareNet(err).Error(), "bind: "))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, ps.problems(r.Context()), ps.watched()) })
	mux.Handle("GET /metrics", ps.session.metrics.Handler())
	p.note("health checks and metrics on http://%s/healthz, /readyz and /metrics", l.Addr())
	return &httpServer{l, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
}

func bareNet(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// close gives the address back where run is not called.
func (h *httpServer) close() {
	if h != nil {
		_ = h.listener.Close() // the process is about to end
	}
}

// run serves until ctx ends.
func (h *httpServer) run(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = h.server.Shutdown(last) // who still asks then has no answer
	}()
	err := h.server.Serve(h.listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve health checks and metrics: %w", err)
}

func answer(w http.ResponseWriter, problems []string, more map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	status := "ok"
	if len(problems) > 0 {
		status = "unavailable"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	body := map[string]any{"status": status, "problems": append([]string{}, problems...)}
	maps.Copy(body, more)
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}

// watched is what the watchdog of this process has counted since it started: schedules found overdue, and what it has put right.
func (ps *parts) watched() map[string]any {
	s := ps.keeper.Stats()
	if ps.beat != nil {
		b := ps.beat.Stats()
		s.Overdue, s.Mended = s.Overdue+b.Overdue, s.Mended+b.Mended
	}
	return map[string]any{"overdue": s.Overdue, "mended": s.Mended}
}

// problems says what keeps the process from doing its work.
func (ps *parts) problems(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var out []string
	if err := ps.session.store.Ping(ctx); err != nil {
		out = append(out, "the store does not answer: "+oneLine(err.Error()))
	}
	if ps.beat != nil {
		out = append(out, idle("beat", ps.beat.Stats(), ps.pollInterval)...)
	}
	return append(out, idle("keeper", ps.keeper.Stats(), beat.DefaultKeeperInterval)...)
}

// pollsMissed is after how long without a poll, its interval apart, a beat counts as stuck.
const pollsMissed = time.Minute

func idle(name string, s beat.Stats, every time.Duration) []string {
	switch {
	case !s.Running:
		return []string{"the " + name + " is not running"}
	case !s.Answers:
		return []string{"the " + name + " has no answer from the store"}
	case len(s.Shards) > 0 && time.Since(s.LastPoll) > every+pollsMissed:
		return []string{fmt.Sprintf("the %s last polled %s ago", name, client.Age(time.Since(s.LastPoll)))}
	}
	return nil
}

func newHealth(p *program) *cobra.Command {
	var listen string
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a worker or scheduler on this machine for its health",
		Long: `Asks the address that a worker or scheduler was given with --http-listen, for images without curl. Exit 0 when it lives; with --ready, when it can do its work as
well.`,
		Example: `  pyworkflow health --http-listen 127.0.0.1:8081
  pyworkflow health --ready        # with PYWORKFLOW_HTTP_LISTEN set`,
		Args:        takes(),
		Annotations: map[string]string{ownModule: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if listen == "" {
				return config.Usagef("health: give the address to ask with --http-listen or %s", config.EnvName("http-listen"))
			}
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			body, err := p.ask(cmd.Context(), listen, path)
			if err != nil {
				return err
			}
			return p.print(json.RawMessage(body), func() error {
				_, err := fmt.Fprintln(p.stdout, "ok")
				return err
			})
		},
	}
	httpListenFlag(cmd, &listen)
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it can do its work: the store answers, the beat polls")
	return cmd
}

func httpListenFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "http-listen", "", "address of the health checks /healthz and /readyz and of /metrics, such as 127.0.0.1:8081 (default off)")
	config.OptIn(cmd.Flags(), config.Plain, "http-listen")
}

func (p *program) ask(ctx context.Context, listen, path string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", config.Usagef("--http-listen %q: must be HOST:PORT, such as 127.0.0.1:8081", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return "", config.Usagef("--http-listen %q: must be HOST:PORT, such as 127.0.0.1:8081", listen)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		why := strings.TrimPrefix(bareNet(err).Error(), "connect: ")
		return "", &exitError{client.CodeUnavailable, fmt.Sprintf("nothing answers on %s: %s; start the process with --http-listen %s", listen, why, listen)}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return "", fmt.Errorf("read answer of %s: %w", listen, err)
	}
	if res.StatusCode != http.StatusOK {
		var said struct{ Problems []string }
		_ = json.Unmarshal(body, &said) // else there is nothing to add
		return "", &exitError{client.CodeUnavailable, fmt.Sprintf("%s answers %s: %s", listen, res.Status, strings.Join(said.Problems, "; "))}
	}
	return string(body), nil
}
