package broker

import (
	"fmt"
	"testing"

	"freshet/metadata"
	"freshet/storage"
)

// TestDirectoriesAreReported: a broker with several log directories tells the
// controller which holds what.
func TestDirectoriesAreReported(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	s := newServed(t, a, "log.dirs", a+","+b)
	s.topic("spread", 6)
	ids := map[string]metadata.UUID{}
	for _, dir := range s.broker.logs.Dirs() {
		ids[dir.Path] = metadata.UUID(dir.DirectoryID)
	}
	used := map[metadata.UUID]int{}
	eventually(t, func() string {
		clear(used)
		for i, p := range s.broker.meta.Image().Topic("spread").Partitions {
			log := s.broker.logs.Get(storage.TopicPartition{Topic: "spread", Partition: int32(i)})
			if p.Dir(1) != ids[log.LogDir()] {
				return fmt.Sprintf("partition %d is in %s, but the metadata says %s", i, ids[log.LogDir()], p.Dir(1))
			}
			if p.Leader != 1 {
				return fmt.Sprintf("partition %d is led by %d", i, p.Leader)
			}
			used[p.Dir(1)]++
		}
		return ""
	})
	if len(used) != 2 {
		t.Errorf("the partitions lie in %d directories", len(used))
	}
}
