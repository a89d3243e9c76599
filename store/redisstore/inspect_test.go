package redisstore_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// found checks that there is a finding of the status whose message and remedy hold the two texts.
func found(t *testing.T, list []store.Finding, check string, status store.FindingStatus, message, remedy string) {
	t.Helper()
	if !slices.ContainsFunc(list, func(f store.Finding) bool {
		return f.Check == check && f.Status == status && strings.Contains(f.Message, message) && strings.Contains(f.Remedy, remedy)
	}) {
		t.Errorf("no finding %s, %s, %q, %q in %+v", check, status, message, remedy, list)
	}
}

// bad are the findings that are not ok; latency is the machine's own affair.
func bad(list []store.Finding) []store.Finding {
	return slices.DeleteFunc(slices.Clone(list), func(f store.Finding) bool { return f.Status == store.FindingOK || f.Check == "latency" })
}

func TestInspectSettings(t *testing.T) {
	const warning, failure = store.FindingWarning, store.FindingError
	for _, c := range []struct {
		what            string
		args            []string
		check           string
		status          store.FindingStatus
		message, remedy string
	}{
		{"good", []string{"--appendonly", "yes"}, "", "", "", ""},
		{"nothing kept", nil, "persistence", warning, "keeps nothing on disk", "CONFIG SET appendonly yes"},
		{"snapshots only", []string{"--save", "60 1"}, "persistence", warning, "since the last snapshot", "CONFIG SET appendonly yes"},
		{"never synced", []string{"--appendonly", "yes", "--appendfsync", "no"}, "persistence", warning, "appendfsync is no", "CONFIG SET appendfsync everysec"},
		{"managed", []string{"--rename-command", "CONFIG", ""}, "persistence", warning, "does not tell", "make sure"},
		{"evicts", []string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"}, "eviction", failure, "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"},
		{"would evict", []string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"}, "eviction", warning, "allkeys-lru", "noeviction"},
		{"evicts what expires", []string{"--appendonly", "yes", "--maxmemory-policy", "volatile-lru", "--maxmemory", "100mb"}, "eviction", warning, "locks", "noeviction"},
	} {
		s := open(t, redistest.Start(t, redistest.Args(c.args...)).Client(t), nil)
		list, err := s.Inspect(t.Context(), 100)
		must(t, err)
		if c.check == "" {
			if b := bad(list); len(b) > 0 || len(list) < 10 {
				t.Errorf("%s: %+v", c.what, list)
			}
			continue
		}
		found(t, list, c.check, c.status, c.message, c.remedy)
		if b := bad(list); len(b) != 1 {
			t.Errorf("%s: found besides: %+v", c.what, b)
		}
	}
}

func TestInspectMemory(t *testing.T) {
	ctx := t.Context()
	client := redistest.Start(t, redistest.Args("--appendonly", "yes")).Client(t)
	must(t, client.Set(ctx, "big", strings.Repeat("x", 16<<20), 0).Err())
	used := 0
	await(t, func() bool { // what the command took besides is given back
		used, _ = strconv.Atoi(regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(client.Info(ctx, "memory").Val())[1])
		return used < 24<<20
	})
	must(t, client.ConfigSet(ctx, "maxmemory", strconv.Itoa(used*105/100)).Err())
	list, err := open(t, client, nil).Inspect(ctx, 0)
	must(t, err)
	found(t, list, "memory", store.FindingWarning, "of maxmemory", "raise maxmemory")
}

func TestInspectReplicas(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	primary, replica := redistest.Start(t, redistest.Args("--appendonly", "yes")), redistest.Start(t, redistest.Args("--appendonly", "yes"))
	host, port, _ := strings.Cut(primary.Addr(), ":")
	must(t, replica.Client(t).ReplicaOf(ctx, host, port).Err())
	s := open(t, primary.Client(t), nil)
	await(t, func() bool { return strings.Contains(primary.Client(t).Info(ctx, "replication").Val(), "state=online") })
	list, err := s.Inspect(ctx, 0)
	must(t, err)
	found(t, list, "replication", store.FindingWarning, "a failover loses", "min-replicas-to-write 1")
	must(t, primary.Client(t).ConfigSet(ctx, "min-replicas-to-write", "1").Err())
	list, err = s.Inspect(ctx, 0)
	must(t, err)
	found(t, list, "replication", store.FindingOK, "replicas: 1", "")
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("not within 20 s")
		case <-tick.C:
		}
	}
}

// What several servers come to alike is said once; what is wrong with one names it.
func TestInspectCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	s := open(t, cluster.Client(t), nil)
	ctx := t.Context()
	list, err := s.Inspect(ctx, 100)
	must(t, err)
	if b := bad(list); len(b) != 3 { // persistence of each
		t.Errorf("of three servers without a disk: %+v", b)
	}
	for _, n := range cluster.Nodes {
		must(t, n.Client(t).ConfigSet(ctx, "appendonly", "yes").Err())
		found(t, list, "persistence", store.FindingWarning, n.Addr()+": the server keeps nothing", "appendonly yes")
	}
	must(t, cluster.Nodes[1].Client(t).ConfigSet(ctx, "maxmemory-policy", "allkeys-random").Err())
	list, err = s.Inspect(ctx, 100)
	must(t, err)
	if b := bad(list); len(b) != 1 {
		t.Errorf("of one server that evicts: %+v", b)
	}
	found(t, list, "eviction", store.FindingWarning, cluster.Nodes[1].Addr()+": maxmemory-policy", "noeviction")
}

func TestInspectClock(t *testing.T) {
	server := redistest.Start(t, redistest.FakeClock(), redistest.Args("--appendonly", "yes"))
	s := open(t, server.Client(t), nil)
	list, err := s.Inspect(t.Context(), 0)
	must(t, err)
	found(t, list, "clock", store.FindingOK, "differ by", "")
	for _, c := range []struct {
		step    time.Duration
		message string
	}{{time.Hour, "ahead of this host's"}, {-2 * time.Hour, "behind this host's"}} {
		server.StepClock(c.step)
		list, err := s.Inspect(t.Context(), 0)
		must(t, err)
		found(t, list, "clock", store.FindingWarning, "the server's clock is", "NTP")
		found(t, list, "clock", store.FindingWarning, c.message, "")
	}
}

func TestInspectClusterClocks(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, redistest.FakeClock(), redistest.Args("--appendonly", "yes"))
	s := open(t, cluster.Client(t), nil)
	odd := cluster.Nodes[2]
	for _, c := range []struct {
		step   time.Duration
		status store.FindingStatus
	}{{500 * time.Millisecond, store.FindingWarning}, {time.Minute, store.FindingError}} {
		odd.StepClock(c.step)
		list, err := s.Inspect(t.Context(), 0)
		must(t, err)
		found(t, list, "clock", c.status, "and "+odd.Addr()+" are", "synchronize the cluster's hosts")
	}
}

// userOf makes a user with rights, and a client of that user.
func userOf(t *testing.T, server *redistest.Server, rights ...string) *redis.Client {
	t.Helper()
	must(t, server.Client(t).ACLSetUser(t.Context(), "app", append([]string{"reset", "on", ">secret"}, rights...)...).Err())
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "app", Password: "secret"})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Each right that is missing is found, both by asking (ACL DRYRUN) and by trying, and what the remedy gives mends it.
func TestInspectRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Args("--appendonly", "yes"))
	ctx := t.Context()
	for _, way := range []struct {
		name   string
		rights []string
	}{
		{"asked", []string{"+acl|whoami", "+acl|dryrun"}},
		{"tried", []string{"+acl|whoami"}},
		{"tried by nobody who knows", nil},
	} {
		for _, c := range []struct {
			rights       []string
			check        string
			text, remedy string
		}{
			{[]string{"~*", "&*"}, "", "", ""},
			{[]string{"~pyworkflow:*", "&pyworkflow:*"}, "", "", ""},
			{[]string{"~*", "&*", "-zadd", "-evalsha"}, "rights", "user app is refused the commands evalsha zadd", "ACL SETUSER app +evalsha +zadd"},
			{[]string{"~*", "&*", "-publish", "-time", "-ping"}, "rights", "refused the commands ping publish time", "+publish +time"},
			{[]string{"~other:*", "&*"}, "rights", "refused the keys ~pyworkflow:{", "ACL SETUSER app ~pyworkflow:{"},
			{[]string{"~*", "resetchannels", "&other"}, "rights", "refused the channels &pyworkflow:{", "ACL SETUSER app &pyworkflow:{"},
			{[]string{"%R~*", "&*"}, "rights", "refused the keys ~pyworkflow:{", "~pyworkflow:{"},
		} {
			rights := slices.Concat([]string{"+@all", "-@admin", "-@dangerous", "+info", "+config|get"}, way.rights, c.rights)
			s := open(t, userOf(t, server, rights...), nil)
			list, err := s.Inspect(ctx, 0)
			if err != nil {
				t.Errorf("%s, %q: %v", way.name, rights, err)
				continue
			}
			if c.check == "" {
				if b := bad(list); len(b) != 1 || b[0].Check != "records" { // not looked at
					t.Errorf("%s, %q: %+v", way.name, rights, b)
				}
				continue
			}
			found(t, list, c.check, store.FindingError, c.text, c.remedy)
			mend := regexp.MustCompile(`ACL SETUSER app (.*) \(`).FindStringSubmatch(remedyOf(list, "rights"))
			if mend == nil {
				t.Errorf("%s: the remedy cannot be carried out: %q", way.name, remedyOf(list, "rights"))
				continue
			}
			must(t, server.Client(t).ACLSetUser(ctx, "app", strings.Fields(mend[1])...).Err())
			list, err = s.Inspect(ctx, 0)
			must(t, err)
			found(t, list, "rights", store.FindingOK, "user app may do all", "")
			found(t, list, "write", store.FindingOK, "", "")
		}
	}
	if left, err := server.Client(t).Keys(ctx, "*inspect*").Result(); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	s := open(t, userOf(t, server, "+@all", "-@admin", "-@transaction", "~*", "&*"), nil)
	list, err := s.Inspect(ctx, 0)
	must(t, err)
	found(t, list, "rights", store.FindingSkipped, "MULTI", "+multi +discard")
	s = open(t, userOf(t, server, "+@all", "-@admin", "-info", "~*", "&*"), nil)
	list, err = s.Inspect(ctx, 0)
	must(t, err)
	found(t, list, "settings", store.FindingSkipped, "INFO", "ACL SETUSER app +info")
}

func remedyOf(list []store.Finding, check string) string {
	for _, f := range list {
		if f.Check == check {
			return f.Remedy
		}
	}
	return ""
}

// A user with the rights that are looked for, and no others, passes the whole contract: none is forgotten.
func TestRightsAreAllOfThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rights := []string{"-@all", "~pyworkflow:*", "resetchannels", "&pyworkflow:*"}
	for _, c := range redisstore.NeededCommands() {
		rights = append(rights, "+"+strings.ToLower(c))
	}
	client := userOf(t, server, rights...)
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store { return open(t, client, clock) })

	// And every command of a script is among them.
	calls := regexp.MustCompile(`redis\.p?call\('([A-Za-z]+)'`)
	files, err := os.ReadDir("lua")
	must(t, err)
	for _, f := range files {
		text, err := os.ReadFile("lua/" + f.Name())
		must(t, err)
		for _, m := range calls.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(redisstore.NeededCommands(), strings.ToUpper(m[1])) {
				t.Errorf("%s calls %s, which is not looked for among the user's rights", f.Name(), m[1])
			}
		}
	}
}

// Records of a newer format are found wherever they are, within the bound that is said.
func TestInspectRecords(t *testing.T) {
	client := redistest.Start(t, redistest.Args("--appendonly", "yes")).Client(t)
	s := open(t, client, nil)
	ctx := t.Context()
	now, err := s.Now(ctx)
	must(t, err)
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.Commit(ctx, storetest.Create(id, "inc1", now))[0])
	}
	list, err := s.Inspect(ctx, 100)
	must(t, err)
	found(t, list, "records", store.FindingOK, "looked at 3 schedules, 0 runs, 0 backfills", "")

	ref := schedules.Ref{ID: "b", Incarnation: "inc1"}
	key := redisstore.ScheduleKey(s, ref)
	head := client.HGet(ctx, key, "head").Val()
	must(t, client.HSet(ctx, key, "head", "99"+strings.TrimLeft(head, "0123456789")).Err())
	list, err = s.Inspect(ctx, 100)
	must(t, err)
	found(t, list, "records", store.FindingError, "1 records were written by a newer version", "upgrade this program")
	found(t, list, "records", store.FindingError, "schedule b (format 99)", "")
	list, err = s.Inspect(ctx, 1)
	must(t, err)
	found(t, list, "records", store.FindingOK, "the first 1 schedules", "")
}
