package dashboard

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// flash is a message that the next page shows once.
type flash struct {
	Kind string `json:"k"` // ok or warn
	Text string `json:"t"`
}

const (
	flashCookie = "pyworkflow_flash"
	maxFlash    = 1500 // bytes: a cookie holds about 4,000, encoded
)

func setFlash(w http.ResponseWriter, r *http.Request, f flash) {
	f.Text = schedules.Cut(f.Text, maxFlash)
	text, _ := json.Marshal(f) // two texts always encode
	http.SetCookie(w, &http.Cookie{Name: flashCookie, Value: base64.RawURLEncoding.EncodeToString(text), Path: "/", MaxAge: 60,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
}

// takeFlash gives the message that waits, and uses it up. Nil: there is none.
func takeFlash(w http.ResponseWriter, r *http.Request) *flash {
	c, err := r.Cookie(flashCookie)
	if err != nil {
		return nil
	}
	http.SetCookie(w, &http.Cookie{Name: flashCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return nil
	}
	var f flash
	if json.Unmarshal(text, &f) != nil || f.Text == "" {
		return nil
	}
	if f.Kind != "warn" {
		f.Kind = "ok"
	}
	return &f
}
