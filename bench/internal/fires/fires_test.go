package fires

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fires")
	log := New[Fire](2)
	var want []Fire
	for i := range int64(10_000) {
		f := Fire{Index: i, Nominal: -i, Start: math.MaxInt64 - i}
		want = append(want, f)
		log.Add(f)
	}
	if err := log.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read[Fire](path)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("read %d entries, %v; want the %d that were written", len(got), err, len(want))
	}
	if n := log.CountBefore(-9_000); n != 999 {
		t.Errorf("%d are before -9000, want 999", n)
	}
	if err := os.Truncate(path, 25); err != nil {
		t.Fatal(err)
	}
	if _, err := Read[Fire](path); err == nil {
		t.Error("a file that was cut off is read")
	}
}

func TestReadNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fires")
	if err := New[Taken](0).Write(path); err != nil {
		t.Fatal(err)
	}
	if got, err := Read[Taken](path); err != nil || len(got) != 0 {
		t.Errorf("read %v, %v; want nothing", got, err)
	}
	if _, err := Read[Taken](path + "x"); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestAddFromSeveral(t *testing.T) {
	log := New[Taken](0)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				log.Add(Taken{})
				log.CountBefore(0)
			}
		})
	}
	group.Wait()
	if n := log.CountBefore(0); n != 8000 {
		t.Errorf("%d entries, want 8000", n)
	}
}
