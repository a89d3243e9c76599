package dashboard

import "sync"

// Static is the path of an embedded file, such as app.css, for pages that are served beside these in the same looks; empty when there is no such file. Like all below
// /static/ it holds no secret and asks for none.
func Static(name string) string { return staticURLs()[name] }

var staticURLs = sync.OnceValue(func() map[string]string {
	s, err := newStatic()
	if err != nil {
		return nil // not reached: the files are in the program
	}
	return s.urls
})
