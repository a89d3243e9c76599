// Package probe lets the driver look into a process of the benchmark over loopback HTTP: how many starts it has seen, how much it has allocated, and its profiles. A
// process that nobody asks pays nothing for it.
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Memory is what a process has allocated since it began, and the size of its heap.
type Memory struct {
	Mallocs uint64 `json:"mallocs"`
	Bytes   uint64 `json:"bytes"`
	Heap    uint64 `json:"heap"`
	GCs     uint32 `json:"gcs"`
}

// Serve answers on a free loopback port and writes its address to the file. Count counts the starts with a nominal time before so many ms. The returned
// function ends it.
func Serve(file string, count func(ms int64) int) (stop func(), err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve probe: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/before", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.ParseInt(r.FormValue("ms"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, count(ms))
	})
	mux.HandleFunc("/memory", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(Memory{Mallocs: m.Mallocs, Bytes: m.TotalAlloc, Heap: m.HeapAlloc, GCs: m.NumGC}) // who asked has gone
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // it ends when it is closed
	}()
	stop = func() {
		_ = server.Close()
		<-ended
	}
	if err := writeWhole(file, l.Addr().String()); err != nil {
		stop()
		return nil, fmt.Errorf("serve probe: %w", err)
	}
	return stop, nil
}

// writeWhole makes a file appear with all of its text.
func writeWhole(path, text string) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
