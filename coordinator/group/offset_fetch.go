package group

import "github.com/twmb/franz-go/pkg/kmsg"

// waitingFetch is an OffsetFetch that waits until the appends up to lastAppend
// are reported.
type waitingFetch struct {
	token      Token
	body       *kmsg.OffsetFetchRequest
	lastAppend uint64
}

// offsetFetch is OffsetMetadataManager.fetchOffsets and fetchAllOffsets. With
// requireStable (KIP-447) the answer must not miss a commit that is on its way,
// so it waits for those.
func (m *Machine) offsetFetch(token Token, req *kmsg.OffsetFetchRequest) {
	if req.RequireStable {
		for i := range req.Groups {
			if o := m.offsets[req.Groups[i].Group]; o != nil && o.inflight > 0 {
				m.waiting = append(m.waiting, waitingFetch{token, req, m.lastAppendID})
				return
			}
		}
	}
	m.reply(token, m.fetchOffsets(req))
}

// wakeFetches answers the waiting fetches whose appends are all reported.
func (m *Machine) wakeFetches() {
	if len(m.waiting) == 0 {
		return
	}
	oldest := m.lastAppendID + 1
	for id := range m.appends {
		oldest = min(oldest, id)
	}
	kept := m.waiting[:0]
	for _, w := range m.waiting {
		if w.lastAppend < oldest {
			m.reply(w.token, m.fetchOffsets(w.body))
		} else {
			kept = append(kept, w)
		}
	}
	clear(m.waiting[len(kept):])
	m.waiting = kept
}

func (m *Machine) fetchOffsets(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	for i := range req.Groups {
		resp.Groups = append(resp.Groups, m.fetchGroup(&req.Groups[i], req.RequireStable))
	}
	return resp
}

func (m *Machine) fetchGroup(req *kmsg.OffsetFetchRequestGroup, requireStable bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.OffsetFetchResponseGroup{Group: req.Group}
	var offsets *groupOffsets
	if m.groups[req.Group] != nil {
		offsets = m.offsets[req.Group]
	}
	if req.Topics == nil { // all of them
		offsets.eachOffset(func(topic string, partition int32, e *offsetEntry) {
			if !e.present {
				return
			}
			if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != topic {
				resp.Topics = append(resp.Topics, kmsg.OffsetFetchResponseGroupTopic{Topic: topic})
			}
			t := &resp.Topics[len(resp.Topics)-1]
			t.Partitions = append(t.Partitions, fetched(partition, e, [16]byte{}, requireStable))
		})
		return resp
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			var e *offsetEntry
			if offsets != nil {
				e = offsets.topics[t.Topic][p]
			}
			rt.Partitions = append(rt.Partitions, fetched(p, e, t.TopicID, requireStable))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// fetched is the answer for one partition: offset -1 when there is none, or
// when it belongs to an earlier topic of that name.
func fetched(partition int32, e *offsetEntry, topicID [16]byte, requireStable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition = partition
	p.Offset = -1
	metadata := ""
	switch {
	case e != nil && requireStable && e.openTxns > 0:
		p.ErrorCode = unstableOffsetCommit
	case e != nil && e.present && !differ(e.value.topicID, topicID):
		p.Offset = e.value.offset
		p.LeaderEpoch = e.value.leaderEpoch
		metadata = e.value.metadata
	}
	p.Metadata = &metadata
	return p
}

// differ compares two topic ids; the zero id stands for not known.
func differ(a, b [16]byte) bool {
	return a != b && a != [16]byte{} && b != [16]byte{}
}
