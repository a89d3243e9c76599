// Package report is what the benchmark tells: one JSON line for each measurement, and tables in Markdown.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Result is one measurement: a load on a system. What was not measured is left out.
type Result struct {
	Date    string  `json:"date"`
	Machine Machine `json:"machine"`
	Load    string  `json:"load"`
	Text    string  `json:"text"`
	System  string  `json:"system"`
	Round   int     `json:"round"`
	WarmUp  float64 `json:"warm_up_s"`
	Window  float64 `json:"window_s"`

	Schedules int `json:"schedules"`
	Stored    int `json:"stored,omitempty"` // besides those that tick
	Processes int `json:"processes"`        // beats, and as many workers

	Expected int `json:"expected"`
	Started  int `json:"started"`
	Lost     int `json:"lost"`
	Doubled  int `json:"doubled"`
	Stray    int `json:"stray,omitempty"`

	P50 float64 `json:"lateness_p50_ms"`
	P99 float64 `json:"lateness_p99_ms"`
	Max float64 `json:"lateness_max_ms"` // of a burst: when the last started

	FiresPerSecond float64 `json:"fires_per_s"`
	Fires          int     `json:"fires"` // started while CPU and Redis were measured

	CPU        map[string]float64 `json:"cpu_s_per_1000_fires"` // by role
	CPUSum     float64            `json:"cpu_s_per_1000_fires_sum"`
	CPUPercent map[string]float64 `json:"cpu_percent_of_a_core"` // by role
	CPUBusy    float64            `json:"cpu_percent_of_a_core_sum"`
	PeakRSS    map[string]float64 `json:"peak_rss_mb"` // by role, the largest process
	Mallocs    map[string]float64 `json:"mallocs_per_fire,omitempty"`

	Commands float64 `json:"redis_commands_per_fire,omitempty"`
	Evalsha  float64 `json:"redis_evalsha_per_fire,omitempty"`
	Reads    float64 `json:"redis_reads_per_fire,omitempty"`
	In       float64 `json:"redis_bytes_in_per_fire,omitempty"`
	Out      float64 `json:"redis_bytes_out_per_fire,omitempty"`

	Nodes           []Node  `json:"redis_nodes,omitempty"` // one, or those of a cluster
	BusiestCommands float64 `json:"redis_busiest_share_of_commands,omitempty"`
	BusiestCPU      float64 `json:"redis_busiest_share_of_cpu,omitempty"`

	BytesPerSchedule float64 `json:"redis_bytes_per_schedule,omitempty"`
	BytesPerRun      float64 `json:"redis_bytes_per_run,omitempty"`
	Register         float64 `json:"register_s,omitempty"`
	RegisterPerS     float64 `json:"register_per_s,omitempty"`

	PollMS      float64 `json:"poll_ms,omitempty"`
	FirstFireMS float64 `json:"fresh_beat_first_fire_ms,omitempty"`
}

// Node is what one redis-server did. Fires are those of the whole measurement, so that nodes add up.
type Node struct {
	Commands float64 `json:"commands_per_fire"`
	Evalsha  float64 `json:"evalsha_per_fire"`
	Reads    float64 `json:"reads_per_fire"`
	In       float64 `json:"bytes_in_per_fire"`
	Out      float64 `json:"bytes_out_per_fire"`
	CPU      float64 `json:"cpu_s_per_1000_fires"`
	Memory   float64 `json:"used_memory_mb"` // in the end, without the buffers of clients
}

func (n Node) commands() float64 { return n.Commands }
func (n Node) cpu() float64      { return n.CPU }

// SetNodes takes over what the redis-servers did, one by one and together.
func (r *Result) SetNodes(nodes []Node) {
	r.Nodes = nodes
	r.Commands = sum(nodes, Node.commands)
	r.Evalsha = sum(nodes, func(n Node) float64 { return n.Evalsha })
	r.Reads = sum(nodes, func(n Node) float64 { return n.Reads })
	r.In = sum(nodes, func(n Node) float64 { return n.In })
	r.Out = sum(nodes, func(n Node) float64 { return n.Out })
	for i := range nodes {
		r.BusiestCommands = max(r.BusiestCommands, share(nodes, i, Node.commands))
		r.BusiestCPU = max(r.BusiestCPU, share(nodes, i, Node.cpu))
	}
}

// node is what one node of a cluster did; its shares are its own.
func (r Result) node(i int) Result {
	one := Result{Round: r.Round}
	one.SetNodes(r.Nodes[i : i+1])
	one.BusiestCommands, one.BusiestCPU = share(r.Nodes, i, Node.commands), share(r.Nodes, i, Node.cpu)
	return one
}

func sum(nodes []Node, of func(Node) float64) float64 {
	total := 0.0
	for _, n := range nodes {
		total += of(n)
	}
	return total
}

// share is how much of what all nodes have that one has: 0 to 1.
func share(nodes []Node, which int, of func(Node) float64) float64 {
	total := sum(nodes, of)
	if total == 0 {
		return 0
	}
	return of(nodes[which]) / total
}

// Append adds a line to a file, which is created when there is none.
func (r Result) Append(path string) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write result %s: %w", path, err)
	}
	return nil
}
