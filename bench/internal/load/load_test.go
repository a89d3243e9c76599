package load

import (
	"slices"
	"testing"
)

func TestFind(t *testing.T) {
	for names, want := range map[string][]string{
		"L1":         {"L1"},
		"H, L0":      {"L0", "H"}, // in the order of the table
		"net":        {"net-L1", "net-H"},
		"M":          {"M-base", "M"},
		"scale,L1":   {"L1", "scale-1", "scale-2", "scale-4"},
		"net-H,net":  {"net-L1", "net-H"},
		"cluster":    {"cluster-base", "cluster-1", "cluster-6", "cluster-1s", "cluster-6s"},
		"scale-2,L1": {"L1", "scale-2"},
	} {
		loads, err := Find(names)
		var got []string
		for _, l := range loads {
			got = append(got, l.Name)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Find(%q) = %v, %v; want %v", names, got, err, want)
		}
	}
	if loads, err := Find("L1,all"); err != nil || len(loads) != len(all) {
		t.Errorf("all: %d loads, %v", len(loads), err)
	}
	if _, err := Find("L9"); err == nil {
		t.Error("L9 is found")
	}
}
