package sqlitestore

import (
	"fmt"
	"strconv"
)

const (
	// reads is the newest version of the schema below that this release works with, kept in PRAGMA user_version. A file with a higher one is refused.
	reads = 1
	// writes is the version it brings an older file to, at most reads: a version is worked with in one release and written in the next.
	writes = 1
	// appID marks the file as ours (PRAGMA application_id): "pywf".
	appID = 0x70797766
)

// migrations[i] leads from version i to version i+1. Times are milliseconds since 1970, NULL where there is none; records are JSON.
//
// What changes at every tick or heartbeat lies apart from what may be large and hardly changes (schedules and progress, runs and inputs), and no
// statement on the hot path sets a column that an index for lists is made of.
var migrations = []string{`
CREATE TABLE namespaces(
	ns INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
	ticks INTEGER NOT NULL DEFAULT 0, timers INTEGER NOT NULL DEFAULT 0 -- count the commits that made something due
) STRICT;

CREATE TABLE schedules( -- one row an incarnation
	sid INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a process may remember it
	ns INTEGER NOT NULL, id TEXT NOT NULL, inc TEXT NOT NULL, current INTEGER NOT NULL,
	workflow TEXT NOT NULL, status TEXT NOT NULL, origin TEXT NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX schedules_ref ON schedules(ns, id, inc);
CREATE UNIQUE INDEX schedules_id ON schedules(ns, id) WHERE current = 1;
CREATE INDEX schedules_workflow ON schedules(ns, workflow, id) WHERE current = 1;
CREATE INDEX schedules_status ON schedules(ns, status, id) WHERE current = 1;
CREATE INDEX schedules_origin ON schedules(ns, origin, id) WHERE current = 1 AND origin <> '';

CREATE TABLE progress(
	sid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, revision INTEGER NOT NULL, tick INTEGER, timer INTEGER,
	progress TEXT NOT NULL, tally TEXT NOT NULL, history INTEGER NOT NULL DEFAULT 0 -- 0: no fate was trimmed, else Tally.HistoryFrom
) STRICT;
CREATE INDEX progress_tick ON progress(ns, tick) WHERE tick IS NOT NULL;
CREATE INDEX progress_timer ON progress(ns, timer) WHERE timer IS NOT NULL;

CREATE TABLE waiting(
	pos INTEGER PRIMARY KEY, sid INTEGER NOT NULL, kind INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_kind ON waiting(sid, kind, pos);
CREATE INDEX waiting_seq ON waiting(sid, seq, pos);

CREATE TABLE fates(
	sid INTEGER NOT NULL, nominal INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY(sid, nominal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX fates_at ON fates(sid, at);

CREATE TABLE backfills(
	bid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL, sid INTEGER NOT NULL, schedule TEXT NOT NULL, created INTEGER NOT NULL, ended INTEGER,
	body TEXT NOT NULL, active INTEGER NOT NULL, successful INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX backfills_id ON backfills(ns, id);
CREATE INDEX backfills_created ON backfills(ns, created);
CREATE INDEX backfills_schedule ON backfills(ns, schedule, created);
CREATE INDEX backfills_ended ON backfills(ns, ended) WHERE ended IS NOT NULL;
CREATE INDEX backfills_sid ON backfills(sid);

CREATE TABLE runs(
	rid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL, sid INTEGER, schedule TEXT NOT NULL, backfill TEXT NOT NULL, workflow TEXT NOT NULL,
	created INTEGER NOT NULL, status TEXT NOT NULL, dispatch INTEGER NOT NULL, revision INTEGER NOT NULL, cancel INTEGER NOT NULL,
	class TEXT,    -- what lists find it by: 'active' until it has ended, then its status; NULL: completed
	rank INTEGER,  -- in the active set of schedule sid: 0, 1 of a backfill, 2 asked to cancel; NULL: not in one
	due INTEGER, lease INTEGER, progress TEXT NOT NULL,
	input TEXT     -- the part that never changes; NULL: it is large and lies in inputs
) STRICT;
CREATE UNIQUE INDEX runs_id ON runs(ns, id);
CREATE INDEX runs_created ON runs(ns, created);
CREATE INDEX runs_schedule ON runs(ns, schedule, created);
CREATE INDEX runs_workflow ON runs(ns, workflow, created);
CREATE INDEX runs_class ON runs(ns, class, created) WHERE class IS NOT NULL;
CREATE INDEX runs_active ON runs(sid, rank) WHERE rank IS NOT NULL;
CREATE INDEX runs_due ON runs(ns, due) WHERE due IS NOT NULL;
CREATE INDEX runs_lease ON runs(ns, lease) WHERE lease IS NOT NULL;

CREATE TABLE inputs(rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT; -- of the runs whose input is NULL

CREATE TABLE steps(pos INTEGER PRIMARY KEY, rid INTEGER NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX steps_key ON steps(rid, key);

CREATE TABLE events( -- a row holds those that were added together, a JSON array; n is the number of its last
	rid INTEGER NOT NULL, n INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(rid, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox(
	rid INTEGER NOT NULL, dispatch INTEGER NOT NULL, ns INTEGER NOT NULL, at INTEGER NOT NULL, run TEXT NOT NULL, queue TEXT NOT NULL, PRIMARY KEY(rid, dispatch)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_at ON outbox(ns, at);

CREATE TABLE leases(
	ns INTEGER NOT NULL, name TEXT NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(ns, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE processes(
	ns INTEGER NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(ns, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE workflows(ns INTEGER NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(ns, name)) STRICT, WITHOUT ROWID;
`}

// indexes are those that came after a version of the schema. They say nothing new: a program of any release keeps them up, and one that does not find them is slower.
const indexes = `
CREATE INDEX IF NOT EXISTS fates_missed ON fates(at) WHERE kind = 'missed';
CREATE INDEX IF NOT EXISTS fates_key ON fates(sid, substr(key, instr(key, '-') + 1)) WHERE key GLOB 'm*-key-*';
`

// version reads which schema the file has; 0 for an empty file.
func (c *conn) version() (int, error) {
	var v int
	_, err := c.one([]any{&v}, `PRAGMA user_version`)
	return v, err
}

// checkOurs fails for a file that is some other program's database.
func (c *conn) checkOurs() error {
	var id, tables int
	if _, err := c.one([]any{&id}, `PRAGMA application_id`); err != nil {
		return err
	}
	if id == appID {
		return nil
	}
	if _, err := c.one([]any{&tables}, `SELECT count(*) FROM sqlite_schema`); err != nil {
		return err
	}
	if tables > 0 || id != 0 {
		return errForeign
	}
	return nil
}

// checkFormat fails for a file that a newer program has brought to its own schema.
func (c *conn) checkFormat() error {
	v, err := c.version()
	if err == nil && v > reads {
		err = formatError(v)
	}
	return err
}

// migrate brings the file to the present schema, within the write transaction it is called in.
func (c *conn) migrate() error {
	v, err := c.version()
	if err != nil {
		return err
	}
	if v > reads {
		return formatError(v)
	}
	if err := c.checkOurs(); err != nil {
		return err
	}
	if v >= writes {
		return nil
	}
	for ; v < writes; v++ {
		if err := c.script(migrations[v]); err != nil {
			return fmt.Errorf("schema version %d: %w", v+1, err)
		}
	}
	return c.script(`PRAGMA user_version = ` + strconv.Itoa(writes) + `; PRAGMA application_id = ` + strconv.Itoa(appID))
}
