package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/metadata"
)

// leaderHints gather who leads the partitions that an answer refuses with
// NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH, so that clients go there
// without asking for metadata first (KIP-951). Loop only; off the steady path.
type leaderHints struct {
	leaders []int32 // to be described at the answer's end
}

// leaderOf is the leader of a partition by the metadata, -1 if there is none.
func (l *loop) leaderOf(t *topic, index int32) (leader, epoch int32) {
	if meta := l.srv.broker.meta.Image().TopicByID(t.id); meta != nil {
		if p := meta.Partition(index); p != nil {
			return p.Leader, p.LeaderEpoch
		}
	}
	return -1, -1
}

// appendCurrentLeader appends the tagged field of one partition: its number and
// who leads. Without a known leader it appends no field.
func (l *loop) appendCurrentLeader(b []byte, tag uint32, t *topic, index int32, code int16) []byte {
	if t == nil || code != kerr.NotLeaderForPartition.Code && code != kerr.FencedLeaderEpoch.Code {
		return append(b, 0)
	}
	leader, epoch := l.leaderOf(t, index)
	if leader < 0 {
		return append(b, 0)
	}
	if !slices.Contains(l.hints.leaders, leader) {
		l.hints.leaders = append(l.hints.leaders, leader)
	}
	b = append(b, 1) // one field
	b = appendUvarint(b, tag)
	b = append(b, 4+4+1) // its size
	b = appendInt32(b, leader)
	b = appendInt32(b, epoch)
	return append(b, 0)
}

// appendNodeEndpoints appends the tagged fields at the end of an answer: where
// the leaders are that its partitions name, on the listener that was asked.
func (l *loop) appendNodeEndpoints(b []byte, listener string) []byte {
	var known []*metadata.Broker
	img := l.srv.broker.meta.Image()
	for _, id := range l.hints.leaders {
		if other := img.Broker(id); other != nil && other.Endpoint(listener) != nil {
			known = append(known, other)
		}
	}
	l.hints.leaders = l.hints.leaders[:0]
	if len(known) == 0 {
		return append(b, 0)
	}
	var field []byte
	field = appendArrayLen(field, len(known), true)
	for _, other := range known {
		at := other.Endpoint(listener)
		field = appendInt32(field, other.ID)
		field = appendString(field, at.Host, true)
		field = appendInt32(field, int32(at.Port))
		field = appendNullableString(field, other.Rack, true)
		field = append(field, 0)
	}
	b = append(b, 1, 0) // one field, number 0
	b = appendUvarint(b, uint32(len(field)))
	return append(b, field...)
}
