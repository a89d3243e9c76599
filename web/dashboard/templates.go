package dashboard

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/client"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pages are the templates, by the name of their file without .html.
type pages map[string]*template.Template

// parsePages parses every page together with the files that begin with an underscore: the layout and the parts that pages share.
func (d *dashboard) parsePages() (pages, error) {
	shared, err := template.New("").Option("missingkey=error").Funcs(d.funcs()).ParseFS(templateFiles, "templates/_*.html")
	if err != nil {
		return nil, fmt.Errorf("parse shared templates: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/[^_]*.html")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	ps := pages{}
	for _, file := range files {
		t, err := shared.Clone()
		if err == nil {
			_, err = t.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("parse template %s: %w", file, err)
		}
		ps[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return ps, nil
}

// funcs are what templates may call besides the methods of their data.
func (d *dashboard) funcs() template.FuncMap {
	return template.FuncMap{
		"static":   d.static.url,
		"href":     href,
		"args":     args,
		"icon":     icon,
		"rel":      d.rel,   // 3m ago, in 2h: counts by itself
		"exact":    exact,   // 2026-03-01 09:00:00 UTC
		"clock":    clock,   // 09:00:00 today, else with its date
		"viewer":   viewer,  // the same instant in the viewer's zone; in UTC without script
		"span":     span,    // 1.2s, 3m 20s
		"took":     d.took,  // between two instants, up to now when the second is missing
		"num":      num,     // 12,345
		"pct":      percent, // 98.5%
		"mark":     markOf,  // class and icon of a status or a fate
		"cut":      func(raw json.RawMessage) shown { return show(raw, maxShown) },
		"plural":   plural,
		"host":     hostOf,
		"short":    shortID,
		"reason":   reasonWords,
		"legend":   func() []string { return stripLegend },
		"tlLegend": func() []timelineMark { return timelineLegend },
		"exactly":  func(t client.Time) string { return exactText(t.Time) },
		"add":      sum,
	}
}

// href joins parts to a path on this server, each part escaped.
func href(parts ...any) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(fmt.Sprint(p)))
	}
	return b.String()
}

// args makes the argument of a template with several: name, value, name, value.
func args(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("args: a name without a value")
	}
	m := arguments()
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("args: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// arguments are what the shared parts may be given, so that those left out are empty.
func arguments() map[string]any {
	return map[string]any{"Label": "", "Hint": "", "Placeholder": "", "Type": "", "Options": nil, "Rows": 4, "Class": "", "Required": false, "List": "", "Mono": false,
		"Checked": false, "Value": "", "Icon": "", "Text": "", "Command": "", "Kind": "", "Preview": false, "Optional": ""}
}

// sum adds places in a picture.
func sum(values ...any) (total float64, err error) {
	for _, v := range values {
		switch n := v.(type) {
		case int:
			total += float64(n)
		case float64:
			total += n
		default:
			return 0, fmt.Errorf("add: %T is no number", v)
		}
	}
	return tenth(total), nil
}
