//go:build linux || darwin

package sqlitestore

import "syscall"

func diskOf(dir string) (disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return disk{}, err
	}
	return disk{free: st.Bavail * uint64(st.Bsize), network: isNetwork(&st)}, nil
}
