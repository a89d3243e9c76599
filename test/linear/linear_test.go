package linear

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

var (
	histories = flag.Int("histories", 16, "histories of each kind that are checked; of SQLite, which is slower, half as many")
	firstSeed = flag.Uint64("seed", 0, "of the first history, the next ones follow; 0: by the time of day")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

// searchLimit bounds the search for an order; it needs milliseconds.
const searchLimit = 20 * time.Second

// shown is how many operations before the one that is refused are shown.
const shown = 25

// seeds gives the seeds of a test's histories and prints the first.
func seeds(t *testing.T, n int) []uint64 {
	first := *firstSeed
	if first == 0 {
		first = uint64(time.Now().UnixMicro())
	}
	t.Logf("%d histories; again with -seed %d", n, first)
	all := make([]uint64, n)
	for i := range all {
		all[i] = first + uint64(i)
	}
	return all
}

// verdict is what the checker says of a history.
type verdict struct {
	operations, open int
	refused          string // "": there is an order in which everything is right
}

// judge looks for an order of each schedule's operations.
func judge(h *history) verdict {
	var v verdict
	if h.now.Load() > most {
		return verdict{refused: errEndless.Error()}
	}
	for id, ops := range h.partition() {
		v.operations += len(ops)
		for _, op := range ops {
			if op.Return == math.MaxInt64 {
				v.open++
			}
		}
		res, info := porcupine.CheckOperationsVerbose(model(), ops, searchLimit)
		switch res {
		case porcupine.Ok:
		case porcupine.Unknown:
			v.refused = fmt.Sprintf("schedule %s: no order was found within %s, nor that there is none", id, searchLimit)
		default:
			v.refused = explain(id, ops, info)
		}
	}
	return v
}

// explain shows the longest order that works, and what comes after it.
func explain(id string, ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, part := range info.PartialLinearizationsOperations()[0] {
		if len(part) > len(longest) {
			longest = part
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "schedule %s: no order of its %d operations agrees with the answers. The longest that does is of %d and ends with:\n", id, len(ops), len(longest))
	m := model()
	s := m.Init()
	in := map[[2]int64]bool{}
	for i, op := range longest {
		_, s = m.Step(s, op.Input, op.Output)
		in[[2]int64{op.Call, op.Return}] = true
		if i >= len(longest)-shown {
			fmt.Fprintf(&b, "  %s\n", line(op))
		}
	}
	fmt.Fprintf(&b, "it comes to %s\nwhere none of these can be next:\n", m.DescribeState(s))
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	until := int64(math.MaxInt64)
	for _, op := range ops {
		if in[[2]int64{op.Call, op.Return}] || op.Call > until {
			continue
		}
		until = min(until, op.Return)
		fmt.Fprintf(&b, "  %s: %s\n", line(op), reason(s.(state), op.Input.(input), op.Output.(output)))
	}
	return b.String()
}

// reason says what the model would have answered, or written.
func reason(s state, in input, out output) string {
	switch in.Op {
	case opCommit:
		_, c := commit(s, in, out)
		return string(c)
	case opClaim, opStep, opEnd:
		_, c := changeRun(s, s.runs[in.Run], in)
		return fmt.Sprintf("%s; the run: %+v", c, s.runs[in.Run])
	case opGetRun, opBeat, opSteps:
		return fmt.Sprintf("the run: %+v", s.runs[in.Run])
	default:
		return fmt.Sprintf("%+v", s.scheds[in.Inc])
	}
}

func line(op porcupine.Operation) string {
	by := fmt.Sprint(op.Return)
	if op.Return == math.MaxInt64 {
		by = "…"
	}
	return fmt.Sprintf("[%d, %s] process %d: %s", op.Call, by, op.ClientId, describe(op.Input.(input), op.Output.(output)))
}

// check plays histories and judges them.
func check(t *testing.T, w *world, n int, faulty bool) {
	var sum verdict
	var longest time.Duration
	list := seeds(t, n)
	for _, seed := range list {
		h := w.play(t, seed, faulty, nil)
		began := time.Now()
		v := judge(h)
		longest = max(longest, time.Since(began))
		sum.operations += v.operations
		sum.open += v.open
		if v.refused != "" {
			t.Fatalf("seed %d: %s", seed, v.refused)
		}
	}
	t.Logf("%d histories, %d operations, %d of them with an answer that was lost; the longest search took %s", len(list), sum.operations, sum.open, longest)
}

// TestRedis checks processes that all get their answers.
func TestRedis(t *testing.T) { check(t, newRedis(t), *histories, false) }

// TestRedisCut checks processes whose connections are cut: before a request has left, or before its answer has come, by themselves and by the
// server. Some try again, as a client does when it is not told otherwise; to the others the outcome stays open.
func TestRedisCut(t *testing.T) { check(t, newRedis(t), *histories, true) }

// TestSQLite checks processes on one file that all get their answers.
func TestSQLite(t *testing.T) { check(t, newSQLite(t), (*histories+1)/2, false) }

// TestSQLiteGivenUp checks processes that give up waiting for some of their answers.
func TestSQLiteGivenUp(t *testing.T) { check(t, newSQLite(t), (*histories+1)/2, true) }

// newRedis gives every node a client, and so connections, of its own.
func newRedis(t *testing.T) *world {
	server := redistest.Shared(t)
	w := &world{clock: newClock()}
	namespace := redistest.Namespace(t)
	for i := range nodes {
		cut := &cutter{}
		opt := &redis.Options{Addr: server.Addr(), Dialer: cut.dial, PoolSize: 4, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 4 * time.Millisecond}
		if i%2 == 1 {
			opt.MaxRetries = -1
		}
		c := redis.NewClient(opt)
		t.Cleanup(func() { _ = c.Close() })
		st, err := redisstore.New(c, redisstore.Config{Namespace: namespace, Clock: w.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, node{store: st, trouble: cut.arm, broken: cut.broken.Load})
	}
	admin := server.Client(t)
	w.between = func(ctx context.Context, rng *rand.Rand) {
		for range 1 + rng.IntN(3) {
			_ = admin.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
			_ = admin.ScriptFlush(ctx).Err()
		}
	}
	return w
}

// cutter cuts connections.
type cutter struct {
	next   atomic.Int32
	broken atomic.Int64 // connections that broke, by us or by others
}

// The ways to cut.
const (
	cutRequest = 1 + iota // it never leaves
	cutAnswer             // the request arrives, its answer does not
)

// arm lets one of the next requests, or its answer, be lost.
func (c *cutter) arm(ctx context.Context, rng *rand.Rand) (context.Context, context.CancelFunc) {
	after := rng.Int32N(3) // requests that still come through
	c.next.Store(after<<4 | 1 + rng.Int32N(2))
	return ctx, func() { c.next.Store(0) }
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cuttable{Conn: conn, cutter: c}, nil
}

type cuttable struct {
	net.Conn
	cutter *cutter
}

var errCut = errors.New("connection was cut")

// Read reads an answer.
func (c *cuttable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.cutter.broken.Add(1)
	}
	return n, err
}

// Write sends a request, or part of one.
func (c *cuttable) Write(b []byte) (n int, err error) {
	defer func() {
		if err != nil {
			c.cutter.broken.Add(1)
		}
	}()
	next := c.cutter.next.Load()
	switch {
	case next == 0:
	case next>>4 > 0:
		c.cutter.next.Store(next - 1<<4)
	default:
		c.cutter.next.Store(0)
		if next == cutRequest {
			_ = c.Close()
			return 0, errCut
		}
		n, err := c.Conn.Write(b)
		c.cutter.broken.Add(1) // a client may find out before it reads
		_ = c.Close()
		return n, err
	}
	return c.Conn.Write(b)
}

// newSQLite gives every node a store of its own on one file.
func newSQLite(t *testing.T) *world {
	w := &world{clock: newClock()}
	dir := filepath.Join(t.TempDir(), "data")
	for range nodes {
		st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, Clock: w.clock.now, BusyTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		w.nodes = append(w.nodes, node{store: st, trouble: giveUp, broken: func() int64 { return 0 }})
	}
	return w
}

// giveUp ends what the caller waits for after a moment.
func giveUp(ctx context.Context, rng *rand.Rand) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(rng.Int64N(int64(time.Millisecond))))
}
