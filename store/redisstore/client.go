package redisstore

import (
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
)

// NewClient makes a client of a URL, without connecting:
//
//	redis://user:password@host:6379/0                    one server; rediss:// with TLS
//	redis-sentinel://host:26379,host2:26379/name/0       the master that the sentinels know under name
//	redis-cluster://host:6379,host2:6379                 a cluster, asked for at any of its nodes
//
// User and password are those of the Redis servers; the sentinels' own are the parameters sentinel_username and sentinel_password. Errors never repeat
// a password.
func NewClient(rawURL string) (redis.UniversalClient, error) {
	target, err := redisurl.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("redis URL %w", err)
	}
	return target.Client(), nil
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

// describeURL names sentinels, which the client of a master does not tell.
func describeURL(rawURL, otherwise string) string {
	_, rest, ok := strings.Cut(redisurl.Mask(rawURL), "-sentinel://")
	if !ok {
		return otherwise
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	rest, _, _ = strings.Cut(rest, "?")
	return "redis sentinel " + rest
}
