package iouring

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// machineModel drives one fileQueue as an engine would, against a file that is
// a byte slice, and checks every promise of the type comment.
type machineModel struct {
	q    *fileQueue
	eff  effects
	next int64 // position of the next append

	file    []byte // what has been written
	synced  int64  // bytes covered by a successful fdatasync
	atSync  int64  // bytes written when the fdatasync in flight started
	given   []*Op
	data    map[*Op][]byte
	pending int

	broken   error // a failure happened whose first Op has not been reported
	failedAt map[*Op]bool
	iovs     iovArray
}

func newMachineModel() *machineModel {
	return &machineModel{q: &fileQueue{fd: 3}, data: map[*Op][]byte{}, failedAt: map[*Op]bool{}}
}

func (m *machineModel) give(t *rapid.T) {
	op := &Op{Fd: 3, Pos: m.next, Sync: rapid.Bool().Draw(t, "sync")}
	for range rapid.IntRange(0, 3).Draw(t, "buffers") {
		buf := bytes.Repeat([]byte{byte(len(m.data)%250 + 1)}, rapid.IntRange(0, 9).Draw(t, "length"))
		op.Bufs = append(op.Bufs, buf)
		op.Len += int64(len(buf))
	}
	m.data[op] = bytes.Join(op.Bufs, nil)
	m.next += op.Len
	m.given = append(m.given, op)
	if m.broken != nil {
		m.failedAt[op] = true
	}
	m.eff = m.q.step(event{kind: evSubmit, op: op})
}

func (m *machineModel) startWrite(t *rapid.T) {
	if m.q.writing {
		t.Fatal("two writes in flight")
	}
	m.eff = m.q.step(event{kind: evStartWrite})
	count, position := m.q.gather(m.iovs[:])
	if count == 0 || m.q.batchBytes <= 0 {
		t.Fatalf("empty write of %d iovecs at %d", count, position)
	}
	if position != int64(len(m.file)) {
		t.Fatalf("write at %d, file ends at %d", position, len(m.file))
	}
}

func (m *machineModel) endWrite(t *rapid.T) {
	n := rapid.Int64Range(0, m.q.batchBytes).Draw(t, "n")
	var err error
	if n == 0 {
		err = rapid.SampledFrom([]error{nil, unix.EINTR, unix.ENOSPC, unix.EIO}).Draw(t, "err")
	}
	count, _ := m.q.gather(m.iovs[:])
	left := n
	for _, v := range m.iovs[:count] {
		took := min(int64(v.Len), left)
		m.file = append(m.file, unsafeBytes(v.Base, int(took))...)
		left -= took
	}
	if err == unix.ENOSPC || err == unix.EIO || m.q.tries == maxWriteTries-1 && n == 0 {
		m.fail(err, func(op *Op) bool { return op.Pos+op.Len > int64(len(m.file)) })
	}
	m.eff = m.q.step(event{kind: evWritten, n: n, err: err})
}

// fail marks what must fail: the first Op that matches and all behind it.
func (m *machineModel) fail(err error, from func(*Op) bool) {
	if err == nil {
		err = ErrNoProgress
	}
	hit := false
	for _, op := range m.given {
		hit = hit || from(op) && !m.failedAt[op]
		if hit {
			m.failedAt[op] = true
			m.broken = err
		}
	}
}

func (m *machineModel) startSync(t *rapid.T) {
	if m.q.syncing {
		t.Fatal("two fdatasyncs in flight")
	}
	m.atSync = int64(len(m.file))
	m.eff = m.q.step(event{kind: evStartSync})
}

func (m *machineModel) endSync(t *rapid.T) {
	var err error
	if rapid.IntRange(0, 5).Draw(t, "syncFails") == 0 {
		err = unix.EIO
		done := true // Ops already announced as complete stay so
		m.fail(err, func(op *Op) bool {
			done = done && op.state == opDone
			return !done
		})
	} else {
		m.synced = m.atSync
	}
	m.eff = m.q.step(event{kind: evSynced, err: err})
}

func (m *machineModel) pop(t *rapid.T) {
	op := m.q.pop()
	if op == nil {
		t.Fatal("nothing to hand out after complete was announced")
	}
	if op != m.given[0] {
		t.Fatal("completed out of order")
	}
	m.given = m.given[1:]
	if m.failedAt[op] != (op.err != nil) {
		t.Fatalf("Op at %d completed with %v, must fail: %t", op.Pos, op.err, m.failedAt[op])
	}
	if op.err != nil {
		m.broken = nil
		m.repair()
	} else {
		if end := op.Pos + op.Len; end > int64(len(m.file)) || !bytes.Equal(m.file[op.Pos:end], m.data[op]) {
			t.Fatalf("Op at %d completed, but its bytes are not in the file", op.Pos)
		}
		if op.Sync && op.Pos+op.Len > m.synced { // an empty Op is a barrier
			t.Fatalf("Op at %d completed with bytes beyond the durable %d", op.Pos, m.synced)
		}
	}
	m.eff = effects{startWrite: m.q.write != nil && !m.q.writing, startSync: m.q.unsynced > 0 && !m.q.syncing, complete: m.q.head != nil && m.q.head.state >= opDone}
}

// repair goes on behind the last byte written once every Op of a failure has
// been reported, as a log does that reopens.
func (m *machineModel) repair() {
	if len(m.given) == 0 {
		clear(m.failedAt)
		m.next = int64(len(m.file))
	}
}

type action struct {
	name string
	do   func(*rapid.T)
}

func (a action) String() string { return a.name }

// possible lists what may happen now.
func (m *machineModel) possible() []action {
	var list []action
	add := func(ok bool, name string, do func(*rapid.T)) {
		if ok {
			list = append(list, action{name, do})
		}
	}
	// Once a failure is reported the log stops until the rest has failed too.
	add(len(m.failedAt) == 0 || m.broken != nil, "give", m.give)
	add(m.eff.startWrite, "startWrite", m.startWrite)
	add(m.q.writing, "endWrite", m.endWrite)
	add(m.eff.startSync, "startSync", m.startSync)
	add(m.q.syncing, "endSync", m.endSync)
	add(m.eff.complete, "pop", m.pop)
	return list
}

// check runs between actions.
func (m *machineModel) check(t *rapid.T) {
	if m.q.unsynced < 0 {
		t.Fatalf("%d Ops wait for an fdatasync", m.q.unsynced)
	}
	if m.q.head == nil != (len(m.given) == 0) {
		t.Fatal("queue and model disagree on what is outstanding")
	}
}

func TestFileQueueKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachineModel()
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			rapid.SampledFrom(m.possible()).Draw(t, "action").do(t)
			m.check(t)
		}
		m.drain(t)
	})
}

// drain finishes everything without further faults.
func (m *machineModel) drain(t *rapid.T) {
	for step := 0; !m.q.idle(); step++ {
		switch {
		case step > 10_000:
			t.Fatal("the queue does not drain")
		case m.q.writing:
			n := m.q.batchBytes
			count, _ := m.q.gather(m.iovs[:])
			for _, v := range m.iovs[:count] {
				m.file = append(m.file, unsafeBytes(v.Base, int(v.Len))...)
			}
			m.eff = m.q.step(event{kind: evWritten, n: n})
		case m.q.syncing:
			m.synced = m.atSync
			m.eff = m.q.step(event{kind: evSynced})
		case m.eff.complete:
			m.pop(t)
		case m.eff.startWrite:
			m.startWrite(t)
		case m.eff.startSync:
			m.startSync(t)
		default:
			t.Fatalf("stuck with %d Ops outstanding", len(m.given))
		}
	}
}

func ops(sizes ...int) []*Op {
	var list []*Op
	var pos int64
	for _, n := range sizes {
		list = append(list, &Op{Fd: 1, Pos: pos, Bufs: [][]byte{make([]byte, n)}, Len: int64(n)})
		pos += int64(n)
	}
	return list
}

func TestFileQueueGathersWhileAWriteIsInFlight(t *testing.T) {
	q := &fileQueue{fd: 1}
	list := ops(10, 20, 30, 40)
	q.step(event{kind: evSubmit, op: list[0]})
	q.step(event{kind: evStartWrite})
	for _, op := range list[1:] {
		if q.step(event{kind: evSubmit, op: op}).startWrite {
			t.Fatal("a second write may start")
		}
	}
	if !q.step(event{kind: evWritten, n: 10}).startWrite {
		t.Fatal("no write follows")
	}
	q.step(event{kind: evStartWrite})
	if q.batchOps != 3 || q.batchBytes != 90 {
		t.Fatalf("batch of %d Ops and %d bytes, want 3 and 90", q.batchOps, q.batchBytes)
	}
}

func TestFileQueueBoundsABatch(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		q := &fileQueue{}
		for _, op := range ops(3<<20, 1<<20, 1) {
			q.step(event{kind: evSubmit, op: op})
		}
		q.step(event{kind: evStartWrite})
		if q.batchBytes != maxBatchBytes {
			t.Fatalf("batch of %d bytes, want %d", q.batchBytes, maxBatchBytes)
		}
	})
	t.Run("one large Op goes whole", func(t *testing.T) {
		q := &fileQueue{}
		q.step(event{kind: evSubmit, op: ops(6 << 20)[0]})
		q.step(event{kind: evStartWrite})
		if q.batchBytes != 6<<20 {
			t.Fatalf("batch of %d bytes", q.batchBytes)
		}
	})
	t.Run("iovecs", func(t *testing.T) {
		q := &fileQueue{}
		for _, op := range ops(make([]int, 0)...) {
			q.step(event{kind: evSubmit, op: op})
		}
		for i := range 1100 {
			q.step(event{kind: evSubmit, op: &Op{Pos: int64(i), Len: 1, Bufs: [][]byte{{1}}}})
		}
		q.step(event{kind: evStartWrite})
		if q.batchOps != iovMax {
			t.Fatalf("batch of %d Ops, want %d", q.batchOps, iovMax)
		}
	})
	t.Run("gap", func(t *testing.T) {
		q := &fileQueue{}
		list := ops(10, 10)
		list[1].Pos = 100
		for _, op := range list {
			q.step(event{kind: evSubmit, op: op})
		}
		q.step(event{kind: evStartWrite})
		if q.batchOps != 1 {
			t.Fatalf("batch of %d Ops across a gap", q.batchOps)
		}
	})
}

// One fdatasync covers every write that ended before it started, and no other.
func TestFileQueueGroupCommit(t *testing.T) {
	q := &fileQueue{}
	list := ops(10, 10, 10)
	for _, op := range list {
		op.Sync = true
	}
	write := func(op *Op) {
		q.step(event{kind: evSubmit, op: op})
		q.step(event{kind: evStartWrite})
		q.step(event{kind: evWritten, n: op.Len})
	}
	write(list[0])
	write(list[1])
	q.step(event{kind: evStartSync})
	write(list[2])
	eff := q.step(event{kind: evSynced})
	if q.pop() != list[0] || q.pop() != list[1] || q.pop() != nil {
		t.Fatal("the fdatasync covers the two writes before it, and not the third")
	}
	if !eff.startSync {
		t.Fatal("the third write waits for another fdatasync, which may not start")
	}
}

// RELIABILITY, fsync errors: the second fdatasync would succeed without the data.
func TestFileQueueNeverRetriesFdatasync(t *testing.T) {
	q := &fileQueue{}
	list := ops(10, 10, 10)
	for _, op := range list {
		op.Sync = true
	}
	for _, op := range list[:2] {
		q.step(event{kind: evSubmit, op: op})
	}
	q.step(event{kind: evStartWrite})
	q.step(event{kind: evWritten, n: 20})
	q.step(event{kind: evStartSync})
	q.step(event{kind: evSubmit, op: list[2]})
	q.step(event{kind: evStartWrite})
	eff := q.step(event{kind: evSynced, err: unix.EIO})
	if eff.startSync {
		t.Fatal("a failed fdatasync is tried again")
	}
	for range 2 {
		if op := q.pop(); op == nil || !errors.Is(op.err, unix.EIO) {
			t.Fatal("an Op covered by the failed fdatasync did not fail")
		}
	}
	if q.pop() != nil {
		t.Fatal("completed an Op whose buffers the kernel still reads")
	}
	eff = q.step(event{kind: evWritten, n: 10})
	if op := q.pop(); op != list[2] || !errors.Is(op.err, unix.EIO) || eff.startSync {
		t.Fatal("an Op on its way when fdatasync failed must fail with it, without another fdatasync")
	}
}

func TestFileQueueGivesUpWithoutProgress(t *testing.T) {
	for _, cause := range []error{nil, unix.EINTR, unix.EAGAIN} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			q := &fileQueue{}
			op := ops(10)[0]
			eff := q.step(event{kind: evSubmit, op: op})
			n := 0
			for ; eff.startWrite; n++ {
				q.step(event{kind: evStartWrite})
				eff = q.step(event{kind: evWritten, err: cause})
			}
			want := cause
			if want == nil {
				want = ErrNoProgress
			}
			if n != maxWriteTries || !errors.Is(op.err, want) {
				t.Fatalf("gave up after %d tries with %v", n, op.err)
			}
		})
	}
}
