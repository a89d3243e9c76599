//go:build unix

package cli

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// seldom are rights that this test does not see used, and what needs them.
var seldom = map[string]string{
	"acl|dryrun":       "doctor",
	"acl|whoami":       "doctor",
	"discard":          "doctor, on servers without ACL DRYRUN",
	"multi":            "doctor, on servers without ACL DRYRUN",
	"unsubscribe":      "a subscription that ends before its connection",
	"llen":             "a look at a message that has waited for long, and doctor",
	"lpos":             "a look at a message that has waited for long, and after damage",
	"smembers":         "doctor and keepers, which look at the queues",
	"scan":             "doctor and keepers, which look at the queues",
	"lpush":            "asynq puts back what a stopping worker did not take",
	"zremrangebyrank":  "asynq's archive, for a message that came back 25 times",
	"zremrangebyscore": "asynq's archive, for a message that came back 25 times",
}

// aclUser is the rule of deploy/redis.acl: user name, password, and rights for a namespace.
func aclUser(t *testing.T, namespace, password string) (name string, rule []any, commands []string) {
	t.Helper()
	text, err := os.ReadFile("../deploy/redis.acl")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(string(text), "CHANGE-ME", password), "default", namespace))
	for _, w := range words[2:] {
		rule = append(rule, w)
		if strings.HasPrefix(w, "+") {
			commands = append(commands, w[1:])
		}
	}
	if words[0] != "user" || len(commands) < 20 || !slices.Contains(words, "-@all") || strings.Contains(string(text), "+@") {
		t.Fatalf("deploy/redis.acl is no list of single commands: %s", text)
	}
	return words[1], rule, commands
}

// TestLeastRights does everything as the user of deploy/redis.acl: its rights are enough, and none of them is idle.
func TestLeastRights(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	name, rule, commands := aclUser(t, "t*", "open-sesame")
	if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", name}, rule...)...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("redis://%s:open-sesame@%s/1", name, server.Addr())

	t.Run("store", func(t *testing.T) {
		client, err := redisstore.NewClient(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
			st, err := redisstore.New(client, redisstore.Config{Namespace: redistest.Namespace(t), Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			return st
		})
		if err := client.Set(t.Context(), "other", 1, 0).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("the user may write elsewhere: %v", err)
		}
	})
	t.Run("session", func(t *testing.T) { workSession(t, url) })

	var refused []string
	log, err := admin.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range log {
		if e.Object != "other" {
			refused = append(refused, e.Reason+" "+e.Object)
		}
	}
	if len(refused) > 0 {
		t.Errorf("deploy/redis.acl lacks, by ACL LOG: %q", refused)
	}
	info, err := admin.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, m := range regexp.MustCompile(`(?m)^cmdstat_([a-z|_]+):calls=([0-9]+)`).FindAllStringSubmatch(info, -1) {
		if m[2] != "0" && !slices.Contains([]string{"hello", "auth", "acl|log", "acl|setuser", "config|resetstat"}, m[1]) {
			used = append(used, m[1])
		}
	}
	for _, c := range commands {
		if !slices.Contains(used, c) && seldom[c] == "" {
			t.Errorf("deploy/redis.acl allows %s, which nothing uses", c)
		}
	}
	for _, c := range used {
		if !slices.Contains(commands, c) {
			t.Errorf("%s is used, and deploy/redis.acl does not allow it", c)
		}
	}
}

// workSession is a worker with a beat and what people do on the command line.
func workSession(t *testing.T, url string) {
	global := []string{"--redis-url", url, "--namespace", redistest.Namespace(t)}
	cmd, stdout, stderr := startApp(t, append(global, "worker", "run", "--beat", "--poll-interval", "0.5", "--drain-timeout", "1")...)
	go func() { // asynq and its users stop at a full pipe
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "NOPERM") || strings.Contains(lines.Text(), "does not let") {
				t.Errorf("the worker says: %s", lines.Text())
			}
		}
	}()
	awaitLine(t, stdout, "completed  auto_pulse")
	do := func(code int, args ...string) string {
		t.Helper()
		got := runCommand(t, &program{}, slices.Concat(global, []string{"--output", "plain"}, args)...)
		if got.code != code {
			t.Errorf("%q: exit %d, %s%s", args, got.code, got.stdout, got.stderr)
		}
		return got.stdout
	}
	do(0, "workflows", "list")
	do(0, "workflows", "run", "lab_echo", "--input", "1", "--wait", "--idempotency-key", "k")
	do(0, "schedules", "create", "lab_sleep", "--cron", "@yearly", "--id", "naps", "--overlap", "buffer_all", "--input", `{"for":"1m"}`)
	do(0, "schedules", "trigger", "naps")
	do(0, "schedules", "trigger", "naps")
	awaitLine(t, stdout, "started    naps")
	id := strings.Fields(do(0, "runs", "list", "--schedule", "naps", "--status", "running"))[0]
	do(0, "runs", "logs", id)
	do(0, "schedules", "pause", "naps")
	do(0, "schedules", "resume", "naps")
	do(0, "schedules", "update", "naps", "--jitter", "1s")
	do(0, "schedules", "backfill", "naps", "--start", "2020-01-01T00:00:00Z", "--end", "2023-01-01T00:00:00Z")
	backfill := strings.Fields(do(0, "backfills", "list"))[0]
	do(0, "backfills", "show", backfill)
	do(0, "backfills", "cancel", backfill)
	do(0, "runs", "cancel", id, "--wait")
	do(0, "schedules", "list")
	do(0, "schedules", "show", "naps")
	do(0, "schedules", "history", "naps")
	do(0, "schedules", "delete", "naps")
	do(0, "worker", "list")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd, stdout); code != 0 {
		t.Errorf("the worker exits with %d", code)
	}
}
