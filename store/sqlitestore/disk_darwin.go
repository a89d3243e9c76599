package sqlitestore

import "syscall"

const mountLocal = 0x1000 // MNT_LOCAL

func isNetwork(st *syscall.Statfs_t) bool { return st.Flags&mountLocal == 0 }
