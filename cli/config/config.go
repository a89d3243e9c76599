package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
)

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "PYWORKFLOW_"

// Kind says what a setting's value is, as far as reading it from the file and showing it are concerned.
type Kind string

const (
	// Plain is taken and shown as it is.
	Plain Kind = "plain"
	// Path is a file or a folder: a relative one in the file is relative to the file's folder.
	Path Kind = "path"
	// Module is a Go package: one that starts with ./ or ../ in the file is relative to the file's folder.
	Module Kind = "module"
	// URL may carry a password, which is masked when shown.
	URL Kind = "url"
	// Secret is masked whole when shown.
	Secret Kind = "secret"
)

const annotation = "pyworkflow_setting"

// OptIn makes registered flags settings of the given kind. It panics on a name that fs does not know: a mistake in
// the program, not in its use.
func OptIn(fs *pflag.FlagSet, kind Kind, names ...string) {
	for _, name := range names {
		if err := fs.SetAnnotation(name, annotation, []string{string(kind)}); err != nil {
			panic(fmt.Sprintf("config: opt in %s: %v", name, err))
		}
	}
}

// EnvName returns the environment variable of a flag: EnvName("redis-url") is PYWORKFLOW_REDIS_URL.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Key returns the file's key of a flag: Key("redis-url") is redis_url.
func Key(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// Origin is the layer a value came from.
type Origin string

// The four layers, the strongest first.
const (
	FromFlag        Origin = "flag"
	FromEnvironment Origin = "environment"
	FromFile        Origin = "file"
	FromDefault     Origin = "default"
)

// Source is where a value came from. The zero value is not a source.
type Source struct {
	Origin Origin
	// Name is the flag with its dashes, the variable, the file's path, or for a default that depends on other settings the
	// reason for it ("a Redis URL is given"); empty for a plain default.
	Name string
	// Line is the line in the file, from 1; 0 for all but files.
	Line int
}

// String returns what a person is told: "flag --namespace", "environment PYWORKFLOW_NAMESPACE", "file /x/pyworkflow.config.yaml",
// "default", "default, as a Redis URL is given".
func (s Source) String() string {
	switch {
	case s.Origin == FromDefault && s.Name != "":
		return "default, as " + s.Name
	case s.Name == "":
		return string(s.Origin)
	default:
		return string(s.Origin) + " " + s.Name
	}
}

// Setting is one setting's value and where it came from. Its JSON form is masked.
type Setting struct {
	// Name is the flag's name, without dashes in front.
	Name string
	// Value is the value itself, secrets included.
	Value string
	// Shown is the value with its secrets masked.
	Shown  string
	Source Source
}

// MarshalJSON returns {"name", "value", "source"}, the value masked, or null where there is none.
func (s Setting) MarshalJSON() ([]byte, error) {
	var value *string
	if s.Shown != "" {
		value = &s.Shown
	}
	return json.Marshal(struct {
		Name   string  `json:"name"`
		Value  *string `json:"value"`
		Source string  `json:"source"`
	}{s.Name, value, s.Source.String()})
}

// Settings holds the resolved settings of one command. It may be read from several goroutines.
type Settings struct {
	file string
	list []Setting // sorted by name
	kind map[string]Kind
}

// File returns the path of the config file, empty when there is none.
func (s *Settings) File() string { return s.file }

// All returns every setting of the command, sorted by name.
func (s *Settings) All() []Setting { return slices.Clone(s.list) }

// Lookup returns the setting of a flag, false when the command has no such setting.
func (s *Settings) Lookup(name string) (Setting, bool) {
	i, ok := s.index(name)
	if !ok {
		return Setting{}, false
	}
	return s.list[i], true
}

// Value returns the value of a flag's setting, empty when the command has no such setting.
func (s *Settings) Value(name string) string {
	setting, _ := s.Lookup(name)
	return setting.Value
}

// Given reports whether someone gave the setting a value: by flag, environment or file.
func (s *Settings) Given(name string) bool {
	setting, ok := s.Lookup(name)
	return ok && setting.Source.Origin != FromDefault
}

func (s *Settings) index(name string) (int, bool) {
	return slices.BinarySearchFunc(s.list, name, func(e Setting, name string) int { return strings.Compare(e.Name, name) })
}

// setDefault records a default that depends on other settings.
func (s *Settings) setDefault(name, value, why string) {
	if i, ok := s.index(name); ok {
		s.list[i].Value, s.list[i].Shown = value, mask(s.kind[name], value)
		s.list[i].Source = Source{Origin: FromDefault, Name: why}
	}
}

// Resolve gives every setting among flags its value: from the command line where it was given there (flags must be parsed),
// else from the environment, else from pyworkflow.config.yaml in dir or the nearest folder above it, else its default. The
// flags' own variables hold the values afterwards; pflag's Changed still means "given on the command line".
//
// An empty environment variable and a key without a value count as not given. env is os.LookupEnv where nil, dir the working
// directory where empty. known are flag sets of other commands: the file may hold their keys too; any other key is an error.
// Errors are *UsageError.
func Resolve(flags *pflag.FlagSet, env func(string) (string, bool), dir string, known ...*pflag.FlagSet) (*Settings, error) {
	if env == nil {
		env = os.LookupEnv
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, Usagef("working directory: %v", err)
	}
	names := map[string]bool{}
	for _, set := range append([]*pflag.FlagSet{flags}, known...) {
		for f := range optedIn(set) {
			names[f.Name] = true
		}
	}
	file, err := findFile(dir, names)
	if err != nil {
		return nil, err
	}

	s := &Settings{file: file.path, kind: map[string]Kind{}}
	for f, kind := range optedIn(flags) {
		source, err := apply(f, kind, env, file)
		if err != nil {
			return nil, err
		}
		value := f.Value.String()
		s.kind[f.Name] = kind
		s.list = append(s.list, Setting{Name: f.Name, Value: value, Shown: mask(kind, value), Source: source})
	}
	slices.SortFunc(s.list, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// optedIn ranges over the flags of a set that are settings.
func optedIn(set *pflag.FlagSet) func(yield func(*pflag.Flag, Kind) bool) {
	return func(yield func(*pflag.Flag, Kind) bool) {
		more := true
		set.VisitAll(func(f *pflag.Flag) {
			if kind := f.Annotations[annotation]; more && len(kind) == 1 {
				more = yield(f, Kind(kind[0]))
			}
		})
	}
}

// apply sets one flag from the first layer that has a value for it.
func apply(f *pflag.Flag, kind Kind, env func(string) (string, bool), file configFile) (Source, error) {
	if f.Changed {
		return Source{Origin: FromFlag, Name: "--" + f.Name}, nil
	}
	variable := EnvName(f.Name)
	if value, ok := env(variable); ok && value != "" {
		if err := f.Value.Set(value); err != nil {
			return Source{}, Usagef("%s=%s: %s", variable, oneLine(mask(kind, value)), reason(f, kind, err))
		}
		return Source{Origin: FromEnvironment, Name: variable}, nil
	}
	if entry, ok := file.entries[f.Name]; ok {
		value := entry.value
		if kind == Path || kind == Module && isRelativePackage(value) {
			value = file.rebase(value, kind)
		}
		if err := f.Value.Set(value); err != nil {
			return Source{}, Usagef("%s:%d: %s: %s: %s", file.path, entry.line, entry.key, oneLine(mask(kind, entry.value)), reason(f, kind, err))
		}
		return Source{Origin: FromFile, Name: file.path, Line: entry.line}, nil
	}
	return Source{Origin: FromDefault}, nil
}

// reason says what is wrong with a value, without strconv's vocabulary, and without the value where that is a secret.
func reason(f *pflag.Flag, kind Kind, err error) string {
	switch f.Value.Type() {
	case "bool":
		return "must be true or false"
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64":
		return "must be a whole number"
	case "float32", "float64":
		return "must be a number"
	case "duration":
		return "must be a duration such as 500ms, 30s or 5m"
	}
	if kind == URL || kind == Secret {
		return "is not accepted"
	}
	return err.Error()
}

// oneLine quotes a value that would break an error's line or dress the terminal.
func oneLine(value string) string {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}

func mask(kind Kind, value string) string {
	switch {
	case value == "":
		return ""
	case kind == URL:
		return redisurl.Mask(value)
	case kind == Secret:
		return "***"
	default:
		return value
	}
}
