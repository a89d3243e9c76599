package redisd

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestCluster(t *testing.T) {
	servers, err := StartCluster(t.Context(), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := URL(servers), "redis-cluster://"+servers[0].Addr()+","+servers[1].Addr()+","+servers[2].Addr(); got != want {
		t.Errorf("URL %s, want %s", got, want)
	}
	if got, want := URL(servers[:1]), "redis://"+servers[0].Addr()+"/0"; got != want {
		t.Errorf("URL of one %s, want %s", got, want)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr()}})
	defer func() { _ = c.Close() }()
	for node, key := range []string{"b", "c", "a"} { // slots 3300, 7365 and 15495
		before, err := servers[node].Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), key, make([]byte, 1000), 0).Err(); err != nil {
			t.Fatal(err)
		}
		if after, err := servers[node].Info(t.Context()); err != nil || after.In < before.In+1000 {
			t.Errorf("key %s: node %d has received %d bytes, %v", key, node, after.In-before.In, err)
		}
	}
	for _, s := range servers {
		s.Close()
	}
}
