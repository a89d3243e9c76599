package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/guard"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/load"
)

// What the guard's load is measured over, whatever the flags say: its figures are compared with those of other days.
const (
	guardWarmUp  = 10 * time.Second
	guardMeasure = 20 * time.Second
)

// guardAll measures the guard's load and holds it against the limits.
func (b *bench) guardAll(ctx context.Context) error {
	b.warmUp, b.measured = guardWarmUp, guardMeasure
	began := time.Now()
	if err := b.one(ctx, b.loads[0], load.Ours, 1); err != nil {
		return err
	}
	r := b.results[0]
	if r.Lost > 0 || r.Doubled > 0 || r.Stray > 0 {
		return fmt.Errorf("guard: %d of %d ticks lost, %d doubled, %d astray: what is measured means nothing", r.Lost, r.Expected, r.Doubled, r.Stray)
	}
	figures := guard.Of(r)
	if b.update {
		if err := guard.Write(b.guardFile, figures); err != nil {
			return err
		}
		fmt.Fprintf(b.stdout, "wrote %s\n", b.guardFile)
	}
	limits, err := guard.Read(b.guardFile)
	if err != nil {
		return err
	}
	lines, grown := guard.Compare(limits, figures)
	for _, l := range lines {
		fmt.Fprintln(b.stdout, l)
	}
	b.progress.say("took %s", time.Since(began).Round(time.Second))
	if grown > 0 {
		return fmt.Errorf("guard: %d figure(s) have grown beyond %s; if that is meant, write new limits with -update", grown, b.guardFile)
	}
	return nil
}
