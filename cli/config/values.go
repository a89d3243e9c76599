package config

import (
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// SecondsVar registers a flag that takes a length of time as seconds (10, 0.5) or with a unit (10s, 500ms, 1m30s). Negative
// ones are refused, 0 is not.
func SecondsVar(fs *pflag.FlagSet, p *time.Duration, name string, def time.Duration, usage string) {
	*p = def
	fs.Var((*seconds)(p), name, usage)
}

// ParseSeconds reads a length of time as seconds (10, 0.5) or with a unit (10s, 500ms, 1m30s).
func ParseSeconds(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		n, nerr := strconv.ParseFloat(text, 64)
		if nerr != nil || math.IsNaN(n) || math.Abs(n) > math.MaxInt64/float64(time.Second)-1 {
			return 0, errors.New("must be seconds, or a number with a unit: 10, 0.5, 10s or 1m30s")
		}
		d = time.Duration(math.Round(n * float64(time.Second)))
	}
	if d < 0 {
		return 0, errors.New("must not be negative")
	}
	return d, nil
}

type seconds time.Duration

func (s *seconds) Set(text string) error {
	d, err := ParseSeconds(text)
	if err != nil {
		return err
	}
	*s = seconds(d)
	return nil
}

func (s *seconds) Type() string { return "seconds" }

// String writes 90s as 1m30s and 60s as 1m.
func (s *seconds) String() string {
	text := time.Duration(*s).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// OneOfVar registers a flag that takes one of a few words. def need not be one of them: empty says that the default depends on
// something else.
func OneOfVar(fs *pflag.FlagSet, p *string, name, def string, words []string, usage string) {
	*p = def
	fs.Var(&oneOf{p: p, words: words}, name, usage)
}

type oneOf struct {
	p     *string
	words []string
}

func (o *oneOf) String() string {
	if o.p == nil {
		return "" // pflag asks a zero value
	}
	return *o.p
}

func (o *oneOf) Type() string { return strings.Join(o.words, "|") }

func (o *oneOf) Set(text string) error {
	if !slices.Contains(o.words, text) {
		last := len(o.words) - 1
		return errors.New("must be " + strings.Join(o.words[:last], ", ") + " or " + o.words[last])
	}
	*o.p = text
	return nil
}

var namespacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// CheckNamespace returns what is wrong with a namespace, nil when nothing is.
func CheckNamespace(name string) error {
	if !namespacePattern.MatchString(name) {
		return errors.New("must be 1 to 64 letters, digits, _, . or -, and begin with a letter or digit")
	}
	return nil
}

type namespace string

func (n *namespace) String() string { return string(*n) }
func (n *namespace) Type() string   { return "name" }

func (n *namespace) Set(text string) error {
	if err := CheckNamespace(text); err != nil {
		return err
	}
	*n = namespace(text)
	return nil
}
