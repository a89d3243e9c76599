// Package client is what a program or a person asks for: to create, change and trigger schedules, to backfill ranges, to start runs, to wait
// for them and to cancel them, to activate what is declared in code, and to read all of it. The command line and every other surface go
// through it, so that they can't differ.
//
// A Client works on a store and needs no running worker or beat; what it starts is executed by whoever serves the store. Every act that
// changes a schedule goes through package engine, which lets package schedules decide.
//
// What it returns (Schedule, Run, Fate, Backfill, Page) is plain data whose JSON is stable: times are RFC 3339 in UTC, durations are text
// ("5m"), absent is null, a list is {"items": [...], "next_cursor": null}.
//
// It executes nothing, prints nothing and opens no store.
package client
