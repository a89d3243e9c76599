// Package redisurl reads the URL of a Redis: what a single server, a sentinel-watched one and a cluster are named by, on the command line and
// in programs. It connects to nothing, and what it prints never holds a password.
package redisurl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Default is the Redis on this host.
const Default = "redis://localhost:6379/0"

// Target is a Redis to connect to: a single server, a sentinel-watched one or a cluster, whichever the URL named. It prints and logs as its URL
// with the password masked.
type Target struct {
	// Options hold the password: don't print them. TLS is not among them; Client adds it.
	Options *redis.UniversalOptions
	// TLS reports whether connections are encrypted.
	TLS      bool
	security Security
	shown    string
}

// Client makes a client; it connects when it is used. It heeds the deadlines of contexts, dials once a try, and leaves repeating to its caller's
// configuration of retries. The files of its Security are read anew for every connection. It does not introduce itself (CLIENT SETINFO), which a
// user with few rights may not do.
func (t *Target) Client(change ...func(*redis.UniversalOptions)) redis.UniversalClient {
	opts := *t.Options
	opts.ContextTimeoutEnabled = true
	opts.DialerRetries = 1
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	for _, f := range change {
		f(&opts)
	}
	if t.TLS {
		opts.Dialer = t.security.dialer(opts.DialTimeout)
	}
	return redis.NewUniversalClient(&opts)
}

// String returns the URL with its password masked.
func (t *Target) String() string { return t.shown }

// LogValue returns the URL with its password masked.
func (t *Target) LogValue() slog.Value { return slog.StringValue(t.shown) }

// Parse reads one of
//
//	redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]                             one server; rediss:// with TLS
//	redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST…]/MASTER[/DB]     the master that sentinels name; rediss-sentinel:// with TLS
//	redis-cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST…]                  a cluster; rediss-cluster:// with TLS
//
// A host is localhost when left out, a port 6379 (sentinel: 26379). User and password are those of the Redis servers; the
// sentinels' own are the parameters sentinel_username and sentinel_password, and the master may be the parameter
// master_name, too. Other parameters are go-redis's (dial_timeout, pool_size, …), except those that let reads go to replicas,
// which lag behind, and skip_verify: nothing accepts any certificate. Special characters in user and password must be
// percent-encoded. Errors carry the URL masked, never the password.
func Parse(raw string) (*Target, error) { return ParseSecure(raw, Security{}) }

// ParseSecure is Parse with certificates, or a password from a file; the URL then may name a user without a password. The files are read, to see that
// they are sound. What is wrong with them is a *SettingError.
func ParseSecure(raw string, sec Security) (*Target, error) {
	t := &Target{security: sec, shown: Mask(raw)}
	p, err := t.parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Mask(raw), err)
	}
	if err := sec.check(t, p.user); err != nil {
		return nil, err
	}
	if sec.PasswordFile != "" {
		user := ""
		if p.user != nil {
			user = p.user.Username()
			t.shown = Mask(strings.Replace(raw, "@", ":"+masked+"@", 1)) // it certainly is a user
		}
		t.Options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := sec.password()
			return user, password, err
		}
	}
	return t, nil
}

func (t *Target) parse(raw string) (*urlParts, error) {
	p, err := splitURL(raw)
	if err != nil {
		return nil, err
	}
	if p.user != nil && t.security.PasswordFile == "" {
		if _, ok := p.user.Password(); !ok {
			return nil, errors.New("the user has no password: write USER:PASSWORD@HOST, or :PASSWORD@HOST")
		}
	}
	mode, ok := strings.CutPrefix(p.scheme, "rediss")
	secure := ok
	if !ok {
		mode, ok = strings.CutPrefix(p.scheme, "redis")
	}
	if !ok || !slices.Contains([]string{"", "-sentinel", "-cluster"}, mode) {
		return nil, errors.New("must begin with redis://, rediss:// (TLS), redis-sentinel:// or redis-cluster://")
	}
	if len(p.hosts) > 1 && mode == "" {
		return nil, errors.New("names several hosts: use redis-cluster:// or redis-sentinel:// for those")
	}
	for _, name := range []string{"read_only", "replica_only", "route_by_latency", "route_randomly", "use_disconnected_replicas"} {
		if p.query.Has(name) {
			return nil, fmt.Errorf("parameter %s would read from replicas, which lag behind: leave it out", name)
		}
	}
	if p.query.Has("username") || p.query.Has("password") {
		return nil, errors.New("user and password belong in front of the host: USER:PASSWORD@HOST")
	}
	for _, addr := range p.query["addr"] {
		if strings.Contains(addr, "@") {
			return nil, errors.New("parameter addr must be HOST:PORT")
		}
	}
	if p.query.Has("skip_verify") {
		return nil, errors.New("parameter skip_verify would trust anybody: leave it out, and name the CA of the server's certificate (redis-tls-ca)")
	}
	u := &url.URL{Scheme: "redis", User: p.user, Host: p.hosts[0]}
	opt := &redis.UniversalOptions{}
	switch mode {
	case "-sentinel":
		err = p.sentinel(u, opt)
	case "-cluster":
		err = p.cluster(u, opt)
	default:
		err = p.single(u, opt)
	}
	if err != nil {
		return nil, err
	}
	t.Options, t.TLS = opt, secure
	return p, nil
}

func (p *urlParts) single(u *url.URL, opt *redis.UniversalOptions) error {
	if err := p.checkDB(p.path); err != nil {
		return err
	}
	if len(p.path) == 0 && p.query.Has("db") {
		if err := p.checkDB([]string{p.query.Get("db")}); err != nil {
			return err
		}
	}
	u.Path, u.RawQuery = "/"+strings.Join(p.path, "/"), p.query.Encode()
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return goRedisError(err)
	}
	copyFields(opt, o)
	opt.Addrs = []string{o.Addr}
	return nil
}

func (p *urlParts) cluster(u *url.URL, opt *redis.UniversalOptions) error {
	if len(p.path) > 0 && !(len(p.path) == 1 && p.path[0] == "0") || p.query.Has("db") && p.query.Get("db") != "0" {
		return errors.New("a Redis Cluster has no database but 0: leave it out")
	}
	p.query.Del("db")
	u.RawQuery = p.queryWithHosts("6379").Encode()
	o, err := redis.ParseClusterURL(u.String())
	if err != nil {
		return goRedisError(err)
	}
	copyFields(opt, o)
	opt.IsClusterMode = true
	return nil
}

func (p *urlParts) sentinel(u *url.URL, opt *redis.UniversalOptions) error {
	path := p.path
	if len(path) > 0 && p.masterName() == "" {
		p.query.Set("master_name", path[0])
		path = path[1:]
	}
	master := p.masterName()
	p.query.Del("master")
	p.query.Set("master_name", master)
	if master == "" {
		return errors.New("lacks the name of the master: redis-sentinel://HOST:26379/MASTER/DB")
	}
	if err := p.checkDB(path); err != nil {
		return err
	}
	// go-redis takes the URL's user for the sentinels' and the parameters for the servers': here it is the other way round.
	u.User = nil
	if u.Port() == "" {
		u.Host = net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), "26379")
	}
	sentinelUser, sentinelPassword := p.query.Get("sentinel_username"), p.query.Get("sentinel_password")
	p.query.Del("sentinel_username")
	p.query.Del("sentinel_password")
	u.Path, u.RawQuery = "/"+strings.Join(path, "/"), p.queryWithHosts("26379").Encode()
	o, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return goRedisError(err)
	}
	copyFields(opt, o)
	opt.Addrs = o.SentinelAddrs
	opt.SentinelUsername, opt.SentinelPassword = sentinelUser, sentinelPassword
	if p.user != nil {
		opt.Username = p.user.Username()
		opt.Password, _ = p.user.Password()
	}
	return nil
}

// masterName returns the parameter master_name, or master, as asynq spells it.
func (p *urlParts) masterName() string {
	return cmp.Or(p.query.Get("master_name"), p.query.Get("master"))
}

// checkDB checks what is left of the path: nothing, or the database's number.
func (p *urlParts) checkDB(path []string) error {
	if len(path) == 0 {
		return nil
	}
	if n, err := strconv.Atoi(path[0]); err != nil || n < 0 || len(path) > 1 {
		return fmt.Errorf("database %q must be a number, such as /0", strings.Join(path, "/"))
	}
	return nil
}

// queryWithHosts returns the parameters with the hosts after the first as go-redis wants them.
func (p *urlParts) queryWithHosts(port string) url.Values {
	for _, host := range p.hosts[1:] {
		h := (&url.URL{Host: host})
		p.query.Add("addr", net.JoinHostPort(h.Hostname(), cmp.Or(h.Port(), port)))
	}
	return p.query
}

// urlParts is a Redis URL taken apart. net/url alone won't do: it refuses lists of hosts, and its errors quote the password.
type urlParts struct {
	scheme string
	user   *url.Userinfo
	hosts  []string // at least one, which may be empty
	path   []string // without slashes
	query  url.Values
}

func splitURL(raw string) (*urlParts, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("must be a URL such as " + Default)
	}
	if hasControl(raw) {
		return nil, errors.New("holds a control character, such as a line break")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	pathText, queryText, _ := strings.Cut(tail, "?")
	if strings.Count(authority, "@") > 1 || strings.ContainsAny(tail, "#@") {
		return nil, errors.New("special characters in user and password must be percent-encoded: / is %2F, ? %3F, # %23, @ %40, : %3A")
	}
	p := &urlParts{scheme: strings.ToLower(scheme)}

	hosts := authority
	if user, after, ok := strings.Cut(authority, "@"); ok {
		u, err := url.Parse("redis://" + user + "@h")
		if err != nil {
			return nil, errors.New("user and password must be percent-encoded, a % as %25")
		}
		p.user, hosts = u.User, after
	}
	p.hosts = strings.Split(hosts, ",")
	for _, host := range p.hosts {
		u, err := url.Parse("redis://" + host)
		many := strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[")
		if err != nil || many || host == "" && len(p.hosts) > 1 || strings.HasSuffix(host, ":") || !validPort(u.Port()) {
			return nil, errors.New("the host must be HOST, HOST:PORT or [IPV6]:PORT, with a port from 1 to 65535")
		}
	}

	for part := range strings.SplitSeq(pathText, "/") {
		part, err := url.PathUnescape(part)
		if err != nil {
			return nil, errors.New("the part after the host has a stray %: write it as %25")
		}
		if part != "" {
			p.path = append(p.path, part)
		}
	}
	var err error
	if p.query, err = url.ParseQuery(queryText); err != nil {
		return nil, errors.New("the parameters after ? must be NAME=VALUE&NAME=VALUE, percent-encoded")
	}
	return p, nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n >= 1 && n <= 65535
}

// goRedisError makes go-redis's error part of ours.
func goRedisError(err error) error {
	var ue *url.Error // quotes the URL
	if errors.As(err, &ue) {
		return errors.New("is not a well-formed URL")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "redis: "))
}

// copyFields copies the fields that go-redis's option structs have in common.
func copyFields(dst *redis.UniversalOptions, src any) {
	to, from := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range from.NumField() {
		field := to.FieldByName(from.Type().Field(i).Name)
		if field.IsValid() && field.CanSet() && from.Field(i).Type().AssignableTo(field.Type()) {
			field.Set(from.Field(i))
		}
	}
}

const masked = "***"

// Mask returns a URL with its password and every parameter whose name speaks of a secret as ***. What it can't take apart for
// certain it masks from the scheme on.
func Mask(raw string) string {
	if raw == "" {
		return ""
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	p, err := splitURL(raw)
	switch {
	case !ok && !strings.Contains(raw, "@") && !hasControl(raw):
		return raw
	case !ok:
		return masked
	case err != nil && hasControl(scheme):
		return masked
	case err != nil:
		return scheme + "://" + masked
	}
	if p.user != nil {
		if _, ok := p.user.Password(); !ok {
			return scheme + "://" + masked // a password in the place of the user, perhaps
		}
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	shown := strings.Join(p.hosts, ",")
	if p.user != nil {
		shown = url.User(p.user.Username()).String() + ":" + masked + "@" + shown
	}
	path, query, hasQuery := strings.Cut(rest[end:], "?")
	shown += path
	if hasQuery {
		params := strings.Split(query, "&")
		for i, param := range params {
			name, value, _ := strings.Cut(param, "=")
			if value != "" && speaksOfSecret(name) {
				params[i] = name + "=" + masked
			}
		}
		shown += "?" + strings.Join(params, "&")
	}
	return scheme + "://" + shown
}

func speaksOfSecret(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"pass", "pwd", "secret", "token", "key", "auth"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}
