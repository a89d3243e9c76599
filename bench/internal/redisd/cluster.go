package redisd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// slots is the number of hash slots of every Redis Cluster.
const slots = 16384

// StartCluster starts a Redis Cluster of so many primaries without replicas, and waits until every node calls it whole. Each has an even part of the slots, the first
// node the lowest, and a folder of its own in dir.
func StartCluster(ctx context.Context, dir string, nodes int) (all []*Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			for _, s := range all {
				s.Close()
			}
			all, err = nil, fmt.Errorf("start a cluster of %d nodes: %w", nodes, err)
		}
	}()
	for i := range nodes {
		own := filepath.Join(dir, "redis-"+strconv.Itoa(i+1))
		if err := os.Mkdir(own, 0o755); err != nil {
			return all, err
		}
		s, err := Start(ctx, own, "--cluster-enabled", "yes")
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	for i, s := range all {
		// Epochs that differ from the start spare the nodes a quarrel about them.
		if err := s.client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return all, fmt.Errorf("set epoch of %s: %w", s.addr, err)
		}
		if err := s.client.ClusterAddSlotsRange(ctx, slots*i/nodes, slots*(i+1)/nodes-1).Err(); err != nil {
			return all, fmt.Errorf("give slots to %s: %w", s.addr, err)
		}
	}
	for _, s := range all[1:] {
		host, port, _ := strings.Cut(s.addr, ":")
		if err := all[0].client.ClusterMeet(ctx, host, port).Err(); err != nil {
			return all, fmt.Errorf("introduce %s: %w", s.addr, err)
		}
	}
	for _, s := range all {
		if err := s.Await(ctx, "a whole cluster", func() (bool, error) { return s.seesWhole(ctx, nodes) }); err != nil {
			return all, err
		}
	}
	return all, nil
}

// seesWhole reports whether the node knows all others and the owner of every slot.
func (s *Server) seesWhole(ctx context.Context, nodes int) (bool, error) {
	info, err := s.client.ClusterInfo(ctx).Result()
	if err != nil {
		return false, err
	}
	for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:" + strconv.Itoa(slots), "cluster_known_nodes:" + strconv.Itoa(nodes)} {
		if !strings.Contains(info, want+"\r\n") {
			return false, nil
		}
	}
	return true, nil
}

// URL is what pyworkflow calls a server, or the nodes of a cluster.
func URL(servers []*Server) string {
	if len(servers) == 1 {
		return "redis://" + servers[0].addr + "/0"
	}
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.addr
	}
	return "redis-cluster://" + strings.Join(addrs, ",")
}
