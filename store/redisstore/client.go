package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// NewClient makes a client of a URL, without connecting:
//
//	redis://user:password@host:6379/0           one server
//	rediss://…                                  the same over TLS
//	unix:///path/to/socket?db=0                 one server on this host
//	redis-sentinel://host:26379,host2:26379/name/0   the primary that the sentinels know under name
//	redis-cluster://host:6379,host2:6379        a cluster, asked for at any of its nodes
//
// The last two take the sentinels' or nodes' user and password, and "?tls=true". Errors never repeat the password.
func NewClient(rawURL string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("redis URL: %q is not a URL; write for example redis://localhost:6379/0", maskURL(rawURL))
	}
	switch scheme {
	case "redis", "rediss", "unix":
		opt, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, badURL(rawURL, err)
		}
		opt.ContextTimeoutEnabled = true
		opt.DialerRetries = 1
		opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClient(opt), nil
	case "redis-sentinel", "redis-cluster":
		return newSetClient(scheme, rest, rawURL)
	default:
		return nil, fmt.Errorf("redis URL: unknown scheme %q; use redis, rediss, unix, redis-sentinel or redis-cluster", scheme)
	}
}

// newSetClient makes a client of several hosts. The library's parser knows neither the scheme nor a list of hosts: it is given the first host, and the others after.
func newSetClient(scheme, rest, rawURL string) (redis.UniversalClient, error) {
	cut := strings.IndexAny(rest, "/?")
	if cut < 0 {
		cut = len(rest)
	}
	authority, tail := rest[:cut], rest[cut:]
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	var addrs []string
	for _, a := range strings.Split(authority, ",") {
		if a == "" {
			return nil, badURL(rawURL, errors.New("a host is missing"))
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			port := "6379"
			if scheme == "redis-sentinel" {
				port = "26379"
			}
			a = net.JoinHostPort(strings.Trim(a, "[]"), port)
		}
		addrs = append(addrs, a)
	}
	plain := "redis"
	path, query, _ := strings.Cut(tail, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, badURL(rawURL, errors.New("the part after ? cannot be read"))
	}
	if values.Get("tls") == "true" {
		plain = "rediss"
	}
	values.Del("tls")
	path = strings.Trim(path, "/")
	maint := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if scheme == "redis-cluster" {
		if path != "" && path != "0" {
			return nil, badURL(rawURL, errors.New("a cluster has database 0 only"))
		}
		opt, err := redis.ParseClusterURL(plain + "://" + user + addrs[0] + "?" + values.Encode())
		if err != nil {
			return nil, badURL(rawURL, err)
		}
		opt.Addrs = append(addrs, opt.Addrs[1:]...)
		opt.ContextTimeoutEnabled, opt.DialerRetries, opt.MaintNotificationsConfig = true, 1, maint
		return redis.NewClusterClient(opt), nil
	}
	master, db, _ := strings.Cut(path, "/")
	if master == "" {
		return nil, badURL(rawURL, errors.New("the name of the primary is missing; write redis-sentinel://host:26379/NAME/0"))
	}
	values.Set("master_name", master)
	opt, err := redis.ParseFailoverURL(plain + "://" + user + addrs[0] + "/" + db + "?" + values.Encode())
	if err != nil {
		return nil, badURL(rawURL, err)
	}
	opt.SentinelAddrs = append(addrs, opt.SentinelAddrs[1:]...)
	opt.ContextTimeoutEnabled, opt.DialerRetries = true, 1
	return redis.NewFailoverClient(opt), nil
}

// badURL says what is wrong with a URL, without its password, which the library's errors may repeat.
func badURL(rawURL string, err error) error {
	text := err.Error()
	var ue *url.Error
	if errors.As(err, &ue) {
		text = "cannot be read"
		if ue.Err != nil && !strings.Contains(ue.Err.Error(), "userinfo") && !strings.Contains(ue.Err.Error(), "port") {
			text = ue.Err.Error()
		}
	}
	text = strings.TrimPrefix(text, "redis: ")
	if strings.Contains(rawURL, "@") && strings.Contains(text, rawURL) {
		text = "cannot be read"
	}
	return fmt.Errorf("redis URL: %q: %s", maskURL(rawURL), text)
}

// maskURL hides user and password: all between the scheme and the last at sign.
func maskURL(rawURL string) string {
	at := strings.LastIndexByte(rawURL, '@')
	if at < 0 {
		return rawURL
	}
	scheme, _, ok := strings.Cut(rawURL[:at], "://")
	if !ok {
		return "***" + rawURL[at:]
	}
	return scheme + "://***" + rawURL[at:]
}

// describeClient names what a client talks to.
func describeClient(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		return fmt.Sprintf("redis %s/%d", o.Addr, o.DB)
	case *redis.ClusterClient:
		return "redis cluster " + strings.Join(c.Options().Addrs, ",")
	default:
		return "redis"
	}
}

// describeURL names sentinels, which the client of a primary does not tell.
func describeURL(rawURL, otherwise string) string {
	rest, ok := strings.CutPrefix(rawURL, "redis-sentinel://")
	if !ok {
		return otherwise
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	rest, _, _ = strings.Cut(rest, "?")
	return "redis sentinel " + rest
}
