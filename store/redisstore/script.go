package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is a Lua script: its text, and the name the server knows it under once it has seen it.
type script struct {
	name, text, sha string
	bulk            bool // takes several rows of a shard, see lua/bulk.lua
}

func load(name string, before ...string) script {
	return script{name: name}.of(append(append([]string{"common"}, before...), name))
}

func bulk(name string) script {
	return script{name: name, bulk: true}.of([]string{"common", "bulk", name, "each"})
}

// of puts a script together from files.
func (sc script) of(files []string) script {
	var b strings.Builder
	fmt.Fprintf(&b, "local READS = %d\n", reads)
	for _, n := range files {
		text, err := luaFiles.ReadFile("lua/" + n + ".lua")
		if err != nil {
			panic(err) // a file that was compiled in
		}
		b.Write(text)
	}
	sum := sha1.Sum([]byte(b.String()))
	sc.text, sc.sha = b.String(), hex.EncodeToString(sum[:])
	return sc
}

// The scripts; each file's header is its contract.
var (
	commitScript    = bulk("commit")
	loadScript      = bulk("load")
	createRunScript = load("createrun")
	claimScript     = bulk("claim")
	heartbeatScript = load("heartbeat")
	commitRunScript = bulk("commitrun")
	stepScript      = load("step")
	eventsScript    = load("events")
	lockScript      = load("lock")
	pageScript      = load("page")
	announceScript  = load("announce")
	processesScript = load("processes")
	publishScript   = load("publish")
	trimNextScript  = load("trimnext")
	trimScript      = load("trim", "retention")
	trimRestScript  = load("trimrest", "retention")
	dropScript      = load("drop")
	auditScript     = load("audit")
)

const (
	// pipelined is how many calls go to the server in one go.
	pipelined = 256
	// bulkMost is how many rows a bulk script takes; bulkSize, in bytes, is the size of their arguments from which on it takes no more. So it holds the server up
	// for a few milliseconds at most.
	bulkMost = 32
	bulkSize = 64 << 10
)

// call is a script to be run.
type call struct {
	script *script
	keys   []string // of a bulk script: the row
	args   []any    // without the clock, which comes first
}

// size is about how many bytes a call has.
func (c *call) size() int {
	n := 0
	for _, a := range c.args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []byte:
			n += len(a)
		default:
			n += 8
		}
	}
	return n
}

// order is one run of a script, for one call, or of a bulk script for several of one shard.
type order struct {
	script *script
	calls  []int
	size   int
}

// orders puts calls together that one run of a script can serve, each shard's in their order.
func orders(calls []call, todo []int) []*order {
	type kind struct {
		script *script
		prefix string
	}
	all := make([]*order, 0, len(todo))
	open := make(map[kind]*order)
	for _, i := range todo {
		c := &calls[i]
		k := kind{script: c.script}
		if c.script.bulk {
			k.prefix = prefixOf(c.keys[0])
		}
		o := open[k]
		if o == nil || !c.script.bulk || len(o.calls) == bulkMost || o.size > bulkSize {
			o = &order{script: c.script}
			open[k], all = o, append(all, o)
		}
		o.calls, o.size = append(o.calls, i), o.size+c.size()
	}
	return all
}

// args are the keys and arguments of an order, after the clock.
func (o *order) args(calls []call, now string) (keys []string, args []any) {
	args = append(args, now)
	for _, i := range o.calls {
		keys = append(keys, calls[i].keys...)
		if o.script.bulk {
			args = append(args, len(calls[i].args))
		}
		args = append(args, calls[i].args...)
	}
	return keys, args
}

// reply is what a script returned after its code and the clock.
type reply struct {
	values []any
	now    time.Time
	err    error // the code's sentinel, or that the server could not be reached
}

// do runs scripts in as few round trips as there are servers to ask, and answers in order. It gives the clock: the earliest if several servers were asked.
func (s *Store) do(ctx context.Context, calls ...call) []reply {
	replies := make([]reply, len(calls))
	for from := 0; from < len(calls); from += pipelined {
		to := min(from+pipelined, len(calls))
		s.doBatch(ctx, calls[from:to], replies[from:to])
	}
	return replies
}

func (s *Store) doBatch(ctx context.Context, calls []call, replies []reply) {
	if err := s.usable(ctx); err != nil {
		for i := range replies {
			replies[i].err = err
		}
		return
	}
	sent := time.Now()
	todo := make([]int, len(calls))
	for i := range todo {
		todo[i] = i
	}
	now := s.now()
	// A server that was restarted or flushed has forgotten the scripts: they are sent whole then.
	for _, whole := range []bool{false, true} {
		together := orders(calls, todo)
		cmds := make([]*redis.Cmd, len(together))
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n, o := range together {
				keys, args := o.args(calls, now)
				if whole {
					cmds[n] = p.Eval(ctx, o.script.text, keys, args...)
				} else {
					cmds[n] = p.EvalSha(ctx, o.script.sha, keys, args...)
				}
			}
			return nil
		})
		var unknown []int
		for n, o := range together {
			if !whole && redis.HasErrorPrefix(cmds[n].Err(), "NOSCRIPT") {
				unknown = append(unknown, o.calls...)
				continue
			}
			o.parse(cmds[n], replies)
		}
		if todo = unknown; len(todo) == 0 {
			break
		}
	}
	if now == "" {
		if t := earliest(replies); !t.IsZero() {
			s.clock.observe(t, sent)
		}
	}
}

// one runs a single script, perhaps together with others that are called meanwhile.
func (s *Store) one(ctx context.Context, sc *script, key string, args ...any) reply {
	a := &ask{call: call{sc, []string{key}, args}}
	group := s.group
	if sc == &claimScript {
		group = s.claims
	}
	if err := group.Do(ctx, a); err != nil {
		return reply{err: err}
	}
	return a.reply
}

// ask is a call and its reply.
type ask struct {
	call  call
	reply reply
}

func (s *Store) send(ctx context.Context, asks []*ask) {
	calls := make([]call, len(asks))
	for i, a := range asks {
		calls[i] = a.call
	}
	replies := make([]reply, len(asks))
	s.doBatch(ctx, calls, replies)
	for i, a := range asks {
		a.reply = replies[i]
	}
}

// codes are what scripts return first.
var codes = map[string]error{
	"ok":       nil,
	"conflict": store.ErrConflict,
	"exists":   store.ErrExists,
	"notfound": store.ErrNotFound,
	"stale":    store.ErrStale,
	"clock":    store.ErrClock,
	"format":   store.ErrFormat,
	"damaged":  store.ErrUnreadable,
}

// scriptError is what a bulk script says of a row that made it fail, as a server's error.
type scriptError string

func (e scriptError) Error() string { return string(e) }

// RedisError says whose error it is: redis.Error.
func (scriptError) RedisError() {}

// parse reads what an order returned into the replies of its calls.
func (o *order) parse(cmd *redis.Cmd, replies []reply) {
	values, err := cmd.Slice()
	if err == nil && len(values) < 2 {
		err = o.script.disagrees()
	}
	if err == nil && o.script.bulk && (values[0] != "ok" || len(values) != 2+len(o.calls)) {
		err = o.script.disagrees()
	}
	for n, i := range o.calls {
		switch {
		case err != nil:
			replies[i] = reply{err: err}
		case o.script.bulk:
			its, _ := values[2+n].([]any)
			replies[i] = o.script.reply(values[1], its)
		default:
			replies[i] = o.script.reply(values[1], append(values[:1:1], values[2:]...))
		}
	}
}

func (sc *script) disagrees() error {
	return fmt.Errorf("script %s returned something else than agreed", sc.name)
}

// reply is what a script says: the clock, a code and what follows it.
func (sc *script) reply(clock any, its []any) reply {
	now, ok := clock.(int64)
	if !ok || len(its) == 0 {
		return reply{err: sc.disagrees()}
	}
	code, _ := its[0].(string)
	if text, ok := its[len(its)-1].(string); ok && code == "error" {
		return reply{err: scriptError(text)}
	}
	err, known := codes[code]
	if !known {
		return reply{err: sc.disagrees()}
	}
	r := reply{values: its[1:], now: time.UnixMilli(now).UTC(), err: err}
	if code == "format" {
		r.err = &store.FormatError{Format: int(r.int(0)), Reads: reads}
	}
	return r
}

// answered reports whether the script ran.
func (r *reply) answered() bool { return !r.now.IsZero() }

func (r *reply) str(i int) string {
	if i >= len(r.values) {
		return ""
	}
	v, _ := r.values[i].(string)
	return v
}

func (r *reply) int(i int) int64 {
	if i >= len(r.values) {
		return 0
	}
	v, _ := r.values[i].(int64)
	return v
}

func (r *reply) list(i int) []string {
	if i >= len(r.values) {
		return nil
	}
	v, _ := r.values[i].([]any)
	return stringsOf(v)
}

// hash reads fields and values in turn.
func (r *reply) hash(i int) map[string]string {
	if i >= len(r.values) {
		return nil
	}
	switch v := r.values[i].(type) {
	case []any:
		m := make(map[string]string, len(v)/2)
		list := stringsOf(v)
		for j := 0; j+1 < len(list); j += 2 {
			m[list[j]] = list[j+1]
		}
		return m
	default:
		return nil
	}
}

// stringsOf reads a list; what is nil in it is empty.
func stringsOf(v []any) []string {
	list := make([]string, len(v))
	for i, e := range v {
		list[i], _ = e.(string)
	}
	return list
}

func earliest(replies []reply) time.Time {
	var t time.Time
	for i := range replies {
		if r := &replies[i]; r.answered() && (t.IsZero() || r.now.Before(t)) {
			t = r.now
		}
	}
	return t
}

// newToken marks one call, so that the same call made twice is known.
func newToken() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// firstError is the first error that is not one a script returned as its code.
func firstError(replies []reply) error {
	for i := range replies {
		if r := &replies[i]; r.err != nil && !r.answered() {
			return r.err
		}
	}
	return nil
}

// isNil reports that the server has no such key or field.
func isNil(err error) bool { return errors.Is(err, redis.Nil) }
