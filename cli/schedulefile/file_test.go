package schedulefile

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

const head = "schedule_id: a\nworkflow: w\nspec: {cron: \"@daily\"}\n"

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		name string
		ids  string
	}{
		"one schedule":       {head, "", "a"},
		"a list":             {"- {schedule_id: a, workflow: w, spec: {interval: 5m}}\n- {schedule_id: b, workflow: w, spec: {calendar: [{hour: 3}]}}", "", "a b"},
		"a set":              {"name: ops\nschedules:\n- {schedule_id: a, workflow: w, spec: {interval: 5m}}", "ops", "a"},
		"an empty set":       {"name: ops\nschedules: []", "ops", ""},
		"documents":          {"---\nname: ops\n---\n" + head + "---\n---\n- {schedule_id: b, workflow: w, spec: {interval: 5m}}", "ops", "a b"},
		"JSON":               {`{"schedules": [{"schedule_id": "a", "workflow": "w", "spec": {"cron": "@daily", "interval": null}, "queue": null}]}`, "", "a"},
		"aliases":            {"- {schedule_id: a, workflow: w, spec: &s {interval: 5m}}\n- {schedule_id: b, workflow: w, spec: *s}", "", "a b"},
		"as show prints it":  {head + "overlap_policy: buffer_all\nbuffer_limit: 7\ncancel_grace: 1m\ncatchup: none\ncatchup_window: 2d\nqueue: slow\nnote: n\ninput: null", "", "a"},
		"numbers are no ids": {strings.Replace(head, "schedule_id: a", "schedule_id: 007", 1), "", "007"},
	} {
		f, err := Parse("f.yaml", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var ids []string
		for _, e := range f.Schedules {
			ids = append(ids, e.ID)
		}
		if f.Name != c.name || strings.Join(ids, " ") != c.ids {
			t.Errorf("%s: name %q, schedules %q", name, f.Name, ids)
		}
	}
}

func TestParseFields(t *testing.T) {
	t.Parallel()
	f, err := Parse("f.yaml", []byte(`
schedule_id: a
workflow: w
spec:
  calendar: [{day_of_month: [1, 15], hour: 9}, {month: jan, day_of_week: mon-fri}]
  timezone: Europe/Berlin
  start_at: 2026-03-01T00:00:00+01:00
  jitter: 30s
input: {day: 2026-03-01, big: 12345678901234567890, hex: 0x1F, f: 1.50, yes: yes, list: [1, "1", null, true], nested: {"a b": []}}
`))
	if err != nil {
		t.Fatal(err)
	}
	e := f.Schedules[0]
	if e.Line != 2 || e.LineOf("timezone") != 6 || e.LineOf("nosuch") != 2 || e.LineOf("nosuch, jitter") != 8 || e.LineOf("cron") != 4 {
		t.Errorf("lines %v", e.lines)
	}
	spec, err := json.Marshal(e.Spec)
	if err != nil || !strings.Contains(string(spec), `"timezone":"Europe/Berlin","start_at":"2026-02-28T23:00:00Z","end_at":null,"jitter":"30s"`) || len(e.Spec.Calendar) != 2 {
		t.Errorf("spec %s, %v", spec, err)
	}
	want := `{"day":"2026-03-01","big":12345678901234567890,"hex":31,"f":1.50,"yes":"yes","list":[1,"1",null,true],"nested":{"a b":[]}}`
	if string(e.Input) != want {
		t.Errorf("input %s, want %s", e.Input, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	bomb := "input:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i, last := 0, "a"; i < 8; i++ {
		next := last + "b"
		bomb += "  " + next + ": &" + next + " [" + strings.TrimSuffix(strings.Repeat("*"+last+",", 10), ",") + "]\n"
		last = next
	}
	for _, c := range []struct{ text, want string }{
		{"", "f.yaml: holds no schedules"},
		{"name: ops", "f.yaml: holds no schedules"},
		{"just text", "f.yaml:1: must be a list of schedules"},
		{"a: [", "f.yaml:1: "},
		{"- x", "f.yaml:1: must be a schedule"},
		{"schedules: 3", "f.yaml:1: schedules must be a list"},
		{"name: a\nschedules: []\n---\nname: b\nschedules: []", "f.yaml:4: name \"b\": the file is named \"a\" already"},
		{"name: [a]\nschedules: []", "f.yaml:1: name must be a single value"},
		{"name: a\nschedule: []\nschedules: []", "f.yaml:2: unknown key \"schedule\": did you mean schedules?"},
		{head + "overlap: skip", "f.yaml:4: unknown key \"overlap\": "},
		{head + "overlap_polcy: skip", "did you mean overlap_policy?"},
		{head + "timezone: UTC", "f.yaml:4: unknown key \"timezone\": it belongs below spec"},
		{head + "status: paused", "f.yaml:4: unknown key \"status\": whether a schedule is paused is not for a file"},
		{head + "total_runs: 3", "f.yaml:4: unknown key \"total_runs\": it says how a schedule stands; leave it out"},
		{head + "queue: a\nqueue: b", "f.yaml:5: key \"queue\" is already there in line 4"},
		{head + "buffer_limit: many", "f.yaml:4: buffer_limit \"many\": must be a whole number"},
		{head + "buffer_limit: 0", "buffer_limit \"0\""},
		{head + "cancel_grace: 0s", "f.yaml:4: cancel_grace \"0s\": must be a number and a unit"},
		{head + "catchup_window: 30", "f.yaml:4: catchup_window \"30\""},
		{head + "catchup: some", "f.yaml:4: catchup \"some\": must be one, all or none"},
		{head + "overlap_policy: never", "f.yaml:4: overlap_policy \"never\""},
		{head + "queue: a b", "f.yaml:4: queue \"a b\""},
		{head + "note: [a]", "f.yaml:4: note must be a single value"},
		{head + "input: .inf", "f.yaml:4: \".inf\" is no number that JSON has"},
		{head + "input: {a: 1, a: 2}", "f.yaml:4: key \"a\" is already there in line 4"},
		{head + "input: {<<: {a: 1}}", "f.yaml:4: a key must be text"},
		{head + "<<: {note: a}", "f.yaml:4: \"<<\" is not supported"},
		{head + "input: " + deep, "nested deeper than 100"},
		{head + bomb, "more than 1,000,000 values"},
		{head + "input:\n  a: &a " + strings.Repeat("x", 1<<20) + "\n  b: [*a" + strings.Repeat(", *a", 100) + "]", "more than 32MiB of text"},
		{head + "input:\n  a: &a {" + strings.Repeat("x", 1000) + ": 1}\n  b: [*a" + strings.Repeat(", *a", 1<<16) + "]", "more than 32MiB of text"},
		{"schedules:\n\t- schedule_id: a", "f.yaml:2: begins with a tab"},
		{head + "input: &a [*a]", "f.yaml:4: "},
		{"workflow: w\nspec: {cron: \"@daily\"}", "f.yaml:1: schedule_id is missing"},
		{"schedule_id: a\nspec: {cron: \"@daily\"}", "f.yaml:1: workflow is missing"},
		{"schedule_id: a\nworkflow: w", "f.yaml:1: spec is missing"},
		{"schedule_id: a\nworkflow: w\nspec: daily", "f.yaml:3: spec must be a mapping"},
		{"schedule_id: a\nworkflow: w\nspec: {}", "f.yaml:3: "},
		{"schedule_id: a\nworkflow: w\nspec: {cron: @daily}", "put text that begins with @"},
		{"schedule_id: a\nworkflow: w\nspec:\n  cron: * * * * *", "put text that begins with *"},
		{"schedule_id: a\nworkflow: w\nspec:\n  cron: 0 0 30 2 *", "f.yaml:4: cron \"0 0 30 2 *\""},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30", "f.yaml:4: interval \"30\""},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30s\n  cron: \"@daily\"", "f.yaml:5: cron, interval"},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30s\n  zone: UTC", "f.yaml:5: unknown key \"zone\": did you mean timezone?"},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30s\n  timezone: Mars/Olympus", "f.yaml:5: timezone \"Mars/Olympus\""},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30s\n  start_at: 2026-03-01", "f.yaml:5: start_at \"2026-03-01\""},
		{"schedule_id: a\nworkflow: w\nspec:\n  interval: 30s\n  end_at: [1]", "f.yaml:5: end_at must be a single value"},
		{"schedule_id: a\nworkflow: w\nspec:\n  calendar: {hour: 3}", "f.yaml:4: calendar"},
		{"schedule_id: a\nworkflow: w\nspec:\n  calendar: [{hour: 25}]", "f.yaml:4: "},
		{"schedule_id: a b\nworkflow: w\nspec: {interval: 30s}", "f.yaml:1: schedule_id \"a b\""},
		{"schedule_id: a\nworkflow: w w\nspec: {interval: 30s}", "f.yaml:2: workflow \"w w\""},
		{head + "---\n" + head, "f.yaml:5: schedule_id \"a\" is already there in line 1"},
		{head + "\"" + strings.Repeat("k", 500) + "\": 1", "kkk…\""},
	} {
		f, err := Parse("f.yaml", []byte(c.text))
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%s\n%v (%v), want %s", c.text[:min(len(c.text), 200)], err, f, c.want)
		}
	}
}

func TestTheExampleIsGood(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../examples/schedules/schedules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := Parse("schedules.yaml", data); err != nil || f.Name != "ops" || len(f.Schedules) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "input: {a: [1, 0x1, .5, 2026-01-01, ~, \"x\"]}"))
	f.Add([]byte("name: x\nschedules:\n- &a {schedule_id: a, workflow: w, spec: {calendar: [{hour: 3}]}}\n- *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("error of type %T: %v", err, err)
		}
		if err != nil {
			return
		}
		for _, e := range file.Schedules {
			if e.ID == "" || e.Line < 1 || e.Input != nil && !json.Valid(e.Input) {
				t.Fatalf("entry %+v", e)
			}
		}
	})
}
