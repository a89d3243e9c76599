package dashboard

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// pager leads through a list that is read by cursors: onward, and back to its beginning.
type pager struct {
	First string // address of the beginning; empty: this is it
	Next  string // address of the next page; empty: there is no more
	Shown int
	Noun  string
}

// pageRequest reads cursor and limit of a list. Prefix tells several lists of one page apart.
func pageRequest(r *http.Request, prefix string, limit int) client.PageRequest {
	q := r.URL.Query()
	if n, err := strconv.Atoi(q.Get(prefix + "limit")); err == nil && n >= 1 && n <= 200 {
		limit = n
	}
	return client.PageRequest{Cursor: q.Get(prefix + "cursor"), Limit: limit}
}

// newPager makes the pager of what was shown for a request. Anchor is the id of the list on its page.
func newPager(r *http.Request, prefix, anchor string, shown int, noun string, next client.Text) pager {
	p := pager{Shown: shown, Noun: noun}
	if r.URL.Query().Has(prefix + "cursor") {
		p.First = with(r.URL, anchor, prefix+"cursor", "")
	}
	if next != "" {
		p.Next = with(r.URL, anchor, prefix+"cursor", string(next))
	}
	return p
}

// with is the address with one part of its query replaced; an empty value leaves the part out.
func with(u *url.URL, anchor, name, value string) string {
	q := maps.Clone(u.Query())
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	to := url.URL{Path: u.Path, RawQuery: q.Encode(), Fragment: anchor}
	return to.String()
}
