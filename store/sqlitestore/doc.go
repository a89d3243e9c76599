// Package sqlitestore keeps everything in one SQLite file (pyworkflow.db in a folder), or in memory for tests. It is the store of the local
// runtime: no server, several processes at once (a scheduler and any number of command lines), several namespaces in one file.
//
// Durability: the file is in WAL mode with synchronous=FULL. A commit is on the disk before its caller hears of it, so a crash of the
// process, the system or the power loses no start and no end that was reported. The price, one fsync a commit, is shared: calls made at the
// same time are written in one transaction (see writer.go), each still guarded and answered by itself. What starts runs goes before what ends them, which
// waits for a pause, for 100 ms at most. The log is copied into the file beside the writer (see checkpoint.go).
//
// Cost: what this process read or wrote last of a schedule or a run is remembered with its revision (see known.go), so that a statement which names that revision
// is the look and the write at once. A tick takes nine statements: a commit four, striking off one, a claim one, an end three. What another hand changes in a record without raising its
// revision is seen by whoever reads it anew: lists, audits, another process.
//
// Concurrency: one connection writes, under BEGIN IMMEDIATE; a few others read, and see whole commits only. Processes queue for the file's write
// lock for up to Config.BusyTimeout; only one that waited longer hears of it. Changes made in this process wake its listeners at once, those of other processes
// within PollEvery.
//
// It does not work on network file systems (SQLite's WAL needs memory shared between its processes), does not repair damaged files, and keeps
// nothing about what it was asked that the contract of package store does not name.
package sqlitestore
