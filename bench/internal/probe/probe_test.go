package probe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addr")
	if _, err := Open(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before it serves: %v", err)
	}
	stop, err := Serve(file, func(ms int64) int { return int(2 * ms) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.CountBefore(t.Context(), 21); err != nil || n != 42 {
		t.Errorf("%d, %v; want 42", n, err)
	}
	before, err := c.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.Memory(t.Context())
	if err != nil || after.Mallocs <= before.Mallocs {
		t.Errorf("%+v, %v; before %+v", after, err, before)
	}
	profile := file + ".pprof"
	if err := c.Profile(t.Context(), time.Second, profile); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(profile); err != nil || st.Size() == 0 {
		t.Errorf("the profile: %v", err)
	}
	stop()
	if _, err := c.CountBefore(t.Context(), 0); err == nil {
		t.Error("it answers after its end")
	}
}
