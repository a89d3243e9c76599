package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// instantOf takes the instants that templates hand over.
func instantOf(v any) (time.Time, error) {
	switch t := v.(type) {
	case time.Time:
		return t, nil
	case client.Time:
		return t.Time, nil
	case client.Zoned:
		return t.Time, nil
	default:
		return time.Time{}, fmt.Errorf("%T is no instant", v)
	}
}

const none = `<span class="none">–</span>`

// timeTag is a <time> element. Its texts are made of digits and of our own words, so nothing is to be escaped.
func timeTag(t time.Time, attrs, text string) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s"%s>%s</time>`, t.UTC().Format(time.RFC3339Nano), attrs, text))
}

// rel says how far away an instant is, with the exact time as its tooltip. The script counts it on.
func (d *dashboard) rel(v any) (template.HTML, error) {
	t, err := instantOf(v)
	if err != nil || t.IsZero() {
		return none, err
	}
	return timeTag(t, ` data-rel title="`+exactText(t)+`"`, relText(t.Sub(d.now()))), nil
}

// relText says how far away something is: "in 3m 20s", "2h 5m ago". The script's own version of it must say the same.
func relText(d time.Duration) string {
	switch {
	case d >= time.Second:
		return "in " + away(d)
	case d > -time.Second:
		return "now"
	default:
		return away(-d) + " ago"
	}
}

// away is a span of time in its two largest units, in one from a week on.
func away(d time.Duration) string {
	const day = 24 * time.Hour
	sec := int64(d / time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", sec)
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", sec/60, sec%60)
	case d < day:
		return fmt.Sprintf("%dh %02dm", sec/3600, sec/60%60)
	case d < 7*day:
		return fmt.Sprintf("%dd %dh", sec/86400, sec/3600%24)
	default:
		return fmt.Sprintf("%dd", sec/86400)
	}
}

func exactText(t time.Time) string {
	layout := "2006-01-02 15:04:05 UTC"
	if t.Nanosecond() >= int(time.Millisecond) {
		layout = "2006-01-02 15:04:05.000 UTC"
	}
	return t.UTC().Format(layout)
}

// exact writes an instant out, in UTC.
func exact(v any) (template.HTML, error) {
	t, err := instantOf(v)
	if err != nil || t.IsZero() {
		return none, err
	}
	return timeTag(t, "", exactText(t)), nil
}

// clock writes an instant at its own offset, to the second, with its day of the week.
func clock(v any) (template.HTML, error) {
	t, err := instantOf(v)
	if err != nil || t.IsZero() {
		return none, err
	}
	return timeTag(t, "", t.Format("Mon 2006-01-02 15:04:05")), nil
}

// viewer writes an instant in UTC for the script to show in the viewer's own zone.
func viewer(v any) (template.HTML, error) {
	t, err := instantOf(v)
	if err != nil || t.IsZero() {
		return none, err
	}
	return timeTag(t, ` data-viewer title="`+exactText(t)+`"`, exactText(t)), nil
}

// span writes a span of time with few digits: 250ms, 1.2s, 3m 20s, 2h 05m.
func span(v any) (string, error) {
	var d time.Duration
	switch t := v.(type) {
	case time.Duration:
		d = t
	case schedules.Duration:
		d = time.Duration(t)
	case client.Duration:
		d = time.Duration(t.Duration)
	default:
		return "", fmt.Errorf("%T is no span of time", v)
	}
	switch {
	case d <= 0:
		return "–", nil
	case d < time.Millisecond:
		return "<1ms", nil
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds()), nil
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s", nil
	default:
		return away(d), nil
	}
}

// took is the time between two instants; up to now, when the second is missing.
func (d *dashboard) took(from, to any) (string, error) {
	a, err := instantOf(from)
	if err != nil || a.IsZero() {
		return "–", err
	}
	b, err := instantOf(to)
	if err != nil {
		return "", err
	}
	if b.IsZero() {
		b = d.now()
	}
	return span(max(b.Sub(a), time.Microsecond))
}

// num writes a whole number with commas.
func num(v any) (string, error) {
	var n int64
	switch t := v.(type) {
	case int:
		n = int64(t)
	case int64:
		n = t
	default:
		return "", fmt.Errorf("%T is no whole number", v)
	}
	text := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(text, "-")
	var b strings.Builder
	b.WriteString(text[:len(text)-len(digits)])
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String(), nil
}

// percent writes a share of one; nil is none. Only what is all is 100%, only what is nothing 0%.
func percent(share *float64) string {
	if share == nil {
		return "–"
	}
	switch p := *share * 100; {
	case p <= 0:
		return "0%"
	case p >= 100:
		return "100%"
	case p > 99.9:
		return "99.9%"
	case p >= 99 || p < 1:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
}

// indented lays JSON out over lines; what is no JSON stays as it is.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// plural gives "1 run", "2 runs".
func plural(v any, noun string) (string, error) {
	n, err := num(v)
	if err != nil || n == "1" {
		return n + " " + noun, err
	}
	return n + " " + noun + "s", nil
}

// hostOf is the host of a process id.
func hostOf(id any) string { return client.Host(fmt.Sprint(id)) }

// shortID shortens the id of a run or of a backfill to what tells a few of them apart.
func shortID(id any) string {
	text := fmt.Sprint(id)
	for _, prefix := range []string{"run_", "bf_"} {
		if hex, ok := strings.CutPrefix(text, prefix); ok && len(hex) > 10 {
			return prefix + hex[:10]
		}
	}
	return text
}
