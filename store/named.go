package store

import (
	"fmt"
	"strings"
)

// Named wraps an error as "verb noun id: cause", like "load schedule x: not found"; an error that says so already is returned as it is, since stores name what
// they failed at themselves.
func Named(err error, what, id string) error {
	name := what + " " + id + ": "
	if strings.HasPrefix(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s%w", name, err)
}
