package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/engine"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
)

// Store is what a Client needs of a store.
type Store interface {
	engine.Store
	store.Registry
	store.Views
	Shards() int
	DueTicks(ctx context.Context, shard int, until time.Time, limit int) ([]store.DueSchedule, error)
	Listen(ctx context.Context, wake func(store.Wake)) error
	Inspect(ctx context.Context, records int) ([]store.Finding, error)
	Describe() string
}

// Config holds a Client's parts.
type Config struct {
	// Store is required. The caller opens and closes it.
	Store Store
	// Engine commits and sends. Nil: one is made that sends nothing: what the client starts waits in the store's outbox until a keeper (part of
	// every worker and scheduler) hands it on, about a second later.
	Engine *engine.Engine
	// App holds the workflows of this program; nil: it has none.
	App *pyworkflow.App
	// Queues keeps the queues between processes: the asynq transport. Nil: there are none, as in the local runtime.
	Queues QueueKeeper
	// Limits bound what is given to the Client: inputs, notes, reasons, keys. A zero field: the App's limit, else that of schedules.DefaultLimits.
	Limits schedules.Limits
	// Log is told of what goes wrong behind an answer; nil: discards.
	Log *slog.Logger
}

// Client carries out acts. It is safe for concurrent use.
type Client struct {
	store  Store
	engine *engine.Engine
	app    *pyworkflow.App
	queues QueueKeeper
	limits schedules.Limits
	log    *slog.Logger
	expect int64 // version that changes of a schedule expect; 0: any
}

// New checks the configuration.
func New(cfg Config) (*Client, error) {
	if cfg.Store == nil {
		return nil, errors.New("client: Config.Store is nil")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Engine == nil {
		e, err := engine.New(engine.Config{Store: cfg.Store, Log: cfg.Log})
		if err != nil {
			return nil, err
		}
		cfg.Engine = e
	}
	if err := cfg.Limits.Check(); err != nil {
		return nil, fmt.Errorf("client: Config.Limits: %w", err)
	}
	limits := schedules.DefaultLimits()
	if cfg.App != nil {
		limits = cfg.App.Limits()
	}
	return &Client{store: cfg.Store, engine: cfg.Engine, app: cfg.App, queues: cfg.Queues, limits: cfg.Limits.Over(limits), log: cfg.Log}, nil
}

// Now reads the store's clock.
func (c *Client) Now(ctx context.Context) (time.Time, error) { return c.store.Now(ctx) }

// Describe names the store for people, without secrets.
func (c *Client) Describe() string { return c.store.Describe() }

// resolve gives the current incarnation under an id. One that was deleted is not found.
func (c *Client) resolve(ctx context.Context, id string) (schedules.Ref, error) {
	ref, err := c.store.Resolve(ctx, id)
	return ref, c.missing("schedule", id, err)
}

// missing turns a store's ErrNotFound into a *NotFoundError.
func (c *Client) missing(kind, id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &NotFoundError{Kind: kind, ID: id, Where: c.store.Describe()}
	}
	return err
}

// nonce returns 16 random hex digits.
func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// incarnation returns 12 random letters and digits. It tells incarnations of one id apart, and lies three times in what each schedule takes of a store.
func incarnation() string { return strings.ToLower(rand.Text()[:12]) }
