package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Client asks a process that serves a probe.
type Client struct{ base string }

// Open reads the address that Serve wrote; os.ErrNotExist until it has.
func Open(file string) (*Client, error) {
	addr, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("open probe: %w", err)
	}
	return &Client{base: "http://" + string(addr)}, nil
}

// CountBefore is how many starts with a nominal time before ms the process has seen.
func (c *Client) CountBefore(ctx context.Context, ms int64) (int, error) {
	var n int
	err := c.get(ctx, "/before?ms="+strconv.FormatInt(ms, 10), func(r io.Reader) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
	return n, err
}

// Memory is what the process has allocated.
func (c *Client) Memory(ctx context.Context) (Memory, error) {
	var m Memory
	err := c.get(ctx, "/memory", func(r io.Reader) error { return json.NewDecoder(r).Decode(&m) })
	return m, err
}

// Profile records where the process spends its time for d, and writes that to a file.
func (c *Client) Profile(ctx context.Context, d time.Duration, path string) error {
	return c.get(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(max(1, int(d.Seconds()))), func(r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
}

func (c *Client) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return fmt.Errorf("ask probe %s: %w", path, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask probe %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask probe %s: %s", path, resp.Status)
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("ask probe %s: %w", path, err)
	}
	return nil
}
