package quorum

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"freshet/metadata"
)

const (
	// maxQueued bounds the messages that a connection has not taken, and
	// maxQueuedBytes their size; more are dropped, which raft makes up for.
	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
	// snapshotPartBytes is about the size of a part of a snapshot; messages go
	// between parts.
	snapshotPartBytes = 256 << 10
	// writeTimeout is how long a connection may take nothing.
	writeTimeout = 10 * time.Second
)

// stream is a connection to another member. Its reader gives messages to the
// Core, its writer takes them from a bounded queue.
type stream struct {
	l    *links
	conn net.Conn
	peer *hello
	mu   struct {
		sync.Mutex
		queue    []Message
		bytes    int
		snapshot *Message // to send, or being sent
		closed   bool
	}
	signal chan struct{}
	once   sync.Once
}

func newStream(l *links, conn net.Conn, peer *hello) *stream {
	return &stream{l: l, conn: conn, peer: peer, signal: make(chan struct{}, 1)}
}

// close ends both loops.
func (s *stream) close() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.wake()
	s.once.Do(func() { _ = s.conn.Close() })
}

func (s *stream) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// enqueue is called with Node.mu held.
func (s *stream) enqueue(m Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false
	}
	if m.Snapshot != nil {
		if s.mu.snapshot != nil {
			return false
		}
		s.mu.snapshot = &m
		s.wake()
		return true
	}
	size := 0
	for _, e := range m.Raft.GetEntries() {
		size += len(e.GetData()) + entryOverheadBytes
	}
	if len(s.mu.queue) >= maxQueued || s.mu.bytes > 0 && s.mu.bytes+size > maxQueuedBytes {
		return false
	}
	s.mu.queue = append(s.mu.queue, m)
	s.mu.bytes += size
	s.wake()
	return true
}

// writeLoop sends what is queued, and snapshots in parts between.
func (s *stream) writeLoop() {
	defer s.l.workers.Done()
	defer s.close()
	var buffer []byte
	var sending *snapshotSender
	for {
		s.mu.Lock()
		queue, snapshot, closed := s.mu.queue, s.mu.snapshot, s.mu.closed
		s.mu.queue, s.mu.bytes = nil, 0
		s.mu.Unlock()
		if closed {
			return
		}
		if snapshot != nil && sending == nil {
			sending = newSnapshotSender(snapshot)
		}
		if len(queue) == 0 && sending == nil {
			<-s.signal
			continue
		}
		var err error
		buffer = buffer[:0]
		for _, m := range queue {
			if buffer, err = appendMessage(buffer, m.Raft); err != nil {
				break
			}
		}
		if err == nil && sending != nil {
			buffer, err = sending.append(buffer)
		}
		if err == nil {
			err = s.write(buffer)
		}
		if err != nil {
			s.l.n.log.Debug("metadata quorum: cannot send", "node", s.peer.self.ID, "error", err)
			return
		}
		if sending != nil && sending.ended {
			sending = nil
			s.mu.Lock()
			s.mu.snapshot = nil
			s.mu.Unlock()
			s.l.n.with(func(c *Core, nowMs int64) { c.SnapshotSent(nowMs, s.peer.self.ID, true) })
		}
		if cap(buffer) > 4*maxMessageBytes {
			buffer = nil
		}
	}
}

func (s *stream) write(b []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func appendMessage(b []byte, m *raftpb.Message) ([]byte, error) {
	return appendFrame(b, frameMessage, func(b []byte) ([]byte, error) { return proto.MarshalOptions{}.MarshalAppend(b, m) })
}

// snapshotHead is the JSON behind the message of frameSnapshotBegin.
type snapshotHead struct {
	snapshotPoint
	ImageIndex int64 `json:"imageIndex"`
}

// snapshotSender makes the frames of a snapshot, some at a time.
type snapshotSender struct {
	m       *Message
	records []metadata.Record
	at      int
	begun   bool
	ended   bool
}

func newSnapshotSender(m *Message) *snapshotSender {
	return &snapshotSender{m: m, records: m.Snapshot.Image.Records()}
}

// append appends the next frames to b.
func (s *snapshotSender) append(b []byte) ([]byte, error) {
	if !s.begun {
		s.begun = true
		return appendFrame(b, frameSnapshotBegin, s.appendBegin)
	}
	if s.at < len(s.records) {
		return appendFrame(b, frameSnapshotPart, s.appendPart)
	}
	s.ended = true
	return appendFrame(b, frameSnapshotEnd, func(b []byte) ([]byte, error) {
		return binary.BigEndian.AppendUint64(b, uint64(len(s.records))), nil
	})
}

func (s *snapshotSender) appendBegin(b []byte) ([]byte, error) {
	message, err := proto.Marshal(s.m.Raft)
	if err != nil {
		return b, err
	}
	head, err := json.Marshal(snapshotHead{pointOf(s.m.Snapshot), s.m.Snapshot.Image.Index})
	if err != nil {
		return b, err
	}
	b = binary.AppendUvarint(b, uint64(len(message)))
	return append(append(b, message...), head...), nil
}

func (s *snapshotSender) appendPart(b []byte) ([]byte, error) {
	for start := len(b); s.at < len(s.records) && len(b)-start < snapshotPartBytes; s.at++ {
		text, err := metadata.EncodeRecord(s.records[s.at])
		if err != nil {
			return b, err
		}
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b, nil
}

// readLoop gives what arrives to the Core until the connection ends.
func (s *stream) readLoop() {
	defer s.l.workers.Done()
	err := s.read()
	s.close()
	if errors.Is(err, errFrame) || errors.Is(err, errChecksum) {
		s.l.n.log.Error("metadata quorum: connection closed", "node", s.peer.self.ID, "reason", err)
	}
	s.l.broken(s)
}

func (s *stream) read() error {
	r := bufio.NewReaderSize(s.conn, 64<<10)
	var buffer []byte
	var receiving snapshotReceiver
	for {
		kind, payload, grown, err := readFrame(r, buffer)
		if err != nil {
			return err
		}
		if buffer = grown; cap(buffer) > 4*maxMessageBytes {
			buffer = nil
		}
		message, err := receiving.frame(kind, payload)
		if err != nil {
			return err
		}
		if message.Raft == nil {
			continue // a part of a snapshot
		}
		if message.From() != s.peer.self.ID || message.To() != s.l.n.opts.NodeID {
			return fmt.Errorf("%w: it says that it is from node %d for node %d", errFrame, message.From(), message.To())
		}
		message.ReadEntries()
		s.l.n.with(func(c *Core, nowMs int64) { c.Step(nowMs, message) })
	}
}

// snapshotReceiver puts the parts of a snapshot together.
type snapshotReceiver struct {
	message *raftpb.Message // nil: none is under way
	head    snapshotHead
	records []metadata.Record
}

// frame takes a frame; the message is empty while a snapshot is incomplete.
func (s *snapshotReceiver) frame(kind byte, payload []byte) (Message, error) {
	switch kind {
	case frameMessage:
		m := &raftpb.Message{}
		if err := proto.Unmarshal(payload, m); err != nil {
			return Message{}, fmt.Errorf("%w: %w", errFrame, err)
		}
		if m.GetType() == raftpb.MsgSnap {
			return Message{}, fmt.Errorf("%w: a snapshot without its parts", errFrame)
		}
		return Message{Raft: m}, nil
	case frameSnapshotBegin:
		return Message{}, s.begin(payload)
	case frameSnapshotPart:
		if s.message == nil {
			return Message{}, fmt.Errorf("%w: a part of no snapshot", errFrame)
		}
		records, err := decodeRecords(payload)
		if err != nil {
			return Message{}, fmt.Errorf("%w: %w", errFrame, err)
		}
		s.records = append(s.records, records...)
		return Message{}, nil
	case frameSnapshotEnd:
		return s.end(payload)
	}
	return Message{}, fmt.Errorf("%w: its kind %d is unknown", errFrame, kind)
}

func (s *snapshotReceiver) begin(payload []byte) error {
	text, rest, err := cutText(payload)
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	*s = snapshotReceiver{message: &raftpb.Message{}}
	err = errors.Join(proto.Unmarshal(text, s.message), json.Unmarshal(rest, &s.head))
	if err == nil && (s.message.GetType() != raftpb.MsgSnap || s.message.GetSnapshot().GetMetadata().GetIndex() != s.head.Index || s.head.Index == 0) {
		err = errors.New("the snapshot contradicts its message")
	}
	if err != nil {
		*s = snapshotReceiver{}
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

func (s *snapshotReceiver) end(payload []byte) (Message, error) {
	if s.message == nil || len(payload) != 8 || binary.BigEndian.Uint64(payload) != uint64(len(s.records)) {
		return Message{}, fmt.Errorf("%w: a snapshot that is not whole", errFrame)
	}
	snapshot, err := snapshotOf(s.head.snapshotPoint, s.head.ImageIndex, s.records)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	m := Message{Raft: s.message, Snapshot: snapshot}
	*s = snapshotReceiver{}
	return m, nil
}
