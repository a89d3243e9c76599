package redisd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Info is what a server has counted since it began, and its memory.
type Info struct {
	Commands int64 // all, those that scripts call included
	Reads    int64 // reads from sockets: a round trip, or the part of one that a read brought
	Evalsha  int64 // scripts called, from outside only
	In, Out  int64 // bytes received from clients and sent to them; what nodes of a cluster tell each other is not among them
	Memory   int64 // bytes used, without the buffers of clients
	Version  string
}

// Info asks the server.
func (s *Server) Info(ctx context.Context) (Info, error) {
	pipe := s.client.Pipeline()
	text, clients := pipe.Info(ctx, "server", "stats", "memory", "commandstats"), pipe.ClientList(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return Info{}, fmt.Errorf("ask redis-server for INFO: %w", err)
	}
	i, err := parseInfo(text.Val())
	if err != nil {
		return Info{}, err
	}
	buffers, err := buffersOf(clients.Val())
	i.Memory -= buffers
	return i, err
}

// buffersOf sums up what clients take of the server's memory. (INFO knows that too, but from some time ago.)
func buffersOf(clients string) (int64, error) {
	var sum int64
	for field := range strings.FieldsSeq(clients) {
		if v, ok := strings.CutPrefix(field, "tot-mem="); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read CLIENT LIST: %w", err)
			}
			sum += n
		}
	}
	return sum, nil
}

func parseInfo(text string) (Info, error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	var failed error
	number := func(name string) int64 {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil && failed == nil {
			failed = fmt.Errorf("read INFO: %s: %w", name, err)
		}
		return n
	}
	i := Info{Commands: number("total_commands_processed"), Reads: number("total_reads_processed"), Memory: number("used_memory"),
		In: number("total_net_input_bytes"), Out: number("total_net_output_bytes"), Version: fields["redis_version"]}
	// cmdstat_evalsha:calls=12,usec=…; absent until it is called
	calls, _, _ := strings.Cut(strings.TrimPrefix(fields["cmdstat_evalsha"], "calls="), ",")
	i.Evalsha, _ = strconv.ParseInt(calls, 10, 64)
	return i, failed
}
