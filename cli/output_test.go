package cli

import (
	"strings"
	"testing"
)

func TestTablesAlignByWhatIsSeen(t *testing.T) {
	t.Parallel()
	tab := table{columns: []string{"id", "status", "attempt", "note"}}
	tab.add("日本", "completed", "7", "")
	tab.add("a-long-one", "failed", "12", "two\nlines\tand \x1b[31mred\u202e")
	tab.add("e\u0301", "odd", "3", "x")
	want := strings.Join([]string{
		"ID          STATUS     ATTEMPT  NOTE",
		"日本        completed        7  -",
		"a-long-one  failed          12  two lines and \ufffd[31mred\ufffd",
		"e\u0301           odd              3  x",
	}, "\n")
	if got := tab.render(false); got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	coloured := tab.render(true)
	for _, word := range []string{"\x1b[32mcompleted\x1b[0m  ", "\x1b[31mfailed\x1b[0m     ", " odd "} {
		if !strings.Contains(coloured, word) {
			t.Errorf("%q is not in\n%q", word, coloured)
		}
	}
	if plainly := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(coloured); plainly != want {
		t.Errorf("colours move what is seen:\n%s", plainly)
	}
	long := table{columns: []string{"id"}}
	long.add(strings.Repeat("x", 5000))
	if got := long.render(false); !strings.Contains(got, strings.Repeat("x", 5000)) {
		t.Error("a long cell was cut")
	}
}

func TestVisibleLinesKeepTheirShape(t *testing.T) {
	t.Parallel()
	if got, want := visibleLines("panic: \x1b[2J\n\tmain.go:1\r\n\n"), "panic: \ufffd[2J\n\tmain.go:1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
