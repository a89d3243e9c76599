package schedulefile

import (
	"bytes"
	"encoding/json"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

var (
	scheduleKeys = []string{"schedule_id", "workflow", "spec", "overlap_policy", "buffer_limit", "cancel_grace", "catchup", "catchup_window", "queue", "input", "note"}
	specKeys     = []string{"cron", "interval", "calendar", "interval_from", "timezone", "start_at", "end_at", "jitter"}
)

// schedule reads one schedule and checks what can be checked without a store.
func (p *parser) schedule(n *yaml.Node) error {
	p.any = true
	e := Entry{Line: n.Line, lines: map[string]int{}}
	err := p.members(n, scheduleKeys, e.lines, func(key, value *yaml.Node) error { return p.member(&e, key.Value, value) })
	if err != nil {
		return err
	}
	for _, missing := range []struct{ key, value, such string }{{"schedule_id", e.ID, "nightly"}, {"workflow", e.Workflow, "daily_report"}} {
		if missing.value == "" {
			return p.bad(n, "%s is missing; write such as \"%s: %s\"", missing.key, missing.key, missing.such)
		}
	}
	if _, ok := e.lines["spec"]; !ok {
		return p.bad(n, "spec is missing; write such as \"spec: {cron: \\\"0 9 * * *\\\"}\"")
	}
	if err := schedules.ValidateID(e.ID); err != nil {
		return p.field(&e, err)
	}
	if err := schedules.ValidateWorkflow(e.Workflow); err != nil {
		return p.field(&e, err)
	}
	if e.Definition, err = schedules.Normalize(e.Definition); err != nil {
		return p.field(&e, err)
	}
	for _, other := range p.file.Schedules {
		if other.ID == e.ID {
			return p.bad(n, "schedule_id %q is already there in line %d; keep one", e.ID, other.LineOf("schedule_id"))
		}
	}
	p.file.Schedules = append(p.file.Schedules, e)
	return nil
}

// member reads one field of a schedule.
func (p *parser) member(e *Entry, name string, n *yaml.Node) error {
	switch name {
	case "spec":
		return p.spec(e, n)
	case "input":
		text, err := p.json(n, 0)
		e.Input = text
		return err
	}
	text, err := p.text(name, n)
	if err != nil {
		return err
	}
	switch name {
	case "schedule_id":
		e.ID = text
	case "workflow":
		e.Workflow = text
	case "overlap_policy":
		e.Overlap = schedules.OverlapPolicy(text)
	case "catchup":
		e.Catchup = schedules.Catchup(text)
	case "queue":
		e.Queue = text
	case "note":
		e.Note = text
	case "buffer_limit":
		if e.BufferLimit, err = strconv.Atoi(text); err != nil || e.BufferLimit < 1 {
			return p.bad(n, "buffer_limit %q: must be a whole number, 1 or more", clip(text))
		}
	case "cancel_grace":
		e.CancelGrace, err = p.duration(name, n)
	case "catchup_window":
		e.CatchupWindow, err = p.duration(name, n)
	}
	return err
}

// duration reads a duration that must not be zero, since zero would stand for the default.
func (p *parser) duration(name string, n *yaml.Node) (schedules.Duration, error) {
	d, err := schedules.ParseDuration(n.Value)
	if err != nil || d <= 0 {
		return 0, p.bad(n, "%s %q: must be a number and a unit, such as 30s, 5m or 1d12h", name, clip(n.Value))
	}
	return d, nil
}

// spec reads when the schedule ticks.
func (p *parser) spec(e *Entry, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return p.bad(n, "spec must be a mapping, such as {cron: \"0 9 * * *\", timezone: Europe/Berlin}")
	}
	line := e.lines["spec"]
	spec := map[string]json.RawMessage{}
	err := p.members(n, specKeys, e.lines, func(key, value *yaml.Node) error {
		if key.Value == "calendar" {
			text, err := p.json(value, 0)
			spec[key.Value] = text
			return err
		}
		text, err := p.text(key.Value, value)
		if err == nil {
			spec[key.Value], err = json.Marshal(text)
		}
		return err
	})
	if err != nil {
		return err
	}
	e.lines["spec"] = line
	text, err := json.Marshal(spec)
	if err == nil {
		err = json.Unmarshal(text, &e.Spec)
	}
	if err != nil {
		return p.field(e, err)
	}
	return nil
}

// maxDepth bounds how deep values may be nested; aliases could be so without end.
const maxDepth = 100

// json writes a value as JSON. Times and whatever else JSON has no word for stay text as it is written.
func (p *parser) json(n *yaml.Node, depth int) (json.RawMessage, error) {
	n, err := p.resolve(n)
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, p.bad(n, "is nested deeper than %d; flatten it", maxDepth)
	}
	var out bytes.Buffer
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			text, err := p.json(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.WriteByte("[,"[min(i, 1)])
			out.Write(text)
		}
		if len(n.Content) == 0 {
			out.WriteByte('[')
		}
		out.WriteByte(']')
		return out.Bytes(), nil
	case yaml.MappingNode:
		return p.object(n, depth)
	default:
		return p.scalar(n)
	}
}

func (p *parser) object(n *yaml.Node, depth int) (json.RawMessage, error) {
	var out bytes.Buffer
	lines := map[string]int{}
	out.WriteByte('{')
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return nil, p.bad(key, "a key must be text; write the fields out")
		}
		if _, err := p.resolve(key); err != nil {
			return nil, err
		}
		if line, twice := lines[key.Value]; twice {
			return nil, p.bad(key, "key %q is already there in line %d; keep one", clip(key.Value), line)
		}
		lines[key.Value] = key.Line
		name, err := json.Marshal(key.Value)
		if err != nil {
			return nil, p.bad(key, "a key must be text")
		}
		value, err := p.json(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func (p *parser) scalar(n *yaml.Node) (json.RawMessage, error) {
	switch n.ShortTag() {
	case "!!null":
		return json.RawMessage("null"), nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return nil, p.bad(n, "%q is no truth value; write true or false", clip(n.Value))
		}
		return json.RawMessage(strconv.FormatBool(b)), nil
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.RawMessage(n.Value), nil // as precise as it is written
		}
		var number any
		if err := n.Decode(&number); err == nil {
			if text, err := json.Marshal(number); err == nil {
				return text, nil
			}
		}
		return nil, p.bad(n, "%q is no number that JSON has; write it out, or put it in quotes", clip(n.Value))
	}
	text, err := json.Marshal(n.Value)
	if err != nil {
		return nil, p.bad(n, "%q is no text", clip(n.Value))
	}
	return text, nil
}
