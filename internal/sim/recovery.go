package sim

import (
	"freshet/metadata"
	"freshet/storage"
)

// uncleanRecoveryMs is freshet.unclean.recovery.timeout.ms.
const uncleanRecoveryMs = 3000

// leaderlessLogs are the ends of this broker's logs of partitions without a
// leader: what broker/controller_recovery.go does.
func (b *broker) leaderlessLogs() []metadata.ReplicaLog {
	var logs []metadata.ReplicaLog
	for _, r := range b.replicas {
		role := r.part.Role()
		if p := r.state; p == nil || p.Leader >= 0 || role.Leads || role.LeaderEpoch != p.LeaderEpoch {
			continue
		}
		logs = append(logs, metadata.ReplicaLog{TopicID: r.topicID, Partition: r.at.partition, LeaderEpoch: role.LeaderEpoch, LogEnd: r.end()})
	}
	return logs
}

// end is where the replica's log ends.
func (r *replica) end() metadata.LogEnd {
	end := metadata.LogEnd{LastEpoch: storage.UndefinedEpoch, EndOffset: r.log.LogEndOffset()}
	if end.EndOffset > 0 {
		end.LastEpoch = r.log.EpochAt(end.EndOffset - 1)
	}
	return end
}

// recoverLeaders elects the longest logs where nobody is known to hold
// everything.
func (b *broker) recoverLeaders() {
	due := b.control.recoveries.Due(b.image(), b.monotonicMs())
	if len(due) == 0 {
		return
	}
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		return b.decisions().Recover(img, due)
	}, func(_ *metadata.Image, err error) {
		if err != nil {
			return
		}
		for i := range due {
			b.tracef("after unclean restarts of all replicas of partition %d of topic %v %s", due[i].Partition, due[i].TopicID, &due[i])
		}
	})
}
