package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Warnings looks at the settings of the server, of every primary in a cluster.
func (s *Store) Warnings(ctx context.Context) ([]string, error) {
	if err := s.usable(ctx); err != nil {
		return nil, s.wrap(err, "check settings of store")
	}
	var found []string
	add := func(ctx context.Context, c redis.Cmdable) error {
		list, err := warningsOf(ctx, c)
		for _, w := range list {
			if !slices.Contains(found, w) {
				found = append(found, w)
			}
		}
		return err
	}
	var err error
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		turn := make(chan struct{}, 1) // masters are asked at once, and found is one
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			turn <- struct{}{}
			defer func() { <-turn }()
			return add(ctx, c)
		})
	} else {
		err = add(ctx, s.client)
	}
	if err != nil {
		return nil, s.wrap(err, "check settings of store")
	}
	return found, nil
}

func warningsOf(ctx context.Context, c redis.Cmdable) ([]string, error) {
	text, err := c.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	info := parseInfo(text)
	var found []string
	if v := info["redis_version"]; v != "" && olderThan(v, 6, 2) && info["valkey_version"] == "" {
		found = append(found, fmt.Sprintf("the server is Redis %s; 6.2 or later is needed", v))
	}
	if info["role"] == "slave" {
		found = append(found, "the server is a replica: it cannot be written, and what it says may be old; give the address of the primary")
	}
	policy := info["maxmemory_policy"]
	if policy == "" {
		policy = setting(ctx, c, "maxmemory-policy")
	}
	if policy != "" && policy != "noeviction" {
		found = append(found, fmt.Sprintf("maxmemory-policy is %s: a full server would remove schedules and runs; set noeviction", policy))
	}
	if info["aof_enabled"] != "1" {
		switch save, ok := readSetting(ctx, c, "save"); {
		case !ok:
			found = append(found, "appendonly is off, and the server does not tell whether it saves to disk otherwise (CONFIG is not allowed): make sure that it does")
		case save == "":
			found = append(found, "the server keeps nothing on disk (appendonly no, no save): a restart loses everything; set appendonly yes")
		default:
			found = append(found, "appendonly is off: a crash loses what happened since the last snapshot; set appendonly yes")
		}
	} else if fsync := setting(ctx, c, "appendfsync"); fsync == "no" {
		found = append(found, "appendfsync is no: a crash of the host loses what the system had not written yet; set everysec or always")
	}
	return found, nil
}

// readSetting reads a setting; false when the server does not tell, as managed ones often do not.
func readSetting(ctx context.Context, c redis.Cmdable, name string) (string, bool) {
	m, err := c.ConfigGet(ctx, name).Result()
	if err != nil {
		return "", false
	}
	v, ok := m[name]
	return v, ok
}

func setting(ctx context.Context, c redis.Cmdable, name string) string {
	v, _ := readSetting(ctx, c, name)
	return v
}

func parseInfo(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[k] = v
		}
	}
	return m
}

func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return false
	}
	return a < major || a == major && b < minor
}
