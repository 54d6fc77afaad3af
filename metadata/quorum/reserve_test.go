package quorum

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"freshet/metadata"
)

// fullDisk is a disk that gives no file any more blocks while it is full.
type fullDisk struct {
	full atomic.Bool
	room atomic.Int32 // 1: a node has room again; -1: it has none
}

func (f *fullDisk) under(n *Node) {
	n.disk.reserve.allocate = func(file *os.File, offset, bytes int64) error {
		if f.full.Load() {
			return syscall.ENOSPC
		}
		return file.Truncate(offset + bytes)
	}
	n.OnRoom(func(room bool) {
		f.room.Store(-1)
		if room {
			f.room.Store(1)
		}
	})
}

// fillUp changes the metadata until that is refused, and returns the keys of the
// changes that were answered.
func fillUp(t *testing.T, n *Node) (kept []string) {
	t.Helper()
	value := strings.Repeat("v", 4000)
	for i := range 20_000 {
		key := fmt.Sprintf("k%d", i)
		_, err := set(n, key, value)
		if errors.Is(err, ErrNoRoom) {
			return kept
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, key)
	}
	t.Fatal("the disk never fills up")
	return nil
}

func missing(img *metadata.Image, keys []string) (gone []string) {
	for _, key := range keys {
		if _, ok := img.BrokerConfigs[""][key]; !ok {
			gone = append(gone, key)
		}
	}
	return gone
}

// TestAFullDiskOfOne lets a node by itself use up its reserve: it refuses
// changes, shows what it has, and goes on when there is room.
func TestAFullDiskOfOne(t *testing.T) {
	var disk fullDisk
	opts := Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: 1}, DirectoryID: metadata.RandomUUID(), Voter: true}
	n := start(t, opts, disk.under)
	if _, err := set(n.Node, "before", "full"); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	kept := fillUp(t, n.Node)
	if len(kept) < 50 {
		t.Errorf("the reserve is used up after %d changes", len(kept))
	}
	if gone := missing(n.Image(), append(kept, "before")); gone != nil {
		t.Errorf("%v is gone from the image", gone)
	}
	eventually(t, "the node says that it has no room", func() bool { return disk.room.Load() == -1 })
	disk.full.Store(false)
	eventually(t, "the node says that it has room", func() bool { return disk.room.Load() == 1 })
	if _, err := set(n.Node, "after", "full"); err != nil {
		t.Fatal(err)
	}
	n.stop()
	again := start(t, opts)
	if gone := missing(again.Image(), append(kept, "before", "after")); gone != nil {
		t.Errorf("%v is gone after a restart", gone)
	}
}

// TestAFullDiskOfTheLeader: another one leads, and the full one follows when it
// has room.
func TestAFullDiskOfTheLeader(t *testing.T) {
	disks := map[int32]*fullDisk{}
	var members []*member
	for _, o := range group(t, 3) {
		disks[o.NodeID] = &fullDisk{}
		members = append(members, start(t, o, disks[o.NodeID].under))
	}
	first := leaderOf(t, members...)
	full := first.opts.NodeID
	disks[full].full.Store(true)
	// Nobody waits for the full one: its changes commit on the others.
	var kept []string
	value := strings.Repeat("v", 4000)
	for i := 0; disks[full].room.Load() != -1; i++ {
		if i == 20_000 {
			t.Fatal("the disk never fills up")
		}
		key := fmt.Sprintf("k%d", i)
		if _, err := set(leaderOf(t, members...).Node, key, value); err == nil {
			kept = append(kept, key)
		}
	}
	eventually(t, "another leader", func() bool { return leaderOf(t, members...) != first })
	for _, key := range []string{"a", "b"} {
		if _, err := set(leaderOf(t, members...).Node, key, value); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, key)
	}
	if missing(first.Image(), kept) == nil {
		t.Error("the full one has what it has no room for")
	}
	disks[full].full.Store(false)
	eventually(t, "the full one catches up", func() bool { return missing(first.Image(), kept) == nil })
}

// TestALargeTransactionHasRoom: the reserve is for full disks, and no limit.
func TestALargeTransactionHasRoom(t *testing.T) {
	opts := Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: 1}, DirectoryID: metadata.RandomUUID(), Voter: true}
	n := start(t, opts)
	for _, key := range []string{"a", "b"} {
		if _, err := set(n.Node, key, strings.Repeat("v", 8<<20)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnErrorOfTheDiskIsFinal: only what is known not to have happened is tried
// again.
func TestAnErrorOfTheDiskIsFinal(t *testing.T) {
	var failed atomic.Bool
	opts := Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: 1}, DirectoryID: metadata.RandomUUID(), Voter: true}
	n := start(t, opts, func(n *Node) { n.OnFailed(func(error) { failed.Store(true) }) })
	_ = n.disk.db.Close() // the next transaction fails in a way that nobody knows
	if _, err := set(n.Node, "a", "b"); err == nil {
		t.Error("a change without a disk was answered")
	}
	eventually(t, "the node fails", failed.Load)
	for err, want := range map[error]bool{
		syscall.ENOSPC: false, // of a sync
		syscall.EIO:    false,
		&os.PathError{Op: "write", Err: syscall.ENOSPC}: true,
		&os.PathError{Op: "write", Err: syscall.EIO}:    false,
	} {
		if got := notWritten(fmt.Errorf("cannot write: %w", err)); got != want {
			t.Errorf("%v: known not to be written: %t", err, got)
		}
	}
}
