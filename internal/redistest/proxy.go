package redistest

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Proxy is a breakable network in front of a Server: it passes bytes on until a method breaks something. Each such method mends first what the
// one before broke, and holds for open connections as for new ones until the next one or Mend. The server may be killed and restarted behind
// it. A connection that the proxy ends is reset. Its methods may be called from several goroutines; Mend after Cut can fail the test.
type Proxy struct {
	tb   testing.TB
	addr string // toxiproxy writes its own whenever it opens the port
	link *toxiproxy.Proxy

	mu    sync.Mutex
	fault *fault        // what is wrong now
	stop  chan struct{} // closed when all connections of now must go; nil while they are cut
}

// fault is one thing wrong with the network, or nothing: the zero one. Over is closed when it ends.
type fault struct {
	over            chan struct{}
	latency, jitter time.Duration
	swallow         [stream.NumDirections]bool
	limit           int // bytes of replies until a connection is reset; 0: none
}

// ProxyTo starts a proxy to the server on a free loopback port. It lives until tb ends.
func ProxyTo(tb testing.TB, server *Server) *Proxy {
	tb.Helper()
	registerWeather()
	// The API server is what toxiproxy's proxies ask for a logger and for metrics; it listens to nothing, and counts and logs nothing.
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	var err error
	for range portTries {
		// The port is kept while Cut has closed it, so it is drawn where outgoing connections take none.
		listen := "127.0.0.1:" + strconv.Itoa(firstPort+rand.IntN(endPort-firstPort))
		p := &Proxy{tb: tb, addr: listen, link: toxiproxy.NewProxy(api, "redis", listen, server.Addr()),
			fault: &fault{over: make(chan struct{})}, stop: make(chan struct{})}
		if err = p.equip(); err != nil {
			break
		}
		if err = p.link.Start(); err == nil {
			tb.Cleanup(p.Cut)
			return p
		}
	}
	tb.Fatalf("start a proxy to redis-server on %s: %v", server.Addr(), err)
	return nil
}

// equip gives each direction its toxics, which stay for good: toxiproxy leaves goroutines behind where they come and go under traffic.
func (p *Proxy) equip() error {
	for _, direction := range []stream.Direction{stream.Upstream, stream.Downstream} {
		name := direction.String()
		// At toxicity 0 it touches no data, but has toxiproxy end connections by a reset.
		if _, err := p.link.Toxics.AddToxicJson(strings.NewReader(`{"type":"reset_peer","stream":"` + name + `","toxicity":0}`)); err != nil {
			return err
		}
		w, err := p.link.Toxics.AddToxicJson(strings.NewReader(`{"type":"` + weatherType + `","stream":"` + name + `"}`))
		if err != nil {
			return err
		}
		own := w.Toxic.(*weather)
		own.proxy, own.direction = p, direction
	}
	return nil
}

// Addr returns the proxy's host:port.
func (p *Proxy) Addr() string { return p.addr }

// URL returns redis://host:port/0 of the proxy.
func (p *Proxy) URL() string { return "redis://" + p.Addr() + "/0" }

// Client returns a client of database 0 through the proxy, closed when tb ends.
func (p *Proxy) Client(tb testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: p.Addr()})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Cut ends every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(fault{})
	if p.stop == nil {
		return
	}
	p.link.Stop()
	close(p.stop)
	p.stop = nil
}

// Delay holds back what passes, either way, for latency give or take jitter, so that a request may reach the server after its sender has
// given it up.
func (p *Proxy) Delay(latency, jitter time.Duration) {
	p.tb.Helper()
	p.turn(fault{latency: latency, jitter: jitter})
}

// HalfOpen swallows everything: connections stay open and new ones are accepted, but nothing arrives on either side. Mend ends those
// connections that lost something.
func (p *Proxy) HalfOpen() {
	p.tb.Helper()
	p.turn(fault{swallow: [...]bool{stream.Upstream: true, stream.Downstream: true}})
}

// LoseReplies passes requests on and swallows the replies: the server does what it is asked, and nobody hears of it. Mend ends those
// connections that lost something.
func (p *Proxy) LoseReplies() {
	p.tb.Helper()
	p.turn(fault{swallow: [...]bool{stream.Downstream: true}})
}

// ResetMidReply resets every connection after so many more bytes of replies, 1 or more, wherever in a reply that falls. A client needs some
// hundred bytes to connect at all.
func (p *Proxy) ResetMidReply(bytes int) {
	p.tb.Helper()
	p.turn(fault{limit: max(1, bytes)})
}

// Mend undoes what is broken. It does nothing to a whole network.
func (p *Proxy) Mend() {
	p.tb.Helper()
	p.turn(fault{})
}

// turn sets what is wrong from now on, with the proxy open.
func (p *Proxy) turn(f fault) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(f)
	if p.stop != nil {
		return
	}
	p.stop = make(chan struct{})
	if err := p.link.Start(); err != nil {
		p.tb.Fatalf("mend the network: open %s again: %v", p.Addr(), err)
	}
}

func (p *Proxy) become(f fault) {
	f.over = make(chan struct{})
	close(p.fault.over)
	p.fault = &f
}

func (p *Proxy) now() (*fault, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.stop
}
