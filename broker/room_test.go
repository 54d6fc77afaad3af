package broker

import "testing"

// Where the trial cannot be made, as in a directory that takes no nameless
// file, what statfs says counts: a full disk there must be noticed.
func TestCanTakeOnlyWhatWasTried(t *testing.T) {
	if !canTake(t.TempDir(), 4096) {
		t.Error("4 KiB have no room in a directory for temporary files")
	}
	if canTake("/proc/self", 4096) {
		t.Error("/proc takes files")
	}
}
