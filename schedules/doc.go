// Package schedules is the domain: when a schedule ticks, and what becomes of its ticks and runs.
//
// A Spec says when: a cron expression, an interval or a calendar, in a time zone and within bounds. Compile checks it and makes
// a Timing, whose Next computes nominal times.
//
// Everything here is pure: the same input gives the same answer. The package reads no clock, stores nothing, starts nothing and
// logs nothing. The one thing it takes from the outside is the time zone database, through package time; programs that may run
// on hosts without one import time/tzdata.
package schedules
