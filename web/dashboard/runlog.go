package dashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// logPage is how many lines of a run's log a page shows.
const logPage = 200

// runLog is a part of a run's log, oldest first. The store keeps a run's newest 1,000 lines.
type runLog struct {
	Lines       []logLine
	First, Last int // numbers of the lines shown, from 1
	Total       int
	Older       int // value of the query field that shows the page before; 0: there is none
	Newer       int // of the page after; 0: that is the newest, or this is it
	Newest      bool
}

// logLine is one line of it.
type logLine struct {
	At      time.Time
	Since   string // since the run was created: "+1.2s"
	Level   string // debug, info, warn or error
	Kind    string // empty for what the run's own code logged
	Message string
	Attrs   []logAttr
}

// logAttr is a value logged with a line.
type logAttr struct{ Key, Value string }

// newRunLog shows the page of the log that ends with line number last; 0: with the newest.
func newRunLog(r client.Run, events []client.Event, last int) runLog {
	n := len(events)
	l := runLog{Total: n, Last: n}
	if last > 0 && last < n {
		l.Last = max(last, min(n, logPage))
	}
	from := max(0, l.Last-logPage)
	l.Newest = l.Last == n
	l.Older = from
	if !l.Newest {
		l.Newer = min(n, l.Last+logPage)
	}
	if n > 0 {
		l.First = from + 1
	}
	for _, e := range events[from:l.Last] {
		l.Lines = append(l.Lines, newLogLine(r, e))
	}
	return l
}

func newLogLine(r client.Run, e client.Event) logLine {
	line := logLine{At: e.At.Time, Since: "+" + lasted(max(0, e.At.Sub(r.CreatedAt.Time))), Kind: e.Kind, Message: e.Message, Level: "info"}
	switch level := strings.ToLower(string(e.Level)); {
	case level == "":
	case strings.HasPrefix(level, "debug"), strings.HasPrefix(level, "warn"), strings.HasPrefix(level, "error"):
		line.Level = strings.TrimRight(level, "+-0123456789") // slog writes levels between the named ones as warn+2
	}
	if e.Kind == "log" {
		line.Kind = ""
	}
	for _, key := range slices.Sorted(maps.Keys(e.Attrs)) {
		line.Attrs = append(line.Attrs, logAttr{key, attrText(e.Attrs[key])})
	}
	return line
}

// attrText writes a value as a log does: a text without quotes where it needs none, all else as JSON.
func attrText(v any) string {
	if s, ok := v.(string); ok {
		if s != "" && !strings.ContainsAny(s, " \t\r\n\"=") {
			return s
		}
		return strconv.Quote(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
