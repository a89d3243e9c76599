package tracing_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(program())
	}
	goleak.VerifyTestMain(redistest.Main(m))
}
