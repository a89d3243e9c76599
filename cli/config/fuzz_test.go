package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// FuzzFile: whatever the config file holds, it is refused on one line that names it, or gives values under known keys only.
func FuzzFile(f *testing.F) {
	for _, s := range []string{"", "namespace: a", "namespace: [a, b]\nredis_url: redis://x", "a: &a\n  b: *a", "--- \n---\n", "namespace:\n  a: {b: c}", "namespace: !!binary x", "\t",
		"? [a]\n: b", "namespace: null", "&a [*a]", "namespace: *x", "- a", "\xff\xfe", "<<: {namespace: a}", "namespace: a\nnamespace: b", "namespace: {a: *n, <<: x}"} {
		f.Add([]byte(s))
	}
	names := map[string]bool{"namespace": true, "redis-url": true, "queues": true}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseFile("f.yaml", data, names)
		if err != nil {
			if !strings.Contains(err.Error(), "f.yaml") || len(err.Error()) > len(data)*4+1000 {
				t.Fatalf("%q", err)
			}
			return
		}
		for name, e := range entries {
			if !names[name] || e.line < 1 {
				t.Fatalf("%s: %+v", name, e)
			}
		}
	})
}

// FuzzSeconds: a length of time is refused, or comes back from what is printed of it.
func FuzzSeconds(f *testing.F) {
	for _, s := range []string{"", "10", "0.5", "10s", "1m30s", "-1", "NaN", "Inf", "1e18", "0x10", "1h0m0s", ".", "9223372036"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseSeconds(text)
		if err != nil {
			return
		}
		s := seconds(d)
		if again, err := ParseSeconds(s.String()); err != nil || again != d || d < 0 {
			t.Fatalf("%q is %s, then %s, %v", text, s.String(), again, err)
		}
		var n namespace
		var v pflag.Value = &n
		_ = v.Set(text)
		if n != "" && CheckNamespace(string(n)) != nil {
			t.Fatalf("namespace %q is taken", text)
		}
	})
}
