package redisstore

import (
	"fmt"
	"slices"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// NeededCommands are the commands that Inspect looks for among the user's rights.
func NeededCommands() []string {
	s := &Store{keys: newKeys("default")}
	var names []string
	for _, n := range s.needs() {
		names = append(names, fmt.Sprint(n.Args[0]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ScheduleKey is where a schedule's record lies.
func ScheduleKey(s *Store, ref schedules.Ref) string { return s.keys.schedule(ref) }
