package driver

import (
	"fmt"
	"io"
	"time"
)

// progress tells on standard error what is being done.
type progress struct {
	out   io.Writer
	began time.Time
	label string
}

func newProgress(out io.Writer) *progress { return &progress{out: out, began: time.Now()} }

// say writes a line.
func (p *progress) say(format string, args ...any) {
	at := time.Since(p.began).Round(time.Second)
	label := p.label
	if label != "" {
		label += ": "
	}
	fmt.Fprintf(p.out, "%6s  %s%s\n", at, label, fmt.Sprintf(format, args...))
}
