package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"freshet/vfs"
)

// partitionsOf are the first n partitions of a topic.
func partitionsOf(topic string, n int) []TopicPartition {
	tps := make([]TopicPartition, n)
	for i := range tps {
		tps[i] = TopicPartition{topic, int32(i)}
	}
	return tps
}

// TestCreateAllOnADisk makes enough partitions for one sync of all, and finds
// them again.
func TestCreateAllOnADisk(t *testing.T) {
	dir := t.TempDir()
	m := testManagerIn(t, dir)
	id := NewUUID()
	tps := partitionsOf("many", wholeSyncFrom+3)
	if err := m.CreateAll(tps, &id, noRetention()); err != nil {
		t.Fatal(err)
	}
	if !m.Get(tps[5]).segments.Load().active().dirSynced.Load() {
		t.Error("a new segment's directory counts as unsynced")
	}
	mustAppend(t, m.Get(tps[7]), plain(1))
	if err := m.CreateAll(append(partitionsOf("more", 2), tps[0]), &id, noRetention()); !errors.Is(err, ErrLogExists) {
		t.Errorf("a partition that exists: %v", err)
	}
	if m.Get(TopicPartition{"more", 0}) != nil {
		t.Error("a refused creation made a partition")
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	// What a power loss before the sync may leave.
	if err := os.Truncate(filepath.Join(dir, "many-3", partitionMetadataFile), 0); err != nil {
		t.Fatal(err)
	}
	m = testManagerIn(t, dir)
	if len(m.Logs()) != len(tps) {
		t.Fatalf("%d logs after a restart, want %d", len(m.Logs()), len(tps))
	}
	for _, tp := range tps {
		if got, ok := m.Get(tp).TopicID(); ok != (tp.Partition != 3) || ok && got != id {
			t.Errorf("%s has topic id %v, %v", tp, got, ok)
		}
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}

func testManagerIn(t *testing.T, dir string) *LogManager {
	t.Helper()
	m, err := openTestManager(vfs.OS{}, dir, newClock(), noRetention())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCreateAllFails leaves no partition behind that is half made.
func TestCreateAllFails(t *testing.T) {
	fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
	if err != nil {
		t.Fatal(err)
	}
	m := twoDirs(t, fsys, nil)
	if err := fsys.Inject("mkdir(many-5) enospc"); err != nil {
		t.Fatal(err)
	}
	tps := partitionsOf("many", 20)
	if err := m.CreateAll(tps, nil, noRetention()); err == nil {
		t.Fatal("a partition without a directory was created")
	}
	if m.Get(tps[5]) != nil || m.Get(tps[4]) == nil {
		t.Error("the wrong partitions are there")
	}
	fsys.Heal()
	if err := m.CreateAll(tps[5:6], nil, noRetention()); err != nil {
		t.Errorf("the second attempt: %v", err)
	}
}
