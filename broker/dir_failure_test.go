package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/iouring"
)

// TestFailedSyncIsRememberedByTheNextStart: a process that follows one whose sync
// failed reads the page cache, which shows what the disk may not have. It writes
// the log anew and claims nothing; the one after it is like any other.
func TestFailedSyncIsRememberedByTheNextStart(t *testing.T) {
	dir := t.TempDir()
	start := func() *served {
		return newServed(t, dir, "freshet.io.engine", "pwritev", "log.flush.interval.messages", "1")
	}
	produce := func(s *served) {
		t.Helper()
		c := s.dial()
		c.send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
		if got := decodeProduce(t, c.answer(), 9); got.ErrorCode != 0 {
			t.Fatalf("error %d", got.ErrorCode)
		}
	}
	segment := func() uint64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "t-0", "00000000000000000000.log"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	notes := func() int {
		found, _ := filepath.Glob(filepath.Join(dir, ".sync-failed-*"))
		return len(found)
	}
	s := start()
	s.topic("t", 1)
	produce(s)
	var r *reserved
	onLoop(s.broker.net.loops[0], func() {
		r = reserve(t, s.broker.net.loops[0], s.partition("t", 0))
		r.g.WriteDone(&r.g.op, fmt.Errorf("%w: %w", iouring.ErrSyncFailed, unix.EIO))
	})
	<-r.done
	<-s.broker.Fatal()
	if notes() != 1 {
		t.Error("the process would end without a note")
	}
	before := segment()
	s.stop()
	s = start()
	if s.broker.member.previousEpoch != -1 || s.broker.member.syncedEpoch != -1 {
		t.Errorf("it claims epochs %d and %d", s.broker.member.previousEpoch, s.broker.member.syncedEpoch)
	}
	if segment() == before {
		t.Error("the log is in the file whose sync failed")
	}
	if notes() != 0 {
		t.Error("the note is still there")
	}
	produce(s)
	if end := s.partition("t", 0).log.LogEndOffset(); end != 2 {
		t.Errorf("the log ends at %d, want 2", end)
	}
	epoch := s.broker.brokerEpoch()
	s.stop()
	if err := os.Remove(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	s = start()
	if got := s.broker.member.previousEpoch; got != epoch && bootID() != "" {
		t.Errorf("after a crash in epoch %d the claim is %d", epoch, got)
	}
	s.stop()
}
