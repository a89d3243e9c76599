package metrics_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

const (
	alertFile     = "../docs/alerts/pyworkflow.yml"
	dashboardFile = "../docs/grafana/pyworkflow.json"
)

// rule is an alert rule as Prometheus reads it.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func (r rule) lasts(t *testing.T) time.Duration {
	t.Helper()
	if r.For == "" {
		return 0
	}
	d, err := time.ParseDuration(r.For)
	if err != nil {
		t.Fatalf("%s: for: %v", r.Alert, err)
	}
	return d
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(alertFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// known are the values of labels whose values are ours.
var known = map[string][]string{
	"fate": {"started", "buffered", "skipped", "missed", "dropped"}, "role": {"worker", "beat"}, "loop": {"beat", "keeper"},
	"state":  {"waiting", "active", "scheduled", "retry", "archived"},
	"status": {"active", "paused", "finished", "deleted", "completed", "failed", "cancelled"},
}

// checkExpr says what is wrong with an expression, and gives the labels of its answer.
func checkExpr(text string, all map[string]kind) (result []string, problems []string) {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return nil, []string{err.Error()}
	}
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			has, ok := labelsOf(n.Name, all)
			if !ok {
				say("there is no metric %s", n.Name)
				return nil
			}
			for _, m := range n.LabelMatchers {
				switch {
				case m.Name == model.MetricNameLabel:
				case !slices.Contains(has, m.Name):
					say("%s has no label %s", n.Name, m.Name)
				case known[m.Name] != nil && !slices.ContainsFunc(known[m.Name], m.Matches):
					say("%s: no value fits %s", n.Name, m)
				}
			}
		case *parser.AggregateExpr:
			parser.Inspect(n.Expr, func(inner parser.Node, _ []parser.Node) error {
				if v, ok := inner.(*parser.VectorSelector); ok {
					has, _ := labelsOf(v.Name, all)
					for _, by := range n.Grouping {
						if !slices.Contains(has, by) {
							say("%s has no label %s to group by", v.Name, by)
						}
					}
				}
				return nil
			})
			if len(path) == 0 || result == nil {
				result = append([]string{}, n.Grouping...)
			}
		}
		return nil
	})
	return result, problems
}

// labelsOf gives the labels that the series of a name have.
func labelsOf(name string, all map[string]kind) ([]string, bool) {
	of := []string{"job", "instance"}
	if k, ok := all[name]; ok && k.what != "histogram" {
		return append(of, k.labels...), true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, part); ok && all[base].what == "histogram" {
			if part == "_bucket" {
				of = append(of, "le")
			}
			return append(of, all[base].labels...), true
		}
	}
	return nil, false
}

func TestExpressionsThatAreWrongAreSeen(t *testing.T) {
	all := kinds(t)
	for text, want := range map[string]string{
		"sum(pyworkflow_no_such)":                                        "there is no metric",
		"sum(pyworkflow_run_duration_seconds)":                           "there is no metric", // a histogram has no series of its own name
		`pyworkflow_runs_ended_total{colour="red"}`:                      "has no label colour",
		`pyworkflow_runs_ended_total{status="broken"}`:                   "no value fits",
		"sum by (schedule) (rate(pyworkflow_ticks_total[5m]))":           "no label schedule to group by",
		"sum by (le) (rate(pyworkflow_step_duration_seconds_sum[5m]))":   "no label le to group by",
		"rate(pyworkflow_ticks_total[5m]":                                "parse error",
		`max by (queue) (pyworkflow_queue_messages{state=~"waiting|x"})`: "",
	} {
		_, problems := checkExpr(text, all)
		if got := strings.Join(problems, "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestRulesAreSound(t *testing.T) {
	all := kinds(t)
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range readRules(t) {
		result, problems := checkExpr(r.Expr, all)
		for _, p := range problems {
			t.Errorf("%s: %s", r.Alert, p)
		}
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Pyworkflow") {
			t.Errorf("name %s", r.Alert)
		}
		seen[r.Alert] = true
		r.lasts(t)
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s says nothing", r.Alert)
		}
		for _, a := range r.Annotations {
			tmpl, err := template.New("").Funcs(template.FuncMap{"humanizeDuration": fmt.Sprint, "humanizePercentage": fmt.Sprint}).
				Parse(`{{$labels := .Labels}}{{$value := .Value}}` + a)
			if err == nil {
				err = tmpl.Execute(&bytes.Buffer{}, map[string]any{"Labels": map[string]string{}, "Value": 1})
			}
			if err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
			for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a, -1) {
				if !slices.Contains(result, m[1]) {
					t.Errorf("%s speaks of label %s, and its answer has %v", r.Alert, m[1], result)
				}
			}
		}
		if !bytes.Contains(text, []byte("`"+r.Alert+"`")) {
			t.Errorf("%s is not in docs/metrics.md", r.Alert)
		}
	}
	for _, m := range regexp.MustCompile("`(Pyworkflow\\w+)`").FindAllSubmatch(text, -1) {
		if !seen[string(m[1])] {
			t.Errorf("docs/metrics.md speaks of %s, which is no rule", m[1])
		}
	}
}

func TestDashboardIsSound(t *testing.T) {
	all := kinds(t)
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	type target struct{ RefID, Expr, LegendFormat string }
	type panel struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []target
	}
	var d struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	ids, filled, used := map[int]bool{}, map[[2]int]string{}, map[string]bool{}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$job", ".+")
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" || !slices.Contains([]string{"row", "stat", "timeseries"}, p.Type) {
			t.Errorf("panel %d %q of type %q", p.ID, p.Title, p.Type)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s lies at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if on := filled[[2]int{x, y}]; on != "" {
					t.Fatalf("%s lies on %s", p.Title, on)
				}
				filled[[2]int{x, y}] = p.Title
			}
		}
		if len(p.Targets) == 0 != (p.Type == "row") {
			t.Errorf("%s has %d queries", p.Title, len(p.Targets))
		}
		for _, q := range p.Targets {
			for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
				if !variables[m[1]] {
					t.Errorf("%s: there is no variable %s", p.Title, m[1])
				}
			}
			expr := fill.Replace(q.Expr)
			result, problems := checkExpr(expr, all)
			for _, problem := range problems {
				t.Errorf("%s: %s", p.Title, problem)
			}
			for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.LegendFormat, -1) {
				if result == nil { // not aggregated: the series' own labels
					name := regexp.MustCompile(`\w+`).FindString(strings.TrimPrefix(expr, "rate("))
					result, _ = labelsOf(name, all)
				}
				if !slices.Contains(result, m[1]) {
					t.Errorf("%s: its legend speaks of %s, and its answer has %v", p.Title, m[1], result)
				}
			}
			for name := range all {
				if strings.Contains(expr, name) {
					used[name] = true
				}
			}
		}
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 || len(used) < 35 {
		t.Errorf("%q, uid %q, schema %d, %d metrics are shown", d.Title, d.UID, d.SchemaVersion, len(used))
	}
}

// samples answers queries from series in Prometheus' own notation for tests, a sample every step.
type samples []promql.Series

const step = 15 * time.Second

var epoch = time.Unix(1_800_000_000, 0)

func parseSamples(t *testing.T, lines []string) samples {
	t.Helper()
	var all samples
	for _, line := range lines {
		lset, values, err := parser.ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s := promql.Series{Metric: lset}
		for i, v := range values {
			if !v.Omitted {
				s.Floats = append(s.Floats, promql.FPoint{T: epoch.Add(time.Duration(i) * step).UnixMilli(), F: v.Value})
			}
		}
		all = append(all, s)
	}
	return all
}

// Querier answers all times.
func (s samples) Querier(_, _ int64) (storage.Querier, error) { return querier{all: s}, nil }

type querier struct {
	storage.Querier
	all samples
}

// Close has nothing to close.
func (querier) Close() error { return nil }

// Select gives the series that fit.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, s := range q.all {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
			set.series = append(set.series, s)
		}
	}
	slices.SortFunc(set.series, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return set
}

type seriesSet struct {
	series []promql.Series
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series                { return promql.NewStorageSeries(s.series[s.at]) }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// fires reports whether the rule fires at the end of the samples: its expression had an answer for as long as it asks for.
func fires(t *testing.T, engine *promql.Engine, r rule, s samples, end time.Time) bool {
	t.Helper()
	for at := end.Add(-r.lasts(t)); !at.After(end); at = at.Add(step) {
		q, err := engine.NewInstantQuery(t.Context(), s, nil, r.Expr, at)
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		res := q.Exec(t.Context())
		v, err := res.Vector()
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, cmp.Or(res.Err, err))
		}
		n := len(v)
		q.Close()
		if n == 0 {
			return false
		}
	}
	return true
}

// buckets are the series of a histogram of which so many calls a step are as fast as le, and so many are not.
func buckets(name, more, le string, fast, slow int) []string {
	return []string{
		fmt.Sprintf(`%s_bucket{%sle="%s"} 0+%dx400`, name, more, le, fast),
		fmt.Sprintf(`%s_bucket{%sle="60"} 0+%dx400`, name, more, fast+slow),
		fmt.Sprintf(`%s_bucket{%sle="+Inf"} 0+%dx400`, name, more, fast+slow),
	}
}

// ruleCases are samples with which each rule must fire and with which it must keep still.
var ruleCases = map[string]struct{ fires, still [][]string }{
	"PyworkflowNoBeat": {
		[][]string{{`pyworkflow_processes{role="beat"} 0x400`, `pyworkflow_processes{role="worker"} 2x400`, `pyworkflow_schedules{status="active"} 3x400`}},
		[][]string{
			{`pyworkflow_processes{role="beat"} 1x400`, `pyworkflow_schedules{status="active"} 3x400`},
			{`pyworkflow_processes{role="beat"} 0x400`, `pyworkflow_schedules{status="active"} 0x400`},
			{`pyworkflow_processes{role="beat"} 0x400`, `pyworkflow_schedules{status="paused"} 2x400`},
			{`pyworkflow_processes{role="beat",instance="a"} 0x400`, `pyworkflow_processes{role="beat",instance="b"} 1x400`, `pyworkflow_schedules{status="active"} 3x400`},
			{`pyworkflow_processes{role="beat"} 1x398 0 0`, `pyworkflow_schedules{status="active"} 3x400`}, // being replaced
		}},
	"PyworkflowNoWorker": {
		[][]string{{`pyworkflow_processes{role="worker"} 0x400`, `pyworkflow_runs_active 1x400`}},
		[][]string{{`pyworkflow_processes{role="worker"} 0x400`, `pyworkflow_runs_active 0x400`}, {`pyworkflow_processes{role="worker"} 1x400`, `pyworkflow_runs_active 1x400`}}},
	"PyworkflowNotScraped": {
		[][]string{{`pyworkflow_build_info 1x300 _x100`}, {}},
		[][]string{{`pyworkflow_build_info{instance="a"} 1x300 _x100`, `pyworkflow_build_info{instance="b"} 1x400`}}},
	"PyworkflowSchedulesOverdue": {
		[][]string{{`pyworkflow_overdue_seconds 0+15x400`}, {`pyworkflow_overdue_seconds{instance="a"} 0x400`, `pyworkflow_overdue_seconds{instance="b"} 90x400`}},
		[][]string{{`pyworkflow_overdue_seconds 0x400`}, {`pyworkflow_overdue_seconds 20x400`}, {`pyworkflow_overdue_seconds 0x398 70 85`}}},
	"PyworkflowTicksMissed": {
		[][]string{{`pyworkflow_ticks_total{workflow="flow",fate="missed"} 0x390 1x10`}},
		[][]string{{`pyworkflow_ticks_total{workflow="flow",fate="missed"} 7x400`, `pyworkflow_ticks_total{workflow="flow",fate="started"} 0+1x400`}}},
	"PyworkflowTicksLate": {
		[][]string{buckets("pyworkflow_tick_lateness_seconds", "", "0.1", 9, 1)},
		[][]string{buckets("pyworkflow_tick_lateness_seconds", "", "0.1", 1000, 1), {}}},
	"PyworkflowBlocked": {
		[][]string{{`pyworkflow_schedules_blocked_total{workflow="flow"} 0x380 1x20`}},
		[][]string{{`pyworkflow_schedules_blocked_total{workflow="flow"} 4x400`}}},
	"PyworkflowRunsFailing": {
		[][]string{{`pyworkflow_runs_ended_total{workflow="flow",queue="default",status="failed"} 0+1x400`, `pyworkflow_runs_ended_total{workflow="flow",queue="default",status="completed"} 0+1x400`}},
		[][]string{
			{`pyworkflow_runs_ended_total{workflow="flow",queue="default",status="failed"} 0+1x400`, `pyworkflow_runs_ended_total{workflow="flow",queue="default",status="completed"} 0+30x400`},
			{`pyworkflow_runs_ended_total{workflow="flow",queue="default",status="failed"} 0x380 1x20`, `pyworkflow_runs_ended_total{workflow="flow",queue="default",status="completed"} 0x400`}, // a single one
			{`pyworkflow_runs_ended_total{workflow="flow",queue="default",status="failed"} 9x400`, `pyworkflow_runs_ended_total{workflow="flow",queue="default",status="completed"} 0+1x400`},
		}},
	"PyworkflowQueueWaits": {
		[][]string{{`pyworkflow_queue_oldest_seconds{queue="default"} 0+15x400`}},
		[][]string{{`pyworkflow_queue_oldest_seconds{queue="default"} 30x400`}, {`pyworkflow_queue_oldest_seconds{queue="default"} 0x396 70 85 100 0`}}},
	"PyworkflowQueuePaused": {
		[][]string{{`pyworkflow_queue_paused{queue="default"} 1x400`}},
		[][]string{{`pyworkflow_queue_paused{queue="default"} 0x200 1x200`}, {`pyworkflow_queue_paused{queue="default"} 0x400`}}},
	"PyworkflowOutboxStuck": {
		[][]string{{`pyworkflow_outbox_stuck_messages 0x390 2x10`}},
		[][]string{{`pyworkflow_outbox_stuck_messages 0x400`, `pyworkflow_outbox_messages 50x400`}}},
	"PyworkflowRecoveries": {
		[][]string{{`pyworkflow_run_recoveries_total{workflow="flow"} 0x380 1x20`}},
		[][]string{{`pyworkflow_run_recoveries_total{workflow="flow"} 3x400`}}},
	"PyworkflowCodeIgnoresCancel": {
		[][]string{{`pyworkflow_worker_abandoned_goroutines{instance="a"} 1x400`}},
		[][]string{{`pyworkflow_worker_abandoned_goroutines{instance="a"} 0x390 1x10`}}},
	"PyworkflowStoreErrors": {
		[][]string{{`pyworkflow_store_errors_total{instance="a",op="load"} 0+3x400`}},
		[][]string{{`pyworkflow_store_errors_total{instance="a",op="load"} 0x200 1x200`}}},
	"PyworkflowStoreAway": {
		[][]string{{`pyworkflow_loop_store_answers{instance="a",loop="beat"} 0x400`, `pyworkflow_loop_store_answers{instance="a",loop="keeper"} 1x400`}},
		[][]string{{`pyworkflow_loop_store_answers{instance="a",loop="beat"} 1x400`}, {`pyworkflow_loop_store_answers{instance="a",loop="beat"} 1x399 0`}}},
	"PyworkflowStoreSlow": {
		[][]string{buckets("pyworkflow_store_call_seconds", `op="commit",`, "0.25", 9, 1)},
		[][]string{buckets("pyworkflow_store_call_seconds", `op="commit",`, "0.25", 999, 1), buckets("pyworkflow_store_call_seconds", `op="trim",`, "0.25", 9, 1)}},
}

func TestRulesFireAndKeepStill(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
	t.Cleanup(func() { _ = engine.Close() })
	all := kinds(t)
	end := epoch.Add(400 * step)
	for _, r := range readRules(t) {
		c, ok := ruleCases[r.Alert]
		if !ok || len(c.fires) == 0 || len(c.still) == 0 {
			t.Errorf("%s has no samples for both directions", r.Alert)
			continue
		}
		for want, cases := range map[bool][][]string{true: c.fires, false: c.still} {
			for i, lines := range cases {
				s := parseSamples(t, lines)
				for _, one := range s {
					if _, real := labelsOf(one.Metric.Get(model.MetricNameLabel), all); !real {
						t.Errorf("%s: its samples have %s, which is no metric", r.Alert, one.Metric)
					}
				}
				if got := fires(t, engine, r, s, end); got != want {
					t.Errorf("%s fires: %v, want %v, with samples %d: %s", r.Alert, got, want, i, strings.Join(lines, "; "))
				}
			}
		}
	}
}
