package redisd

import "testing"

func TestParseInfo(t *testing.T) {
	const text = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1000\r\n# Stats\r\ntotal_commands_processed:50\r\ntotal_reads_processed:7\r\ntotal_net_input_bytes:300\r\ntotal_net_output_bytes:200\r\n# Commandstats\r\ncmdstat_evalsha:calls=12,usec=99,usec_per_call=8.25\r\n"
	got, err := parseInfo(text)
	if want := (Info{Commands: 50, Reads: 7, Evalsha: 12, In: 300, Out: 200, Memory: 1000, Version: "7.0.15"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := parseInfo("used_memory:1\r\n"); err == nil {
		t.Error("an answer without counters is taken")
	}
}

func TestBuffersOf(t *testing.T) {
	got, err := buffersOf("id=1 addr=a:1 tot-mem=100 events=r cmd=info\nid=2 addr=b:2 tot-mem=23 events=r cmd=ping\n")
	if err != nil || got != 123 {
		t.Errorf("%d, %v; want 123", got, err)
	}
	if _, err := buffersOf("tot-mem=x"); err == nil {
		t.Error("a number that is none is taken")
	}
}

func TestServer(t *testing.T) {
	s, err := Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Info(t.Context())
	if err != nil || before.Memory <= 0 || before.Version == "" {
		t.Fatalf("%+v, %v", before, err)
	}
	after, err := s.Info(t.Context())
	if err != nil || after.Commands <= before.Commands || after.Reads <= before.Reads {
		t.Errorf("after %+v, %v; before %+v", after, err, before)
	}
	s.Close()
	select {
	case <-s.Done():
	default:
		t.Error("the server outlives Close")
	}
}
