package tracing

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// logHandler adds trace_id, and span_id where there is a span. It is added once, outside of any group.
type logHandler struct {
	next    slog.Handler
	has     bool // trace_id was added with the logger's own attributes
	grouped bool
}

// Enabled asks the next handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle adds to the line.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.grouped {
		return h.next.Handle(ctx, r)
	}
	sc := trace.SpanContextFromContext(ctx)
	switch {
	case h.has:
	case sc.HasTraceID():
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	default:
		r.Attrs(func(a slog.Attr) bool {
			id, ok := traceOf(a)
			if ok {
				r = r.Clone()
				r.AddAttrs(slog.String("trace_id", id))
			}
			return !ok
		})
	}
	if sc.HasSpanID() && !sc.IsRemote() {
		r = r.Clone()
		r.AddAttrs(slog.String("span_id", sc.SpanID().String()))
	}
	return h.next.Handle(ctx, r)
}

// traceOf is the id of the trace that an attribute means.
func traceOf(a slog.Attr) (string, bool) {
	if a.Key != "run_id" || a.Value.Kind() != slog.KindString || a.Value.String() == "" {
		return "", false
	}
	return TraceID(a.Value.String()).String(), true
}

// WithAttrs adds the trace of the run they name.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	if !c.has && !c.grouped {
		for _, a := range attrs {
			if id, ok := traceOf(a); ok {
				attrs = append(attrs[:len(attrs):len(attrs)], slog.String("trace_id", id))
				c.has = true
				break
			}
		}
	}
	c.next = h.next.WithAttrs(attrs)
	return &c
}

// WithGroup passes on.
func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.grouped = c.grouped || name != ""
	c.next = h.next.WithGroup(name)
	return &c
}
