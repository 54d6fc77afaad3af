package group

import "github.com/twmb/franz-go/pkg/kmsg"

// groupIDNotFoundCommitVersion is the first OffsetCommit version whose clients
// know GROUP_ID_NOT_FOUND (KIP-848).
const groupIDNotFoundCommitVersion = 9

// offsetCommit is OffsetMetadataManager.commitOffset. The answer goes out when
// the offsets are committed to the log.
func (m *Machine) offsetCommit(r Request, req *kmsg.OffsetCommitRequest) {
	if code := m.validateCommit(req); code != none {
		m.reply(r.Token, ErrorResponse(req, code))
		return
	}
	expireMs := int64(-1)
	if req.Version <= 4 && req.RetentionTimeMillis != -1 {
		expireMs = m.now + req.RetentionTimeMillis
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	partitions := 0
	for i := range req.Topics {
		partitions += len(req.Topics[i].Partitions)
	}
	changes := make([]offsetChange, 0, partitions)
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, 0, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			metadata := ""
			if p.Metadata != nil {
				metadata = *p.Metadata
			}
			rp := kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition}
			if javaLength(metadata) > m.cfg.OffsetMetadataMaxBytes {
				rp.ErrorCode = offsetMetadataTooLarge
			} else {
				changes = append(changes, offsetChange{req.Group, t.Topic, p.Partition, &offsetValue{
					offset:            p.Offset,
					leaderEpoch:       max(p.LeaderEpoch, -1),
					metadata:          metadata,
					commitTimestampMs: m.now,
					expireTimestampMs: expireMs,
					topicID:           t.TopicID,
				}})
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(changes) == 0 {
		m.reply(r.Token, resp)
		return
	}
	if m.groups[req.Group] == nil {
		m.logf("group %s: created as a simple group by an offset commit", req.Group)
		m.groups[req.Group] = newGroup(req.Group, m.now)
	}
	m.append(changes, nil, true, func(code int16) {
		if code == none {
			m.reply(r.Token, resp)
			return
		}
		m.dropUnwrittenSimpleGroup(req.Group)
		m.reply(r.Token, ErrorResponse(req, code))
	})
}

// dropUnwrittenSimpleGroup forgets a group that only a failed commit created.
func (m *Machine) dropUnwrittenSimpleGroup(groupID string) {
	g := m.groups[groupID]
	if g != nil && m.offsets[groupID] == nil && g.isSimple() && g.generation == 0 {
		m.forgetGroup(g)
	}
}

// isSimple reports whether the group only stores offsets.
func (g *group) isSimple() bool {
	return g.protocolType == "" && g.state == Empty && len(g.pendingJoin) == 0
}

// validateCommit is ClassicGroup.validateOffsetCommit. A commit also counts as
// a heartbeat.
func (m *Machine) validateCommit(req *kmsg.OffsetCommitRequest) int16 {
	g := m.groups[req.Group]
	if g == nil {
		switch {
		case req.Generation < 0:
			return none // becomes a simple group
		case req.Version >= groupIDNotFoundCommitVersion:
			return groupIDNotFound
		}
		return illegalGeneration
	}
	if req.Generation < 0 && g.state == Empty {
		return none // an administrator, or a consumer that manages its own partitions
	}
	if req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil {
		return unknownMemberID
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != none {
		return code
	}
	if req.Generation != g.generation {
		return illegalGeneration
	}
	if g.state == CompletingRebalance {
		// The member knows the generation, so it is about to sync.
		return rebalanceInProgress
	}
	m.extendSession(g.members[req.MemberID])
	return none
}
