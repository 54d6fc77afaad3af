//go:build race

package record

// raceEnabled: the race detector makes sync.Pool drop objects at random.
const raceEnabled = true
