//go:build !linux && !darwin

package sqlitestore

import "errors"

func diskOf(string) (disk, error) { return disk{}, errors.ErrUnsupported }
