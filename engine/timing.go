package engine

import (
	"fmt"
	"sync"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// timings keeps compiled specs by incarnation, so that a spec is compiled once.
type timings struct {
	mu    sync.Mutex
	known map[schedules.Ref]compiled
}

type compiled struct {
	spec   schedules.Spec
	timing *schedules.Timing
}

// maxTimings bounds the cache; when it is full it is begun anew.
const maxTimings = 200_000

func (c *timings) of(s *schedules.Schedule) (*schedules.Timing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, ok := c.known[s.Ref()]; ok && got.spec.Equal(s.Spec) {
		return got.timing, nil
	}
	t, err := schedules.Compile(s.Spec)
	if err != nil {
		return nil, fmt.Errorf("compile schedule %s: %w", s.ID, err)
	}
	if c.known == nil || len(c.known) >= maxTimings {
		c.known = make(map[schedules.Ref]compiled)
	}
	c.known[s.Ref()] = compiled{s.Spec, t}
	return t, nil
}
