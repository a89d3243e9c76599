package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redisrights"
	"github.com/pyworkflow-go/pyworkflow/store"
)

const (
	// hostClockBound is how far the host's clock may be from the server's: schedules go by the server's, logs and what workflows do by the host's.
	hostClockBound = time.Second
	// clockErrorBound is how far the clocks of a cluster's primaries may be apart before leases run out early or late: half of one.
	clockErrorBound = 5 * time.Second
	// latencySamples round trips are measured, or as many as fit into latencyFor.
	latencySamples, latencyFor = 20, 300 * time.Millisecond
	// medianBound and slowestBound are what a round trip may take; a commit takes two or three, a poll of all shards one.
	medianBound, slowestBound = 50 * time.Millisecond, 500 * time.Millisecond
	// memoryBound is how much of maxmemory may be used, in per cent.
	memoryBound = 90
)

// Inspect looks at the server, every primary of a cluster, and at the newest records.
func (s *Store) Inspect(ctx context.Context, records int) ([]store.Finding, error) {
	if err := s.usable(ctx); err != nil {
		return nil, s.wrap(err, "inspect store")
	}
	list, readings, err := s.inspectServers(ctx)
	if err != nil {
		return nil, s.wrap(err, "inspect store")
	}
	list = append(list, clockFindings(readings)...)
	list = append(list, s.inspectWrites(ctx), s.inspectRecords(ctx, records))
	return list, nil
}

// inspectServers looks at each server that is written to. What is found alike of several is found once.
func (s *Store) inspectServers(ctx context.Context) ([]store.Finding, []clockReading, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		c, ok := s.client.(*redis.Client)
		if !ok {
			return nil, nil, fmt.Errorf("a client of type %T cannot be looked at", s.client)
		}
		list, reading, err := s.inspectServer(ctx, c, "")
		return list, []clockReading{reading}, err
	}
	var mu sync.Mutex // servers are asked at once
	var all []store.Finding
	var readings []clockReading
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		list, reading, err := s.inspectServer(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all, readings = append(all, list...), append(readings, reading)
		return err
	})
	slices.SortFunc(readings, func(a, b clockReading) int { return strings.Compare(a.server, b.server) })
	return mergeFindings(all), readings, err
}

// mergeFindings puts together what several servers came to: findings that are alike are one, and a check is ok only if it is on all of them.
func mergeFindings(all []store.Finding) []store.Finding {
	var order []string
	byCheck := map[string][]store.Finding{}
	for _, f := range all {
		if _, seen := byCheck[f.Check]; !seen {
			order = append(order, f.Check)
		}
		if !slices.Contains(byCheck[f.Check], f) {
			byCheck[f.Check] = append(byCheck[f.Check], f)
		}
	}
	var out []store.Finding
	for _, check := range order {
		list := byCheck[check]
		bad := slices.DeleteFunc(slices.Clone(list), func(f store.Finding) bool { return f.Status == store.FindingOK })
		switch {
		case len(bad) > 0:
			out = append(out, bad...)
		default:
			first := list[0]
			if len(list) > 1 {
				first.Message += fmt.Sprintf(" (of %d servers, all good)", len(list))
			}
			out = append(out, first)
		}
	}
	return out
}

// inspectServer looks at one server. Name is empty unless there are several.
func (s *Store) inspectServer(ctx context.Context, c *redis.Client, name string) ([]store.Finding, clockReading, error) {
	var list []store.Finding
	switch text, err := c.Info(ctx).Result(); {
	case err == nil:
		list = settingFindings(ctx, c, parseInfo(text))
	case isNoPerm(err):
		list = append(list, store.Finding{Check: "settings", Status: store.FindingSkipped,
			Message: "the user may not read INFO: version, eviction, persistence and replication are not known",
			Remedy:  "ACL SETUSER " + userOf(c) + " +info +config|get, or check them by hand"})
	default:
		return nil, clockReading{}, err
	}
	list = append(list, s.inspectRights(ctx, c))
	latency, err := inspectLatency(ctx, c)
	if err != nil {
		return nil, clockReading{}, err
	}
	reading, err := readClock(ctx, c, name)
	if isNoPerm(err) {
		err = nil // the missing right is named above
	}
	list = append(list, latency)
	if name != "" {
		for i := range list {
			if list[i].Status != store.FindingOK {
				list[i].Message = name + ": " + list[i].Message
			}
		}
	}
	return list, reading, err
}

func isNoPerm(err error) bool { return err != nil && redis.HasErrorPrefix(err, "NOPERM") }

func userOf(c *redis.Client) string {
	if u := c.Options().Username; u != "" {
		return u
	}
	return "default"
}

func ok(check, format string, args ...any) store.Finding {
	return store.Finding{Check: check, Status: store.FindingOK, Message: fmt.Sprintf(format, args...)}
}

// settingFindings are those about the server's settings, as INFO and CONFIG tell them.
func settingFindings(ctx context.Context, c redis.Cmdable, info map[string]string) []store.Finding {
	return []store.Finding{versionFinding(info), roleFinding(info), evictionFinding(ctx, c, info), memoryFinding(info), persistenceFinding(ctx, c, info), replicationFinding(ctx, c, info)}
}

func versionFinding(info map[string]string) store.Finding {
	if v := info["valkey_version"]; v != "" {
		return ok("version", "Valkey %s", v)
	}
	v := info["redis_version"]
	if v != "" && olderThan(v, 6, 2) {
		return store.Finding{Check: "version", Status: store.FindingError, Message: fmt.Sprintf("the server is Redis %s; 6.2 or later is needed", v), Remedy: "upgrade the server"}
	}
	return ok("version", "Redis %s", v)
}

func roleFinding(info map[string]string) store.Finding {
	if info["role"] == "slave" {
		return store.Finding{Check: "role", Status: store.FindingError, Message: "the server is a replica: it cannot be written, and what it says may be old",
			Remedy: fmt.Sprintf("give the address of the primary (it follows %s:%s)", info["master_host"], info["master_port"])}
	}
	return ok("role", "primary")
}

func evictionFinding(ctx context.Context, c redis.Cmdable, info map[string]string) store.Finding {
	policy := info["maxmemory_policy"]
	if policy == "" {
		policy = setting(ctx, c, "maxmemory-policy")
	}
	f := store.Finding{Check: "eviction", Status: store.FindingWarning, Remedy: "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration file"}
	switch {
	case policy == "":
		f.Status, f.Message, f.Remedy = store.FindingSkipped, "the server does not tell its maxmemory-policy", "make sure that it is noeviction"
	case policy == "noeviction":
		return ok("eviction", "maxmemory-policy noeviction")
	case strings.HasPrefix(policy, "volatile-"):
		f.Message = fmt.Sprintf("maxmemory-policy is %s: a full server would remove locks and what other programs let expire", policy)
	default:
		if info["maxmemory"] != "" && info["maxmemory"] != "0" {
			f.Status = store.FindingError
		}
		f.Message = fmt.Sprintf("maxmemory-policy is %s: a full server would remove schedules and runs", policy)
	}
	return f
}

func memoryFinding(info map[string]string) store.Finding {
	used, _ := strconv.ParseInt(info["used_memory"], 10, 64)
	limit, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	switch {
	case limit == 0:
		return ok("memory", "%s used, no maxmemory", size(used))
	case used*100 > limit*memoryBound:
		return store.Finding{Check: "memory", Status: store.FindingWarning, Message: fmt.Sprintf("%s of maxmemory %s are used: a full server refuses writes, and ticks wait", size(used), size(limit)),
			Remedy: "raise maxmemory, or remove what else lies on the server"}
	default:
		return ok("memory", "%s of maxmemory %s used", size(used), size(limit))
	}
}

func persistenceFinding(ctx context.Context, c redis.Cmdable, info map[string]string) store.Finding {
	f := store.Finding{Check: "persistence", Status: store.FindingWarning, Remedy: "CONFIG SET appendonly yes, and the same in the server's configuration file"}
	aof := info["aof_enabled"] == "1"
	switch {
	case aof && info["aof_last_write_status"] == "err", info["rdb_last_bgsave_status"] == "err" && !aof:
		f.Status, f.Message, f.Remedy = store.FindingError, "the server could not write to its disk the last time it tried: it may refuse all changes", "see the server's log; free space on its disk"
		return f
	case aof:
		switch fsync := setting(ctx, c, "appendfsync"); fsync {
		case "no":
			f.Message, f.Remedy = "appendfsync is no: a crash of the host loses what the system had not written yet", "CONFIG SET appendfsync everysec (or always), and the same in the server's configuration file"
			return f
		case "":
			return ok("persistence", "appendonly yes")
		default:
			return ok("persistence", "appendonly yes, appendfsync %s", fsync)
		}
	}
	switch save, told := readSetting(ctx, c, "save"); {
	case !told:
		f.Message = "appendonly is off, and the server does not tell whether it saves to disk otherwise (CONFIG is not allowed)"
		f.Remedy = "make sure that the server keeps its data on disk"
	case save == "":
		f.Message = "the server keeps nothing on disk (appendonly no, no save): a restart loses everything"
	default:
		f.Message = "appendonly is off: a crash loses what happened since the last snapshot"
	}
	return f
}

func replicationFinding(ctx context.Context, c redis.Cmdable, info map[string]string) store.Finding {
	n, _ := strconv.Atoi(info["connected_slaves"])
	if n == 0 {
		return ok("replication", "no replicas")
	}
	if least, told := readSetting(ctx, c, "min-replicas-to-write"); told && least == "0" {
		return store.Finding{Check: "replication", Status: store.FindingWarning, Message: "min-replicas-to-write is 0: a failover loses what the old primary acknowledged alone",
			Remedy: "CONFIG SET min-replicas-to-write 1, and the same in the server's configuration file"}
	}
	return ok("replication", "replicas: %d", n)
}

func (s *Store) inspectRights(ctx context.Context, c *redis.Client) store.Finding {
	missing, err := redisrights.Find(ctx, c, s.needs())
	switch {
	case err != nil:
		return store.Finding{Check: "rights", Status: store.FindingSkipped, Message: explain(err).Error(), Remedy: "ACL SETUSER " + userOf(c) + " +multi +discard, to let rights be tried without effect"}
	case !missing.None():
		return store.Finding{Check: "rights", Status: store.FindingError, Message: missing.Text(), Remedy: missing.Remedy()}
	default:
		return ok("rights", "user %s may do all that is needed", missing.User)
	}
}

func inspectLatency(ctx context.Context, c *redis.Client) (store.Finding, error) {
	var took []time.Duration
	for begin := time.Now(); len(took) < latencySamples && (len(took) < 3 || time.Since(begin) < latencyFor); {
		sent := time.Now()
		if err := c.Ping(ctx).Err(); err != nil && !isNoPerm(err) { // a refusal has come all the way, too
			return store.Finding{}, err
		}
		took = append(took, time.Since(sent))
	}
	return latencyFinding(took), nil
}

// latencyFinding judges round trips; there is at least one.
func latencyFinding(took []time.Duration) store.Finding {
	slices.Sort(took)
	median, slowest := took[len(took)/2], took[len(took)-1]
	text := fmt.Sprintf("round trip %s in the middle, %s at most (of %d)", short(median), short(slowest), len(took))
	if median > medianBound || slowest > slowestBound {
		return store.Finding{Check: "latency", Status: store.FindingWarning, Message: fmt.Sprintf("%s: above %s or %s; ticks start late", text, medianBound, slowestBound),
			Remedy: "run beats and workers near the server; see its SLOWLOG and LATENCY DOCTOR for what holds it up"}
	}
	return ok("latency", "%s", text)
}

func short(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

// inspectWrites finds out whether every shard can be written.
func (s *Store) inspectWrites(ctx context.Context) store.Finding {
	if err := s.Ping(ctx); err != nil {
		return store.Finding{Check: "write", Status: store.FindingError, Message: err.Error(), Remedy: "nothing can be started or recorded until the server takes writes: see the other lines and the server's log"}
	}
	return ok("write", "every shard can be written")
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

// size writes bytes with a unit.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}
