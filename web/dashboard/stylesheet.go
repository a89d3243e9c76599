package dashboard

import "sync"

// Stylesheet is the path of the stylesheet, for pages that are served beside these in the same looks. Like all below /static/, it holds no secret and asks for none.
func Stylesheet() string { return stylesheet() }

var stylesheet = sync.OnceValue(func() string {
	s, err := newStatic()
	if err != nil {
		return "" // not reached: the files are in the program
	}
	return s.urls["app.css"]
})
