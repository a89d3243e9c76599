package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode"

	prettytable "github.com/jedib0t/go-pretty/v6/table"
	prettytext "github.com/jedib0t/go-pretty/v6/text"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// table is rows of text under headings. Plain output leaves out headings and alignment: one row a line, columns separated by tabs. No cell is ever cut short.
type table struct {
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// stateColumns are the columns and pairs whose word says how things stand, so that it is coloured.
var stateColumns = map[string]bool{"status": true, "fate": true, "outcome": true, "action": true}

// numberColumns are the columns of numbers, which end at the same place.
var numberColumns = map[string]bool{
	"active": true, "attempt": true, "archived": true, "dispatch": true, "ended/count": true, "failed": true, "live workers": true, "pid": true, "retries": true,
	"retrying": true, "running": true, "scheduled": true, "successful/total": true, "took": true, "waiting": true, "workers": true,
}

// visible keeps text that somebody else chose on its line and the terminal as it is: white space becomes a space, other control characters and those that turn
// the direction of writing become U+FFFD.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) && r != '\u00a0':
			return ' '
		case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// visibleLines is visible for text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	for i, l := range lines {
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		lines[i] = indent + visible(strings.TrimSuffix(l[len(indent):], "\r"))
	}
	return strings.Join(lines, "\n")
}

func (p *program) printTable(t table) error {
	if p.global.Output == "plain" {
		for _, row := range t.rows {
			cells := make([]string, len(row))
			for i, c := range row {
				cells[i] = visible(c)
			}
			if _, err := fmt.Fprintln(p.stdout, strings.Join(cells, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	if len(t.rows) == 0 && len(t.columns) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(p.stdout, t.render(p.colours()))
	return err
}

// render aligns the table by what its cells take up on a screen.
func (t *table) render(colours bool) string {
	w := prettytable.NewWriter()
	w.SuppressTrailingSpaces()
	w.SetStyle(prettytable.Style{Box: prettytable.BoxStyle{PaddingRight: "  "}})
	heads := make(prettytable.Row, len(t.columns))
	var configs []prettytable.ColumnConfig
	for i, name := range t.columns {
		heads[i] = strings.ToUpper(name)
		if numberColumns[name] {
			configs = append(configs, prettytable.ColumnConfig{Number: i + 1, Align: prettytext.AlignRight, AlignHeader: prettytext.AlignRight})
		}
	}
	if len(heads) > 0 {
		w.AppendHeader(heads)
	}
	w.SetColumnConfigs(configs)
	for _, row := range t.rows {
		cells := make(prettytable.Row, len(row))
		for i, c := range row {
			text := cmp.Or(visible(c), "-")
			if colours && (i < len(t.columns) && stateColumns[t.columns[i]] || len(t.columns) == 0 && i == 1 && stateColumns[row[0]]) {
				text = colour(text)
			}
			cells[i] = text
		}
		w.AppendRow(cells)
	}
	return w.Render()
}

// stateColours are those of the words for states: green is well, red is not, yellow is held back, cyan is under way.
var stateColours = map[string]string{
	"active": "32", "completed": "32", "started": "32", "ok": "32", "created": "32", "create": "32", "running": "36", "pending": "36", "buffered": "36", "updated": "36", "update": "36",
	"paused": "33", "retrying": "33", "skipped": "33", "cancelled": "33", "warning": "33", "overridden": "33", "dropped": "33",
	"failed": "31", "missed": "31", "error": "31", "deleted": "31", "delete": "31", "orphaned": "31",
	"finished": "90", "unchanged": "90",
}

// colour colours a word that says how things stand; any other text stays as it is.
func colour(word string) string {
	if code, ok := stateColours[word]; ok {
		return "\x1b[" + code + "m" + word + "\x1b[0m"
	}
	return word
}

// colours reports whether what is printed may be coloured: a person watches a terminal that can do it, and has not said NO_COLOR.
func (p *program) colours() bool {
	if p.global.Output != "table" || !isTerminal(p.stdout) {
		return false
	}
	set := func(name string) string {
		if p.env == nil {
			return ""
		}
		v, _ := p.env(name)
		return v
	}
	return set("NO_COLOR") == "" && set("TERM") != "dumb" && (runtime.GOOS != "windows" || set("WT_SESSION") != "")
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
