package pyworkflow

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// runLog writes log lines to the process's log and to the run's events.
type runLog struct {
	next   slog.Handler
	emit   func(schedules.Event)
	prefix string // of the open groups, each followed by a dot
	attrs  []slog.Attr
}

func newRunLogger(e Execution) *slog.Logger {
	base := e.Log
	if base == nil {
		base = slog.New(slog.DiscardHandler)
	}
	base = base.With("run_id", e.Run.ID, "workflow", e.Run.Workflow, "attempt", e.Run.Attempt)
	if e.Run.ScheduleID != "" {
		base = base.With("schedule_id", e.Run.ScheduleID)
	}
	if e.Emit == nil {
		return base
	}
	return slog.New(&runLog{next: base.Handler(), emit: e.Emit})
}

func (l *runLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || l.next.Enabled(ctx, level)
}

func (l *runLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		at := r.Time
		if at.IsZero() {
			at = time.Now()
		}
		attrs := make(map[string]any)
		for _, a := range l.attrs {
			addAttr(attrs, "", a)
		}
		r.Attrs(func(a slog.Attr) bool {
			addAttr(attrs, l.prefix, a)
			return true
		})
		if len(attrs) == 0 {
			attrs = nil
		}
		l.emit(schedules.Event{At: at.UTC(), Kind: "log", Level: strings.ToLower(r.Level.String()), Message: r.Message, Attrs: attrs})
	}
	if l.next.Enabled(ctx, r.Level) {
		return l.next.Handle(ctx, r)
	}
	return nil
}

func (l *runLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.next = l.next.WithAttrs(attrs)
	c.attrs = slices.Clone(l.attrs)
	for _, a := range attrs {
		a.Key = l.prefix + a.Key
		c.attrs = append(c.attrs, a)
	}
	return &c
}

func (l *runLog) WithGroup(name string) slog.Handler {
	c := *l
	c.next = l.next.WithGroup(name)
	if name != "" {
		c.prefix += name + "."
	}
	return &c
}

// addAttr puts an attribute into an event in a form that JSON can carry; groups become dotted names.
func addAttr(attrs map[string]any, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			addAttr(attrs, prefix, inner)
		}
		return
	}
	if a.Key == "" {
		return
	}
	attrs[prefix+a.Key] = plainValue(v)
}

func plainValue(v slog.Value) any {
	switch v.Kind() {
	case slog.KindBool:
		return v.Bool()
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		return v.Uint64()
	case slog.KindTime:
		return v.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.String()
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return err.Error()
		}
		if raw, err := json.Marshal(v.Any()); err == nil {
			return json.RawMessage(raw)
		}
		return fmt.Sprint(v.Any())
	default: // strings, durations
		return v.String()
	}
}
