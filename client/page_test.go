package client

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// TestPageOfAStoreThatReturnsLittle: a store with filters may return fewer items than asked for, even none, with a cursor.
func TestPageOfAStoreThatReturnsLittle(t *testing.T) {
	read := func(p store.Page) ([]int, string, error) {
		from, _ := strconv.Atoi(p.Cursor)
		if from >= 20 {
			return nil, "", nil
		}
		var items []int
		for i := from; i < from+4 && len(items) < p.Limit; i++ {
			if i%8 < 3 { // 0 1 2, 8 9 10, 16 17 18
				items = append(items, i)
			}
		}
		next := from + 4
		if len(items) == p.Limit {
			next = items[len(items)-1] + 1
		}
		return items, strconv.Itoa(next), nil
	}
	view := func(i int) (int, error) { return i, nil }
	first, err := page(PageRequest{Limit: 5}, read, view)
	if err != nil || !slices.Equal(first.Items, []int{0, 1, 2, 8, 9}) || first.NextCursor == "" {
		t.Errorf("%+v, %v", first, err)
	}
	second, err := page(PageRequest{Limit: 5, Cursor: string(first.NextCursor)}, read, view)
	if err != nil || !slices.Equal(second.Items, []int{10, 16, 17, 18}) || second.NextCursor != "" {
		t.Errorf("%+v, %v", second, err)
	}
	var all []int
	for i, err := range walk(func(r PageRequest) (Page[int], error) { return page(r, read, view) }) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	if !slices.Equal(all, []int{0, 1, 2, 8, 9, 10, 16, 17, 18}) {
		t.Errorf("%v", all)
	}
}

// A filter that hardly anything passes is not followed through all there is: the page ends early, with a cursor.
func TestPageLooksForAWhileOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		read := func(store.Page) ([]int, string, error) {
			<-time.After(30 * time.Millisecond)
			calls++
			return nil, strconv.Itoa(calls), nil
		}
		got, err := page(PageRequest{Limit: 5}, read, func(i int) (int, error) { return i, nil })
		if err != nil || calls != 4 || len(got.Items) != 0 || got.NextCursor != "4" {
			t.Errorf("%+v after %d calls, %v", got, calls, err)
		}
	})
}
