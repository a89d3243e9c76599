// Package faults runs beats and workers as processes against a real Redis, breaks what can break, and has package check judge what came of it.
//
// Each scenario is a world of its own: a Redis, a namespace, processes, schedules over all policies and kinds of spec, people's acts going on all the time, and one
// kind of fault or several. Once its schedules have ended and the faults are mended, everything must come to rest. The short form is part of the tests; the
// whole is `make faults`, with SEED, SEEDS, FOR, SCENARIO and RACE as the Makefile says.
package faults
