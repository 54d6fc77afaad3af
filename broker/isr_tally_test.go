package broker

import (
	"fmt"
	"testing"
)

func TestIsrTally(t *testing.T) {
	var tally isrTally
	for round := range 2 {
		for i := range int32(1000) {
			if first := tally.note("t", i, []int32{1, 2}, int64(10*round)+int64(i)); first != (i == 0) {
				t.Fatalf("change %d is the first: %v", i, first)
			}
		}
		count, first, began := tally.take()
		if want := "[t-0 [1 2] t-1 [1 2] t-2 [1 2]]"; count != 1000 || fmt.Sprint(first) != want || began != int64(10*round) {
			t.Errorf("%d changes since %d, first %v", count, began, first)
		}
	}
}
