package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"freshet/metadata"
)

// Key is the API key of the first frame of a connection between members. It is
// private and in no ApiVersions response.
const Key = 121

// Frames after the hello: length of what follows, CRC-32C of kind and payload,
// kind, payload.
const (
	frameMessage       = 1 // raftpb.Message
	frameSnapshotBegin = 2 // raftpb.Message of type MsgSnap, without data; then JSON of snapshotHead
	frameSnapshotPart  = 3 // records: uvarint length, text
	frameSnapshotEnd   = 4 // uint64 number of records
)

const (
	// maxFrameBytes bounds a frame of the stream; an entry with one very large
	// record is the largest there can be.
	maxFrameBytes = 256 << 20
	// maxHelloBytes bounds the hello and its answer, which come from a node
	// that is not known yet.
	maxHelloBytes = 64 << 10
)

var (
	errFrame    = errors.New("the frame is malformed")
	errChecksum = errors.New("the frame has a wrong checksum")
)

// appendFrame appends a frame. The payload is what fill appends.
func appendFrame(b []byte, kind byte, fill func([]byte) ([]byte, error)) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	b, err := fill(b)
	if err != nil {
		return b[:start], err
	}
	if len(b)-start-4 > maxFrameBytes {
		return b[:start], fmt.Errorf("a frame of %d bytes is too large", len(b)-start-4)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], castagnoli))
	return b, nil
}

// readFrame reads a frame. The buffer grows as bytes arrive and is the
// caller's to give again.
func readFrame(r io.Reader, buffer []byte) (kind byte, payload, grown []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, buffer, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 5 || length > maxFrameBytes {
		return 0, nil, buffer, errFrame
	}
	if buffer, err = readBytes(r, buffer, int(length)-5); err != nil {
		return 0, nil, buffer, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, buffer)
	if sum != binary.BigEndian.Uint32(head[4:]) {
		return 0, nil, buffer, errChecksum
	}
	return head[8], buffer, buffer, nil
}

// readBytes reads length bytes into the buffer, which never becomes much larger
// than what has arrived.
func readBytes(r io.Reader, buffer []byte, length int) ([]byte, error) {
	const step = 1 << 20
	buffer = buffer[:0]
	for len(buffer) < length {
		n := min(length-len(buffer), step)
		at := len(buffer)
		if cap(buffer)-at < n {
			larger := make([]byte, at, max(2*at, at+n))
			copy(larger, buffer)
			buffer = larger
		}
		buffer = buffer[:at+n]
		if _, err := io.ReadFull(r, buffer[at:]); err != nil {
			return buffer[:0], err
		}
	}
	return buffer, nil
}

// hello is what nodes tell each other first.
type hello struct {
	clusterID string // "" before the node has joined
	founding  string // "" before the node has joined
	self      Voter
	// incarnation is drawn when the process starts.
	incarnation uint64
	// to is the node that is expected there, -1 any.
	to int32
}

// helloReply answers a hello. Code 0 is good.
type helloReply struct {
	code    int16
	message string
	hello   // of the node that answers
	leader  int32
	voters  []Voter
}

// Error codes of a hello's answer: Kafka's.
const (
	helloOK            int16 = 0
	helloOtherNode     int16 = 42  // INVALID_REQUEST
	helloWrongGroup    int16 = 94  // INCONSISTENT_VOTER_SET
	helloDuplicateNode int16 = 101 // DUPLICATE_BROKER_REGISTRATION
	helloWrongCluster  int16 = 104 // INCONSISTENT_CLUSTER_ID
)

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendVoter(b []byte, v Voter) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(v.ID))
	b = append(b, v.Dir[:]...)
	b = appendString(b, v.Host)
	return binary.BigEndian.AppendUint32(b, uint32(v.Port))
}

func (h *hello) append(b []byte) []byte {
	b = appendString(b, h.clusterID)
	b = appendString(b, h.founding)
	b = appendVoter(b, h.self)
	b = binary.BigEndian.AppendUint64(b, h.incarnation)
	return binary.BigEndian.AppendUint32(b, uint32(h.to))
}

// appendRequest appends the hello as a Kafka request: length, header of
// version 1 (key, version, correlation id, no client id), body.
func (h *hello) appendRequest(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, Key)
	b = append(b, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
	b = h.append(b)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// appendResponse appends the answer as a Kafka response: length, correlation
// id, body.
func (r *helloReply) appendResponse(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(r.code))
	b = appendString(b, r.message)
	b = r.hello.append(b)
	b = binary.BigEndian.AppendUint32(b, uint32(r.leader))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.voters)))
	for _, v := range r.voters {
		b = appendVoter(b, v)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// reader takes fixed and counted fields off a hello; bad is set at the first
// that is not there.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, min(n, 16))
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) int16() int16   { return int16(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) int32() int32   { return int32(binary.BigEndian.Uint32(r.take(4))) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) string() string {
	length := int(binary.BigEndian.Uint16(r.take(2)))
	if length > len(r.b) {
		r.bad = true
	}
	if r.bad {
		return ""
	}
	return string(r.take(length))
}

func (r *reader) voter() Voter {
	v := Voter{ID: r.int32()}
	v.Dir = metadata.UUID(r.take(16))
	v.Host = r.string()
	v.Port = r.int32()
	return v
}

func (r *reader) hello() hello {
	return hello{clusterID: r.string(), founding: r.string(), self: r.voter(), incarnation: r.uint64(), to: r.int32()}
}

// parseRequest reads a hello request without its length.
func parseRequest(frame []byte) (hello, error) {
	r := reader{b: frame}
	if key := r.int16(); key != Key || r.bad {
		return hello{}, fmt.Errorf("%w: its API key is %d, not %d", errFrame, key, Key)
	}
	if version := r.int16(); version != 0 || r.bad {
		return hello{}, fmt.Errorf("%w: version %d is not supported", errFrame, version)
	}
	r.int32() // correlation id
	if n := r.int16(); n > 0 {
		r.take(int(n)) // client id
	}
	h := r.hello()
	if r.bad || h.self.ID < 0 {
		return hello{}, errFrame
	}
	return h, nil
}

// parseResponse reads an answer without its length.
func parseResponse(frame []byte) (helloReply, error) {
	r := reader{b: frame}
	r.int32() // correlation id
	reply := helloReply{code: r.int16(), message: r.string(), hello: r.hello(), leader: r.int32()}
	count := r.int32()
	if r.bad || count < 0 || int(count) > len(r.b)/26 {
		return helloReply{}, errFrame
	}
	for range count {
		reply.voters = append(reply.voters, r.voter())
	}
	if r.bad {
		return helloReply{}, errFrame
	}
	return reply, nil
}
