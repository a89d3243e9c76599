package redistest_test

import (
	"testing"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestClusterNodeBack(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, redistest.AppendOnly())
	c := cluster.Client(t)
	keys := []string{"{a}", "{b}", "{c}", "{d}", "{e}", "{f}"}
	for _, k := range keys {
		if err := c.Set(t.Context(), k, k, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	node := cluster.Nodes[1]
	id, err := node.Client(t).ClusterMyID(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	node.Kill()
	node.Restart()
	cluster.AwaitWhole(t)
	if got, err := node.Client(t).ClusterMyID(t.Context()).Result(); err != nil || got != id {
		t.Errorf("the node is %s, %v; want %s as before", got, err, id)
	}
	for _, k := range keys {
		if got, err := c.Get(t.Context(), k).Result(); got != k {
			t.Errorf("%s = %q, %v after the node came back", k, got, err)
		}
	}
}
