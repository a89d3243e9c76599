package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/alert"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// webhook keeps what is posted to it.
type webhook struct {
	mu   sync.Mutex
	got  []alert.Message
	bare []http.Header
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m alert.Message
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || r.URL.Path != "/"+secret {
		http.Error(w, "not for me", http.StatusBadRequest)
		return
	}
	if h.got = append(h.got, m); len(h.got) == 1 {
		w.WriteHeader(http.StatusInternalServerError) // the first attempt of all
	}
	h.bare = append(h.bare, r.Header.Clone())
}

func (h *webhook) all() []alert.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// TestAlertsOfProcesses: of a worker and a scheduler on one Redis, both with the same settings, one posts that a run has failed, once, after its retries. Addresses are
// secrets.
func TestAlertsOfProcesses(t *testing.T) {
	server, namespace := redistest.Shared(t), redistest.Namespace(t)
	var hook webhook
	receiver := httptest.NewServer(&hook)
	t.Cleanup(receiver.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PYWORKFLOW_REDIS_URL=" + server.URL(), "PYWORKFLOW_NAMESPACE=" + namespace, "PYWORKFLOW_LOG_LEVEL=debug", "PYWORKFLOW_ALERT_URL=" + receiver.URL + "/" + secret,
		"PYWORKFLOW_ALERT_SECRET_FILE=" + key, "PYWORKFLOW_ALERT_LINK=https://jobs.example.com"}
	worker, workerSays := appCommand(t, env, "worker", "run", "--http-listen", "127.0.0.1:0")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	scheduler, schedulerSays := appCommand(t, env, "scheduler", "run", "--poll-interval", "0.5")
	if err := scheduler.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "declared schedules run", func() bool { return strings.Contains(workerSays.String(), "completed  auto_pulse") })

	ask := func(args ...string) string {
		t.Helper()
		got := runCommand(t, &program{}, append([]string{"--redis-url", server.URL(), "--namespace", namespace, "--output", "json"}, args...)...)
		if got.code != 0 {
			t.Fatalf("%q: exit %d, %s", args, got.code, got.stderr)
		}
		var said struct {
			RunID string `json:"run_id"`
		}
		if err := json.Unmarshal([]byte(got.stdout), &said); err != nil {
			t.Fatal(err)
		}
		return said.RunID
	}
	flaky := ask("workflows", "run", "lab_flaky", "--input", `{"failures":1}`)
	free := ask("workflows", "run", "lab_panic")
	ask("schedules", "create", "lab_panic", "--id", "bad", "--cron", "@yearly")
	scheduled := ask("schedules", "trigger", "bad")
	await(t, "both failed runs are posted, one of them at the second attempt", func() bool { return len(hook.all()) >= 3 })
	await(t, "the run that fails at first completes", func() bool { return strings.Contains(workerSays.String(), "completed  lab_flaky  "+flaky) })

	_, at, _ := strings.Cut(workerSays.String(), "metrics on http://")
	at, _, _ = strings.Cut(at, "/")
	await(t, "both are counted", func() bool {
		body, err := (&program{}).ask(t.Context(), at, "/metrics")
		return err == nil && strings.Contains(body, "pyworkflow_alerts_total{result=\"sent\"} 2\n")
	})
	for _, p := range []*os.Process{worker.Process, scheduler.Process} {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if err := worker.Wait(); err != nil {
		t.Errorf("the worker ends: %v\n%s", err, workerSays)
	}
	if err := scheduler.Wait(); err != nil {
		t.Errorf("the scheduler ends: %v\n%s", err, schedulerSays)
	}
	count := map[string]int{}
	ids := map[string]bool{}
	for i, m := range hook.all() {
		count[string(m.RunID)]++
		ids[m.ID] = true
		if m.Kind != alert.Failed || m.Namespace != namespace || m.Reason != "panic" || m.Count != 1 || string(m.Link) != "https://jobs.example.com/runs/"+string(m.RunID) {
			t.Errorf("posted %+v", m)
		}
		if (string(m.ScheduleID) == "bad") != (string(m.RunID) == scheduled) {
			t.Errorf("run %s of schedule %q", m.RunID, m.ScheduleID)
		}
		if h := hook.bare[i]; !strings.HasPrefix(h.Get("Webhook-Signature"), "v1,") || h.Get("Webhook-Id") != m.ID {
			t.Errorf("headers %v", h)
		}
	}
	if len(count) != 2 || count[free]+count[scheduled] != 3 || len(ids) != 2 {
		t.Errorf("posted %v, of runs %s and %s", count, free, scheduled)
	}
	for _, says := range []string{workerSays.String(), schedulerSays.String()} {
		if strings.Contains(says, secret) || !strings.Contains(says, "alerts on failed, missed, overdue, blocked to "+receiver.URL+"/***\n") {
			t.Errorf("a process says:\n%s", says)
		}
	}
}

// TestAlertAddressIsNowhereToBeSeen gives a scheduler the address of a webhook that cannot be reached in each way, and looks at the list of processes and at all it writes.
func TestAlertAddressIsNowhereToBeSeen(t *testing.T) {
	address := "http://me:" + secret + "@127.0.0.1:1/" + secret + "?t=" + secret
	for _, way := range []struct {
		name       string
		env, args  []string
		file, from string
	}{
		{"flag", nil, []string{"--alert-url", address, "--alert-url", address + "2"}, "", "flag --alert-url"},
		{"flag with =", nil, []string{"--alert-url=" + address + "," + address + "2"}, "", "flag --alert-url"},
		{"environment", []string{"PYWORKFLOW_ALERT_URL=" + address + "," + address + "2"}, nil, "", "environment PYWORKFLOW_ALERT_URL"},
		{"file", nil, nil, "alert_url:\n- " + address + "\n- " + address + "2\n", "file "},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cmd, out := appCommand(t, way.env, slices.Concat([]string{"scheduler", "run", "--log-level", "debug"}, way.args)...)
			if way.file != "" {
				if err := os.WriteFile(filepath.Join(cmd.Dir, "pyworkflow.config.yaml"), []byte(way.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "a run completes", func() bool { return strings.Contains(out.String(), "completed  auto_pulse") })
			run, said := appCommand(t, nil, "workflows", "run", "lab_panic") // it is executed by the scheduler
			run.Dir = cmd.Dir
			if err := run.Run(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			await(t, "a run fails", func() bool { return strings.Contains(out.String(), "failed     lab_panic") })
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(line), secret) || !strings.Contains(string(line), "debug") {
				t.Errorf("the list of processes says %q", line)
			}
			for _, format := range []string{"table", "json", "plain"} {
				show, shown := appCommand(t, way.env, "config", "show", "--output", format)
				show.Dir = cmd.Dir
				if err := show.Run(); err != nil || strings.Contains(shown.String(), secret) || !strings.Contains(shown.String(), "alert-url") ||
					len(way.args) == 0 && !strings.Contains(shown.String(), way.from) {
					t.Errorf("config show --output %s: %v\n%s", format, err, shown)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the scheduler ends: %v", err)
			}
			if says := out.String(); strings.Contains(says, secret) || !strings.Contains(says, "to http://127.0.0.1:1/***, http://127.0.0.1:1/***") ||
				!strings.Contains(says, "alerts were not delivered before the end of the process") {
				t.Errorf("the scheduler says:\n%s", says)
			}
		})
	}
}

// What is wrong with the flags is said in a line that shows no address.
func TestAlertFlags(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"--alert-url", "https://h/" + secret}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--alert-url", "h/" + secret}, `--alert-url "***": must begin with https:// or http://`},
		{[]string{"--alert-url", "https://h/x,https:///" + secret}, `--alert-url "***": has no host`},
		{[]string{"--alert-url", "https://h/#" + secret}, `--alert-url "***": must have no fragment`},
		{append([]string{"--alert-on", "failed,late"}, good...), `--alert-on "failed,late": "late" must be one of failed, missed, overdue, blocked`},
		{append([]string{"--alert-format", "xml"}, good...), `--alert-format "xml": must be json or slack`},
		{append([]string{"--alert-blocked-after", "0"}, good...), `--alert-blocked-after "0s": must be more than 0`},
		{append([]string{"--alert-link", "https://me:" + secret + "@h"}, good...), `--alert-link "https://h/***": must have no user and password`},
		{append([]string{"--alert-link", "jobs.example.com"}, good...), `--alert-link "***": must begin with https://`},
		{append([]string{"--alert-secret-file", "/nowhere"}, good...), `--alert-secret-file "/nowhere": cannot be read: no such file or directory`},
		{append([]string{"--alert-secret-file", short}, good...), `--alert-secret-file "` + short + `": line 1: a secret of 14 bytes is too short`},
		{[]string{"--alert-on", "failed"}, `--alert-on "failed": there is nowhere to post to: give an address with --alert-url`},
		{[]string{"--alert-secret-file", short}, `--alert-secret-file "` + short + `": there is nowhere to post to`},
		{[]string{"https://hooks.slack.com/services/" + secret}, `unexpected argument "https://hooks.slack.com/***"`},
	} {
		for _, command := range [][]string{{"worker", "run"}, {"scheduler", "run"}, {"dev"}} {
			got := runCommand(t, &program{}, append(slices.Clone(command), c.args...)...)
			refused(t, got, 2, []string{strings.ToLower(c.want)})
			if strings.Contains(got.stderr, secret) {
				t.Errorf("%q: %s", c.args, got.stderr)
			}
		}
	}
}
