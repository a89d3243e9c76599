package redisurl_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // what goes wrong here goes wrong on purpose
	os.Exit(redistest.Main(m).Run())
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// ping connects anew and asks.
func ping(t *testing.T, url string, sec redisurl.Security) error {
	t.Helper()
	target, err := redisurl.ParseSecure(url, sec)
	if err != nil {
		return err
	}
	c := target.Client()
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c.Set(ctx, "k", "v", 0).Err()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTLS(t *testing.T) {
	ca, stranger := redistest.NewCA(t), redistest.NewCA(t)
	open := redistest.StartTLS(t, ca, false, nil)
	closed := redistest.StartTLS(t, ca, true, nil)
	named := redistest.StartTLS(t, ca, false, []string{"redis.example"})
	oldCert, oldKey := ca.Issue("old", time.Now().Add(-time.Hour), "127.0.0.1")
	expired := redistest.StartTLSWith(t, ca.File, oldCert, oldKey, false)
	cert, key := ca.Issue("app", time.Time{})
	badCert, badKey := stranger.Issue("app", time.Time{})
	plain := strings.Replace(open.URL(), "redis://", "rediss://", 1)
	for _, c := range []struct {
		what, url string
		sec       redisurl.Security
		want      string // part of the error; empty: none
	}{
		{"the CA", open.TLSURL(), redisurl.Security{CAFile: ca.File}, ""},
		{"no CA", open.TLSURL(), redisurl.Security{}, "signed by no CA that this host trusts: name the CA's file with redis-tls-ca"},
		{"another CA", open.TLSURL(), redisurl.Security{CAFile: stranger.File}, "is not signed by a CA in " + stranger.File},
		{"a certificate nobody asked for", open.TLSURL(), redisurl.Security{CAFile: ca.File, CertFile: cert, KeyFile: key}, ""},
		{"a certificate", closed.TLSURL(), redisurl.Security{CAFile: ca.File, CertFile: cert, KeyFile: key}, ""},
		{"no certificate", closed.TLSURL(), redisurl.Security{CAFile: ca.File}, "client certificate"},
		{"a stranger's certificate", closed.TLSURL(), redisurl.Security{CAFile: ca.File, CertFile: badCert, KeyFile: badKey}, "the client certificate " + badCert},
		{"another host", named.TLSURL(), redisurl.Security{CAFile: ca.File}, "is for redis.example, not for 127.0.0.1: if it is the right server, say its name with redis-tls-server-name"},
		{"another host, named", named.TLSURL(), redisurl.Security{CAFile: ca.File, ServerName: "redis.example"}, ""},
		{"a wrong name", named.TLSURL(), redisurl.Security{CAFile: ca.File, ServerName: "x.example"}, "is for redis.example, not for x.example"},
		{"an expired server", expired.TLSURL(), redisurl.Security{CAFile: ca.File}, "expired at "},
	} {
		err := ping(t, c.url, c.sec)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		var secure *redisurl.TLSError
		if !errors.As(err, &secure) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\ngot  %v\nwant %s", c.what, err, c.want)
		}
	}
	target, err := redisurl.ParseSecure(plain+"?dial_timeout=2s&max_retries=-1", redisurl.Security{CAFile: ca.File})
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client()
	defer func() { _ = c.Close() }()
	var secure *redisurl.TLSError
	if err := c.Ping(t.Context()).Err(); !errors.As(err, &secure) || !strings.Contains(err.Error(), "TLS port") {
		t.Errorf("TLS at the plain port: %v", err)
	}
}

func TestTLSClusterAndSentinel(t *testing.T) {
	ca := redistest.NewCA(t)
	cert, key := ca.Issue("app", time.Time{})
	sec := redisurl.Security{CAFile: ca.File, CertFile: cert, KeyFile: key}
	nodes := redistest.StartTLSCluster(t, ca, true, 2)
	url := "rediss-cluster://" + nodes[0].TLSAddr()
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		target, err := redisurl.ParseSecure(url, sec)
		if err != nil {
			t.Fatal(err)
		}
		c := target.Client()
		if err := c.Set(t.Context(), k, 1, 0).Err(); err != nil {
			t.Errorf("key %s: %v", k, err)
		}
		_ = c.Close()
	}
	for _, n := range nodes {
		if size, err := n.Client(t).DBSize(t.Context()).Result(); err != nil || size == 0 {
			t.Errorf("node %s has %d keys, %v", n.TLSAddr(), size, err)
		}
	}
	if err := ping(t, url, redisurl.Security{CAFile: ca.File}); err == nil || !strings.Contains(err.Error(), "client certificate") {
		t.Errorf("cluster without a client certificate: %v", err)
	}

	master := redistest.StartTLS(t, ca, true, nil)
	url = "rediss-sentinel://" + redistest.StartTLSSentinel(t, ca, master, "mine") + "/mine"
	if err := ping(t, url, sec); err != nil {
		t.Errorf("sentinel: %v", err)
	}
	if v, err := master.Client(t).Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("the master has %q, %v", v, err)
	}
	if err := ping(t, url, redisurl.Security{CAFile: ca.File}); err == nil {
		t.Error("sentinel without a client certificate: no error")
	}
}

// Files that are renewed are taken at the next connection, without a restart.
func TestCertificatesAreReadForEveryConnection(t *testing.T) {
	ca, next := redistest.NewCA(t), redistest.NewCA(t)
	server := redistest.StartTLS(t, ca, true, nil)
	cert, key := ca.Issue("app", time.Time{})
	dir := t.TempDir()
	sec := redisurl.Security{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	renew := func(caFile, cert, key string) {
		t.Helper()
		for to, from := range map[string]string{sec.CAFile: caFile, sec.CertFile: cert, sec.KeyFile: key} {
			if err := os.WriteFile(to, []byte(read(t, from)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	renew(ca.File, cert, key)
	target, err := redisurl.ParseSecure(server.TLSURL()+"?max_retries=-1", sec)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client()
	defer func() { _ = c.Close() }()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	// All of them change hands while the client lives.
	serverCert, serverKey := next.Issue("server", time.Time{}, "127.0.0.1")
	admin := server.Client(t)
	if err := admin.Do(t.Context(), "CONFIG", "SET", "tls-ca-cert-file", next.File, "tls-cert-file", serverCert, "tls-key-file", serverKey).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	_ = c.Ping(t.Context()) // finds its connection dead
	var secure *redisurl.TLSError
	if err := c.Ping(t.Context()).Err(); !errors.As(err, &secure) {
		t.Errorf("a server with another CA: %v", err)
	}
	cert, key = next.Issue("app", time.Time{})
	renew(next.File, cert, key)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	if err := os.Remove(sec.CertFile); err != nil {
		t.Fatal(err)
	}
	if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	_ = c.Ping(t.Context())
	if err := c.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), `redis-tls-cert "`+sec.CertFile+`": cannot be read`) {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestWrongFiles(t *testing.T) {
	ca := redistest.NewCA(t)
	cert, key := ca.Issue("app", time.Time{})
	_, otherKey := ca.Issue("other", time.Time{})
	oldCert, oldKey := ca.Issue("old", time.Now().Add(-time.Hour))
	junk, nowhere := write(t, "junk.pem", "hunter2\n"), filepath.Join(t.TempDir(), "nowhere")
	locked := write(t, "locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	mangled := write(t, "mangled.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	const url = "rediss://me@h"
	for _, c := range []struct {
		url  string
		sec  redisurl.Security
		want string
	}{
		{"redis://h", redisurl.Security{CAFile: ca.File}, `redis-tls-ca "` + ca.File + `": the Redis URL redis://h is without TLS: begin it with rediss`},
		{"redis-cluster://h", redisurl.Security{ServerName: "x"}, `redis-tls-server-name "x": the Redis URL redis-cluster://h is without TLS`},
		{"rediss://h", redisurl.Security{CAFile: nowhere}, `redis-tls-ca "` + nowhere + `": cannot be read (no such file or directory): name `},
		{"rediss://h", redisurl.Security{CAFile: junk}, `redis-tls-ca "` + junk + `": holds no certificate in PEM form`},
		{"rediss://h", redisurl.Security{CertFile: cert}, `redis-tls-cert "` + cert + `": has no key: name the file of its key with redis-tls-key`},
		{"rediss://h", redisurl.Security{KeyFile: key}, `redis-tls-key "` + key + `": has no certificate: name its file with redis-tls-cert`},
		{"rediss://h", redisurl.Security{CertFile: nowhere, KeyFile: key}, `redis-tls-cert "` + nowhere + `": cannot be read`},
		{"rediss://h", redisurl.Security{CertFile: cert, KeyFile: nowhere}, `redis-tls-key "` + nowhere + `": cannot be read`},
		{"rediss://h", redisurl.Security{CertFile: junk, KeyFile: key}, `redis-tls-cert "` + junk + `": holds no certificate`},
		{"rediss://h", redisurl.Security{CertFile: cert, KeyFile: junk}, `redis-tls-key "` + junk + `": holds no private key`},
		{"rediss://h", redisurl.Security{CertFile: cert, KeyFile: locked}, `redis-tls-key "` + locked + `": asks for a passphrase`},
		{"rediss://h", redisurl.Security{CertFile: cert, KeyFile: otherKey}, `redis-tls-key "` + otherKey + `": is not the key of the certificate ` + cert},
		{"rediss://h", redisurl.Security{CertFile: mangled, KeyFile: key}, `redis-tls-cert "` + mangled + `": cannot be used with the key`},
		{"rediss://h", redisurl.Security{CertFile: oldCert, KeyFile: oldKey}, `redis-tls-cert "` + oldCert + `": expired at `},
		{url, redisurl.Security{PasswordFile: nowhere}, `redis-password-file "` + nowhere + `": cannot be read`},
		{url, redisurl.Security{PasswordFile: write(t, "pw", "\n")}, `": is empty: write the password into it`},
		{url, redisurl.Security{PasswordFile: write(t, "pw", "hunter2\nhunter2\n")}, `": holds more than a password`},
		{"redis://me:hunter2@h", redisurl.Security{PasswordFile: junk}, `redis-password-file "` + junk + `": the Redis URL has a password, too`},
		{url, redisurl.Security{}, "no password"},
	} {
		_, err := redisurl.ParseSecure(c.url, c.sec)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %+v\ngot  %v\nwant %s", c.url, c.sec, err, c.want)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	set := func(args ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "me", "on", "resetpass", "~*", "+@all"}, args...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set(">first one")
	file := write(t, "password", "first one\r\n")
	target, err := redisurl.ParseSecure("redis://me@"+server.Addr()+"/0?max_retries=-1", redisurl.Security{PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if want := "redis://me:***@" + server.Addr() + "/0?max_retries=-1"; target.String() != want {
		t.Errorf("shown as %s", target)
	}
	c := target.Client()
	defer func() { _ = c.Close() }()
	whoami := func() string {
		name, err := c.Do(t.Context(), "ACL", "WHOAMI").Text()
		if err != nil {
			return err.Error()
		}
		return name
	}
	if got := whoami(); got != "me" {
		t.Errorf("user is %s", got)
	}
	// A new password: the next connection takes it.
	set(">second")
	if err := os.WriteFile(file, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := admin.ClientKillByFilter(t.Context(), "USER", "me").Err(); err != nil {
		t.Fatal(err)
	}
	_ = c.Ping(t.Context()) // finds its connection dead
	if got := whoami(); got != "me" {
		t.Errorf("after a change of the password: %s", got)
	}
	if err := ping(t, "redis://me@"+server.Addr(), redisurl.Security{PasswordFile: write(t, "wrong", "hunter2")}); !redis.HasErrorPrefix(err, "WRONGPASS") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong password: %v", err)
	}
	if err := ping(t, "redis://"+server.Addr(), redisurl.Security{PasswordFile: write(t, "default", "x")}); err != nil {
		t.Errorf("the default user's password: %v", err) // it takes any, having none
	}
}

func TestRename(t *testing.T) {
	flag := func(setting string) string { return "--" + setting }
	for text, want := range map[string]string{
		"name redis-tls-cert and redis-tls-key":     "name --redis-tls-cert and --redis-tls-key",
		"the CA (redis-tls-ca)":                     "the CA (--redis-tls-ca)",
		"redis-tls-server-name: x":                  "--redis-tls-server-name: x",
		`redis-password-file "/s/redis-tls-ca": no`: `--redis-password-file "/s/redis-tls-ca": no`,
		"in /s/redis-tls-ca.pem, redis-tls-ca.":     "in /s/redis-tls-ca.pem, redis-tls-ca.",
	} {
		if got := redisurl.Rename(text, flag); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
