package store

import "fmt"

// FormatError says that a record cannot be read because a newer version of pyworkflow wrote it. It is an ErrFormat. The record is left alone:
// nothing of it was read or written.
type FormatError struct {
	Format int    // of the record
	Reads  int    // the newest format this program reads
	Field  string // a field of the record that this program does not know, although it knows the format; empty: the format is too new
}

// Error says in one line what was met and what to do.
func (e *FormatError) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("written by a newer version of pyworkflow (format %d with field %q, which this program does not know): upgrade this process", e.Format, e.Field)
	}
	return fmt.Sprintf("written by a newer version of pyworkflow (format %d; this program reads up to %d): upgrade this process", e.Format, e.Reads)
}

// Is makes it an ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
