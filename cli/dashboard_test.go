package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dashed is a dashboard that runs in this process.
type dashed struct {
	url  string
	stop func() (code int, stderr string)
}

// runDashboard runs the command until stop is called. Its first line says where it is.
func runDashboard(t *testing.T, dir string, args ...string) dashed {
	t.Helper()
	said, out := io.Pipe()
	var errs bytes.Buffer
	p := &program{register: registerTest, dir: dir, stdout: out, stderr: &errs, env: func(string) (string, bool) { return "", false }, now: time.Now}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan int, 1)
	go func() {
		code := p.run(ctx, append([]string{"--output", "json", "--storage-path", filepath.Join(dir, "data"), "dashboard", "--listen", "127.0.0.1:0"}, args...))
		_ = out.Close()
		ended <- code
	}()
	d := dashed{stop: func() (int, string) {
		cancel(errInterrupted)
		code := <-ended
		return code, errs.String()
	}}
	var first struct{ Event, URL, Runtime, Storage, Namespace string }
	if err := json.NewDecoder(said).Decode(&first); err != nil || first.Event != "dashboard" || first.Storage == "" || first.Namespace != "default" {
		code, stderr := d.stop()
		t.Fatalf("%+v, %v: exit %d, %s", first, err, code, stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	d.url = strings.TrimSuffix(first.URL, "/")
	return d
}

func (d dashed) get(t *testing.T, path string) (int, any) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(d.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var v any
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		t.Fatalf("%s: %s: %v", path, res.Status, err)
	}
	return res.StatusCode, v
}

var flagName = regexp.MustCompile(`--[a-z]+(-[a-z]+)*`)

// TestDashboardSaysWhatTheCommandLineSays: of the same store the API and the command line give the same, fields and numbers, and the same refusals.
func TestDashboardSaysWhatTheCommandLineSays(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) result {
		return runCommand(t, &program{register: registerTest, dir: dir}, append([]string{"--output", "json", "--storage-path", filepath.Join(dir, "data")}, args...)...)
	}
	done := func(args ...string) map[string]any {
		t.Helper()
		got := run(args...)
		if got.code != 0 {
			t.Fatalf("%q: exit %d, %s", args, got.code, got.stderr)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &v); err != nil {
			t.Fatalf("%q: %v: %s", args, err, got.stdout)
		}
		return v
	}
	done("schedules", "create", "lab_echo", "--id", "echo", "--cron", "0 9 1 1 *", "--timezone", "Europe/Berlin", "--input", `{"a": [1, "<b>", null]}`, "--note", "a <note> & more", "--jitter", "5s")
	done("schedules", "create", "lab_echo", "--id", "broken", "--calendar", "day_of_month=1,last hour=9", "--overlap", "buffer_one", "--queue", "other")
	id, _ := done("schedules", "trigger", "echo", "--wait")["run_id"].(string)
	done("schedules", "pause", "broken", "--note", "why")
	done("schedules", "backfill", "echo", "--start", "2022-06-01T00:00:00Z", "--end", "2024-06-01T00:00:00Z")
	done("workflows", "run", "lab_echo", "--input", "7")
	done("schedules", "activate")

	d := runDashboard(t, dir)
	same := func(path string, args ...string) {
		t.Helper()
		got := run(args...)
		var want any
		if err := json.Unmarshal([]byte(got.stdout), &want); err != nil || got.code != 0 {
			t.Errorf("%q: exit %d, %v, %s", args, got.code, err, got.stderr)
			return
		}
		status, have := d.get(t, "/api/v1"+path)
		if m, ok := have.(map[string]any); ok && strings.HasSuffix(path, "/events") {
			delete(m, "after") // where the log goes on is the API's own
		}
		if status != http.StatusOK || !reflect.DeepEqual(have, want) {
			a, _ := json.Marshal(have)
			b, _ := json.Marshal(want)
			t.Errorf("%s: %d\n%s\n%q:\n%s", path, status, a, args, b)
		}
	}
	same("/schedules", "schedules", "list")
	same("/schedules?status=paused&workflow=lab_echo", "schedules", "list", "--status", "paused", "--workflow", "lab_echo")
	same("/schedules?limit=1", "schedules", "list", "--limit", "1")
	same("/schedules/echo", "schedules", "show", "echo")
	same("/schedules/broken", "schedules", "show", "broken")
	same("/schedules/auto_pulse", "schedules", "show", "auto_pulse")
	same("/schedules/echo/history", "schedules", "history", "echo")
	same("/schedules/echo/history?fate=started&limit=1", "schedules", "history", "echo", "--fate", "started", "--limit", "1")
	same("/schedules/echo/next?count=3&after=2026-03-08T00:00:00Z", "schedules", "next", "echo", "--count", "3", "--after", "2026-03-08T00:00:00Z")
	same("/next?cron=*/7+*+*+*+*&timezone=Asia/Tokyo&after=2026-03-08T00:00:00Z", "schedules", "next", "--cron", "*/7 * * * *", "--timezone", "Asia/Tokyo", "--after", "2026-03-08T00:00:00Z")
	same("/schedules/echo/backfill/plan?start=2020-01-01T00:00:00Z&end=2024-06-01T00:00:00Z&missing_only=true", "schedules", "backfill", "echo", "--start", "2020-01-01T00:00:00Z",
		"--end", "2024-06-01T00:00:00Z", "--missing-only", "--dry-run")
	same("/backfills", "backfills", "list")
	same("/runs", "runs", "list")
	same("/runs?schedule=echo&status=completed&since=1h", "runs", "list", "--schedule", "echo", "--status", "completed", "--since", "1h")
	same("/runs/"+id, "runs", "show", id)
	same("/runs/"+id+"/events", "runs", "logs", id)
	same("/workflows", "workflows", "list")
	same("/workflows/lab_echo", "workflows", "info", "lab_echo")
	same("/processes", "worker", "list")

	refused := func(path string, code int, args ...string) {
		t.Helper()
		got := run(args...)
		var said struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(got.stderr), &said); err != nil || got.code != code {
			t.Errorf("%q: exit %d, %s", args, got.code, got.stderr)
		}
		_, have := d.get(t, "/api/v1"+path)
		p, _ := have.(map[string]any)
		want := flagName.ReplaceAllStringFunc(said.Error.Message, func(flag string) string { return strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_") })
		want, _, _ = strings.Cut(want, `; "pyworkflow `)
		detail, _ := p["detail"].(string)
		detail, _, _ = strings.Cut(detail, "; GET /api/v1/")
		if detail != want || p["code"] != said.Error.Code {
			t.Errorf("%s: %v\n%s\n%q:\n%s %s", path, p["code"], detail, args, said.Error.Code, want)
		}
	}
	refused("/next?interval=30", 2, "schedules", "next", "--interval", "30")
	refused("/next?cron=0+0+30+2+*", 2, "schedules", "next", "--cron", "0 0 30 2 *")
	refused("/next?cron=@daily&timezone=Berlin", 2, "schedules", "next", "--cron", "@daily", "--timezone", "Berlin")
	refused("/next?calendar=hour%3D25", 2, "schedules", "next", "--calendar", "hour=25")
	refused("/next?cron=@daily&start_at=tomorrow", 2, "schedules", "next", "--cron", "@daily", "--start-at", "tomorrow")
	refused("/next?cron=@daily&jitter=5", 2, "schedules", "next", "--cron", "@daily", "--jitter", "5")
	refused("/schedules?status=lost", 2, "schedules", "list", "--status", "lost")
	refused("/schedules?limit=many", 2, "schedules", "list", "--limit", "many")
	refused("/schedules/nope", 3, "schedules", "show", "nope")
	refused("/runs/nope", 3, "runs", "show", "nope")
	refused("/runs?since=yesterday", 2, "runs", "list", "--since", "yesterday")
	refused("/runs?cursor=made-up", 2, "runs", "list", "--cursor", "made-up")
	refused("/workflows/nope", 3, "workflows", "info", "nope")
	refused("/schedules/echo/backfill/plan?"+url.Values{"start": {"2026-01-02T00:00:00Z"}, "end": {"2026-01-01T00:00:00Z"}}.Encode(), 2,
		"schedules", "backfill", "echo", "--start", "2026-01-02T00:00:00Z", "--end", "2026-01-01T00:00:00Z", "--dry-run")

	if code, stderr := d.stop(); code != 0 || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestDashboardIsCareful: it does not let others in unasked, and says what to do.
func TestDashboardIsCareful(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := file("long", "0123456789abcdef\n")
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--listen", "0.0.0.0:0"}, []string{`--listen "0.0.0.0:0": others can reach it`, "pyworkflow_dashboard_token", "127.0.0.1:8585"}},
		{[]string{"--listen", ":0", "--read-only"}, []string{`--listen ":0": others can reach it`}},
		{[]string{"--listen", "[::]:0"}, []string{"others can reach it"}},
		{[]string{"--listen", "8585"}, []string{`--listen "8585": must be host:port, such as 127.0.0.1:8585`}},
		{[]string{"--listen", "127.0.0.1:99999"}, []string{`--listen "127.0.0.1:99999": `, "give an address that is free"}},
		{[]string{"--dashboard-token", "hunter2"}, []string{"--dashboard-token: has 7 characters", "16", "openssl rand"}},
		{[]string{"--dashboard-token-file", file("short", "hunter2")}, []string{"has 7 characters"}},
		{[]string{"--dashboard-token-file", file("empty", "\n")}, []string{"is empty"}},
		{[]string{"--dashboard-token-file", filepath.Join(dir, "none")}, []string{"none", "no such file"}},
		{[]string{"--dashboard-token-file", long, "--dashboard-token", "0123456789abcdef"}, []string{"give one of them"}},
		{[]string{"--read-only", "--listen", "127.0.0.1:0"}, []string{"--read-only: there are no records in", "start a scheduler"}},
		{[]string{"now"}, []string{`unexpected argument "now"`}},
	} {
		got := runCommand(t, &program{dir: dir}, append([]string{"--storage-path", filepath.Join(dir, "data"), "dashboard"}, c.args...)...)
		refused(t, got, 2, c.says)
		if strings.Contains(got.stdout+got.stderr, "hunter2") {
			t.Errorf("%q: the token is shown: %s", c.args, got.stderr)
		}
		if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	d := runDashboard(t, dir, "--dashboard-token-file", long)
	if status, _ := d.get(t, "/api/v1/version"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	if code, stderr := d.stop(); code != 0 || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
	d = runDashboard(t, dir, "--read-only")
	if status, v := d.get(t, "/api/v1/version"); status != http.StatusOK || v.(map[string]any)["read_only"] != true {
		t.Errorf("%d %v", status, v)
	}
	if code, stderr := d.stop(); code != 0 || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestDashboardTokenIsVeiled(t *testing.T) {
	args := []string{"pyworkflow", "dashboard", "--dashboard-token", "s3cret-s3cret-s3cret", "--dashboard-token=s3cret-s3cret-s3cret", "--dashboard-token-file", "f"}
	shown, env, ok := veil(args, nil)
	if strings.Contains(strings.Join(shown, " "), "s3cret") || !ok || shown[6] != "f" || len(env) != 1 {
		t.Errorf("%q", shown)
	}
	if back := unveil(shown, strings.TrimPrefix(env[0], veiledVar+"=")); !reflect.DeepEqual(back, args) {
		t.Errorf("%q", back)
	}
}
