package role

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxyRole is a network: it passes bytes on to Redis and back, each way so many milliseconds later. What follows close behind is not held up by what is on its way.
func proxyRole(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(Proxy, flag.ContinueOnError)
	to := fs.String("to", "", "host:port of Redis")
	latency := fs.Int64("latency", 1, "ms each way")
	if err := fs.Parse(args); err != nil {
		return err
	}
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	link := toxiproxy.NewProxy(api, "redis", "127.0.0.1:0", *to)
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":"latency","stream":%q,"attributes":{"latency":%d}}`, direction, *latency)
		if _, err := link.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("add latency %s: %w", direction, err)
		}
	}
	if err := link.Start(); err != nil {
		return fmt.Errorf("open the network: %w", err)
	}
	defer link.Stop()
	file := os.Getenv(EnvProbe)
	if err := os.WriteFile(file+".new", []byte(link.Listen), 0o600); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	<-ctx.Done()
	return nil
}
