// Package alert tells people, by webhooks, of what went wrong: a run that failed for good, ticks that were missed, a schedule that is overdue, a schedule that one
// run holds up. A Sender observes the engine and the watchdog of its process and posts what they commit or find; it never holds them up.
//
//	engine ── Decided, RunChanged ─┐
//	beat ──── Overdue ─────────────┤
//	                               ▼
//	                    fold: one message per kind and schedule a minute
//	                               │
//	                 ┌─────────────┼─────────────┐
//	                 ▼             ▼             ▼
//	               queue         queue         queue      one per URL, bounded
//	                 │             │             │
//	               sign, post, again with longer and longer pauses
//
// The process that committed a fact sends it. What it has not delivered when it dies is lost: nothing of a message is stored.
// Messages carry no input and no result of a run.
package alert
