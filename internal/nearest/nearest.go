// Package nearest finds the names somebody may have meant. It knows nothing of what the names stand for.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Names returns the known names close to a mistyped one, the closest first, at most limit. A name is close when a third of its letters or
// fewer have to change (but always one or two), or when one name contains the other.
func Names(name string, known []string, limit int) []string {
	type candidate struct {
		name  string
		edits int
	}
	lower := strings.ToLower(name)
	var close []candidate
	for _, k := range known {
		l := strings.ToLower(k)
		edits := Edits(lower, l)
		within := edits <= max(2, max(len(lower), len(l))/3) && edits < max(len(lower), len(l))
		contains := min(len(lower), len(l)) >= 3 && (strings.Contains(l, lower) || strings.Contains(lower, l))
		if within || contains {
			close = append(close, candidate{k, edits})
		}
	}
	slices.SortFunc(close, func(a, b candidate) int { return cmp.Or(a.edits-b.edits, strings.Compare(a.name, b.name)) })
	var out []string
	for _, c := range close[:min(limit, len(close))] {
		out = append(out, c.name)
	}
	return out
}

// Edits is the Levenshtein distance of two texts, in bytes.
func Edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
