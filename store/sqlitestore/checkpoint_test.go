package sqlitestore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The log is copied into the file beside the writer, and begun anew: it does not grow for ever.
func TestLogIsCopied(t *testing.T) {
	s := openFile(t, Config{})
	ctx := t.Context()
	big := strings.Repeat("x", 100_000)
	for i := range 200 { // some 5,000 pages
		run := schedules.NewRun(schedules.FreeRunID(fmt.Sprint(i)), "w", "", []byte(`"`+big+`"`), nil, s.Estimate())
		if _, _, err := s.CreateRun(ctx, run); err != nil {
			t.Fatal(err)
		}
	}
	s.beside.Wait()
	if err := s.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateRun(ctx, schedules.NewRun(schedules.FreeRunID("last"), "w", "", nil, nil, s.Estimate())); err != nil {
		t.Fatal(err)
	}
	var busy, pages, copied int64
	if _, err := s.writer.one([]any{&busy, &pages, &copied}, `PRAGMA wal_checkpoint(PASSIVE)`); err != nil {
		t.Fatal(err)
	}
	if pages > checkpointPages {
		t.Errorf("the log has %d pages", pages)
	}
}
