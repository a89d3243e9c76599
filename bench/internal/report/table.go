package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/judge"
)

// group is the results of one load on one system, by round.
type group struct {
	load, text, system string
	rounds             []Result
}

// value is the median over the rounds.
func (g group) value(of func(Result) float64) float64 {
	var all []float64
	for _, r := range g.rounds {
		all = append(all, of(r))
	}
	return judge.Median(all)
}

// grouped keeps the order of the results.
func grouped(results []Result) []group {
	var all []group
	at := map[string]int{}
	for _, r := range results {
		key := r.Load + "\x00" + r.System
		if _, ok := at[key]; !ok {
			at[key] = len(all)
			all = append(all, group{load: r.Load, text: r.Text, system: r.System})
		}
		all[at[key]].rounds = append(all[at[key]].rounds, r)
	}
	return all
}

// ratio is how a figure compares with that of the other system in the same rounds: the median, and from where to where it goes; "" without a pair.
func ratio(g, to group, of func(Result) float64) string {
	var all []float64
	for _, r := range g.rounds {
		for _, o := range to.rounds {
			if o.Round == r.Round && of(o) > 0 && of(r) > 0 {
				all = append(all, of(r)/of(o))
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	text := fmt.Sprintf("%.2f", judge.Median(all))
	if len(all) > 1 {
		low, high := all[0], all[0]
		for _, v := range all {
			low, high = min(low, v), max(high, v)
		}
		text += fmt.Sprintf(" (%.2f–%.2f)", low, high)
	}
	return text
}

// column is one column of a table: a head, and its text for a group and what that is compared with.
type column struct {
	head string
	text func(g, peer group) string
}

func number(head, format string, of func(Result) float64) column {
	return column{head, func(g, _ group) string {
		v := g.value(of)
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}}
}

// count shows zeros, too, and the sum over the rounds.
func count(head string, of func(Result) int) column {
	return column{head, func(g, _ group) string {
		n := 0
		for _, r := range g.rounds {
			n += of(r)
		}
		return thousands(n)
	}}
}

func compared(head string, of func(Result) float64) column {
	return column{head, func(g, peer group) string {
		if g.system == peer.system {
			return ""
		}
		return ratio(g, peer, of)
	}}
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Write writes tables of the results in Markdown. Figures are medians over the rounds, counts are sums, and ratios are those of the same round to the system that is named.
func Write(w io.Writer, head string, results []Result, peer string) {
	groups := grouped(results)
	fmt.Fprintf(w, "%s\n\n", head)
	rounds := 0
	for _, r := range results {
		rounds = max(rounds, r.Round)
	}
	fmt.Fprintf(w, "Figures are medians of %d round(s), counts their sums; ÷ %s: the ratio in the same round, median (least–most). Lateness is from the nominal time to the start of the handler in the worker.\n\n", max(1, rounds), peer)
	table(w, "Starts", groups, peer, []column{
		count("expected", func(r Result) int { return r.Expected }),
		count("started", func(r Result) int { return r.Started }),
		count("lost", func(r Result) int { return r.Lost }),
		count("doubled", func(r Result) int { return r.Doubled + r.Stray }),
		number("p50 ms", "%.1f", func(r Result) float64 { return r.P50 }),
		number("p99 ms", "%.1f", func(r Result) float64 { return r.P99 }),
		number("max ms", "%.1f", func(r Result) float64 { return r.Max }),
		compared("p99 ÷ "+peer, func(r Result) float64 { return r.P99 }),
		compared("max ÷ "+peer, func(r Result) float64 { return r.Max }),
		number("fires/s", "%.0f", func(r Result) float64 { return r.FiresPerSecond }),
	})
	table(w, "Cost", groups, peer, []column{
		number("CPU s per 1,000: beat", "%.3f", func(r Result) float64 { return r.CPU["beat"] }),
		number("worker", "%.3f", func(r Result) float64 { return r.CPU["worker"] }),
		number("Redis", "%.3f", func(r Result) float64 { return r.CPU["redis"] }),
		number("sum", "%.3f", func(r Result) float64 { return r.CPUSum }),
		compared("÷ "+peer, func(r Result) float64 { return r.CPUSum }),
		number("% of a core", "%.1f", func(r Result) float64 { return r.CPUBusy }),
		number("of these, beat", "%.1f", func(r Result) float64 { return r.CPUPercent["beat"] }),
		number("peak RSS MB: beat", "%.0f", func(r Result) float64 { return r.PeakRSS["beat"] }),
		number("worker", "%.0f", func(r Result) float64 { return r.PeakRSS["worker"] }),
		number("Redis", "%.0f", func(r Result) float64 { return r.PeakRSS["redis"] }),
	})
	table(w, "Redis and registration", groups, peer, []column{
		number("commands per fire", "%.1f", func(r Result) float64 { return r.Commands }),
		number("scripts per fire", "%.2f", func(r Result) float64 { return r.Evalsha }),
		number("reads per fire", "%.2f", func(r Result) float64 { return r.Reads }),
		number("network bytes in per fire", "%.0f", func(r Result) float64 { return r.In }),
		number("network bytes out per fire", "%.0f", func(r Result) float64 { return r.Out }),
		number("bytes per schedule", "%.0f", func(r Result) float64 { return r.BytesPerSchedule }),
		number("bytes per kept run", "%.0f", func(r Result) float64 { return r.BytesPerRun }),
		number("register s", "%.2f", func(r Result) float64 { return r.Register }),
		number("registered per s", "%.0f", func(r Result) float64 { return r.RegisterPerS }),
		number("mallocs per fire: beat", "%.0f", func(r Result) float64 { return r.Mallocs["beat"] }),
		number("worker", "%.0f", func(r Result) float64 { return r.Mallocs["worker"] }),
		number("poll ms", "%.2f", func(r Result) float64 { return r.PollMS }),
		number("fresh beat's first fire ms", "%.0f", func(r Result) float64 { return r.FirstFireMS }),
	})
	nodes(w, groups)
	beyond(w, groups)
}

// table writes one table; a column in which nothing stands is left out.
func table(w io.Writer, title string, groups []group, peer string, columns []column) {
	rows := make([][]string, len(groups))
	heads := []string{"load", "system"}
	for i, g := range groups {
		rows[i] = []string{g.load + ": " + g.text, g.system}
	}
	for _, c := range columns {
		cells := make([]string, len(groups))
		for i, g := range groups {
			cells[i] = c.text(g, find(groups, g.load, peer))
		}
		if strings.Join(cells, "") == "" {
			continue
		}
		heads = append(heads, c.head)
		for i := range rows {
			rows[i] = append(rows[i], cmp.Or(cells[i], "–"))
		}
	}
	fmt.Fprintf(w, "### %s\n\n| %s |\n|%s\n", title, strings.Join(heads, " | "), strings.Repeat("---|", 2)+strings.Repeat("---:|", len(heads)-2))
	for _, r := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
	}
	fmt.Fprintln(w)
}

func find(groups []group, load, system string) group {
	for _, g := range groups {
		if g.load == load && g.system == system {
			return g
		}
	}
	return group{}
}

// nodes writes how much of a cluster load each redis-server does: a row for all together, whose shares are those of the busiest, and one for each node of a cluster.
func nodes(w io.Writer, groups []group) {
	var all []group
	for _, g := range groups {
		if !strings.HasPrefix(g.load, "cluster-") {
			continue
		}
		all = append(all, g)
		for i := 0; i < len(g.rounds[0].Nodes) && len(g.rounds[0].Nodes) > 1; i++ {
			node := group{load: g.load, text: g.text, system: fmt.Sprintf("%s, node %d", g.system, i+1)}
			for _, r := range g.rounds {
				node.rounds = append(node.rounds, r.node(i))
			}
			all = append(all, node)
		}
	}
	if len(all) == 0 {
		return
	}
	table(w, "Redis, node by node", all, "", []column{
		number("commands per fire", "%.1f", func(r Result) float64 { return r.Commands }),
		number("scripts per fire", "%.2f", func(r Result) float64 { return r.Evalsha }),
		number("reads per fire", "%.2f", func(r Result) float64 { return r.Reads }),
		number("network bytes in per fire", "%.0f", func(r Result) float64 { return r.In }),
		number("network bytes out per fire", "%.0f", func(r Result) float64 { return r.Out }),
		number("CPU s per 1,000", "%.3f", func(r Result) float64 { return sum(r.Nodes, Node.cpu) }),
		number("used memory MB", "%.1f", func(r Result) float64 { return sum(r.Nodes, func(n Node) float64 { return n.Memory }) }),
		number("% of commands (all: the busiest)", "%.1f", func(r Result) float64 { return 100 * r.BusiestCommands }),
		number("% of CPU (all: the busiest)", "%.1f", func(r Result) float64 { return 100 * r.BusiestCPU }),
	})
}

// beyond says what a beat costs for what is merely stored: M against M-base.
func beyond(w io.Writer, groups []group) {
	percent := func(r Result) float64 { return r.CPUPercent["beat"] }
	for _, g := range groups {
		if base := find(groups, "M-base", g.system); g.load == "M" && len(base.rounds) > 0 {
			fmt.Fprintf(w, "The beat's CPU beyond the due work, with %s schedules stored: %.2f %% of a core (%.2f with them, %.2f without).\n\n",
				thousands(g.rounds[0].Stored), g.value(percent)-base.value(percent), g.value(percent), base.value(percent))
		}
	}
}
