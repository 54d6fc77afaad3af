package isr

import (
	"encoding/binary"
	"errors"
)

// Kind says what a Push asks of the follower.
type Kind uint8

const (
	// Probe asks where the follower's log ends and, from the second one on,
	// tells it where to truncate first.
	Probe Kind = iota
	// Append carries records, or none as a heartbeat with the high watermark.
	Append
	// Reset drops the follower's log, which ends below the leader's start.
	Reset
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case Probe:
		return "Probe"
	case Append:
		return "Append"
	case Reset:
		return "Reset"
	}
	return "Kind(?)"
}

// Push is what a leader sends to a follower about one partition.
type Push struct {
	TopicID   [16]byte // filled by the caller of Sender.Next, as is Partition
	Partition int32
	Kind      Kind
	// LeaderEpoch is the sender's; the follower must follow at just this one.
	LeaderEpoch int32
	// Session numbers the runs of a Sender; the result repeats it.
	Session int64
	// HighWatermark and LogStartOffset are the leader's at the time of sending.
	HighWatermark, LogStartOffset int64
	// Offset is, for Append, where the records begin; for Probe, where to
	// truncate, or -1 in a question; for Reset, the follower's new log start.
	Offset int64
	// Epoch is, for a Probe that truncates, the epoch which ends at Offset in
	// the leader's log (-1: the leader has no epoch that low); for Append, the
	// epoch of the record before Offset in the leader's log, -1 unknown.
	Epoch int32
	// LastEpoch, of a Probe that truncates, is the epoch of the follower's last
	// record which the leader's judgement rests on: if that is no longer so,
	// the follower answers and truncates nothing.
	LastEpoch int32
	// Length is the number of bytes of whole batches behind the header of an
	// Append; 0 makes it a heartbeat.
	Length int32
}

// PushResult is the follower's answer to one Push: where its log stands after
// doing what was asked. The results of a frame are in the order of its pushes.
type PushResult struct {
	Code int16 // Kafka's; 0 done
	// Session is the push's.
	Session        int64
	LogEndOffset   int64
	LastEpoch      int32 // of the log's last record, -1 of none
	LogStartOffset int64
}

// Encoded sizes in bytes.
const (
	PushBytes        = 16 + 4 + 1 + 4 + 8 + 8 + 8 + 8 + 4 + 4 + 4
	ResultBytes      = 2 + 8 + 8 + 4 + 8
	FrameHeaderBytes = 4 + 8 + 4 + 4
	FrameReplyBytes  = 2 + 4
)

// ErrMalformed is any frame that cannot be taken apart; its connection is to
// be closed.
var ErrMalformed = errors.New("malformed replication frame")

// Result is the answer to p at the state that log is in now.
func (p *Push) Result(code int16, log Log) PushResult {
	return PushResult{
		Code: code, Session: p.Session,
		LogEndOffset: log.LogEndOffset(), LastEpoch: log.LatestEpoch(), LogStartOffset: log.LogStartOffset(),
	}
}

// Refusal is the answer to p of a broker that has no log for it.
func (p *Push) Refusal(code int16) PushResult {
	return PushResult{Code: code, Session: p.Session, LogEndOffset: noOffset, LastEpoch: noEpoch, LogStartOffset: noOffset}
}

// Append appends the encoded push to b.
func (p *Push) Append(b []byte) []byte {
	b = append(b, p.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
	b = append(b, byte(p.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(p.LeaderEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Session))
	b = binary.BigEndian.AppendUint64(b, uint64(p.HighWatermark))
	b = binary.BigEndian.AppendUint64(b, uint64(p.LogStartOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(p.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(p.LastEpoch))
	return binary.BigEndian.AppendUint32(b, uint32(p.Length))
}

// ParsePush decodes a push from the front of b. Length is not held against the
// bytes behind: NextPush does that.
func ParsePush(b []byte) (Push, error) {
	var p Push
	if len(b) < PushBytes {
		return p, ErrMalformed
	}
	copy(p.TopicID[:], b)
	p.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	p.Kind = Kind(b[20])
	p.LeaderEpoch = int32(binary.BigEndian.Uint32(b[21:]))
	p.Session = int64(binary.BigEndian.Uint64(b[25:]))
	p.HighWatermark = int64(binary.BigEndian.Uint64(b[33:]))
	p.LogStartOffset = int64(binary.BigEndian.Uint64(b[41:]))
	p.Offset = int64(binary.BigEndian.Uint64(b[49:]))
	p.Epoch = int32(binary.BigEndian.Uint32(b[57:]))
	p.LastEpoch = int32(binary.BigEndian.Uint32(b[61:]))
	p.Length = int32(binary.BigEndian.Uint32(b[65:]))
	if !p.sound() {
		return p, ErrMalformed
	}
	return p, nil
}

// sound reports whether the fields make a push that a Sender could have made.
func (p *Push) sound() bool {
	if p.Kind > Reset || p.Partition < 0 || p.LeaderEpoch < 0 || p.HighWatermark < 0 || p.LogStartOffset < 0 ||
		p.Offset < noOffset || p.Epoch < noEpoch || p.LastEpoch < noEpoch || p.Length < 0 {
		return false
	}
	return p.Kind == Append && p.Offset >= 0 || p.Kind == Probe && p.Length == 0 ||
		p.Kind == Reset && p.Offset >= 0 && p.Length == 0
}

// NextPush takes the first push and its records off the body of a frame.
// records and rest point into b.
func NextPush(b []byte) (p Push, records, rest []byte, err error) {
	if p, err = ParsePush(b); err != nil {
		return p, nil, nil, err
	}
	rest = b[PushBytes:]
	if int64(p.Length) > int64(len(rest)) {
		return p, nil, nil, ErrMalformed
	}
	return p, rest[:p.Length:p.Length], rest[p.Length:], nil
}

// Append appends the encoded result to b.
func (r *PushResult) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(r.Code))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Session))
	b = binary.BigEndian.AppendUint64(b, uint64(r.LogEndOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(r.LastEpoch))
	return binary.BigEndian.AppendUint64(b, uint64(r.LogStartOffset))
}

// ParsePushResult decodes a result from the front of b.
func ParsePushResult(b []byte) (PushResult, error) {
	var r PushResult
	if len(b) < ResultBytes {
		return r, ErrMalformed
	}
	r.Code = int16(binary.BigEndian.Uint16(b))
	r.Session = int64(binary.BigEndian.Uint64(b[2:]))
	r.LogEndOffset = int64(binary.BigEndian.Uint64(b[10:]))
	r.LastEpoch = int32(binary.BigEndian.Uint32(b[18:]))
	r.LogStartOffset = int64(binary.BigEndian.Uint64(b[22:]))
	if r.LogEndOffset < noOffset || r.LastEpoch < noEpoch || r.LogStartOffset < noOffset {
		return r, ErrMalformed
	}
	return r, nil
}

// FrameHeader begins the body of a replication request, before its pushes.
type FrameHeader struct {
	From        int32 // broker id of the leader
	BrokerEpoch int64 // of the leader's registration
	To          int32 // broker id it means to talk to
	Count       int32 // of pushes
}

// Append appends the encoded header to b.
func (h *FrameHeader) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(h.From))
	b = binary.BigEndian.AppendUint64(b, uint64(h.BrokerEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(h.To))
	return binary.BigEndian.AppendUint32(b, uint32(h.Count))
}

// ParseFrameHeader takes the header off the body of a request and refuses a
// count of pushes that the bytes behind cannot hold.
func ParseFrameHeader(b []byte) (h FrameHeader, rest []byte, err error) {
	if len(b) < FrameHeaderBytes {
		return h, nil, ErrMalformed
	}
	h.From = int32(binary.BigEndian.Uint32(b))
	h.BrokerEpoch = int64(binary.BigEndian.Uint64(b[4:]))
	h.To = int32(binary.BigEndian.Uint32(b[12:]))
	h.Count = int32(binary.BigEndian.Uint32(b[16:]))
	rest = b[FrameHeaderBytes:]
	if h.Count < 0 || int64(h.Count)*PushBytes > int64(len(rest)) {
		return h, nil, ErrMalformed
	}
	return h, rest, nil
}

// FrameReply begins the body of a replication response, before its results. A
// code other than 0 is for the whole frame, and no results follow.
type FrameReply struct {
	Code  int16
	Count int32 // of results
}

// Append appends the encoded reply header to b.
func (r *FrameReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(r.Code))
	return binary.BigEndian.AppendUint32(b, uint32(r.Count))
}

// ParseFrameReply takes the header off the body of a response; what follows
// must be just as many results as it says.
func ParseFrameReply(b []byte) (r FrameReply, rest []byte, err error) {
	if len(b) < FrameReplyBytes {
		return r, nil, ErrMalformed
	}
	r.Code = int16(binary.BigEndian.Uint16(b))
	r.Count = int32(binary.BigEndian.Uint32(b[2:]))
	rest = b[FrameReplyBytes:]
	if r.Count < 0 || int64(r.Count)*ResultBytes != int64(len(rest)) || r.Code != CodeNone && r.Count != 0 {
		return r, nil, ErrMalformed
	}
	return r, rest, nil
}
