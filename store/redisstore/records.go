package redisstore

import (
	"sync"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// recordsMost is how many decoded records are kept, each about a kilobyte; recordSize, in bytes, is how long a text is kept at most: inputs may be large.
const (
	recordsMost = 16_384
	recordSize  = 8 << 10
)

// records keeps what people set of schedules as it was decoded: it is read with every decision and hardly ever changes. A record is known by its text, so what is
// kept is never outdated. Nobody writes into a record that was read.
type records struct {
	mu    sync.Mutex
	known map[string]schedules.Record
}

func (c *records) decode(text string, format int) (schedules.Record, error) {
	c.mu.Lock()
	r, ok := c.known[text]
	c.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := decodeRecord(text, format)
	if err != nil || len(text) > recordSize {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]schedules.Record)
	}
	if len(c.known) >= recordsMost {
		n := 0
		for other := range c.known { // any of them
			delete(c.known, other)
			if n++; n == recordsMost/4 {
				break
			}
		}
	}
	c.known[text] = r
	return r, nil
}
