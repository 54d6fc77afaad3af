package isr

import "encoding/binary"

// Hello is the first request on a replication connection. Two brokers talk
// only when they agree on the cluster and on who they are.
type Hello struct {
	ClusterID string // at most MaxClusterIDBytes
	From      int32  // broker id of the leader
	FromEpoch int64  // of its registration
	To        int32  // broker id it means to talk to
}

// HelloReply answers a Hello.
type HelloReply struct {
	// Code is INCONSISTENT_CLUSTER_ID, STALE_BROKER_EPOCH, INVALID_REQUEST
	// (another broker id), BROKER_ID_NOT_REGISTERED (the follower is not, yet:
	// come again) or 0.
	Code int16
	// BrokerEpoch is of the follower's registration: the incarnation whose log
	// the results on this connection speak of, as Proposals must say (KIP-903).
	BrokerEpoch int64
}

// Sizes of the greeting in bytes.
const (
	MaxClusterIDBytes = 249
	HelloReplyBytes   = 2 + 8
	helloFixedBytes   = 2 + 4 + 8 + 4
)

// Append appends the encoded greeting to b.
func (h *Hello) Append(b []byte) []byte {
	if len(h.ClusterID) > MaxClusterIDBytes {
		panic("BUG: cluster id is longer than a Hello holds")
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.ClusterID)))
	b = append(b, h.ClusterID...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.From))
	b = binary.BigEndian.AppendUint64(b, uint64(h.FromEpoch))
	return binary.BigEndian.AppendUint32(b, uint32(h.To))
}

// ParseHello decodes the body of a Hello, which must be nothing else.
func ParseHello(b []byte) (Hello, error) {
	var h Hello
	if len(b) < helloFixedBytes {
		return h, ErrMalformed
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxClusterIDBytes || len(b) != helloFixedBytes+n {
		return h, ErrMalformed
	}
	h.ClusterID = string(b[2 : 2+n])
	b = b[2+n:]
	h.From = int32(binary.BigEndian.Uint32(b))
	h.FromEpoch = int64(binary.BigEndian.Uint64(b[4:]))
	h.To = int32(binary.BigEndian.Uint32(b[12:]))
	return h, nil
}

// Append appends the encoded reply to b.
func (r *HelloReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(r.Code))
	return binary.BigEndian.AppendUint64(b, uint64(r.BrokerEpoch))
}

// ParseHelloReply decodes the body of an answer to Hello.
func ParseHelloReply(b []byte) (HelloReply, error) {
	var r HelloReply
	if len(b) != HelloReplyBytes {
		return r, ErrMalformed
	}
	r.Code = int16(binary.BigEndian.Uint16(b))
	r.BrokerEpoch = int64(binary.BigEndian.Uint64(b[2:]))
	return r, nil
}
