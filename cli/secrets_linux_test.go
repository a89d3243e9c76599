package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

const secret = "hunter2-s3cret"

// spoken keeps what a process writes.
type spoken struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// appCommand is the program app as a process of its own, with further environment.
func appCommand(t *testing.T, env []string, args ...string) (*exec.Cmd, *spoken) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := &spoken{}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Args = append([]string{"app"}, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestPasswordIsNowhereToBeSeen gives a worker its password in each way, and looks at the list of processes, at all it writes, and at all it leaves in Redis.
func TestPasswordIsNowhereToBeSeen(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "me", "on", ">"+secret, "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("redis://me:%s@%s/0", secret, server.Addr())
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name      string
		env, args []string
	}{
		{"flag", nil, []string{"--redis-url", url}},
		{"flag with =", nil, []string{"--redis-url=" + url}},
		{"environment", []string{"PYWORKFLOW_REDIS_URL=" + url}, nil},
		{"file", nil, []string{"--redis-url", "redis://me@" + server.Addr(), "--redis-password-file", file}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			namespace := redistest.Namespace(t)
			global := append(slices.Clone(way.args), "--namespace", namespace, "--log-level", "debug")
			cmd, out := appCommand(t, way.env, append(global, "worker", "run", "--beat", "--poll-interval", "0.2")...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "a run completes", func() bool { return strings.Contains(out.String(), "completed  auto_pulse") })
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(line), secret) || !strings.Contains(string(line), namespace) {
				t.Errorf("the list of processes says %q", line)
			}
			for _, format := range []string{"table", "json", "plain"} {
				show, shown := appCommand(t, way.env, append(global, "config", "show", "--output", format)...)
				if err := show.Run(); err != nil || strings.Contains(shown.String(), secret) || !strings.Contains(shown.String(), "redis-url") {
					t.Errorf("config show --output %s: %v\n%s", format, err, shown)
				}
				if want := "flag --redis-url"; way.env == nil && !strings.Contains(shown.String(), want) {
					t.Errorf("config show does not say where the URL is from:\n%s", shown)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the worker ends: %v", err)
			}
			if strings.Contains(out.String(), secret) || !strings.Contains(out.String(), "asynq: ") {
				t.Errorf("the worker says:\n%s", out)
			}
		})
	}
	t.Cleanup(func() { searchRedis(t, server) })
}

// searchRedis looks for the secret in every key.
func searchRedis(t *testing.T, server *redistest.Server) {
	ctx := context.WithoutCancel(t.Context())
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil || len(keys) < 10 {
		t.Fatalf("only %d keys in Redis: %v", len(keys), err)
	}
	for _, k := range keys {
		// DUMP may compress: the values themselves are read.
		text, err := client.Eval(ctx, `local t = redis.call('TYPE', KEYS[1])['ok']
			local read = {string={'GET'}, hash={'HGETALL'}, list={'LRANGE', 0, -1}, set={'SMEMBERS'}, zset={'ZRANGE', 0, -1}, stream={'XRANGE', '-', '+'}}
			local c = read[t]
			if not c then return '' end
			return cjson.encode(redis.call(c[1], KEYS[1], unpack(c, 2)))`, []string{k}).Text()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(k+text, secret) {
			t.Errorf("the password lies in Redis, in %s: %s", k, text)
		}
	}
}

// TestPasswordIsInNoError lets things go wrong in each way.
func TestPasswordIsInNoError(t *testing.T) {
	server := redistest.Start(t)
	ca := redistest.NewCA(t)
	secure := redistest.StartTLS(t, ca, true, nil)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "WRONGPASS", []string{"--redis-url", "redis://me:" + secret + "@" + server.Addr()}},
		{1, "WRONGPASS", []string{"--redis-url", "redis://me@" + server.Addr(), "--redis-password-file", file}},
		{2, "no database", []string{"--redis-url", "redis-cluster://me:" + secret + "@h/3"}},
		{2, "must begin with", []string{"--redis-url", "http://me:" + secret + "@h"}},
		{2, "must be a URL", []string{"--redis-url", "me:" + secret + "@h:6379"}},
		{2, "percent-encoded", []string{"--redis-url=redis://me:" + secret + "/@h"}},
		{2, "in front of the host", []string{"--redis-url=redis://h?password=" + secret}},
		{2, "no password", []string{"--redis-url", "redis://" + secret + "@h"}},
		{1, "connection refused", []string{"--redis-url", "redis://me:" + secret + "@127.0.0.1:1"}},
		{1, "no such host", []string{"--redis-url", "redis://me:" + secret + "@no-such-host.invalid"}},
		{1, "--redis-tls-ca", []string{"--redis-url", strings.Replace(secure.TLSURL(), "//", "//me:"+secret+"@", 1)}},
		{1, "client certificate", []string{"--redis-url", strings.Replace(secure.TLSURL(), "//", "//me:"+secret+"@", 1), "--redis-tls-ca", ca.File}},
		{1, "sentinel", []string{"--redis-url", "redis-sentinel://me:" + secret + "@127.0.0.1:1/mine?sentinel_password=" + secret}},
		{2, "unexpected argument", []string{"redis://me:" + secret + "@h"}},
		{2, "unknown flag", []string{"--redis-uri=redis://me:" + secret + "@h"}},
	} {
		for _, format := range []string{"table", "json"} {
			cmd, out := appCommand(t, nil, append([]string{"schedules", "list", "--log-level", "debug", "--output", format}, c.args...)...)
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != c.code || strings.Contains(out.String(), secret) || !strings.Contains(out.String(), c.want) {
				t.Errorf("%q: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.want, out)
			}
		}
	}
}

// What is masked for others is whole for the program itself, and for the one that --module builds.
func TestVeil(t *testing.T) {
	args := []string{"app", "--redis-url", "redis://me:pw@h", "--redis-url=rediss://:pw@h", "--x=redis://u:pw@h", "redis://h", "--input", `{"url":"redis://u:pw@h"}`, "--note", "a@b"}
	shown, env, ok := veil(args, []string{"A=b"})
	if want := "app --redis-url redis://me:***@h --redis-url=rediss://:***@h --x=redis://u:***@h redis://h --input {\"url\":\"redis://u:pw@h\"} --note a@b"; !ok || strings.Join(shown, " ") != want {
		t.Errorf("shown as %q", shown)
	}
	text, found := strings.CutPrefix(env[len(env)-1], veiledVar+"=")
	if got := unveil(shown, text); !found || env[0] != "A=b" || !slices.Equal(got, args) {
		t.Errorf("unveiled: %q", got)
	}
	if _, _, ok := veil(shown[:6], nil); ok {
		t.Error("what is masked would be masked again")
	}
	if got := unveil(shown, "junk"); !slices.Equal(got, shown) {
		t.Errorf("junk in the environment: %q", got)
	}
	if got := withoutPasswords("unknown redis://me:pw@h here", args[1:]); got != "unknown redis://me:***@h here" {
		t.Errorf("an error says %q", got)
	}
}

// TestRunsThroughTLS: a worker with a beat completes runs over TLS with a client certificate, told by the environment and by the file.
func TestRunsThroughTLS(t *testing.T) {
	ca := redistest.NewCA(t)
	server := redistest.StartTLS(t, ca, true, nil)
	cert, key := ca.Issue("app", time.Time{})
	namespace := redistest.Namespace(t)
	cmd, out := appCommand(t, []string{"PYWORKFLOW_REDIS_URL=" + server.TLSURL(), "PYWORKFLOW_REDIS_TLS_CA=" + ca.File}, "--namespace", namespace, "worker", "run", "--beat")
	for from, to := range map[string]string{cert: "tls/app.crt", key: "tls/app.key"} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(cmd.Dir, "tls"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cmd.Dir, to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := "redis_tls_cert: tls/app.crt\nredis_tls_key: tls/app.key\n"
	if err := os.WriteFile(filepath.Join(cmd.Dir, "pyworkflow.config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(cmd.Dir, "below") // paths in the file are relative to it
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = work
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "a run completes over TLS", func() bool {
		return strings.Contains(out.String(), "completed  auto_pulse") || cmd.Process.Signal(syscall.Signal(0)) != nil
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the worker ends: %v\n%s", err, out)
	}
	got := runCommand(t, &program{}, "--redis-url", server.TLSURL(), "--redis-tls-ca", ca.File, "--redis-tls-cert", cert, "--redis-tls-key", key, "--namespace", namespace,
		"runs", "list", "--status", "completed", "--output", "plain")
	if got.code != 0 || !strings.Contains(got.stdout, "pulse") {
		t.Errorf("exit %d, %s%s", got.code, got.stdout, got.stderr)
	}
	// Misuse names the place, the value and the way out.
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--redis-url", server.TLSURL(), "--redis-tls-cert", cert}, `--redis-tls-cert "` + cert + `": has no key: name the file of its key with --redis-tls-key`},
		{[]string{"--redis-url", server.URL(), "--redis-tls-ca", ca.File}, `--redis-tls-ca "` + ca.File + `": the redis url ` + server.URL() + ` is without tls`},
		{[]string{"--storage", "sqlite", "--redis-tls-ca", ca.File}, `--redis-tls-ca "` + ca.File + `": there is no redis url`},
		{[]string{"--redis-url", server.TLSURL(), "--redis-tls-ca", "/nowhere"}, `--redis-tls-ca "/nowhere": cannot be read`},
	} {
		refused(t, runCommand(t, &program{}, append([]string{"schedules", "list"}, c.args...)...), 2, []string{strings.ToLower(c.want)})
	}
}
