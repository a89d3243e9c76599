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
}

func load(name string, before ...string) script {
	var b strings.Builder
	fmt.Fprintf(&b, "local READS = %d\n", reads)
	for _, n := range append(append([]string{"common"}, before...), name) {
		text, err := luaFiles.ReadFile("lua/" + n + ".lua")
		if err != nil {
			panic(err) // a file that was compiled in
		}
		b.Write(text)
	}
	sum := sha1.Sum([]byte(b.String()))
	return script{name: name, text: b.String(), sha: hex.EncodeToString(sum[:])}
}

// The scripts; each file's header is its contract.
var (
	commitScript    = load("commit")
	loadScript      = load("load")
	createRunScript = load("createrun")
	claimScript     = load("claim")
	heartbeatScript = load("heartbeat")
	commitRunScript = load("commitrun")
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

// pipelined is how many scripts go to the server in one go.
const pipelined = 256

// call is a script to be run.
type call struct {
	script *script
	keys   []string
	args   []any // without the clock, which comes first
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
		cmds := make([]*redis.Cmd, len(todo))
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n, i := range todo {
				args := append([]any{now}, calls[i].args...)
				if whole {
					cmds[n] = p.Eval(ctx, calls[i].script.text, calls[i].keys, args...)
				} else {
					cmds[n] = p.EvalSha(ctx, calls[i].script.sha, calls[i].keys, args...)
				}
			}
			return nil
		})
		var unknown []int
		for n, i := range todo {
			if !whole && redis.HasErrorPrefix(cmds[n].Err(), "NOSCRIPT") {
				unknown = append(unknown, i)
				continue
			}
			replies[i] = parseReply(cmds[n], calls[i].script)
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
	if err := s.group.Do(ctx, a); err != nil {
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

func parseReply(cmd *redis.Cmd, sc *script) reply {
	values, err := cmd.Slice()
	if err != nil {
		return reply{err: err}
	}
	bad := reply{err: fmt.Errorf("script %s returned something else than agreed", sc.name)}
	if len(values) < 2 {
		return bad
	}
	code, ok := values[0].(string)
	now, ok2 := values[1].(int64)
	err, known := codes[code]
	if !ok || !ok2 || !known {
		return bad
	}
	r := reply{values: values[2:], now: time.UnixMilli(now).UTC(), err: err}
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
