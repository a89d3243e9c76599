package api_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }
