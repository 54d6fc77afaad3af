package invariants

import (
	"fmt"
	"math/rand/v2"
)

// mangled is what Mangle fills buffers with: no varint, length or offset made
// of it passes validation, and it stands out in a hex dump.
const mangled = 0xCC

// Check panics when ok is false. The message says what was expected and found;
// it is formatted only then. Without Enabled it does nothing.
func Check(ok bool, format string, args ...any) {
	if Enabled && !ok {
		panic("BUG: " + fmt.Sprintf(format, args...))
	}
}

// Sometimes is true in about percent of the calls in builds with Enabled, and
// never otherwise: it forces rare paths (a short write, a cache miss) in tests.
func Sometimes(percent int) bool {
	return Enabled && rand.IntN(100) < percent
}

// Mangle overwrites buf up to its capacity in builds with Enabled. Call it on a
// buffer that goes back to a pool: a reader that kept it sees nonsense in tests
// instead of another connection's data in production.
func Mangle(buf []byte) {
	if Enabled {
		buf = buf[:cap(buf)]
		for i := range buf {
			buf[i] = mangled
		}
	}
}
