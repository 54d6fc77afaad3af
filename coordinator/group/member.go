package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocol is one assignment strategy a member can run, with what it would
// tell the leader under it. The bytes belong to the member.
type protocol struct {
	name     string
	metadata []byte
}

// member is one member of a classic group (Kafka: ClassicGroupMember).
type member struct {
	id         string
	instanceID *string // set: a static member (KIP-345)
	clientID   string
	clientHost string

	rebalanceTimeoutMs int32
	sessionTimeoutMs   int32
	protocols          []protocol // in the member's order of preference

	// assignment is what the leader of the current generation gave it; empty
	// before the first and after a failed one.
	assignment []byte

	// join and sync are the requests it is waiting for; zero means none.
	join, sync Token

	// isNew is set until its first join phase completes. Such a member can
	// expire while it waits, because its client may not know its id yet.
	isNew bool

	session timer
}

func (mem *member) isStatic() bool { return mem.instanceID != nil }

// metadata is the member's bytes for a protocol, nil if it has none under
// that name.
func (mem *member) metadata(name string) []byte {
	for i := range mem.protocols {
		if mem.protocols[i].name == name {
			return mem.protocols[i].metadata
		}
	}
	return nil
}

// heartbeatSatisfied reports whether an overdue heartbeat is excused: a member
// waiting for an answer sends none.
func (mem *member) heartbeatSatisfied() bool {
	return !mem.isNew && (mem.join != 0 || mem.sync != 0)
}

// matches reports whether a rejoin brings the same protocols in the same order.
func (mem *member) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	if len(protocols) != len(mem.protocols) {
		return false
	}
	for i := range protocols {
		if protocols[i].Name != mem.protocols[i].name || !bytes.Equal(protocols[i].Metadata, mem.protocols[i].metadata) {
			return false
		}
	}
	return true
}

// vote is the member's most preferred protocol among those that the whole
// group supports.
func (mem *member) vote(isCandidate func(string) bool) string {
	for i := range mem.protocols {
		if isCandidate(mem.protocols[i].name) {
			return mem.protocols[i].name
		}
	}
	panic("BUG: member " + mem.id + " supports none of its group's protocols")
}

// cloneProtocols copies what a request brought: its bytes lie in the
// connection's buffer. A name given twice counts once, the first time.
func cloneProtocols(protocols []kmsg.JoinGroupRequestProtocol) []protocol {
	out := make([]protocol, 0, len(protocols))
next:
	for i := range protocols {
		for j := range out {
			if out[j].name == protocols[i].Name {
				continue next
			}
		}
		out = append(out, protocol{name: protocols[i].Name, metadata: cloneBytes(protocols[i].Metadata)})
	}
	return out
}

// cloneBytes copies b; the copy is never nil.
func cloneBytes(b []byte) []byte { return append([]byte{}, b...) }
