// Package beat makes things happen at their time. Beat decides the regular ticks of schedules; Keeper looks after everything else that is timed or
// stuck. Both only find out what is due and hand it to package engine, which decides and commits: no policy lives here.
//
//	            ┌───────── wakes (Listen) ──────────┐
//	            ▼                                   │
//	shares ─▶ loop ── poll ──▶ due index of a shard │
//	(leases)    │  └─ alarm at the entry's instant  │
//	            └──────▶ engine: decide, commit, send ──▶ store
//
// A loop polls the due index of each shard it holds for what is due before the next poll, and rings for each entry at its instant by the store's
// clock: a tick starts at its time, not at the poll. Wakes make it poll a shard at once; when a wake is lost, the next poll finds what it
// announced. An entry that could not be moved on is tried again ever more slowly, so that nothing makes a loop spin.
//
// Shards are shared out by leases: whoever lives takes a seat, and each seat gets its part of the shards. Leases spare wasted work and nothing
// rests on them: two that hold the same shard race for its commits, and the store lets one win.
//
// The package does not execute runs, does not know what a tick means, and never calls a worker: the store is the only way to one and back.
package beat
