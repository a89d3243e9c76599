package redisurl

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		url  string
		want string // addrs|db|user|password|master|cluster|TLS
	}{
		{"redis://", "localhost:6379|0||||false|false"},
		{"redis://localhost:6379/0", "localhost:6379|0||||false|false"},
		{"redis://h", "h:6379|0||||false|false"},
		{"redis://[::1]:7/3", "[::1]:7|3||||false|false"},
		{"redis://:pw@h/2", "h:6379|2||pw||false|false"},
		{"redis://me:p%40%2F%3A@h/2", "h:6379|2|me|p@/:||false|false"},
		{"redis://h?db=4", "h:6379|4||||false|false"},
		{"REDIS://h", "h:6379|0||||false|false"},
		{"rediss://me:pw@h:1", "h:1|0|me|pw||false|true"},
		{"redis-cluster://h", "h:6379|0||||true|false"},
		{"redis-cluster://me:pw@a:1,b,c:3", "a:1,b:6379,c:3|0|me|pw||true|false"},
		{"redis-cluster://a:1/0?addr=b:2", "a:1,b:2|0||||true|false"},
		{"rediss-cluster://a:1,b:2", "a:1,b:2|0||||true|true"},
		{"redis-sentinel://me:pw@a,b:2/mine/5", "a:26379,b:2|5|me|pw|mine|false|false"},
		{"redis-sentinel://:pw@a:1/3?master_name=mine", "a:1|3||pw|mine|false|false"},
		{"redis-sentinel://a:1?master=mine", "a:1|0|||mine|false|false"},
		{"rediss-sentinel://a:1/mine", "a:1|0|||mine|false|true"},
	} {
		target, err := Parse(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		o := target.Options
		got := fmt.Sprintf("%s|%d|%s|%s|%s|%v|%v", strings.Join(o.Addrs, ","), o.DB, o.Username, o.Password, o.MasterName, o.IsClusterMode, target.TLS)
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.url, got, test.want)
		}
	}
}

func TestTargetOpensTheRightClient(t *testing.T) {
	for url, want := range map[string]string{
		"redis://h:1":                "*redis.Client Redis<h:1 db:0>",
		"redis-cluster://h:1":        "*redis.ClusterClient",
		"redis-cluster://a:1,b:2":    "*redis.ClusterClient",
		"redis-sentinel://a:1/m":     "*redis.Client Redis<FailoverClient db:0>",
		"redis-sentinel://a,b:1/m/2": "*redis.Client Redis<FailoverClient db:2>",
	} {
		target, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		client := target.Client()
		got := fmt.Sprintf("%T", client)
		if c, ok := client.(*redis.Client); ok {
			got += " " + c.String()
		}
		if got != want {
			t.Errorf("%s opens %s, want %s", url, got, want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRedisURLParameters(t *testing.T) {
	for _, scheme := range []string{"rediss://h", "rediss-cluster://h", "rediss-sentinel://h/m"} {
		target, err := Parse(scheme + "?dial_timeout=3s&pool_size=7&client_name=x")
		if err != nil {
			t.Fatal(err)
		}
		o := target.Options
		if o.DialTimeout != 3*time.Second || o.PoolSize != 7 || o.ClientName != "x" || !target.TLS {
			t.Errorf("%s: %v %v %q %v", scheme, o.DialTimeout, o.PoolSize, o.ClientName, target.TLS)
		}
	}
	target, err := Parse("redis-sentinel://me:pw@a/m?sentinel_username=s&sentinel_password=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	if o := target.Options; o.SentinelUsername != "s" || o.SentinelPassword != "hunter2" || o.Username != "me" || o.Password != "pw" {
		t.Errorf("got sentinel %s:%s, server %s:%s", o.SentinelUsername, o.SentinelPassword, o.Username, o.Password)
	}
	if want := "redis-sentinel://me:***@a/m?sentinel_username=s&sentinel_password=***"; target.String() != want {
		t.Errorf("shown as %s", target)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "redis", target)
	if out := log.String() + fmt.Sprintf("%v", target); strings.Contains(out, "hunter2") || strings.Contains(out, "pw") {
		t.Errorf("a password shows: %s", out)
	}
}

func TestWrongRedisURLs(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  "must be a URL",
		"h:6379":                            "must be a URL",
		"u:hunter2@h:6379":                  "must be a URL",
		"http://h":                          "must begin with",
		"redis-x://h":                       "must begin with",
		"redis://a,b":                       "several hosts",
		"redis://a:1:2":                     "the host must be",
		"redis://h:":                        "the host must be",
		"redis://h:0":                       "the host must be",
		"redis://h:65536":                   "the host must be",
		"redis://u:hunter2":                 "the host must be",
		"redis-cluster://a,,b":              "the host must be",
		"redis://h/x":                       `database "x" must be a number`,
		"redis://h/-1":                      `database "-1" must be a number`,
		"redis://h/1/2":                     `database "1/2" must be a number`,
		"redis://h?db=x":                    `database "x" must be a number`,
		"redis://h/%zz":                     "stray %",
		"redis://h?a=%zz":                   "percent-encoded",
		"redis-cluster://h/1":               "no database but 0",
		"redis-cluster://h?db=1":            "no database but 0",
		"redis-cluster://h?addr=u%40x:1":    "addr must be HOST:PORT",
		"redis://u:12?hunter2=x@h":          "percent-encoded",
		"redis-sentinel://h":                "lacks the name of the master",
		"redis-sentinel://h/m/x":            `database "x" must be a number`,
		"redis://hunter2@h":                 "no password",
		"redis://u:hunter2%@h":              "a % as %25",
		"redis://u:hunter2%zz@h":            "a % as %25",
		"redis://u:hunt/er2@h":              "percent-encoded",
		"redis://u:hunt?er2@h":              "percent-encoded",
		"redis://u:hunt#er2@h":              "percent-encoded",
		"redis://u:hunt@er2@h":              "percent-encoded",
		"redis://u:hun ter2@h\n":            "",
		"redis://h?password=hunter2":        "belong in front of the host",
		"redis://h?nonsense=1":              "unexpected option: nonsense",
		"redis://h?pool_size=x":             "invalid pool_size number",
		"rediss://h?skip_verify=true":       "name the CA of the server's certificate (redis-tls-ca)",
		"redis-cluster://h?read_only=true":  "would read from replicas",
		"redis-sentinel://h/m?replica_only": "would read from replicas",
	} {
		_, err := Parse(url)
		if err == nil {
			t.Errorf("%s is accepted", url)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		for _, part := range []string{"hunt", "er2", "\n"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q shows the password or breaks the line: %v", url, err)
			}
		}
	}
}

func TestMask(t *testing.T) {
	for url, want := range map[string]string{
		"":                                "",
		"redis://h:1/0":                   "redis://h:1/0",
		"redis://:pw@h":                   "redis://:***@h",
		"redis://me:pw@h:1/0?pool_size=1": "redis://me:***@h:1/0?pool_size=1",
		"redis-cluster://me:pw@a:1,b:2":   "redis-cluster://me:***@a:1,b:2",
		"redis://h?password=pw&db=1":      "redis://h?password=***&db=1",
		"redis://h?pass%77ord=pw":         "redis://h?pass%77ord=***",
		"redis://h?Auth_Token=pw":         "redis://h?Auth_Token=***",
		"redis-sentinel://h?sentinel_password=pw&master=m": "redis-sentinel://h?sentinel_password=***&master=m",
		"redis://me:p/w@h": "redis://***",
		"redis://pw@h":     "redis://***",
		"me:pw@h":          "***",
	} {
		if got := Mask(url); got != want {
			t.Errorf("Mask(%q) = %q, want %q", url, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"redis://", "redis://u:p@h:1/0?x=y", "redis-sentinel://a,b/m/1", "redis-cluster://[::1]:2", "://", "redis://@", "redis://h?%"} {
		f.Add(seed, "hunter2")
	}
	f.Fuzz(func(t *testing.T, raw, password string) {
		if _, err := Parse(raw); err == nil && !strings.Contains(raw, "://") {
			t.Errorf("%q is accepted", raw)
		}
		// A password between an unmistakable user and host never shows, however it is spelled.
		const before, after = "redis://user:", "@some-host:1/0"
		if len(password) < 8 || strings.ContainsAny(password, "@") || strings.Contains(before+after+"***percent-encoded", password) {
			return
		}
		url := before + password + after
		if shown := Mask(url); strings.Contains(shown, password) {
			t.Errorf("Mask(%q) = %q", url, shown)
		}
		if _, err := Parse(url); err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", url, err)
		}
	})
}
