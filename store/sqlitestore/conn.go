package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// conn is one connection with the statements prepared on it. Not safe for concurrent use.
//
// It talks to the driver without database/sql in between, which would cost as much again as a small statement. Statements run without the caller's context: each is
// bounded, and one interrupted in the middle would leave it open whether it was done.
type conn struct {
	c      *sql.Conn   // keeps the driver's connection out of the pool
	driver driver.Conn // of c
	stmts  map[string]driver.Stmt
	args   []driver.NamedValue // room for those of the statement that runs
}

func newConn(ctx context.Context, db *sql.DB) (*conn, error) {
	sc, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{c: sc, stmts: map[string]driver.Stmt{}}
	err = sc.Raw(func(dc any) error {
		c.driver = dc.(driver.Conn)
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, sc.Close())
	}
	return c, nil
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

func (c *conn) stmt(q string) (driver.Stmt, error) {
	if st, ok := c.stmts[q]; ok {
		return st, nil
	}
	st, err := c.driver.Prepare(q)
	if err == nil {
		c.stmts[q] = st
	}
	return st, err
}

// bind gives args as the driver takes them, until the next call.
func (c *conn) bind(args []any) ([]driver.NamedValue, error) {
	out := c.args[:0]
	for i, a := range args {
		v := driver.NamedValue{Ordinal: i + 1}
		switch a := a.(type) {
		case nil, int64, string, []byte:
			v.Value = a
		case int:
			v.Value = int64(a)
		default:
			var err error
			if v.Value, err = driver.DefaultParameterConverter.ConvertValue(a); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	c.args = out
	return out, nil
}

// run runs a statement that gives no rows.
func (c *conn) run(q string, args []any) (driver.Result, error) {
	st, err := c.stmt(q)
	if err != nil {
		return nil, err
	}
	values, err := c.bind(args)
	if err != nil {
		return nil, err
	}
	return st.(driver.StmtExecContext).ExecContext(context.Background(), values)
}

// exec runs a statement and gives the number of rows it changed.
func (c *conn) exec(q string, args ...any) (int64, error) {
	res, err := c.run(q, args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert runs an INSERT and gives the id of its row; 0 when it inserted none.
func (c *conn) insert(q string, args ...any) (int64, error) {
	res, err := c.run(q, args)
	if err != nil {
		return 0, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return res.LastInsertId()
}

// one reads the first row into dest; false when there is none.
func (c *conn) one(dest []any, q string, args ...any) (bool, error) {
	found := false
	err := c.each(dest, func() (bool, error) {
		found = true
		return false, nil
	}, q, args...)
	return found, err
}

// each reads rows into dest, calling f after each until it says false. f may use the connection.
func (c *conn) each(dest []any, f func() (bool, error), q string, args ...any) (err error) {
	st, err := c.stmt(q)
	if err != nil {
		return err
	}
	values, err := c.bind(args)
	if err != nil {
		return err
	}
	rows, err := st.(driver.StmtQueryContext).QueryContext(context.Background(), values)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	row := make([]driver.Value, len(dest))
	for {
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for i, v := range row {
			if err := assign(dest[i], v); err != nil {
				return fmt.Errorf("column %d: %w", i, err)
			}
		}
		if more, err := f(); err != nil || !more {
			return err
		}
	}
}

// assign puts a column's value where it belongs.
func assign(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case **int64:
		*d = nil
		if v == nil {
			return nil
		}
		if n, ok := v.(int64); ok {
			*d = &n
			return nil
		}
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *int:
		if n, ok := v.(int64); ok {
			*d = int(n)
			return nil
		}
	case *bool:
		if n, ok := v.(int64); ok {
			*d = n != 0
			return nil
		}
	case *string:
		if t, ok := v.(string); ok {
			*d = t
			return nil
		}
	case *[]byte:
		if t, ok := v.(string); ok {
			*d = []byte(t)
			return nil
		}
	case *schedules.RunStatus:
		if t, ok := v.(string); ok {
			*d = schedules.RunStatus(t)
			return nil
		}
	}
	return fmt.Errorf("a %T cannot be read as %T", v, dest)
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
