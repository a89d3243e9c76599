package sqlitestore_test

import (
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

func open(t *testing.T, cfg sqlitestore.Config) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContractFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
		return open(t, sqlitestore.Config{Dir: t.TempDir(), Clock: clock})
	})
}
