package redisstore

import (
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// shards is the number of hash slots a namespace is spread over. It is part of the format: never change it.
const shards = 16

// Every key starts with pyworkflow:{<namespace>:<shard>}: or, for what belongs to no shard, pyworkflow:{<namespace>}:. The scripts build names after the prefix
// for themselves, as listed here:
//
//	ids                          hash     schedule id → its current incarnation
//	list:<status>, list:w:<wf>   zset     ids of current incarnations, by status and, unless deleted, by workflow
//	old                          zset     <id>@<incarnation> of replaced incarnations
//	s:<id>@<incarnation>         hash     head, rec, hot, tally: a schedule
//	s:…:active                   zset     its active runs; score 0, or the deadline of the cancel request in ms, and .5 more of a backfill
//	s:…:wait:r, s:…:wait:m       list     its waiting regular and manual ticks
//	s:…:fates                    zset     its history by nominal time: "<tick key> <JSON>"
//	s:…:keys                     hash     of triggers with an idempotency key: the tick's nonce → its nominal time
//	ticks                        zset     <id>@<incarnation> by the time its next tick is due
//	timers                       zset     s<id>@<incarnation> and r<run id> by the time somebody has to look
//	leases                       zset     running runs by the end of their lease
//	missed                       zset     "<id>@<incarnation> <nominal ms> <reason>" of missed ticks by the time of the decision: the latest 1,000 of a day
//	outbox                       zset     "<run id> <dispatch> <queue>" by the time it was written
//	r:<run id>                   hash     fix, in, mut, lease, result, error: a run
//	r:…:steps                    hash     step key → "<place> <JSON>"
//	r:…:log                      list     its log, oldest first: token, JSON
//	runs, runs:s:<id>, runs:free, runs:w:<wf>, runs:active, runs:failed, runs:cancelled
//	                             zset     run ids by creation: all, of a schedule id, of none, of a workflow, not ended, ended so
//	b:<backfill id>              hash     row, tally: a backfill
//	backfills, backfills:s:<id>  zset     backfill ids by creation
//	trim                         string   where retention is on its round
//	audit                        string   where the audit of the indexes is on its round
//	lock:<name>                  string   "<until in ms> <holder>"
//	wake                         channel  t: something in ticks, m: something in timers or outbox, is due sooner
//
//	processes, processes:live    hash, zset   without a shard: live processes, by the time they count as dead
//	workflows                    hash         without a shard: announced workflows
type keys struct {
	global string
	shard  [shards]string
}

func newKeys(namespace string) keys {
	k := keys{global: "pyworkflow:{" + namespace + "}:"}
	for i := range k.shard {
		k.shard[i] = "pyworkflow:{" + namespace + ":" + strconv.Itoa(i) + "}:"
	}
	return k
}

func shardOf(ref schedules.Ref) int { return int(ref.Placement()) % shards }

// shardOfID is the shard of a run or a backfill; false for what is the id of neither.
func shardOfID(id string) (int, bool) {
	p, ok := schedules.IDPlacement(id)
	return int(p) % shards, ok
}

// of gives the key of a name in the schedule's shard.
func (k *keys) of(ref schedules.Ref, name string) string { return k.shard[shardOf(ref)] + name }

// schedule gives the key of a schedule's row.
func (k *keys) schedule(ref schedules.Ref) string { return k.of(ref, "s:"+ref.String()) }

// run gives the key of a run's row; the id must be one.
func (k *keys) run(shard int, id string) string { return k.shard[shard] + "r:" + id }

func (k *keys) backfill(shard int, id string) string { return k.shard[shard] + "b:" + id }

// lock gives the key of a lease name. A name "<kind>/<shard>" lies in its shard.
func (k *keys) lock(name string) string {
	if kind, n, ok := strings.Cut(name, "/"); ok {
		if shard, err := strconv.Atoi(n); err == nil && shard >= 0 && shard < shards && strconv.Itoa(shard) == n {
			return k.shard[shard] + "lock:" + kind
		}
	}
	return k.global + "lock:" + name
}

// prefixOf is the part of a key that all of its shard share.
func prefixOf(key string) string {
	i := strings.Index(key, "}:")
	return key[:i+1]
}

// parseRef reads <id>@<incarnation>.
func parseRef(s string) schedules.Ref {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return schedules.Ref{ID: s}
	}
	return schedules.Ref{ID: s[:i], Incarnation: s[i+1:]}
}
