// Package live tells those who watch what has changed: runs, schedules, processes. It is what the event stream of the API is made of.
//
//	subscribers ─► Hub ── looks, once a second and soon after a wake, only while somebody listens ──► client
//	            ◄─ events: what differs from the look before, numbered, the last 1,000 kept
//
// One Hub serves all subscribers of a process: what a look costs does not grow with how many there are. It reads; it takes no part in scheduling, and where nobody
// listens it does nothing. A subscriber that was away names the last event it had, and gets what came since, or a reset when that is no longer known: then it reads anew
// what it shows. One that reads too slowly is sent away with a reset.
//
// Events are hints. They say what to read again; what is true is in the store.
package live
