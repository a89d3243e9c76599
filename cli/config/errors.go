package config

import "fmt"

// UsageError says that the person, not the program, has something to change: a flag, a variable, the file.
// Its text is one line: what was wrong, with which value, and what to do. The command line exits 2 on it.
type UsageError struct{ text string }

// Error returns the line.
func (e *UsageError) Error() string { return e.text }

// Usagef returns a *UsageError with the formatted line.
func Usagef(format string, args ...any) error {
	return &UsageError{text: fmt.Sprintf(format, args...)}
}
