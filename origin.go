package pyworkflow

import (
	"net/url"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// callerPackage gives the path of the package whose code called, skip frames above the caller of callerPackage.
func callerPackage(skip int) string {
	pcs := make([]uintptr, 1)
	if runtime.Callers(skip+2, pcs) == 0 {
		return ""
	}
	frame, _ := runtime.CallersFrames(pcs).Next()
	return packageOf(frame.Function)
}

// packageOf takes the package's path out of a function's name, such as "example.com/a/b%2ev2.init" or "main.glob..func1".
func packageOf(function string) string {
	dir, last := path.Split(function)
	last, _, _ = strings.Cut(last, ".")
	if plain, err := url.PathUnescape(last); err == nil {
		last = plain
	}
	return dir + last
}

// modules gives the paths of the modules in this program, the main one first; none when the program was built without them.
var modules = sync.OnceValue(func() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	paths := []string{info.Main.Path}
	for _, m := range info.Deps {
		paths = append(paths, m.Path)
	}
	return paths
})

// moduleOf gives the path of the module a package belongs to, or the package's own where that is not known. It is asked for with every run.
func moduleOf(pkg string) string {
	if known, ok := modulesOf.Load(pkg); ok {
		return known.(string)
	}
	m := moduleAmong(pkg, modules())
	modulesOf.Store(pkg, m)
	return m
}

var modulesOf sync.Map // of packages that define workflows, by their paths

func moduleAmong(pkg string, modules []string) string {
	if pkg == "main" && len(modules) > 0 && modules[0] != "" {
		return modules[0]
	}
	best := ""
	for _, m := range modules {
		if (pkg == m || strings.HasPrefix(pkg, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return pkg
	}
	return best
}
