// Package dashboard serves the pages on which people see and manage schedules and runs. They are rendered here, from templates that are part of the program,
// over what package client offers; they need no build step and fetch nothing from elsewhere.
//
// Every page works without script: acts are plain forms that answer with a redirect and a message. The script, one small file of our own, adds to that: it
// counts down, shows times in the viewer's zone, opens the page of an act as a dialog, and keeps a page current. For the last it listens to the API's event
// stream, and when something that the page shows has changed it fetches the page again and takes over every element marked data-live, so that the templates
// stay the only renderer.
//
//	browser ── GET /schedules ──────────► page, whole
//	        ── GET /api/v1/events?… ────► "schedule", "run", "process"     (package live)
//	        ── GET /schedules, X-Live ──► page, whole; parts with data-live are taken over
//	        ── GET …/pause, X-Live ─────► page of an act; its #sheet is shown as a dialog
//	        ── POST …/pause ────────────► 303 and a message, or the same page with what was wrong
//
// There is no inline script or style: pages are meant to be served under a content security policy that forbids them. Who may ask, and from where, is for
// package web, which mounts the handler behind its checks. The package keeps no state but the difference of two clocks.
package dashboard
