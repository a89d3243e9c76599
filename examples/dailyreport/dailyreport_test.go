package dailyreport_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/examples/dailyreport"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

func TestInputDecides(t *testing.T) {
	app := pyworkflow.NewApp()
	if err := dailyreport.Register(app); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct{ input, result, failure string }{
		{"null", `"region":"north","day":"2026-03-01T09:00:00Z","orders":4,"total":71.9`, ""},
		{`{"region": "south", "takes": "1ms"}`, `"orders":1,"total":99`, ""},
		{`{"region": "nroth"}`, "", `there is no region "nroth"; the regions are east, north, south, west`},
		{`{"takes": "90"}`, "", `takes "90" is no length of time`},
	} {
		o, err := app.Execute(t.Context(), pyworkflow.Execution{Run: schedules.Run{ID: "run_1", Workflow: "daily_report", Nominal: day, Input: json.RawMessage(c.input)}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(o.Result), c.result) {
			t.Errorf("%s: result %s, want %s", c.input, o.Result, c.result)
		}
		failed := ""
		if o.Error != nil {
			failed = o.Error.Message
		}
		if (failed == "") != (c.failure == "") || !strings.Contains(failed, c.failure) {
			t.Errorf("%s: fails with %q, want %q", c.input, failed, c.failure)
		}
	}
}
