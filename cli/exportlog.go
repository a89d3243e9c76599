package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// exportLog says once in a while that spans are not taken.
type exportLog struct {
	log *slog.Logger

	mu   sync.Mutex
	told time.Time
}

// Handle logs what OpenTelemetry complains of.
func (l *exportLog) Handle(err error) {
	level := slog.LevelDebug
	l.mu.Lock()
	if l.told.IsZero() || time.Since(l.told) >= exportWarn {
		l.told, level = time.Now(), slog.LevelWarn
	}
	l.mu.Unlock()
	l.log.Log(context.Background(), level, "spans are not taken; they are lost, runs go on", "error", err)
}
