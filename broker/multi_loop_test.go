package broker

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/iouring"
	"freshet/metadata"
	"freshet/record"
	"freshet/storage"

	"github.com/twmb/franz-go/pkg/kerr"
)

// reserved is a batch that has its place in the log, as a write group that no
// engine has been given: the test decides how its write ends. done receives
// the acknowledgement.
type reserved struct {
	g        *writeGroup
	failures int64
	done     chan error
}

// reserve must run on l.
func reserve(t *testing.T, l *loop, p *partition) *reserved {
	r := &reserved{done: make(chan error, 2), failures: p.failures.Load()}
	req := storage.AppendRequest{Batch: record.Batch(batchOf(t, 1, 10)), NowMs: l.nowMs, Origin: storage.OriginCoordinator}
	var res storage.Reservation
	if err := p.log.Reserve(&req, &res); err != nil {
		t.Error(err)
		return nil
	}
	r.g = l.turn.newGroup(p, &res)
	l.turn.groups = l.turn.groups[:len(l.turn.groups)-1]
	p.open[l.idx] = nil
	r.g.op.Len, r.g.nextOffset = int64(res.Length), res.NextOffset
	r.g.dones = append(r.g.dones, func(err error) { r.done <- err })
	l.pendingBytes += r.g.op.Len
	if _, err := unix.Pwrite(r.g.op.Fd, req.Batch, r.g.op.Pos); err != nil {
		t.Error(err)
	}
	return r
}

var errDisk = fmt.Errorf("write: %w", unix.EIO)

// Two loops write to one partition, and the later write ends first. It is
// acknowledged only when the earlier one is in the log; if that one fails, so
// does the later, whether the failure comes before or after it was parked.
func TestLaterWriteEndsFirst(t *testing.T) {
	s := newServed(t, t.TempDir(), "num.network.threads", "2", "freshet.io.engine", "pwritev")
	s.topic("t", 1)
	p := s.partition("t", 0)
	a, b := s.broker.net.loops[0], s.broker.net.loops[1]
	pair := func() (first, second *reserved) {
		onLoop(a, func() { first = reserve(t, a, p) })
		onLoop(b, func() { second = reserve(t, b, p) })
		return first, second
	}
	end := func(l *loop, r *reserved, err error) { onLoop(l, func() { r.g.WriteDone(&r.g.op, err) }) }
	unanswered := func(r *reserved) {
		t.Helper()
		select {
		case err := <-r.done:
			t.Fatalf("answered early: %v", err)
		default:
		}
	}

	first, second := pair()
	end(b, second, nil)
	unanswered(second)
	end(a, first, nil)
	if e1, e2 := <-first.done, <-second.done; e1 != nil || e2 != nil {
		t.Fatalf("both writes succeeded: %v, %v", e1, e2)
	}
	if hw, leo := p.HighWatermark(), p.log.LogEndOffset(); hw != 2 || leo != 2 {
		t.Fatalf("high watermark %d, end %d", hw, leo)
	}

	first, second = pair()
	end(b, second, nil)
	unanswered(second)
	end(a, first, errDisk)
	if e1, e2 := <-first.done, <-second.done; e1 == nil || e2 == nil {
		t.Fatalf("the first write failed, the second waited for it: %v, %v", e1, e2)
	}

	// The first fails when the log has been told of the second, and the second
	// is not parked yet; other records take the same offsets.
	first, second = pair()
	onLoop(b, func() {
		g := second.g
		if _, err := p.log.Complete(g.seg, g.baseOffset, g.nextOffset, g.op.Pos, g.op.Len, nil); err != nil {
			t.Errorf("the second write waits: %v", err)
		}
		b.pendingBytes -= g.op.Len
	})
	end(a, first, errDisk)
	third, fourth := pair()
	end(a, third, nil)
	end(b, fourth, nil)
	onLoop(b, func() { p.parkAck(second.g, second.failures) })
	if e := <-second.done; e == nil {
		t.Fatal("records that are not in the log were acknowledged")
	}
	if e1, e2 := <-third.done, <-fourth.done; e1 != nil || e2 != nil {
		t.Fatalf("after the failure: %v, %v", e1, e2)
	}
	if leo := p.log.LogEndOffset(); leo != 4 {
		t.Fatalf("end %d", leo)
	}
	_ = s.conn.Close()
	s.settled()
}

// Loops that move the high watermark at once never set it back.
func TestHighWatermarkOnlyForward(t *testing.T) {
	s := newServed(t, t.TempDir(), "num.network.threads", "2")
	s.topic("t", 1)
	p := s.partition("t", 0)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		frame := produceFrame("t", batchOf(t, 1, 10), 1, 9)
		clients := []*rawClient{s.dial(), s.dial()}
		for range 300 {
			for _, c := range clients {
				c.send(frame)
			}
			for _, c := range clients {
				c.answer()
			}
		}
	}()
	last := int64(0)
	for running := true; running; {
		select {
		case <-stop:
			running = false
		default:
			runtime.Gosched() // with one processor the loops need it
		}
		hw := p.HighWatermark()
		if hw < last {
			t.Fatalf("high watermark went from %d to %d", last, hw)
		}
		last = hw
	}
	if last != 600 {
		t.Errorf("high watermark %d after 600 records", last)
	}
}

// A duplicate whose first write fails while it waits is told so.
func TestDuplicateOfAFailedWrite(t *testing.T) {
	s := newServed(t, t.TempDir(), "freshet.io.engine", "pwritev")
	s.topic("t", 1)
	p := s.partition("t", 0)
	l := s.broker.net.loops[0]
	var first *reserved
	failed := make(chan error, 1)
	onLoop(l, func() {
		first = reserve(t, l, p)
		res := storage.Reservation{BaseOffset: first.g.baseOffset, WaitOffset: first.g.nextOffset, Duplicate: true}
		slot := &slot{conn: &conn{loop: l}, buf: make([]byte, 32)}
		slot.wait(1) // stays with the test
		l.turn.addDuplicate(p, &res, pendingAck{slot: slot}, p.failures.Load())
		first.g.WriteDone(&first.g.op, errDisk)
		l.post(func(any) error { // behind the answer of the duplicate
			failed <- kerr.ErrorForCode(int16(slot.buf[0])<<8 | int16(slot.buf[1]))
			return nil
		}, nil)
	})
	if err := <-failed; !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("the duplicate was answered %v", err)
	}
}

// After a failed fdatasync nobody knows what the disk holds: the log directory
// goes offline, and its partitions take nothing more.
func TestFailedSyncTakesTheDirectoryOffline(t *testing.T) {
	s := newServed(t, t.TempDir(), "freshet.io.engine", "pwritev", "log.flush.interval.messages", "1")
	s.topic("t", 1)
	c := s.dial()
	c.send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
	if got := decodeProduce(t, c.answer(), 9); got.ErrorCode != 0 {
		t.Fatalf("error %d", got.ErrorCode)
	}
	p, l := s.partition("t", 0), s.broker.net.loops[0]
	if at := p.log.RecoveryPoint(); at != 1 {
		t.Errorf("recovery point %d after a synced append", at)
	}
	var r *reserved
	onLoop(l, func() {
		r = reserve(t, l, p)
		if !r.g.op.Sync {
			t.Error("flush.messages=1 asks for no sync")
		}
		r.g.WriteDone(&r.g.op, fmt.Errorf("%w: %w", iouring.ErrSyncFailed, unix.EIO))
	})
	if err := <-r.done; !errors.Is(err, storage.ErrLogDirFailed) {
		t.Errorf("answered %v", err)
	}
	if len(s.broker.offlineDirs()) != 1 {
		t.Error("the directory is still online")
	}
	c.send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
	if got := decodeProduce(t, c.answer(), 9); got.ErrorCode != kerr.KafkaStorageError.Code {
		t.Errorf("an append after the failure is answered %d", got.ErrorCode)
	}
	if err := <-s.broker.Fatal(); err == nil {
		t.Error("the last directory failed and the broker goes on")
	}
	c.send(fetchFrame("t", 0, 1000, 0, 1, 12)) // what is durable is served
	if part := decodeFetch(t, c.answer(), 12).Topics[0].Partitions[0]; part.ErrorCode != 0 || len(part.RecordBatches) == 0 {
		t.Errorf("durable records are answered with error %d, %d bytes", part.ErrorCode, len(part.RecordBatches))
	}
}

// A partition whose log directory is offline since the start stays offline when
// the metadata of its topic changes: its records may be there, and an empty log
// must not take its place.
func TestOfflinePartitionStaysOffline(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 2)
	b := s.broker
	have := b.net.topics.name([]byte("t"))
	tp := storage.TopicPartition{Topic: "t", Partition: 1}
	b.topicMu.Lock() // as a start leaves it that finds no log and a directory offline
	parts := slices.Clone(*have.parts.Load())
	parts[1] = nil
	have.parts.Store(&parts)
	have.offline.Store(&map[int32]bool{1: true})
	err := b.logs.Delete(tp)
	b.topicMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	value := "1234"
	if _, err := b.meta.Do(func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.ConfigRecord{Resource: metadata.ResourceTopic, Name: "t", Key: "max.message.bytes", Value: &value}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := have.settings.Load().maxMessageBytes; got != 1234 {
		t.Fatalf("max.message.bytes is %d: the change did not come through", got)
	}
	if have.partition(1) != nil || b.logs.Get(tp) != nil {
		t.Error("an empty log took the place of the offline one")
	}
	if code := have.absent(1); code != kerr.KafkaStorageError {
		t.Errorf("clients are told %v", code)
	}
}
