package modbuild

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"
)

// target is the package to build in, and the module to build it as part of.
type target struct {
	name       string // as a person is told
	importPath string
	dir        string // the package's folder, inside root; empty: another module's, go knows where
	root       string // folder of the main module's go.mod
	mod        []byte // the go.mod
	module     string // the main module's path
}

// locate finds the package's module, without running anything.
func locate(pkg, workdir string) (*target, error) {
	switch {
	case pkg == "":
		return nil, packageErrorf(`""`, "names no package: use one such as ./workflows")
	case filepath.IsAbs(pkg) || isRelative(pkg):
		return locateDir(pkg, workdir)
	default:
		return locateImport(pkg, workdir)
	}
}

func isRelative(pkg string) bool {
	if runtime.GOOS == "windows" {
		pkg = filepath.ToSlash(pkg)
	}
	return pkg == "." || pkg == ".." || strings.HasPrefix(pkg, "./") || strings.HasPrefix(pkg, "../")
}

func locateDir(pkg, workdir string) (*target, error) {
	dir := filepath.Clean(pkg)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(workdir, dir)
	}
	name := shownPackage(pkg, dir, workdir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, packageErrorf(name, "there is no folder %s", dir)
	case err != nil:
		return nil, packageErrorf(name, "%v", err)
	case !info.IsDir():
		return nil, packageErrorf(name, "is a file: name the package's folder, %s", shownPackage(filepath.Dir(pkg), filepath.Dir(dir), workdir))
	}
	t, err := mainModule(name, dir)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, packageErrorf(name, "is in no Go module: there is no go.mod in %s or above it; run \"go mod init NAME\" there, "+
			"then \"go get %s\"", dir, pyworkflowPath)
	}
	rel, err := filepath.Rel(t.root, dir)
	if err != nil {
		return nil, packageErrorf(name, "%v", err)
	}
	t.dir, t.importPath = dir, path.Join(t.module, filepath.ToSlash(rel))
	return t, nil
}

func locateImport(pkg, workdir string) (*target, error) {
	folder := filepath.Join(workdir, filepath.FromSlash(pkg))
	info, err := os.Stat(folder)
	isFolder := err == nil && info.IsDir()

	t, err := mainModule(pkg, workdir)
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(pkg, "/")
	inMain := t != nil && (pkg == t.module || strings.HasPrefix(pkg, t.module+"/"))
	switch {
	case !inMain && isFolder:
		return nil, packageErrorf(pkg, "without ./ in front this is an import path: for the folder write ./%s", pkg)
	case t == nil:
		return nil, packageErrorf(pkg, "an import path needs a Go module to look it up in: there is no go.mod in %s or above it; "+
			"change into your module, or name a folder such as ./workflows", workdir)
	case !inMain && !strings.Contains(first, "."):
		return nil, packageErrorf(pkg, "module %s provides no such package; for a folder write ./%s", t.module, pkg)
	}
	t.importPath = pkg
	if inMain {
		dir := filepath.Join(t.root, filepath.FromSlash(strings.TrimPrefix(pkg, t.module)))
		if nearest, ok := moduleRoot(dir); ok && nearest == t.root {
			if _, err := os.Stat(dir); err != nil {
				return nil, packageErrorf(pkg, "there is no folder %s", dir)
			}
			t.dir = dir
		}
	}
	return t, nil
}

// shownPackage is the name of a folder as one would type it in the working directory.
func shownPackage(pkg, dir, workdir string) string {
	if !filepath.IsAbs(pkg) {
		return pkg
	}
	if rel, err := filepath.Rel(workdir, dir); err == nil && filepath.IsLocal(rel) {
		return "." + string(filepath.Separator) + rel
	}
	return pkg
}

// mainModule reads the go.mod of a folder or the nearest folder above it; nil when there is none.
func mainModule(name, dir string) (*target, error) {
	root, ok := moduleRoot(dir)
	if !ok {
		return nil, nil
	}
	file := filepath.Join(root, "go.mod")
	mod, err := os.ReadFile(file)
	if err != nil {
		return nil, packageErrorf(name, "%v", err)
	}
	t := &target{name: name, root: root, mod: mod, module: modfile.ModulePath(mod)}
	if t.module == "" {
		return nil, packageErrorf(name, "%s has no module line: add one such as \"module example.com/app\"", file)
	}
	return t, nil
}

func moduleRoot(dir string) (string, bool) {
	for {
		if info, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && !info.IsDir() {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}
