package sqlitestore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// HoldLeases renews and takes named leases.
func (s *Store) HoldLeases(ctx context.Context, holder string, ttl time.Duration, names ...string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var held []string
	err := s.write(ctx, func(t *tx) error {
		held = nil
		now := s.Estimate()
		for _, name := range names {
			n, err := t.exec(`INSERT INTO leases(ns, name, holder, until) VALUES(?, ?, ?, ?) ON CONFLICT(ns, name) DO UPDATE SET holder = excluded.holder, until = excluded.until
				WHERE holder = excluded.holder OR until <= ?`, s.ns, name, holder, now.Add(ttl).UnixMilli(), now.UnixMilli())
			if err != nil {
				return err
			}
			if n > 0 {
				held = append(held, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "hold", "leases", "")
	}
	return held, nil
}

// ReleaseLeases gives up leases.
func (s *Store) ReleaseLeases(ctx context.Context, holder string, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return wrap(s.write(ctx, func(t *tx) error {
		for _, name := range names {
			if _, err := t.exec(`DELETE FROM leases WHERE ns = ? AND name = ? AND holder = ?`, s.ns, name, holder); err != nil {
				return err
			}
		}
		return nil
	}), "release", "leases", "")
}

// LeaseHolders gives the holders of named leases.
func (s *Store) LeaseHolders(ctx context.Context, names ...string) ([]string, error) {
	holders := make([]string, len(names))
	err := s.view(ctx, func(c *conn) error {
		now := s.Estimate().UnixMilli()
		for i, name := range names {
			holders[i] = ""
			if _, err := c.one([]any{&holders[i]}, `SELECT holder FROM leases WHERE ns = ? AND name = ? AND until > ?`, s.ns, name, now); err != nil {
				return err
			}
		}
		return nil
	})
	return holders, wrap(err, "read", "leases", "")
}

// AnnounceProcess makes a process known as live; processes that ran out long ago are forgotten by the way.
func (s *Store) AnnounceProcess(ctx context.Context, p store.Process, ttl time.Duration) error {
	return wrap(s.write(ctx, func(t *tx) error {
		now := s.Estimate()
		p := p
		p.Seen = now
		body, err := encode(&p)
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT OR REPLACE INTO processes(ns, id, until, body) VALUES(?, ?, ?, ?)`, s.ns, p.ID, now.Add(ttl).UnixMilli(), body); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM processes WHERE ns = ? AND until <= ?`, s.ns, now.Add(-time.Minute).UnixMilli())
		return err
	}), "announce", "process", p.ID)
}

// WithdrawProcess forgets a process.
func (s *Store) WithdrawProcess(ctx context.Context, id string) error {
	return wrap(s.write(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM processes WHERE ns = ? AND id = ?`, s.ns, id)
		return err
	}), "withdraw", "process", id)
}

// Processes lists the live processes by id.
func (s *Store) Processes(ctx context.Context) ([]store.Process, error) {
	var list []store.Process
	err := s.view(ctx, func(c *conn) (err error) {
		list, err = bodies[store.Process](c, `SELECT body FROM processes WHERE ns = ? AND until > ? ORDER BY id`, s.ns, s.Estimate().UnixMilli())
		return err
	})
	return list, wrap(err, "list", "processes", "")
}

// PublishWorkflows makes workflows known.
func (s *Store) PublishWorkflows(ctx context.Context, ws ...store.Workflow) error {
	if len(ws) == 0 {
		return nil
	}
	return wrap(s.write(ctx, func(t *tx) error {
		now := s.Estimate()
		for _, w := range ws {
			w.Seen = now
			body, err := encode(&w)
			if err != nil {
				return err
			}
			if _, err := t.exec(`INSERT OR REPLACE INTO workflows(ns, name, body) VALUES(?, ?, ?)`, s.ns, w.Name, body); err != nil {
				return err
			}
		}
		return nil
	}), "publish", "workflows", "")
}

// Workflows lists what was published, by name.
func (s *Store) Workflows(ctx context.Context) ([]store.Workflow, error) {
	var list []store.Workflow
	err := s.view(ctx, func(c *conn) (err error) {
		list, err = bodies[store.Workflow](c, `SELECT body FROM workflows WHERE ns = ? ORDER BY name`, s.ns)
		return err
	})
	return list, wrap(err, "list", "workflows", "")
}

// bodies reads a column of records.
func bodies[T any](c *conn, q string, args ...any) ([]T, error) {
	var list []T
	var body []byte
	err := c.each([]any{&body}, func() (bool, error) {
		var v T
		err := json.Unmarshal(body, &v)
		list = append(list, v)
		return true, err
	}, q, args...)
	return list, err
}
