package redistest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots          = 16384
	clusterTimeout = 30 * time.Second
)

// Cluster is a running Redis Cluster of masters without replicas.
type Cluster struct {
	// Nodes are its servers, each with its part of the slots.
	Nodes []*Server
}

// StartCluster starts a Redis Cluster of so many nodes that lives until the test ends, and waits until every node calls it whole. The options hold
// for every node. A node keeps its identity and its slots over Kill and Restart, its keys only with AppendOnly.
func StartCluster(tb testing.TB, nodes int, opts ...Option) *Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	c := &Cluster{}
	for range nodes {
		c.Nodes = append(c.Nodes, Start(tb, append([]Option{Args("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")}, opts...)...))
	}
	clients := make([]*redis.Client, nodes)
	for i, n := range c.Nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: n.Addr()})
		defer func() { _ = clients[i].Close() }()
	}
	for i, cl := range clients {
		first, end := slots*i/nodes, slots*(i+1)/nodes
		// Epochs that differ from the start spare the nodes a quarrel about them.
		if err := cl.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			tb.Fatalf("set epoch of cluster node %s: %v", c.Nodes[i].Addr(), err)
		}
		if err := cl.ClusterAddSlotsRange(ctx, first, end-1).Err(); err != nil {
			tb.Fatalf("give slots %d-%d to cluster node %s: %v", first, end-1, c.Nodes[i].Addr(), err)
		}
	}
	for _, n := range c.Nodes[1:] {
		host, port, _ := strings.Cut(n.Addr(), ":")
		if err := clients[0].ClusterMeet(ctx, host, port).Err(); err != nil {
			tb.Fatalf("introduce cluster node %s: %v", n.Addr(), err)
		}
	}
	c.AwaitWhole(tb)
	return c
}

// AwaitWhole waits until every node runs and calls the cluster whole, as after the restart of one, 30 s at most.
func (c *Cluster) AwaitWhole(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	for _, n := range c.Nodes {
		cl := redis.NewClient(&redis.Options{Addr: n.Addr()})
		err := awaitWhole(ctx, cl, len(c.Nodes))
		_ = cl.Close()
		if err != nil {
			tb.Fatalf("cluster node %s: %v", n.Addr(), err)
		}
	}
}

// Addrs returns host:port of every node.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Client returns a client of the cluster, closed when tb ends.
func (c *Cluster) Client(tb testing.TB) *redis.ClusterClient {
	cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	tb.Cleanup(func() { _ = cl.Close() })
	return cl
}

// awaitWhole waits until the node knows all others and the owner of every slot.
func awaitWhole(ctx context.Context, cl *redis.Client, nodes int) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	want := []string{"cluster_state:ok\r\n", fmt.Sprintf("cluster_slots_ok:%d\r\n", slots), fmt.Sprintf("cluster_known_nodes:%d\r\n", nodes)}
	for {
		info, err := cl.ClusterInfo(ctx).Result()
		if err == nil && containsAll(info, want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not whole within %s: %w; it says:\n%s", clusterTimeout, cmp.Or(err, ctx.Err()), info)
		case <-tick.C:
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
