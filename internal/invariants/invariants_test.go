package invariants

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	Check(true, "never formatted")
	defer func() {
		r := recover()
		if Enabled != (r != nil) {
			t.Fatalf("Enabled is %v, the failed check panicked with %v", Enabled, r)
		}
		if r != nil && !strings.HasPrefix(r.(string), "BUG: offset 7 after 9") {
			t.Fatalf("panic text %q", r)
		}
	}()
	Check(false, "offset %d after %d", 7, 9)
}

func TestSometimes(t *testing.T) {
	hits := 0
	for range 10000 {
		if Sometimes(50) {
			hits++
		}
	}
	if Enabled && (hits < 3000 || hits > 7000) || !Enabled && hits != 0 {
		t.Fatalf("Enabled is %v and Sometimes(50) was true %d times of 10000", Enabled, hits)
	}
	if Sometimes(0) {
		t.Fatal("Sometimes(0) was true")
	}
}

func TestMangle(t *testing.T) {
	buf := make([]byte, 4, 8)
	Mangle(buf)
	want := byte(0)
	if Enabled {
		want = mangled
	}
	for i, b := range buf[:cap(buf)] {
		if b != want {
			t.Fatalf("byte %d is %#x, want %#x", i, b, want)
		}
	}
}
