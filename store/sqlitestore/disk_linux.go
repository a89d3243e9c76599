package sqlitestore

import "syscall"

// isNetwork knows NFS, SMB and CIFS.
func isNetwork(st *syscall.Statfs_t) bool {
	switch uint32(st.Type) {
	case 0x6969, 0x517b, 0xff534d42, 0xfe534d42:
		return true
	}
	return false
}
