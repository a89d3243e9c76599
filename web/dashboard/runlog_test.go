package dashboard

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/client"
)

func TestRunLogPages(t *testing.T) {
	var events []client.Event
	for i := range 450 {
		events = append(events, client.Event{At: at(float64(i)), Kind: "log", Message: fmt.Sprint(i + 1)})
	}
	for _, c := range []struct {
		lines, last             int
		first, to, older, newer int
		newest                  bool
	}{
		{lines: 0, newest: true},
		{lines: 3, first: 1, to: 3, newest: true},
		{lines: 450, first: 251, to: 450, older: 250, newest: true},
		{lines: 450, last: 250, first: 51, to: 250, older: 50, newer: 450},
		{lines: 450, last: 50, first: 1, to: 200, newer: 400},
		{lines: 450, last: 9999, first: 251, to: 450, older: 250, newest: true},
		{lines: 450, last: -3, first: 251, to: 450, older: 250, newest: true},
		{lines: 150, last: 50, first: 1, to: 150, newest: true},
	} {
		l := newRunLog(client.Run{CreatedAt: at(0)}, events[:c.lines], c.last)
		if l.First != c.first || l.Last != c.to || l.Older != c.older || l.Newer != c.newer || l.Newest != c.newest || l.Total != c.lines {
			t.Errorf("%d lines up to %d: %d to %d of %d, older %d, newer %d, newest %v; want %+v", c.lines, c.last, l.First, l.Last, l.Total, l.Older, l.Newer, l.Newest, c)
		}
		if n := len(l.Lines); n > 0 && (l.Lines[0].Message != fmt.Sprint(c.first) || l.Lines[n-1].Message != fmt.Sprint(c.to)) {
			t.Errorf("%d lines up to %d: shows %s to %s", c.lines, c.last, l.Lines[0].Message, l.Lines[n-1].Message)
		}
	}
}

func TestLogLine(t *testing.T) {
	line := newLogLine(client.Run{CreatedAt: at(0)}, client.Event{At: at(1.25), Kind: "log", Level: "WARN+2", Message: "slow", Attrs: map[string]any{
		"url": "https://example.org/a?b", "q": "two words", "empty": "", "n": 3.0, "list": json.RawMessage(`[1,2]`), "nil": nil, "ok": true,
	}})
	want := `{2026-11-22 12:00:01.25 +0000 UTC +1.2s warn  slow [{empty ""} {list [1,2]} {n 3} {nil null} {ok true} {q "two words"} {url https://example.org/a?b}]}`
	if got := fmt.Sprint(line); got != want {
		t.Errorf("line is\n%s, want\n%s", got, want)
	}
	for level, want := range map[client.Text]string{"": "info", "info": "info", "INFO": "info", "error+4": "error", "debug-4": "debug", "nonsense": "info"} {
		if got := newLogLine(client.Run{}, client.Event{Kind: "ended", Level: level}); got.Level != want || got.Kind != "ended" {
			t.Errorf("level %q becomes %q of kind %q, want %q", level, got.Level, got.Kind, want)
		}
	}
}
