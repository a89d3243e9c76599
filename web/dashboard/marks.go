package dashboard

import (
	"fmt"
	"html/template"
	"strings"
)

// mark is how a status or a fate looks: a tone, which is a colour, and an icon, so that the colour alone says nothing.
type mark struct {
	Word string // the status itself
	Tone string // good, bad, busy, wait, idle or lost
	Icon string
}

var marks = map[string]mark{
	// schedules
	"active":   {Tone: "good", Icon: "dot"},
	"paused":   {Tone: "wait", Icon: "pause"},
	"finished": {Tone: "idle", Icon: "check"},
	"deleted":  {Tone: "idle", Icon: "cross"},
	// runs
	"pending":   {Tone: "wait", Icon: "ring"},
	"running":   {Tone: "busy", Icon: "half"},
	"retrying":  {Tone: "wait", Icon: "again"},
	"completed": {Tone: "good", Icon: "check"},
	"failed":    {Tone: "bad", Icon: "cross"},
	"cancelled": {Tone: "idle", Icon: "stop"},
	// backfills
	"cancelling": {Tone: "wait", Icon: "stop"},
	// fates
	"started":  {Tone: "good", Icon: "play"},
	"buffered": {Tone: "wait", Icon: "ring"},
	"dropped":  {Tone: "idle", Icon: "down"},
	"skipped":  {Tone: "idle", Icon: "skip"},
	"missed":   {Tone: "lost", Icon: "bang"},
}

// markOf gives the looks of a status or a fate; what it does not know looks plain.
func markOf(status any) mark {
	word := fmt.Sprint(status)
	m, ok := marks[word]
	if !ok {
		m = mark{Tone: "idle", Icon: "dot"}
	}
	m.Word = word
	return m
}

// icons are paths on a field of 16 by 16, drawn with the colour of the text: filled ones begin with "F".
var icons = map[string]string{
	"dot":      `FM8 4.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z`,
	"ring":     `M8 3.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM8 5.8V8l1.6 1.2`,
	"half":     `FM8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zm0 1.6v7.8a3.9 3.9 0 0 1 0-7.8z`,
	"pause":    `FM4.5 3.5h2.4v9H4.5zM9.1 3.5h2.4v9H9.1z`,
	"play":     `FM5 3.2v9.6L12.6 8z`,
	"check":    `M3.2 8.4l3.2 3.2 6.4-7`,
	"cross":    `M4 4l8 8M12 4l-8 8`,
	"stop":     `M8 2.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8zM4.4 4.4l7.2 7.2`,
	"again":    `M12.8 8A4.8 4.8 0 1 1 11 4.2M11.2 1.8v2.8H8.4`,
	"skip":     `M3.2 8h9.6`,
	"down":     `M8 3v8M4.6 8L8 11.4 11.4 8M4 13.6h8`,
	"bang":     `M8 3v6M8 11.8v1`,
	"bolt":     `FM9 1.8L3.6 9h3.6L6.4 14.2 12.4 6.6H8.4z`,
	"edit":     `M10.8 2.8l2.4 2.4-7.4 7.4-3 .6.6-3z`,
	"trash":    `M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5`,
	"history":  `M3.2 8a4.8 4.8 0 1 1 1.6 3.6M3 3.4v3h3M8 5.4V8l1.8 1.2`,
	"undo":     `M6 3L3 6l3 3M3 6h6.5a3.5 3.5 0 0 1 0 7H6`,
	"plus":     `M8 3.2v9.6M3.2 8h9.6`,
	"search":   `M7 2.8a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4zM10.2 10.2l3 3`,
	"left":     `M9.8 3.4L5.2 8l4.6 4.6`,
	"right":    `M6.2 3.4L10.8 8l-4.6 4.6`,
	"more":     `FM3.5 6.8a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4zM8 6.8a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4zM12.5 6.8a1.2 1.2 0 1 1 0 2.4 1.2 1.2 0 0 1 0-2.4z`,
	"overview": `M2.8 2.8h4.4v5.4H2.8zM8.8 2.8h4.4v3H8.8zM8.8 7.8h4.4v5.4H8.8zM2.8 10.2h4.4v3H2.8z`,
	"calendar": `M2.8 4h10.4v9.2H2.8zM2.8 6.8h10.4M5.6 2.4V5M10.4 2.4V5`,
	"runs":     `M2.8 4h10.4M2.8 8h6.4M2.8 12h8.4`,
	"workers":  `M3 3h10v4H3zM3 9h10v4H3zM5.2 5h.1M5.2 11h.1`,
	"queue":    `M2.8 3.6h10.4M2.8 8h10.4M2.8 12.4h10.4`,
	"sun":      `M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM8 1.6v1.2M8 13.2v1.2M1.6 8h1.2M13.2 8h1.2M3.5 3.5l.8.8M11.7 11.7l.8.8M12.5 3.5l-.8.8M4.3 11.7l-.8.8`,
	"warn":     `M8 2.4l6 10.8H2zM8 6.4v3.2M8 11.4v.4`,
	"info":     `M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 7.4v3.4M8 5v.4`,
	"code":     `M5.4 4.4L2 8l3.4 3.6M10.6 4.4L14 8l-3.4 3.6`,
}

// icon draws a small picture, which is hidden from screen readers: a word stands beside it, or in its button's label.
func icon(name string) (template.HTML, error) {
	path, ok := icons[name]
	if !ok {
		return "", fmt.Errorf("no icon %q", name)
	}
	paint := `fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"`
	if filled, ok := strings.CutPrefix(path, "F"); ok {
		path, paint = filled, `fill="currentColor"`
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path ` + paint + ` d="` + path + `"/></svg>`), nil
}
