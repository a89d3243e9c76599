// Package load names what the benchmark measures.
package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The systems that are measured.
const (
	Ours   = "pyworkflow"
	Asynq  = "asynq"
	Gocron = "gocron"
)

// Load is one thing to measure.
type Load struct {
	Name      string
	Text      string // for people
	Schedules int    // that tick
	Period    time.Duration
	Spread    bool          // phases spread over the period; else all tick at once
	Burst     bool          // all tick once, at one instant
	Stored    int           // further schedules that tick once a year
	Network   time.Duration // each way, to Redis
	Processes int           // beats, and as many workers
	Nodes     int           // of a Redis Cluster; 0: one redis-server that is none
	Queues    int           // over which the schedules are spread; 0: all in the workflow's own
	Local     bool          // the local runtime on SQLite, in one process
	Fresh     bool          // how soon a beat that is started anew fires is measured, and its polls
	Systems   []string      // that can do it
}

var all = []Load{
	{Name: "L0", Text: "10 × 1 s", Schedules: 10, Period: time.Second, Processes: 1, Systems: []string{Ours, Asynq, Gocron}},
	{Name: "L1", Text: "1,000 × 1 s", Schedules: 1_000, Period: time.Second, Processes: 1, Systems: []string{Ours, Asynq, Gocron}},
	{Name: "L2", Text: "10,000 × 5 s", Schedules: 10_000, Period: 5 * time.Second, Processes: 1, Systems: []string{Ours, Asynq, Gocron}},
	{Name: "L2s", Text: "10,000 × 5 s, phases spread", Schedules: 10_000, Period: 5 * time.Second, Spread: true, Processes: 1, Systems: []string{Ours, Gocron}},
	{Name: "L3", Text: "50,000 × 5 s", Schedules: 50_000, Period: 5 * time.Second, Processes: 1, Systems: []string{Ours, Asynq, Gocron}},
	{Name: "H", Text: "20,000 at one instant", Schedules: 20_000, Burst: true, Processes: 1, Systems: []string{Ours, Asynq, Gocron}},
	{Name: "M-base", Text: "100 × 1 s and nothing else, to compare with M", Schedules: 100, Period: time.Second, Fresh: true, Processes: 1, Systems: []string{Ours}},
	{Name: "M", Text: "1,000,000 stored, 100 × 1 s", Schedules: 100, Period: time.Second, Stored: 1_000_000, Fresh: true, Processes: 1, Systems: []string{Ours}},
	{Name: "cluster-base", Text: "1,000 × 1 s on one Redis, to compare with a cluster", Schedules: 1_000, Period: time.Second, Processes: 1, Systems: []string{Ours}},
	{Name: "cluster-1", Text: "1,000 × 1 s, cluster of 3 nodes, 1 queue", Schedules: 1_000, Period: time.Second, Processes: 1, Nodes: 3, Systems: []string{Ours}},
	{Name: "cluster-6", Text: "1,000 × 1 s, cluster of 3 nodes, 6 queues", Schedules: 1_000, Period: time.Second, Processes: 1, Nodes: 3, Queues: 6, Systems: []string{Ours}},
	{Name: "cluster-1s", Text: "as cluster-1, phases spread", Schedules: 1_000, Period: time.Second, Spread: true, Processes: 1, Nodes: 3, Systems: []string{Ours}},
	{Name: "cluster-6s", Text: "as cluster-6, phases spread", Schedules: 1_000, Period: time.Second, Spread: true, Processes: 1, Nodes: 3, Queues: 6, Systems: []string{Ours}},
	{Name: "local", Text: "local runtime on SQLite, 1,000 × 1 s", Schedules: 1_000, Period: time.Second, Processes: 1, Local: true, Systems: []string{Ours}},
	{Name: "net-L1", Text: "1,000 × 1 s, 2 ms of network to Redis", Schedules: 1_000, Period: time.Second, Network: time.Millisecond, Processes: 1, Systems: []string{Ours, Asynq}},
	{Name: "net-H", Text: "20,000 at one instant, 2 ms of network to Redis", Schedules: 20_000, Burst: true, Network: time.Millisecond, Processes: 1, Systems: []string{Ours, Asynq}},
	{Name: "scale-1", Text: "20,000 at one instant, 2 ms of network, 1 beat, 1 worker", Schedules: 20_000, Burst: true, Network: time.Millisecond, Processes: 1, Systems: []string{Ours}},
	{Name: "scale-2", Text: "20,000 at one instant, 2 ms of network, 2 beats, 2 workers", Schedules: 20_000, Burst: true, Network: time.Millisecond, Processes: 2, Systems: []string{Ours}},
	{Name: "scale-4", Text: "20,000 at one instant, 2 ms of network, 4 beats, 4 workers", Schedules: 20_000, Burst: true, Network: time.Millisecond, Processes: 4, Systems: []string{Ours}},
}

// Guard is the load that the regression guard runs.
func Guard() Load {
	return Load{Name: GuardName, Text: "300 × 1 s", Schedules: 300, Period: time.Second, Processes: 1, Systems: []string{Ours}}
}

// GuardName is the name of the guard's load.
const GuardName = "guard"

// groups are names for several loads. "all" is all of them.
var groups = map[string][]string{
	"M":       {"M-base", "M"},
	"net":     {"net-L1", "net-H"},
	"scale":   {"scale-1", "scale-2", "scale-4"},
	"cluster": {"cluster-base", "cluster-1", "cluster-6", "cluster-1s", "cluster-6s"},
}

// Find gives the loads that a list of names, parted by commas, names, in the order of the table.
func Find(names string) ([]Load, error) {
	var want []string
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "all":
			return slices.Clone(all), nil
		case groups[name] != nil:
			want = append(want, groups[name]...)
		case slices.ContainsFunc(all, func(l Load) bool { return l.Name == name }):
			want = append(want, name)
		default:
			return nil, fmt.Errorf("no load %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(l Load) bool { return !slices.Contains(want, l.Name) }), nil
}

// Names are all names that Find and the command line know.
func Names() []string {
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return append(names, "net", "scale", "cluster", "all", GuardName)
}
