package asynqtransport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/worker"
)

const (
	// batchLeast and batchMost are how many messages of one queue, handed over at a time, go in one task; fewer go in one each.
	batchLeast, batchMost = 4, 32
	batchPrefix           = "batch:"
	// slotPatience is how long a message of a batch waits in its worker for a slot. Then it is enqueued by itself, for whichever worker has one: a batch must not
	// keep runs from workers that are idle.
	slotPatience = 100 * time.Millisecond
	// onePatience is the same for a message by itself, of which a worker may have taken more than it has slots for. asynq puts it back.
	onePatience = time.Second
	putBackOne  = 5 * time.Second
)

// parcel is what one task carries; which says where its messages stand among those handed over.
type parcel struct {
	msgs  []store.Message
	which []int
}

// pack puts messages into tasks, those of one queue together.
func pack(msgs []store.Message) []parcel {
	var order []string
	byQueue := make(map[string][]int)
	for i, m := range msgs {
		if byQueue[m.Queue] == nil {
			order = append(order, m.Queue)
		}
		byQueue[m.Queue] = append(byQueue[m.Queue], i)
	}
	var parcels []parcel
	for _, q := range order {
		for all := byQueue[q]; len(all) > 0; {
			n := min(len(all), batchMost)
			if len(all) < batchLeast {
				n = 1
			}
			p := parcel{which: all[:n]}
			for _, i := range p.which {
				p.msgs = append(p.msgs, msgs[i])
			}
			parcels, all = append(parcels, p), all[n:]
		}
	}
	return parcels
}

// batch is the payload of a task that carries several messages of one queue: "<run id> <dispatch> <workflow>" each.
type batch struct {
	Version int      `json:"v"`
	Queue   string   `json:"queue"`
	Batch   []string `json:"batch"`
}

func encodeBatch(msgs []store.Message) ([]byte, error) {
	b := batch{Version: formatVersion, Queue: msgs[0].Queue}
	for _, m := range msgs {
		b.Batch = append(b.Batch, m.RunID+" "+strconv.Itoa(m.Dispatch)+" "+m.Workflow)
	}
	return json.Marshal(b)
}

// batchID is the same for the same messages: handing them over again is a conflict, and harmless. It says how many there are.
func batchID(msgs []store.Message) string {
	h := sha256.New()
	for _, m := range msgs {
		_, _ = fmt.Fprintln(h, taskID(m)) // never fails
	}
	return batchPrefix + strconv.Itoa(len(msgs)) + ":" + hex.EncodeToString(h.Sum(nil)[:10])
}

// sizeOf is how many messages a task carries, by its id.
func sizeOf(id string) int {
	rest, ok := strings.CutPrefix(id, batchPrefix)
	if !ok {
		return 1
	}
	size, _, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(size)
	if err != nil || n < 1 || n > batchMost {
		return 1
	}
	return n
}

func readBatch(kind string, data []byte) ([]store.Message, error) {
	var b batch
	switch {
	case kind != taskType:
		return nil, fmt.Errorf("type %q is not %q", clip(kind), taskType)
	case len(data) > maxPayload:
		return nil, fmt.Errorf("payload has %d bytes, more than %d", len(data), maxPayload)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("payload is not what is sent: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if len(b.Batch) == 0 || len(b.Batch) > batchMost || b.Version < 1 {
		return nil, fmt.Errorf("payload names %d runs in version %d; want 1 to %d", len(b.Batch), b.Version, batchMost)
	}
	msgs := make([]store.Message, len(b.Batch))
	for i, entry := range b.Batch {
		run, rest, _ := strings.Cut(entry, " ")
		dispatch, workflow, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(dispatch)
		if !isRun(run) || err != nil || n < 1 {
			return nil, fmt.Errorf("payload names %q, which is no dispatch of a run", clip(entry))
		}
		msgs[i] = store.Message{RunID: run, Dispatch: n, Queue: b.Queue, Workflow: workflow}
	}
	return msgs, nil
}

// unpack hands on the messages of a batch, and returns when they have ended. Those that find no slot soon, and those that are not taken, are enqueued by themselves.
func (t *Transport) unpack(ctx context.Context, msgs []store.Message, handle worker.Handler, pull *puller) {
	pull.unpacked(len(msgs))
	soon, cancel := context.WithTimeout(ctx, slotPatience)
	defer cancel()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(len(msgs)))
	for _, m := range msgs {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil { // asynq does that for what it calls itself
					t.cfg.Log.Error("handling a message panicked", append(engine.MessageAttrs(m), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
				}
				if left.Add(-1) > 0 {
					pull.one()
				}
			}()
			ctx, ended := pull.row.Visit(soon)
			defer ended()
			switch err := handle(ctx, m); {
			case errors.Is(err, worker.ErrTooNew):
				t.again(ctx, m, asynq.ProcessIn(tooNewDelay))
			case errors.Is(err, worker.ErrNotTaken):
				t.again(ctx, m)
			case err != nil:
				t.cfg.Log.Warn("message was not dealt with", append(engine.MessageAttrs(m), "error", err)...)
			}
		})
	}
	wg.Wait()
}

// again enqueues a message of a batch by itself. If that fails its run's keeper finds that it is gone.
func (t *Transport) again(ctx context.Context, m store.Message, opts ...asynq.Option) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackOne)
	defer cancel()
	if err := t.enqueue(ctx, []store.Message{m}, opts...); err != nil {
		t.cfg.Log.Debug("message is not put back; a keeper will", append(engine.MessageAttrs(m), "error", err)...)
	}
}

// waitsLong reports whether the oldest task that waits in a queue has waited for longer than after which runs are looked for.
func (t *Transport) waitsLong(ctx context.Context, queue string) (bool, error) {
	k := keysOf(queue)
	ids, err := t.cfg.Client.LRange(ctx, k.pending(), -1, -1).Result()
	if err != nil || len(ids) == 0 {
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			err = nil // damaged: each is looked for
		}
		return false, err
	}
	text, err := t.cfg.Client.HGet(ctx, k.tasks()+ids[0], "pending_since").Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return false, err
	}
	since, err := strconv.ParseInt(text, 10, 64)
	return err == nil && since > 0 && time.Since(time.Unix(0, since)) > schedules.LookAfter, nil
}

// inBatches looks for messages among a queue's batches.
func (t *Transport) inBatches(ctx context.Context, queue string, msgs []store.Message) (map[string]store.MessageState, error) {
	k := keysOf(queue)
	var waiting, active, retry *redis.StringSliceCmd
	var many *redis.IntCmd
	_, err := t.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		waiting, many = p.LRange(ctx, k.pending(), -searched, -1), p.LLen(ctx, k.pending())
		active, retry = p.LRange(ctx, k.active(), 0, searched-1), p.ZRange(ctx, k.prefix+"retry", 0, searched-1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	states := make(map[string]store.MessageState, len(msgs))
	rest := store.MessageGone
	if many.Val() > searched {
		rest = store.MessageQueued // it might be further back
	}
	for _, m := range msgs {
		states[taskID(m)] = rest
	}
	if rest != store.MessageGone {
		return states, nil
	}
	for _, list := range []struct {
		ids   []string
		state store.MessageState
	}{{waiting.Val(), store.MessageQueued}, {retry.Val(), store.MessageQueued}, {active.Val(), store.MessageActive}} {
		if err := t.markBatches(ctx, k, list.ids, list.state, states); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// markBatches notes the state of those messages that batches among some tasks carry.
func (t *Transport) markBatches(ctx context.Context, k keys, ids []string, state store.MessageState, states map[string]store.MessageState) error {
	var records []*redis.StringCmd
	_, err := t.cfg.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			if strings.HasPrefix(id, batchPrefix) {
				records = append(records, p.HGet(ctx, k.tasks()+id, "msg"))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return err
	}
	for _, r := range records {
		carried, err := readBatch(taskType, fieldOf([]byte(r.Val()), 2))
		if err != nil {
			continue // it carries nothing that anybody could receive
		}
		for _, m := range carried {
			if _, asked := states[taskID(m)]; asked {
				states[taskID(m)] = state
			}
		}
	}
	return nil
}

// fieldOf reads a field of a task as asynq encodes it, a protobuf message: 2 is the payload, 3 the id. Nil: it has none, or is none.
func fieldOf(b []byte, field protowire.Number) []byte {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if number == field && kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil
			}
			return value
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}
