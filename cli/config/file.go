package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pyworkflow-go/pyworkflow/internal/nearest"
)

// FileName is the config file's name.
const FileName = "pyworkflow.config.yaml"

// configFile is the config file as read; the zero value is no file.
type configFile struct {
	path    string // absolute
	inDir   bool   // it lies in the working directory itself
	entries map[string]entry
}

type entry struct {
	key   string // as written
	value string
	line  int
}

// findFile reads the config file of dir or the nearest folder above it. names are the settings it may hold.
func findFile(dir string, names map[string]bool) (configFile, error) {
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, FileName)
		data, err := os.ReadFile(path)
		switch {
		case err == nil:
			entries, err := parseFile(path, data, names)
			return configFile{path: path, inDir: at == dir, entries: entries}, err
		case !errors.Is(err, fs.ErrNotExist):
			return configFile{}, Usagef("config file %s: %v", path, unwrapPath(err))
		case at == filepath.Dir(at):
			return configFile{}, nil
		}
	}
}

func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// rebase makes a path in the file relative to the file's folder instead of the working directory. When those are the same the
// path stays as the person wrote it.
func (f configFile) rebase(value string, kind Kind) string {
	if value == "" || filepath.IsAbs(value) || f.inDir {
		return value
	}
	return filepath.Join(filepath.Dir(f.path), filepath.FromSlash(value))
}

// isRelativePackage reports whether a package is named by a path relative to a folder, as in "go build ./x".
func isRelativePackage(pkg string) bool {
	if runtime.GOOS == "windows" {
		pkg = filepath.ToSlash(pkg)
	}
	return pkg == "." || pkg == ".." || strings.HasPrefix(pkg, "./") || strings.HasPrefix(pkg, "../")
}

// parseFile reads a flat mapping from setting to value. A value is a scalar, a list (joined with commas) or a mapping of
// scalars (as key=value, joined with commas).
func parseFile(path string, data []byte, names map[string]bool) (map[string]entry, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, Usagef("config file %s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Usagef("config file %s: holds more than one document (---): keep one", path)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, Usagef("%s:%d: must be lines such as \"namespace: default\"", path, root.Line)
	}
	entries := map[string]entry{}
	for i := 0; i < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		name := strings.ReplaceAll(key.Value, "_", "-")
		if !names[name] {
			return nil, Usagef("%s:%d: unknown key %q: %s", path, key.Line, key.Value, nearestKey(key.Value, names))
		}
		if first, ok := entries[name]; ok {
			return nil, Usagef("%s:%d: key %q is already set in line %d: keep one", path, key.Line, key.Value, first.line)
		}
		value, ok := text(node)
		if !ok {
			return nil, Usagef("%s:%d: key %q must be a single value or a list of them", path, node.Line, key.Value)
		}
		entries[name] = entry{key: key.Value, value: value, line: key.Line}
	}
	maps.DeleteFunc(entries, func(_ string, e entry) bool { return e.value == absent })
	return entries, nil
}

// absent stands for YAML's null. It can't be written in a YAML file, which may not hold this byte.
const absent = "\x00"

// text returns a node's value as a flag would be given it.
func text(node *yaml.Node) (string, bool) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return absent, true
		}
		return node.Value, true
	case yaml.SequenceNode, yaml.MappingNode:
		var parts []string
		for i := 0; i < len(node.Content); i++ {
			item := node.Content[i]
			if item.Kind != yaml.ScalarNode {
				return "", false
			}
			part := item.Value
			if node.Kind == yaml.MappingNode {
				i++
				if node.Content[i].Kind != yaml.ScalarNode {
					return "", false
				}
				part += "=" + node.Content[i].Value
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), true
	default:
		return "", false
	}
}

// nearestKey says which keys a mistyped one may have been meant to be, else which there are.
func nearestKey(key string, names map[string]bool) string {
	var keys []string
	for name := range names {
		keys = append(keys, Key(name))
	}
	slices.Sort(keys)
	if near := nearest.Names(Key(key), keys, 1); len(near) > 0 {
		return "did you mean " + near[0] + "?"
	}
	return "the keys are " + strings.Join(keys, ", ")
}
