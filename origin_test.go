package pyworkflow

import "testing"

func TestPackageOf(t *testing.T) {
	for function, want := range map[string]string{
		"example.com/a/b.init":              "example.com/a/b",
		"example.com/a/b.glob..func1":       "example.com/a/b",
		"example.com/a/b%2ev2.Register":     "example.com/a/b.v2",
		"main.main":                         "main",
		"example.com/a/b.(*T).Method.func1": "example.com/a/b",
	} {
		if got := packageOf(function); got != want {
			t.Errorf("packageOf(%q) = %q; want %q", function, got, want)
		}
	}
}

func TestModuleAmong(t *testing.T) {
	modules := []string{"example.com/main", "example.com/lib", "example.com/lib/sub"}
	for pkg, want := range map[string]string{
		"main":                      "example.com/main",
		"example.com/main/w":        "example.com/main",
		"example.com/lib":           "example.com/lib",
		"example.com/lib/other":     "example.com/lib",
		"example.com/lib/sub/deep":  "example.com/lib/sub",
		"example.com/library":       "example.com/library",
		"example.com/unknown/thing": "example.com/unknown/thing",
	} {
		if got := moduleAmong(pkg, modules); got != want {
			t.Errorf("moduleAmong(%q) = %q; want %q", pkg, got, want)
		}
	}
	if got := moduleAmong("main", nil); got != "main" {
		t.Errorf("without modules: %q", got)
	}
}

func TestCallerPackage(t *testing.T) {
	w := DefineFunc[int]("w", nil)
	if w.def.pkg != "github.com/pyworkflow-go/pyworkflow" {
		t.Errorf("package %q", w.def.pkg)
	}
	if v := Define[int, int]("w", nil); v.def.pkg != w.def.pkg {
		t.Errorf("package %q", v.def.pkg)
	}
}
