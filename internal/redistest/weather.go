package redistest

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

const weatherType = "weather"

// registerWeather makes toxiproxy know the toxic.
var registerWeather = sync.OnceFunc(func() { toxics.Register(weatherType, new(weather)) })

// weather is the toxic that does to one direction of every connection whatever its proxy says just then.
type weather struct {
	proxy     *Proxy
	direction stream.Direction
}

// Pipe passes on what comes in until the connection or the proxy ends.
func (w *weather) Pipe(stub *toxics.ToxicStub) {
	// Whoever still writes must not wait for ever.
	defer func() {
		stub.Close()
		for range stub.Input {
		}
	}()
	now, stop := w.proxy.now()
	left, lost := now.limit, false
	for {
		select {
		case <-stop:
			return
		case <-now.over:
			if lost {
				return
			}
			now, _ = w.proxy.now()
			left = now.limit
		case c := <-stub.Input:
			if c == nil {
				return
			}
			if now.swallow[w.direction] {
				lost = true
				continue
			}
			wait(now, stop)
			limited := left > 0 && w.direction == stream.Downstream
			last := limited && len(c.Data) >= left
			if last {
				c.Data = c.Data[:left]
			} else if limited {
				left -= len(c.Data)
			}
			select {
			case stub.Output <- c:
			case <-stop:
				return
			}
			if last {
				return
			}
		}
	}
}

// wait holds a chunk back for as long as the fault says and lasts.
func wait(now *fault, stop <-chan struct{}) {
	delay := now.latency
	if now.jitter > 0 {
		delay += rand.N(2*now.jitter) - now.jitter
	}
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-now.over:
	case <-stop:
	}
}
