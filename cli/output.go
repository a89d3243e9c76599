package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// table is rows of text under headings. Plain output leaves out headings and alignment: one row a line, columns separated by tabs.
type table struct {
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// clean keeps a cell on its line and in its column.
func clean(cell string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r == '\v' || r == '\f' {
			return ' '
		}
		return r
	}, cell)
}

func (p *program) printTable(t table) error {
	var out io.Writer = p.stdout
	var aligned *tabwriter.Writer
	rows := t.rows
	if p.global.Output != "plain" {
		aligned = tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		out = aligned
		if len(t.columns) > 0 {
			heads := make([]string, len(t.columns))
			for i, c := range t.columns {
				heads[i] = strings.ToUpper(c)
			}
			rows = append([][]string{heads}, rows...)
		}
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = clean(c)
			if cells[i] == "" && aligned != nil {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(out, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	if aligned != nil {
		return aligned.Flush()
	}
	return nil
}

// printPairs prints names and values, one pair a line, leaving out pairs without a value.
func (p *program) printPairs(pairs ...string) error {
	var t table
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.add(pairs[i], pairs[i+1])
		}
	}
	return p.printTable(t)
}

// printJSON prints a value, indented.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// print prints v as JSON where that is asked for, else what human prints.
func (p *program) print(v any, human func() error) error {
	if p.global.Output == "json" {
		return p.printJSON(v)
	}
	return human()
}

// note tells the person something besides the result.
func (p *program) note(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }

// exact reports whether times are to be printed exactly.
func (p *program) exact() bool { return p.global.Output == "plain" }

// when writes an instant the way a person reads it: "in 3m", "2h ago"; exactly in plain output.
func (p *program) when(t client.Time) string {
	switch d := t.Sub(p.now()); {
	case t.IsZero():
		return ""
	case p.exact():
		return stamp(t)
	case d >= time.Second:
		return "in " + client.Age(d)
	case d > -time.Second:
		return "now"
	default:
		return client.Age(-d) + " ago"
	}
}

// whenExact writes an instant exactly, and how far away it is.
func (p *program) whenExact(t client.Time) string {
	if t.IsZero() || p.exact() {
		return stamp(t)
	}
	return stamp(t) + " (" + p.when(t) + ")"
}

func stamp(t client.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// took is the time between two instants, empty when one is missing.
func took(from, to client.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return short(to.Sub(from.Time))
}

// short writes a span of time with at most four digits.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
