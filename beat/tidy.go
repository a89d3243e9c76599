package beat

import (
	"context"
	"slices"
	"time"

	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// tidyTimeout bounds one look at what is in the transport.
const tidyTimeout = 10 * time.Second

// tidier has the transport tidied now and then, while its keeper holds the first shard: one keeper is enough, and two do no harm.
type tidier struct {
	cfg  KeeperConfig
	core *core
}

func (t *tidier) run(ctx context.Context) {
	transport, can := t.cfg.Looker.(Tidier)
	if !can || t.cfg.TidyInterval < 0 {
		return
	}
	for pause(ctx, t.cfg.TidyInterval) {
		if !t.core.link.answers() || !slices.Contains(t.core.shares.now(), 0) {
			continue
		}
		func() {
			ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
			defer cancel()
			if err := transport.Tidy(ctx); err != nil {
				t.cfg.Log.Debug("what is in the transport is not tidied for now", "error", err)
			}
		}()
	}
}

// drop removes messages that were found not to reach a worker. It comes before their runs are sent anew: what is left of them would stay for ever if this process
// died in between, while a run that is not sent anew is found again.
func (k *runKeeper) drop(ctx context.Context, msgs []store.Message) {
	transport, can := k.cfg.Looker.(Dropper)
	if !can || len(msgs) == 0 {
		return
	}
	if err := transport.Drop(ctx, msgs...); err != nil {
		k.cfg.Log.Debug("what is left of messages that reached no worker stays in the transport", append(engine.MessageAttrs(msgs[0]), "messages", len(msgs), "error", err)...)
	}
}
