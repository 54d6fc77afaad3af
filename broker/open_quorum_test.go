package broker

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPreviousEpoch: after a crash of the process alone a broker may claim what
// it had, after one that cost it records it may not, ever.
func TestPreviousEpoch(t *testing.T) {
	dir := t.TempDir()
	run := func() (epoch, previous int64) {
		t.Helper()
		s := newServed(t, dir)
		if s.broker.meta.Image().Topic("t") == nil {
			s.topic("t", 1)
		}
		c := s.dial()
		c.send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
		c.answer()
		epoch, previous = s.broker.brokerEpoch(), s.broker.member.previousEpoch
		s.stop()
		return epoch, previous
	}
	crash := func() {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
			t.Fatal(err)
		}
	}
	epoch, previous := run()
	if previous != -1 {
		t.Errorf("a new broker claims epoch %d", previous)
	}
	if next, previous := run(); previous != epoch {
		t.Errorf("after a clean stop in epoch %d the claim is %d", epoch, previous)
	} else {
		epoch = next
	}
	crash()
	if next, previous := run(); previous != epoch && bootID() != "" {
		t.Errorf("after a crash in epoch %d the claim is %d", epoch, previous)
	} else {
		epoch = next
	}
	crash()
	log, err := os.OpenFile(filepath.Join(dir, "t-0", "00000000000000000000.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.WriteString("torn"); err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
	// It may be killed again before it registers, with sound logs by then.
	b, err := Open(testConfig(t, dir, "process.roles", "broker,controller"))
	if err != nil {
		t.Fatal(err)
	}
	if b.member.previousEpoch != -1 {
		t.Errorf("after a torn log the claim is %d", b.member.previousEpoch)
	}
	b.Stop()
}
