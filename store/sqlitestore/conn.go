package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// conn is one connection with the statements prepared on it. Not safe for concurrent use.
//
// Statements run without the caller's context: each is bounded, and one interrupted in the middle would leave it open whether it was done.
type conn struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func newConn(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

func (c *conn) stmt(q string) (*sql.Stmt, error) {
	if st, ok := c.stmts[q]; ok {
		return st, nil
	}
	st, err := c.c.PrepareContext(context.Background(), q)
	if err == nil {
		c.stmts[q] = st
	}
	return st, err
}

// exec runs a statement and gives the number of rows it changed.
func (c *conn) exec(q string, args ...any) (int64, error) {
	st, err := c.stmt(q)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert runs an INSERT and gives the id of its row.
func (c *conn) insert(q string, args ...any) (int64, error) {
	st, err := c.stmt(q)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// one reads the first row into dest; false when there is none.
func (c *conn) one(dest []any, q string, args ...any) (bool, error) {
	st, err := c.stmt(q)
	if err != nil {
		return false, err
	}
	err = st.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each reads rows into dest, calling f after each until it says false.
func (c *conn) each(dest []any, f func() (bool, error), q string, args ...any) error {
	st, err := c.stmt(q)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if more, err := f(); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// script runs statements once, unprepared.
func (c *conn) script(q string) error {
	_, err := c.c.ExecContext(context.Background(), q)
	return err
}

// inTx runs f between begin and COMMIT, or undoes it.
func (c *conn) inTx(begin string, f func() error) error {
	if _, err := c.exec(begin); err != nil {
		return err
	}
	err := f()
	if err == nil {
		_, err = c.exec(`COMMIT`)
	}
	if err != nil {
		_, _ = c.exec(`ROLLBACK`) // SQLite may have rolled back by itself; then there is nothing to roll back
	}
	return err
}

// ms is a time as a column: NULL for none.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// dueMS is ms rounded up, so that nothing is due before its time.
func dueMS(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

func fromMS(v int64) time.Time { return time.UnixMilli(v).UTC() }
