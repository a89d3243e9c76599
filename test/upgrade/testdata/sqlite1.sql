PRAGMA application_id = 1887008614;
PRAGMA user_version = 1;
CREATE TABLE backfills(
	bid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL, sid INTEGER NOT NULL, schedule TEXT NOT NULL, created INTEGER NOT NULL, ended INTEGER,
	body TEXT NOT NULL, active INTEGER NOT NULL, successful INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL
) STRICT;
CREATE TABLE events( -- a row holds those that were added together, a JSON array; n is the number of its last
	rid INTEGER NOT NULL, n INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(rid, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE fates(
	sid INTEGER NOT NULL, nominal INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY(sid, nominal, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE inputs(rid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE leases(
	ns INTEGER NOT NULL, name TEXT NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(ns, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE namespaces(
	ns INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
	ticks INTEGER NOT NULL DEFAULT 0, timers INTEGER NOT NULL DEFAULT 0 -- count the commits that made something due
) STRICT;
CREATE TABLE outbox(
	rid INTEGER NOT NULL, dispatch INTEGER NOT NULL, ns INTEGER NOT NULL, at INTEGER NOT NULL, run TEXT NOT NULL, queue TEXT NOT NULL, PRIMARY KEY(rid, dispatch)
) STRICT, WITHOUT ROWID;
CREATE TABLE processes(
	ns INTEGER NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(ns, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE progress(
	sid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, revision INTEGER NOT NULL, tick INTEGER, timer INTEGER,
	progress TEXT NOT NULL, tally TEXT NOT NULL, history INTEGER NOT NULL DEFAULT 0 -- 0: no fate was trimmed, else Tally.HistoryFrom
) STRICT;
CREATE TABLE runs(
	rid INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL, sid INTEGER, schedule TEXT NOT NULL, backfill TEXT NOT NULL, workflow TEXT NOT NULL,
	created INTEGER NOT NULL, status TEXT NOT NULL, dispatch INTEGER NOT NULL, revision INTEGER NOT NULL, cancel INTEGER NOT NULL,
	class TEXT,    -- what lists find it by: 'active' until it has ended, then its status; NULL: completed
	rank INTEGER,  -- in the active set of schedule sid: 0, 1 of a backfill, 2 asked to cancel; NULL: not in one
	due INTEGER, lease INTEGER, progress TEXT NOT NULL,
	input TEXT     -- the part that never changes; NULL: it is large and lies in inputs
) STRICT;
CREATE TABLE schedules( -- one row an incarnation
	sid INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a process may remember it
	ns INTEGER NOT NULL, id TEXT NOT NULL, inc TEXT NOT NULL, current INTEGER NOT NULL,
	workflow TEXT NOT NULL, status TEXT NOT NULL, origin TEXT NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE TABLE steps(pos INTEGER PRIMARY KEY, rid INTEGER NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE waiting(
	pos INTEGER PRIMARY KEY, sid INTEGER NOT NULL, kind INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE TABLE workflows(ns INTEGER NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(ns, name)) STRICT, WITHOUT ROWID;
CREATE INDEX backfills_created ON backfills(ns, created);
CREATE INDEX backfills_ended ON backfills(ns, ended) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX backfills_id ON backfills(ns, id);
CREATE INDEX backfills_schedule ON backfills(ns, schedule, created);
CREATE INDEX backfills_sid ON backfills(sid);
CREATE INDEX fates_at ON fates(sid, at);
CREATE INDEX fates_key ON fates(sid, substr(key, instr(key, '-') + 1)) WHERE key GLOB 'm*-key-*';
CREATE INDEX fates_missed ON fates(at) WHERE kind = 'missed';
CREATE INDEX outbox_at ON outbox(ns, at);
CREATE INDEX progress_tick ON progress(ns, tick) WHERE tick IS NOT NULL;
CREATE INDEX progress_timer ON progress(ns, timer) WHERE timer IS NOT NULL;
CREATE INDEX runs_active ON runs(sid, rank) WHERE rank IS NOT NULL;
CREATE INDEX runs_class ON runs(ns, class, created) WHERE class IS NOT NULL;
CREATE INDEX runs_created ON runs(ns, created);
CREATE INDEX runs_due ON runs(ns, due) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX runs_id ON runs(ns, id);
CREATE INDEX runs_lease ON runs(ns, lease) WHERE lease IS NOT NULL;
CREATE INDEX runs_schedule ON runs(ns, schedule, created);
CREATE INDEX runs_workflow ON runs(ns, workflow, created);
CREATE UNIQUE INDEX schedules_id ON schedules(ns, id) WHERE current = 1;
CREATE INDEX schedules_origin ON schedules(ns, origin, id) WHERE current = 1 AND origin <> '';
CREATE UNIQUE INDEX schedules_ref ON schedules(ns, id, inc);
CREATE INDEX schedules_status ON schedules(ns, status, id) WHERE current = 1;
CREATE INDEX schedules_workflow ON schedules(ns, workflow, id) WHERE current = 1;
CREATE UNIQUE INDEX steps_key ON steps(rid, key);
CREATE INDEX waiting_kind ON waiting(sid, kind, pos);
CREATE INDEX waiting_seq ON waiting(sid, seq, pos);
INSERT INTO backfills VALUES(1, 1, 'bf_8a8219b46923acf7818964', 5, 'filled', 1772366580000, NULL, '{"id":"bf_8a8219b46923acf7818964","schedule":{"id":"filled","inc":"first"},"spec":{"cron":"0 * * * *","interval":null,"calendar":null,"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":"1m"},"workflow":"flow","input":{"of":"filled"},"start":"2026-03-01T09:00:00Z","end":"2026-03-01T12:00:00Z","parallel":1,"spans":[{"first":"2026-03-01T09:00:00Z","last":"2026-03-01T11:00:00Z"}],"count":3,"created_at":"2026-03-01T12:03:00Z","status":"running","started":0,"dropped":0,"active":0,"successful":0,"failed":0,"cancelled":0}', 0, 0, 0, 0);
INSERT INTO events VALUES(1, 1, '[{"at":"2026-03-01T12:00:00Z","kind":"log","level":"info","message":"half way"}]');
INSERT INTO events VALUES(6, 1, '[{"at":"2026-03-01T12:03:00Z","kind":"retry","level":"warn","message":"attempt 1 failed: it broke; next attempt in 1m"}]');
INSERT INTO events VALUES(7, 1, '[{"at":"2026-03-01T12:03:00Z","kind":"ended","level":"info","message":"completed"}]');
INSERT INTO fates VALUES(1, 1772366400000, 'r1772366400000', 'started', 1772366400000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:00:00Z","fate":"started","run_id":"run_f748d94862004462a36460"}');
INSERT INTO fates VALUES(1, 1772366460000, 'r1772366460000', 'buffered', 1772366580000, '{"tick":{"trigger":"catchup","nominal":"2026-03-01T12:01:00Z"},"at":"2026-03-01T12:03:00Z","fate":"buffered","reason":"overlap","blocked_by":"run_f748d94862004462a36460","run_id":"run_f75f3268cf272bd27cb8e4"}');
INSERT INTO fates VALUES(1, 1772366520000, 'r1772366520000', 'buffered', 1772366580000, '{"tick":{"trigger":"catchup","nominal":"2026-03-01T12:02:00Z"},"at":"2026-03-01T12:03:00Z","fate":"buffered","reason":"overlap","blocked_by":"run_f748d94862004462a36460","run_id":"run_f72c9cc4384c2e2d0e945e"}');
INSERT INTO fates VALUES(1, 1772366580000, 'm1772366580000-1772366580000', 'buffered', 1772366580000, '{"tick":{"trigger":"manual","nominal":"2026-03-01T12:03:00Z","nonce":"1772366580000"},"at":"2026-03-01T12:03:00Z","fate":"buffered","reason":"overlap","blocked_by":"run_f748d94862004462a36460","run_id":"run_f72b8cc121b222eadffc0c"}');
INSERT INTO fates VALUES(1, 1772366580000, 'r1772366580000', 'buffered', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"at":"2026-03-01T12:03:00Z","fate":"buffered","reason":"overlap","blocked_by":"run_f748d94862004462a36460","run_id":"run_f7a3d9cf75ed8871cac625"}');
INSERT INTO fates VALUES(2, 1772366400000, 'r1772366400000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(2, 1772366460000, 'r1772366460000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:01:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(2, 1772366520000, 'r1772366520000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:02:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(2, 1772366580000, 'r1772366580000', 'started', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"at":"2026-03-01T12:03:00Z","fate":"started","run_id":"run_5f8920aab494093ccce61c"}');
INSERT INTO fates VALUES(3, 1772366400000, 'r1772366400000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(3, 1772366460000, 'r1772366460000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:01:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(3, 1772366520000, 'r1772366520000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:02:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(3, 1772366580000, 'r1772366580000', 'started', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"at":"2026-03-01T12:03:00Z","fate":"started","run_id":"run_a4cfc325e8bdacee232dc5"}');
INSERT INTO fates VALUES(4, 1772366400000, 'r1772366400000', 'started', 1772366400000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:00:00Z","fate":"started","run_id":"run_c623c003d4dc55b016b05d"}');
INSERT INTO fates VALUES(4, 1772366460000, 'r1772366460000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:01:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(4, 1772366520000, 'r1772366520000', 'missed', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:02:00Z"},"at":"2026-03-01T12:03:00Z","fate":"missed","reason":"catchup"}');
INSERT INTO fates VALUES(4, 1772366580000, 'r1772366580000', 'buffered', 1772366580000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"at":"2026-03-01T12:03:00Z","fate":"buffered","reason":"overlap","blocked_by":"run_c623c003d4dc55b016b05d","run_id":"run_c610a08b0494fa53c5d5ca"}');
INSERT INTO fates VALUES(5, 1772366400000, 'r1772366400000', 'started', 1772366580000, '{"tick":{"trigger":"catchup","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:03:00Z","fate":"started","run_id":"run_8a8145e18d254233f9a6fb"}');
INSERT INTO fates VALUES(6, 1772366400000, 'r1772366400000', 'started', 1772366400000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:00:00Z","fate":"started","run_id":"run_a7a08a7e59982121e20a4e"}');
INSERT INTO fates VALUES(7, 1772366400000, 'r1772366400000', 'started', 1772366400000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:00:00Z","fate":"started","run_id":"run_28dfb4d20f2f586293009f"}');
INSERT INTO fates VALUES(8, 1772366400000, 'r1772366400000', 'started', 1772366400000, '{"tick":{"trigger":"schedule","nominal":"2026-03-01T12:00:00Z"},"at":"2026-03-01T12:00:00Z","fate":"started","run_id":"run_99caadf85ff570c2b1bb47"}');
INSERT INTO leases VALUES(1, 'beat/0', 'host:1:a', 1772366640000);
INSERT INTO namespaces VALUES(1, 'golden', 19, 11);
INSERT INTO outbox VALUES(1, 1, 1, 1772366400000, 'run_f748d94862004462a36460', 'default');
INSERT INTO outbox VALUES(2, 1, 1, 1772366400000, 'run_a7a08a7e59982121e20a4e', 'default');
INSERT INTO outbox VALUES(3, 1, 1, 1772366400000, 'run_28dfb4d20f2f586293009f', 'default');
INSERT INTO outbox VALUES(4, 1, 1, 1772366400000, 'run_99caadf85ff570c2b1bb47', 'default');
INSERT INTO outbox VALUES(5, 1, 1, 1772366400000, 'run_c623c003d4dc55b016b05d', 'default');
INSERT INTO outbox VALUES(6, 1, 1, 1772366580000, 'run_5f8920aab494093ccce61c', 'slow');
INSERT INTO outbox VALUES(7, 1, 1, 1772366580000, 'run_a4cfc325e8bdacee232dc5', 'default');
INSERT INTO outbox VALUES(8, 1, 1, 1772366580000, 'run_8a8145e18d254233f9a6fb', 'default');
INSERT INTO outbox VALUES(9, 1, 1, 1772366580000, 'run_eae32f8bf244e21db2a6d5', 'default');
INSERT INTO processes VALUES(1, 'host:1:a', 1772370180000, '{"id":"host:1:a","host":"host","pid":1,"started_at":"2026-03-01T12:00:00Z","seen":"2026-03-01T12:03:00Z","worker":true,"beat":false,"local":false,"queues":["default"],"version":"1"}');
INSERT INTO progress VALUES(1, 1, 4, 1772366640000, 1772366640000, '{"decided":"2026-03-01T12:03:00Z","next":"2026-03-01T12:04:00Z","due":"2026-03-01T12:04:00Z","anchor_start":"2026-03-01T12:00:00Z","last_run_at":"2026-03-01T12:00:00Z","last_run_id":"run_f748d94862004462a36460","seq":4}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":1,"active_backfill":0,"waiting_regular":3,"waiting_manual":1,"anchor_run":"run_f748d94862004462a36460","wake_on_end":true}', 0);
INSERT INTO progress VALUES(2, 1, 2, 1772366640000, NULL, '{"decided":"2026-03-01T12:03:00Z","next":"2026-03-01T12:04:00Z","due":"2026-03-01T12:04:00Z","anchor_start":"2026-03-01T12:03:00Z","last_run_at":"2026-03-01T12:03:00Z","last_run_id":"run_5f8920aab494093ccce61c"}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":3,"active":1,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_5f8920aab494093ccce61c"}', 0);
INSERT INTO progress VALUES(3, 1, 3, 1772366640000, NULL, '{"decided":"2026-03-01T12:03:00Z","next":"2026-03-01T12:04:00Z","due":"2026-03-01T12:04:00Z","anchor_start":"2026-03-01T12:03:00Z","last_run_at":"2026-03-01T12:03:00Z","last_run_id":"run_a4cfc325e8bdacee232dc5"}', '{"total":1,"successful":1,"failed":0,"cancelled":0,"skipped":0,"missed":3,"active":0,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_a4cfc325e8bdacee232dc5","anchor_end":"2026-03-01T12:03:00Z","last_success":"run_a4cfc325e8bdacee232dc5"}', 0);
INSERT INTO progress VALUES(4, 1, 3, 1772366640000, 1772366640000, '{"decided":"2026-03-01T12:03:00Z","next":"2026-03-01T12:04:00Z","due":"2026-03-01T12:04:00Z","anchor_start":"2026-03-01T12:00:00Z","last_run_at":"2026-03-01T12:00:00Z","last_run_id":"run_c623c003d4dc55b016b05d","seq":1}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":2,"active":1,"active_backfill":0,"waiting_regular":1,"waiting_manual":0,"anchor_run":"run_c623c003d4dc55b016b05d","wake_on_end":true,"head_wanted":100}', 0);
INSERT INTO progress VALUES(5, 1, 3, 1772370026933, 1772366640000, '{"decided":"2026-03-01T12:00:00Z","next":"2026-03-01T13:00:00Z","due":"2026-03-01T13:00:26.933Z","anchor_start":"2026-03-01T12:03:00Z","last_run_at":"2026-03-01T12:03:00Z","last_run_id":"run_8a8145e18d254233f9a6fb","backfills":["bf_8a8219b46923acf7818964"]}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":1,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_8a8145e18d254233f9a6fb","wake_on_end":true}', 0);
INSERT INTO progress VALUES(6, 1, 3, NULL, NULL, '{"decided":"2026-03-01T12:00:00Z","next":"2026-03-01T12:01:00Z","due":"2026-03-01T12:01:00Z","anchor_start":"2026-03-01T12:00:00Z","last_run_at":"2026-03-01T12:00:00Z","last_run_id":"run_a7a08a7e59982121e20a4e"}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":1,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_a7a08a7e59982121e20a4e"}', 0);
INSERT INTO progress VALUES(7, 1, 3, NULL, NULL, '{"decided":"2026-03-01T12:00:00Z","anchor_start":"2026-03-01T12:00:00Z","last_run_at":"2026-03-01T12:00:00Z","last_run_id":"run_28dfb4d20f2f586293009f"}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":1,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_28dfb4d20f2f586293009f","head_wanted":100}', 0);
INSERT INTO progress VALUES(8, 1, 3, NULL, NULL, '{"decided":"2026-03-01T12:00:00Z","anchor_start":"2026-03-01T12:00:00Z","last_run_at":"2026-03-01T12:00:00Z","last_run_id":"run_99caadf85ff570c2b1bb47"}', '{"total":1,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":1,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"anchor_run":"run_99caadf85ff570c2b1bb47","head_wanted":100}', 0);
INSERT INTO progress VALUES(9, 1, 1, 1772366400000, NULL, '{"decided":"2026-03-01T11:59:59.999Z","next":"2026-03-01T12:00:00Z","due":"2026-03-01T12:00:00Z"}', '{"total":0,"successful":0,"failed":0,"cancelled":0,"skipped":0,"missed":0,"active":0,"active_backfill":0,"waiting_regular":0,"waiting_manual":0,"wake_on_end":true}', 0);
INSERT INTO runs VALUES(1, 1, 'run_f748d94862004462a36460', 1, 'buffered', '', 'flow', 1772366400000, 'running', 1, 1, 0, 'active', 0, NULL, 1772366590000, '{"status":"running","attempt":1,"dispatch":1,"sent":true,"worker":"host:1:a","token":"token","started_at":"2026-03-01T12:00:00Z","lease":"2026-03-01T12:00:10Z","revision":1}', '{"id":"run_f748d94862004462a36460","schedule":"buffered","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:00:00Z","input":{"of":"buffered"},"created_at":"2026-03-01T12:00:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(2, 1, 'run_a7a08a7e59982121e20a4e', 6, 'paused', '', 'flow', 1772366400000, 'pending', 1, 0, 0, 'active', 0, 1772366410000, NULL, '{"status":"pending","attempt":1,"dispatch":1,"sent":true,"due":"2026-03-01T12:00:10Z","revision":0}', '{"id":"run_a7a08a7e59982121e20a4e","schedule":"paused","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:00:00Z","input":{"of":"paused"},"created_at":"2026-03-01T12:00:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(3, 1, 'run_28dfb4d20f2f586293009f', 7, 'gone', '', 'flow', 1772366400000, 'pending', 1, 0, 0, 'active', 0, 1772366410000, NULL, '{"status":"pending","attempt":1,"dispatch":1,"sent":true,"due":"2026-03-01T12:00:10Z","revision":0}', '{"id":"run_28dfb4d20f2f586293009f","schedule":"gone","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:00:00Z","input":{"of":"gone"},"created_at":"2026-03-01T12:00:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(4, 1, 'run_99caadf85ff570c2b1bb47', 8, 'anew', '', 'flow', 1772366400000, 'pending', 1, 0, 0, 'active', 0, 1772366410000, NULL, '{"status":"pending","attempt":1,"dispatch":1,"sent":true,"due":"2026-03-01T12:00:10Z","revision":0}', '{"id":"run_99caadf85ff570c2b1bb47","schedule":"anew","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:00:00Z","input":{"of":"anew"},"created_at":"2026-03-01T12:00:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(5, 1, 'run_c623c003d4dc55b016b05d', 4, 'asked', '', 'flow', 1772366400000, 'running', 1, 2, 1, 'active', 2, 1772366610000, 1772366410000, '{"status":"running","attempt":1,"dispatch":1,"sent":true,"worker":"host:1:a","token":"token","started_at":"2026-03-01T12:00:00Z","lease":"2026-03-01T12:00:10Z","due":"2026-03-01T12:03:30Z","cancel_at":"2026-03-01T12:03:00Z","cancel_deadline":"2026-03-01T12:03:30Z","cancel_reason":"a newer tick takes its place","revision":2}', '{"id":"run_c623c003d4dc55b016b05d","schedule":"asked","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:00:00Z","input":{"of":"asked"},"created_at":"2026-03-01T12:00:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(6, 1, 'run_5f8920aab494093ccce61c', 2, 'failing', '', 'flow', 1772366580000, 'retrying', 2, 2, 0, 'active', 0, 1772366640000, NULL, '{"status":"retrying","attempt":2,"dispatch":2,"worker":"host:1:a","started_at":"2026-03-01T12:03:00Z","due":"2026-03-01T12:04:00Z","error":{"message":"it broke","kind":"error"},"revision":2}', '{"id":"run_5f8920aab494093ccce61c","schedule":"failing","inc":"first","workflow":"flow","queue":"slow","trigger":"schedule","nominal":"2026-03-01T12:03:00Z","input":{"of":"failing"},"created_at":"2026-03-01T12:03:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(7, 1, 'run_a4cfc325e8bdacee232dc5', 3, 'done', '', 'flow', 1772366580000, 'completed', 1, 2, 0, NULL, NULL, NULL, NULL, '{"status":"completed","attempt":1,"dispatch":1,"sent":true,"worker":"host:1:a","started_at":"2026-03-01T12:03:00Z","ended_at":"2026-03-01T12:03:00Z","result":{"rows":7},"revision":2}', '{"id":"run_a4cfc325e8bdacee232dc5","schedule":"done","inc":"first","workflow":"flow","queue":"default","trigger":"schedule","nominal":"2026-03-01T12:03:00Z","input":{"of":"done"},"created_at":"2026-03-01T12:03:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(8, 1, 'run_8a8145e18d254233f9a6fb', 5, 'filled', '', 'flow', 1772366580000, 'pending', 1, 0, 0, 'active', 0, 1772366590000, NULL, '{"status":"pending","attempt":1,"dispatch":1,"sent":true,"due":"2026-03-01T12:03:10Z","revision":0}', '{"id":"run_8a8145e18d254233f9a6fb","schedule":"filled","inc":"first","workflow":"flow","queue":"default","trigger":"catchup","nominal":"2026-03-01T12:00:00Z","input":{"of":"filled"},"created_at":"2026-03-01T12:03:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO runs VALUES(9, 1, 'run_eae32f8bf244e21db2a6d5', NULL, '', '', 'flow', 1772366580000, 'pending', 1, 0, 0, 'active', NULL, 1772366590000, NULL, '{"status":"pending","attempt":1,"dispatch":1,"sent":true,"due":"2026-03-01T12:03:10Z","revision":0}', '{"id":"run_eae32f8bf244e21db2a6d5","workflow":"flow","queue":"default","trigger":"manual","input":{"free":true},"options":{"max_retries":2,"backoff":{"initial":"0s"},"max_recoveries":0},"created_at":"2026-03-01T12:03:00Z","status":"","attempt":0,"dispatch":0,"revision":0}');
INSERT INTO schedules VALUES(1, 1, 'buffered', 'first', 1, 'flow', 'active', '', '{"id":"buffered","inc":"first","workflow":"flow","spec":{"cron":null,"interval":"1m","calendar":null,"interval_from":"start","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"buffer_all","buffer_limit":1000,"cancel_grace":"30s","catchup":"all","catchup_window":"24h","input":{"of":"buffered"},"note":"note of buffered","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
INSERT INTO schedules VALUES(2, 1, 'failing', 'first', 1, 'flow', 'active', '', '{"id":"failing","inc":"first","workflow":"flow","spec":{"cron":"* * * * *","interval":null,"calendar":null,"interval_from":null,"timezone":"Europe/Berlin","start_at":null,"end_at":null,"jitter":null},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","queue":"slow","input":{"of":"failing"},"note":"note of failing","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
INSERT INTO schedules VALUES(3, 1, 'done', 'first', 1, 'flow', 'active', '', '{"id":"done","inc":"first","workflow":"flow","spec":{"cron":null,"interval":null,"calendar":[{"second":null,"minute":"*","hour":"*","day_of_month":null,"month":null,"day_of_week":null,"year":null}],"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"allow_all","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"done"},"note":"note of done","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
INSERT INTO schedules VALUES(4, 1, 'asked', 'first', 1, 'flow', 'active', '', '{"id":"asked","inc":"first","workflow":"flow","spec":{"cron":null,"interval":"1m","calendar":null,"interval_from":"start","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"cancel_other","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"asked"},"note":"note of asked","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
INSERT INTO schedules VALUES(5, 1, 'filled', 'first', 1, 'flow', 'active', '', '{"id":"filled","inc":"first","workflow":"flow","spec":{"cron":"0 * * * *","interval":null,"calendar":null,"interval_from":null,"timezone":"UTC","start_at":null,"end_at":null,"jitter":"1m"},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"filled"},"note":"note of filled","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
INSERT INTO schedules VALUES(6, 1, 'paused', 'first', 1, 'flow', 'paused', '', '{"id":"paused","inc":"first","workflow":"flow","spec":{"cron":null,"interval":"1m","calendar":null,"interval_from":"start","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"paused"},"note":"quiet","status":"paused","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":2}');
INSERT INTO schedules VALUES(7, 1, 'gone', 'first', 1, 'flow', 'deleted', '', '{"id":"gone","inc":"first","workflow":"flow","spec":{"cron":null,"interval":"1m","calendar":null,"interval_from":"start","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"gone"},"note":"note of gone","status":"deleted","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":2}');
INSERT INTO schedules VALUES(8, 1, 'anew', 'first', 0, 'flow', 'deleted', '', '{"id":"anew","inc":"first","workflow":"flow","spec":{"cron":null,"interval":"1h","calendar":null,"interval_from":"completion","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"anew"},"note":"note of anew","status":"deleted","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":2}');
INSERT INTO schedules VALUES(9, 1, 'anew', 'second', 1, 'flow', 'active', '', '{"id":"anew","inc":"second","workflow":"flow","spec":{"cron":null,"interval":"2h","calendar":null,"interval_from":"completion","timezone":"UTC","start_at":null,"end_at":null,"jitter":null},"overlap":"skip","buffer_limit":1000,"cancel_grace":"30s","catchup":"one","catchup_window":"24h","input":{"of":"anew"},"note":"note of anew","status":"active","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z","version":1}');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('schedules', 9);
INSERT INTO steps VALUES(1, 1, 'fetch#1', '{"name":"fetch","key":"fetch#1","status":"completed","attempt":1,"started_at":"2026-03-01T12:00:00Z","ended_at":"2026-03-01T12:00:00Z","result":[1]}');
INSERT INTO waiting VALUES(1, 1, 0, 0, '{"seq":0,"tick":{"trigger":"catchup","nominal":"2026-03-01T12:01:00Z"},"input":{"of":"buffered"},"since":"2026-03-01T12:03:00Z","blocker":"run_f748d94862004462a36460"}');
INSERT INTO waiting VALUES(2, 1, 0, 1, '{"seq":1,"tick":{"trigger":"catchup","nominal":"2026-03-01T12:02:00Z"},"input":{"of":"buffered"},"since":"2026-03-01T12:03:00Z","blocker":"run_f748d94862004462a36460"}');
INSERT INTO waiting VALUES(3, 1, 0, 2, '{"seq":2,"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"input":{"of":"buffered"},"since":"2026-03-01T12:03:00Z","blocker":"run_f748d94862004462a36460"}');
INSERT INTO waiting VALUES(4, 1, 1, 3, '{"seq":3,"tick":{"trigger":"manual","nominal":"2026-03-01T12:03:00Z","nonce":"1772366580000"},"input":{"by":"hand"},"since":"2026-03-01T12:03:00Z","blocker":"run_f748d94862004462a36460"}');
INSERT INTO waiting VALUES(5, 4, 0, 0, '{"seq":0,"tick":{"trigger":"schedule","nominal":"2026-03-01T12:03:00Z"},"input":{"of":"asked"},"since":"2026-03-01T12:03:00Z","blocker":"run_c623c003d4dc55b016b05d"}');
INSERT INTO workflows VALUES(1, 'flow', '{"name":"flow","doc":"A flow.","options":{"max_retries":2,"backoff":{"initial":"0s"},"max_recoveries":0,"queue":"default"},"seen":"2026-03-01T12:03:00Z"}');
