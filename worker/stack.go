package worker

import "runtime"

// deepen grows the stack of a new goroutine to what dealing with a run takes, while there is hardly anything on it. Grown bit by bit under deep calls it is copied
// frame by frame, several times a run: a tenth of the processor time of a worker whose runs are short.
//
//go:noinline
func deepen() {
	var room [10 << 10]byte
	runtime.KeepAlive(&room)
}
