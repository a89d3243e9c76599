package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// clockReading is how far a server's clock is ahead of the host's, give or take half a round trip. The zero value is none.
type clockReading struct {
	server string // its address; empty when there is one only
	ahead  time.Duration
	within time.Duration
	read   bool
}

// readClock reads a server's clock a few times and keeps the closest reading.
func readClock(ctx context.Context, c *redis.Client, name string) (clockReading, error) {
	best := clockReading{server: name}
	for range 5 {
		sent := time.Now()
		t, err := c.Time(ctx).Result()
		if err != nil {
			return clockReading{server: name}, err
		}
		half := time.Since(sent) / 2
		if !best.read || half < best.within {
			best.ahead, best.within, best.read = t.Sub(sent.Add(half)), half, true
		}
	}
	return best, nil
}

// clockFindings compares the servers' clocks with the host's, and with each other's.
func clockFindings(readings []clockReading) []store.Finding {
	var low, high *clockReading
	for i := range readings {
		r := &readings[i]
		if !r.read {
			continue
		}
		if low == nil || r.ahead < low.ahead {
			low = r
		}
		if high == nil || r.ahead > high.ahead {
			high = r
		}
	}
	if low == nil {
		return []store.Finding{{Check: "clock", Status: store.FindingSkipped, Message: "the server's clock could not be read", Remedy: "allow the command TIME"}}
	}
	furthest := high
	if low.ahead.Abs() > high.ahead.Abs() {
		furthest = low
	}
	var list []store.Finding
	if furthest.ahead.Abs()-furthest.within > hostClockBound {
		where, side := "the server's", "ahead of"
		if furthest.server != "" {
			where = furthest.server + "'s"
		}
		if furthest.ahead < 0 {
			side = "behind"
		}
		list = append(list, store.Finding{Check: "clock", Status: store.FindingWarning,
			Message: fmt.Sprintf("%s clock is %s %s this host's: schedules go by the server's", where, short(furthest.ahead.Abs()), side),
			Remedy:  "synchronize both by NTP (chronyd, systemd-timesyncd)"})
	}
	if apart := high.ahead - low.ahead; apart-high.within-low.within > store.MaxClockLead {
		status := store.FindingWarning
		if apart > clockErrorBound {
			status = store.FindingError
		}
		list = append(list, store.Finding{Check: "clock", Status: status,
			Message: fmt.Sprintf("the clocks of %s and %s are %s apart (%s is good): changes may be refused, leases run out early or late", low.server, high.server, short(apart), store.MaxClockLead),
			Remedy:  "synchronize the cluster's hosts by NTP (chronyd, systemd-timesyncd)"})
	}
	if len(list) == 0 {
		list = append(list, ok("clock", "this host and the server differ by %s (give or take %s)", short(furthest.ahead.Abs()), short(furthest.within)))
	}
	return list
}
