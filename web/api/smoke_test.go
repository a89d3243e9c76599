package api_test

import (
	"net/http/httptest"
	"testing"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/web/api"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

func TestSmoke(t *testing.T) {
	st, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	c, err := client.New(client.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Config{Client: c, Live: live.New(c, nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"/api/v1/openapi.json", "/api/v1/schedules?limit=x", "/api/v1/schedules", "/api/v1/version", "/api/v1/schedules/x", "/api/v1/nope", "/api/v1/next?cron=0+9+*+*+*"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", u, nil))
		t.Log(w.Code, w.Header(), w.Body.String())
	}
}
