package dashboard

import (
	"net/http"
)

// actPage is the page of an act: what it does, what it needs to be told, and a button. The script shows it as a dialog.
type actPage struct {
	Title   string
	Text    []string // paragraphs: what it does, what it leaves alone
	Items   []string // what it is done to, when that is several
	Fields  []actField
	Keep    []hidden // values that go with the form
	Action  string   // where the form goes
	Back    string   // where one goes who changes one's mind
	Submit  string   // the word on the button
	Dismiss string   // the word for changing one's mind; empty: Cancel
	Danger  bool     // it can't be undone
	Form    *form
}

// hidden is a value that goes with a form unseen.
type hidden struct{ Name, Value string }

// option is one choice of a field.
type option struct{ Value, Text string }

// actField is one field of an act's page.
type actField struct {
	Kind        string // input, textarea, select or check
	Name, Label string
	Hint        string
	Placeholder string
	Type        string
	Optional    string // a word beside the label
	Options     []option
	Rows        int
	Mono        bool
	Required    bool
	List        string
	Class       string
	Form        *form
}

// showAct shows the page of an act; with status 422 when the form was refused.
func (d *dashboard) showAct(w http.ResponseWriter, r *http.Request, nav string, p actPage) error {
	if p.Form == nil {
		p.Form = newForm()
	}
	for i := range p.Fields {
		p.Fields[i].Form = p.Form
		p.Fields[i].Rows = max(p.Fields[i].Rows, 3)
	}
	status := http.StatusOK
	if p.Form.Bad() {
		status = http.StatusUnprocessableEntity
	}
	if p.Action == "" {
		p.Action = r.URL.Path
	}
	return d.show(w, r, page{Template: "act", Title: p.Title, Nav: nav, Status: status, Data: p})
}
