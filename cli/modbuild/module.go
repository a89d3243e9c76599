package modbuild

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// prepareModule brings the copies of go.mod and go.sum up to date with the user's and returns the flags that make go use them.
// -mod=mod lets go add to the copies what the command line needs and the user's module has no use for; what it added stays
// until one of the originals changes.
func (b *builder) prepareModule() ([]string, error) {
	if b.vendored() {
		return []string{"-mod=vendor"}, nil
	}
	m, err := b.readModule()
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(b.home, "go.mod")
	flags := []string{"-mod=mod", "-modfile=" + copied}
	stamp := []byte(m.digest())
	if old, err := os.ReadFile(b.stamp()); err == nil && bytes.Equal(old, stamp) {
		return flags, nil
	}
	b.forgetModule()
	for _, file := range []struct {
		path    string
		content []byte
	}{{copied, m.mod}, {filepath.Join(b.home, "go.sum"), m.sum}, {b.stamp(), stamp}} {
		if err := os.WriteFile(file.path, file.content, 0o666); err != nil {
			return nil, fmt.Errorf("cache folder: %w", err)
		}
	}
	return flags, nil
}

// stamp is the file that says what the copies were made of.
func (b *builder) stamp() string { return filepath.Join(b.home, "made-of") }

// forgetModule makes the next build start with new copies.
func (b *builder) forgetModule() {
	_ = os.Remove(b.stamp()) // missing is as good
}

// vendored reports whether the user's vendor folder holds all the program needs, so that go may use it as it does by default.
func (b *builder) vendored() bool {
	if b.tool.work != "" {
		return false
	}
	list, err := os.ReadFile(filepath.Join(b.target.root, "vendor", "modules.txt"))
	if err != nil {
		return false
	}
	return b.target.module == pyworkflowPath || slices.Contains(strings.Split(string(list), "\n"), pyworkflowPath+"/cli")
}

// moduleCopy is what the copies begin as.
type moduleCopy struct {
	mod, sum []byte
	others   [][]byte // further files that decide what go makes of them
}

func (m *moduleCopy) digest() string {
	h := sha256.New()
	for _, part := range append([][]byte{m.mod, m.sum}, m.others...) {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (b *builder) readModule() (*moduleCopy, error) {
	goMod := filepath.Join(b.target.root, "go.mod")
	parsed, err := modfile.Parse(goMod, b.target.mod, nil)
	if err != nil {
		return nil, &CompileError{Output: err.Error()}
	}
	m := &moduleCopy{mod: b.target.mod}
	sums := []string{filepath.Join(b.target.root, "go.sum")}

	work, err := readWorkspace(b.tool.work, b.target.root)
	if err != nil {
		return nil, err
	}
	if work != nil {
		if err := work.apply(parsed); err != nil {
			return nil, err
		}
		parsed.Cleanup()
		if m.mod, err = parsed.Format(); err != nil {
			return nil, fmt.Errorf("copy %s: %w", goMod, err)
		}
		sums = append(sums, work.sums...)
	}
	// What a folder that stands in for a module requires is part of the picture, and may change.
	for _, r := range parsed.Replace {
		if r.New.Version == "" {
			folder := absolute(b.target.root, r.New.Path)
			sums = append(sums, filepath.Join(folder, "go.sum"))
			if data, err := os.ReadFile(filepath.Join(folder, "go.mod")); err == nil {
				m.others = append(m.others, data)
			}
		}
	}
	// The command line's own go.sum vouches for what it imports, also where no checksum database can be asked.
	if dir := b.cachedSource(parsed); dir != "" {
		sums = append(sums, filepath.Join(dir, "go.sum"))
	}
	m.sum, err = mergeSums(sums)
	return m, err
}

// cachedSource returns the folder of the module cache that holds the pyworkflow the module requires.
func (b *builder) cachedSource(f *modfile.File) string {
	var v module.Version
	for _, r := range f.Require {
		if r.Mod.Path == pyworkflowPath {
			v = r.Mod
		}
	}
	for _, r := range f.Replace {
		if r.Old.Path == v.Path && (r.Old.Version == "" || r.Old.Version == v.Version) {
			v = r.New
		}
	}
	if v.Version == "" {
		return ""
	}
	escaped, err := module.EscapePath(v.Path)
	if err != nil {
		return ""
	}
	version, err := module.EscapeVersion(v.Version)
	if err != nil {
		return ""
	}
	return filepath.Join(b.tool.modCache, filepath.FromSlash(escaped)+"@"+version)
}

// mergeSums joins go.sum files, missing ones left out. Where two disagree the first one counts.
func mergeSums(paths []string) ([]byte, error) {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read go.sum: %w", err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) != 3 || seen[fields[0]+" "+fields[1]] {
				continue
			}
			seen[fields[0]+" "+fields[1]] = true
			out.WriteString(strings.Join(fields, " ") + "\n")
		}
	}
	return out.Bytes(), nil
}

// absolute resolves a path of a go.mod or go.work against its folder.
func absolute(folder, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// workspace is a go.work in terms of a single module's go.mod, since go takes no -modfile in a workspace.
type workspace struct {
	modules  map[string]string // module path → folder, without the main module
	replaces []modfile.Replace // paths absolute; the last one for a module counts
	sums     []string
}

// readWorkspace returns nil when there is no workspace, or the module is not part of it.
func readWorkspace(path, root string) (*workspace, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read workspace: %w", err)
	}
	file, err := modfile.ParseWork(path, data, nil)
	if err != nil {
		return nil, &CompileError{Output: err.Error()}
	}
	w := &workspace{modules: map[string]string{}, sums: []string{path + ".sum"}}
	member := false
	for _, use := range file.Use {
		folder := absolute(filepath.Dir(path), use.Path)
		if sameFolder(folder, root) {
			member = true
			continue
		}
		goMod := filepath.Join(folder, "go.mod")
		data, err := os.ReadFile(goMod)
		if err != nil {
			return nil, &CompileError{Output: fmt.Sprintf("%s:%d: %v", path, use.Syntax.Start.Line, err)}
		}
		other, err := modfile.Parse(goMod, data, nil)
		if err != nil {
			return nil, &CompileError{Output: err.Error()}
		}
		if other.Module == nil {
			return nil, &CompileError{Output: goMod + ": no module line"}
		}
		w.modules[other.Module.Mod.Path] = folder
		w.sums = append(w.sums, filepath.Join(folder, "go.sum"))
		w.addReplaces(folder, other.Replace)
	}
	w.addReplaces(filepath.Dir(path), file.Replace)
	if !member {
		return nil, nil
	}
	return w, nil
}

func (w *workspace) addReplaces(folder string, list []*modfile.Replace) {
	for _, r := range list {
		r := *r
		if r.New.Version == "" {
			r.New.Path = absolute(folder, r.New.Path)
		}
		w.replaces = append(w.replaces, r)
	}
}

// apply turns the workspace's modules and replacements into replace directives.
func (w *workspace) apply(f *modfile.File) error {
	for _, r := range w.replaces {
		if err := f.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
			return fmt.Errorf("workspace: replace %s: %w", r.Old.Path, err)
		}
	}
	for _, r := range slices.Clone(f.Replace) { // the workspace's own modules are never replaced by anything else
		if _, ok := w.modules[r.Old.Path]; ok {
			if err := f.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return fmt.Errorf("workspace: replace %s: %w", r.Old.Path, err)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(w.modules)) {
		if err := f.AddReplace(path, "", w.modules[path], ""); err != nil {
			return fmt.Errorf("workspace: use %s: %w", path, err)
		}
	}
	return nil
}

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
