package redisstore

import (
	"errors"
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
// a password. For certificates of one's own, or a password from a file, use Open, and its store's Client for what else goes to the same server.
func NewClient(rawURL string) (redis.UniversalClient, error) { return Config{URL: rawURL}.newClient() }

// TLS says how connections of a rediss:// URL are secured, sentinels' and clusters' among them. The zero value trusts the system's CAs and has no
// client certificate. The files are in PEM form; they are read by Open, and again for every connection, so that they can be renewed while the
// program runs. There is no way to leave out the check of the server's certificate: name its CA.
type TLS struct {
	// CAFile holds the certificates of the CAs that may have signed the servers' certificates. Empty: the system's.
	CAFile string
	// CertFile and KeyFile hold the client's certificate and its key, which has no passphrase. Empty: none.
	CertFile, KeyFile string
	// ServerName is what the servers' certificates must be for. Empty: the host that is dialed, which may be an address that a sentinel or a
	// cluster named.
	ServerName string
}

// fields name the settings of redisurl as a program does.
var fields = map[string]string{
	redisurl.SettingCA:           "Config.TLS.CAFile",
	redisurl.SettingCert:         "Config.TLS.CertFile",
	redisurl.SettingKey:          "Config.TLS.KeyFile",
	redisurl.SettingServerName:   "Config.TLS.ServerName",
	redisurl.SettingPasswordFile: "Config.PasswordFile",
}

func (cfg Config) newClient() (redis.UniversalClient, error) {
	target, err := redisurl.ParseSecure(cfg.URL, redisurl.Security{CAFile: cfg.TLS.CAFile, CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile,
		ServerName: cfg.TLS.ServerName, PasswordFile: cfg.PasswordFile})
	var wrong *redisurl.SettingError
	if errors.As(err, &wrong) {
		return nil, errors.New(redisurl.Rename(wrong.Error(), func(setting string) string { return fields[setting] }))
	}
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
