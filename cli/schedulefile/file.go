// Package schedulefile reads files of schedules: YAML (or JSON, which is YAML) with the fields that a schedule has in the command line's JSON. It is strict: an unknown or
// repeated key, a value of the wrong kind and a schedule that could not be stored are refused with their line. It opens no store: whether a workflow is known and an
// id is free is for whoever applies the file.
package schedulefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/internal/nearest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// MaxSize is how large a file may be, in bytes.
const MaxSize = 16 << 20

// File is what a file holds. The zero value holds nothing.
type File struct {
	Name      string // of the set, from the key name; empty: the file has none
	Schedules []Entry
}

// Entry is a schedule and where it stands.
type Entry struct {
	client.CreateRequest
	Line int

	lines map[string]int // of its fields
}

// LineOf is the line of a field of the schedule, that of the schedule itself when the file does not have the field.
func (e *Entry) LineOf(field string) int {
	for name := range strings.SplitSeq(field, ", ") {
		if line, ok := e.lines[name]; ok {
			return line
		}
		if line, ok := e.lines["spec"]; ok && slices.Contains(specKeys, name) {
			return line
		}
	}
	return e.Line
}

// Error says what is wrong in a file, and where.
type Error struct {
	Path    string
	Line    int // 0: the whole file
	Problem string
}

// Error is one line: path:line: problem.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Path + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem)
}

// Code is that of wrong input.
func (e *Error) Code() client.Code { return client.CodeInvalid }

// Parse reads a file: documents that are each a list of schedules, one schedule, or a mapping of name and schedules. path is for messages. Errors are of type *Error.
func Parse(path string, data []byte) (*File, error) {
	p := &parser{path: path, data: data, file: &File{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			if !p.any {
				return nil, p.bad(nil, "holds no schedules; write a list of them, or \"schedules: []\" for none")
			}
			return p.file, nil
		case err != nil:
			return nil, p.syntax(err)
		}
		if err := p.document(doc.Content[0]); err != nil {
			return nil, err
		}
	}
}

type parser struct {
	path  string
	data  []byte
	file  *File
	any   bool // a list, a schedule or "schedules" was there
	nodes int  // seen, those behind aliases each time
	bytes int  // of text in them
}

// bad makes an error at a node.
func (p *parser) bad(at *yaml.Node, format string, args ...any) *Error {
	e := &Error{Path: p.path, Problem: fmt.Sprintf(format, args...)}
	if at != nil {
		e.Line = at.Line
	}
	return e
}

// syntax gives a message of the YAML library, such as "yaml: line 3: did not find expected key", its place.
func (p *parser) syntax(err error) *Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{Path: p.path, Problem: text}
	if n, _ := fmt.Sscanf(text, "line %d:", &e.Line); n == 1 {
		_, e.Problem, _ = strings.Cut(text, ": ")
	}
	if p.tab(e.Line) {
		e.Problem = "begins with a tab; indent with spaces"
	} else if strings.Contains(text, "cannot start any token") {
		e.Problem += "; put text that begins with @, * or % in quotes: \"@daily\", \"* * * * *\""
	}
	if strings.Contains(text, "unknown anchor") || strings.Contains(text, "alphabetic or numeric character") {
		e.Problem += "; put text that begins with * in quotes: \"* * * * *\""
	}
	return e
}

// tab reports whether a line is indented with a tab.
func (p *parser) tab(line int) bool {
	for at := range bytes.Lines(p.data) {
		if line--; line == 0 {
			return bytes.HasPrefix(bytes.TrimLeft(at, " "), []byte("\t"))
		}
	}
	return false
}

// resolve follows an alias, and bounds how many nodes a file may come to.
func (p *parser) resolve(n *yaml.Node) (*yaml.Node, error) {
	if p.nodes++; p.nodes > 1_000_000 {
		return nil, p.bad(n, "comes to more than 1,000,000 values; split the file, or use fewer aliases")
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if p.bytes += len(n.Value); p.bytes > maxText {
		return nil, p.bad(n, "comes to more than 32MiB of text; split the file, or use fewer aliases")
	}
	return n, nil
}

// maxText bounds what the texts of a file may come to, in bytes, those behind aliases counted each time.
const maxText = 2 * MaxSize

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (p *parser) document(n *yaml.Node) error {
	n, err := p.resolve(n)
	switch {
	case err != nil:
		return err
	case isNull(n):
		return nil // an empty document
	case n.Kind == yaml.SequenceNode:
		return p.list(n)
	case n.Kind != yaml.MappingNode:
		return p.bad(n, "must be a list of schedules, a schedule, or a mapping of name and schedules")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key == "schedules" || key == "name" {
			return p.set(n)
		}
	}
	return p.schedule(n)
}

// set reads a mapping of name and schedules.
func (p *parser) set(n *yaml.Node) error {
	return p.members(n, []string{"name", "schedules"}, nil, func(key, value *yaml.Node) error {
		switch {
		case key.Value == "schedules" && value.Kind != yaml.SequenceNode:
			return p.bad(value, "schedules must be a list; begin each schedule with \"- schedule_id: ...\"")
		case key.Value == "schedules":
			return p.list(value)
		}
		name, err := p.text(key.Value, value)
		switch {
		case err != nil:
			return err
		case p.file.Name != "" && p.file.Name != name:
			return p.bad(value, "name %q: the file is named %q already; keep one name", name, p.file.Name)
		}
		p.file.Name = name
		return nil
	})
}

func (p *parser) list(n *yaml.Node) error {
	p.any = true
	for _, item := range n.Content {
		item, err := p.resolve(item)
		if err != nil {
			return err
		}
		if item.Kind != yaml.MappingNode {
			return p.bad(item, "must be a schedule: lines such as \"schedule_id: nightly\"")
		}
		if err := p.schedule(item); err != nil {
			return err
		}
	}
	return nil
}

// members walks a mapping's keys, each of which must be known and there once. A value of null counts as absent.
func (p *parser) members(n *yaml.Node, known []string, seen map[string]int, do func(key, value *yaml.Node) error) error {
	if seen == nil {
		seen = map[string]int{}
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Tag == "!!merge" {
			return p.bad(key, "\"<<\" is not supported; write the fields out")
		}
		if !slices.Contains(known, key.Value) {
			return p.bad(key, "unknown key %q: %s", clip(key.Value), hint(key.Value, known))
		}
		if line, twice := seen[key.Value]; twice {
			return p.bad(key, "key %q is already there in line %d; keep one", key.Value, line)
		}
		seen[key.Value] = key.Line
		value, err := p.resolve(n.Content[i+1])
		if err != nil {
			return err
		}
		if isNull(value) {
			continue
		}
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

// keptKeys are those of a schedule's JSON that say how it stands.
var keptKeys = []string{"origin", "overridden", "created_at", "updated_at", "version", "last_run_at", "last_run_id", "next_run_time", "active_runs", "active_run_ids",
	"buffered_runs", "blocked_by", "total_runs", "successful_runs", "failed_runs", "cancelled_runs", "skipped_runs", "missed_runs", "next_ticks", "recent_fates"}

// hint says what to do about an unknown key.
func hint(key string, known []string) string {
	switch {
	case key == "status":
		return "whether a schedule is paused is not for a file; use \"schedules pause\" and \"schedules resume\""
	case slices.Contains(keptKeys, key):
		return "it says how a schedule stands; leave it out"
	case slices.Contains(specKeys, key) && !slices.Contains(known, key):
		return "it belongs below spec"
	}
	if near := nearest.Names(key, known, 1); len(near) > 0 {
		return "did you mean " + near[0] + "?"
	}
	return "the keys are " + strings.Join(known, ", ")
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

// text reads a scalar as it is written.
func (p *parser) text(name string, n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", p.bad(n, "%s must be a single value", name)
	}
	return n.Value, nil
}

// field turns an error of the domain into one with a line.
func (p *parser) field(e *Entry, err error) error {
	var bad *schedules.FieldError
	if errors.As(err, &bad) {
		named := *bad
		if key, ok := map[string]string{"id": "schedule_id", "overlap": "overlap_policy"}[bad.Field]; ok {
			named.Field = key
		}
		return &Error{Path: p.path, Line: e.LineOf(named.Field), Problem: named.Error()}
	}
	return &Error{Path: p.path, Line: e.Line, Problem: err.Error()}
}
