package redisstore_test

import (
	"flag"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil { // they wait more than they compute; -parallel goes before it
		panic(err)
	}
	goleak.VerifyTestMain(redistest.Main(m))
}

// open makes a store with a namespace of its own.
func open(t *testing.T, client redis.UniversalClient, clock func() time.Time) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(client, redisstore.Config{Namespace: redistest.Namespace(t), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store { return open(t, server.Client(t), clock) })
}

func TestContractOnCluster(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t, 3).Client(t)
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store { return open(t, client, clock) })
}
