package broker

import (
	"encoding/binary"
	"fmt"
	"log/slog"

	"freshet/metadata"
)

// heartbeatLogsTag is a tagged field of ours in heartbeats: where this broker's
// logs of partitions without a leader end. It is there while there are such
// partitions, because the active controller keeps none of it, and consists of
// entries of reportSize: topic id (16 bytes), partition, leader epoch, epoch of
// the last record (int32 each), log end offset (int64).
const (
	heartbeatLogsTag = 10_002
	reportSize       = 16 + 3*4 + 8
	// maxReports bounds one heartbeat; the others are heard of when these
	// partitions have leaders.
	maxReports = 100_000
)

// leaderlessLogs are the ends of this broker's logs of partitions that have no
// leader by its image, as the heartbeat tells them. It leaves out what does not
// follow that image yet: a former leader's records could still arrive, or its log
// is still being cut to what that leader had.
func (b *Broker) leaderlessLogs() []byte {
	if b.net == nil {
		return nil
	}
	var report []byte
	for t := range b.meta.Image().Topics() {
		var have *topic
		for i, p := range t.Partitions {
			if p.Leader >= 0 || len(report) == maxReports*reportSize {
				continue
			}
			if have == nil {
				if have = b.net.topics.id(t.ID); have == nil {
					break
				}
			}
			part := have.partition(int32(i))
			if part == nil || part.deleted.Load() {
				continue
			}
			if role := part.Role(); role.Leads || role.LeaderEpoch != p.LeaderEpoch || part.Truncating() {
				continue
			}
			end, lastEpoch := part.log.LogEndOffset(), part.log.LatestEpoch() // also if the record is deleted
			report = append(report, t.ID[:]...)
			report = binary.BigEndian.AppendUint32(report, uint32(i))
			report = binary.BigEndian.AppendUint32(report, uint32(p.LeaderEpoch))
			report = binary.BigEndian.AppendUint32(report, uint32(lastEpoch))
			report = binary.BigEndian.AppendUint64(report, uint64(end))
		}
	}
	return report
}

// parseLogs reads what leaderlessLogs wrote.
func parseLogs(report []byte) ([]metadata.ReplicaLog, error) {
	if len(report)%reportSize != 0 {
		return nil, fmt.Errorf("a report of %d bytes is not made of entries of %d", len(report), reportSize)
	}
	logs := make([]metadata.ReplicaLog, 0, len(report)/reportSize)
	for ; len(report) > 0; report = report[reportSize:] {
		number := func(at int) int32 { return int32(binary.BigEndian.Uint32(report[at:])) }
		logs = append(logs, metadata.ReplicaLog{
			TopicID: metadata.UUID(report[:16]), Partition: number(16), LeaderEpoch: number(20),
			LogEnd: metadata.LogEnd{LastEpoch: number(24), EndOffset: int64(binary.BigEndian.Uint64(report[28:]))},
		})
	}
	return logs, nil
}

// reported notes what a broker says of its logs, and looks whether that decides
// who is to lead.
func (a *activeController) reported(img *metadata.Image, id int32, epoch int64, report []byte) {
	logs, err := parseLogs(report)
	if err != nil {
		slog.Warn("a broker's report of its logs cannot be read", "broker", id, "error", err)
		return
	}
	a.mu.Lock()
	a.mu.recoveries.Report(img, id, epoch, logs)
	a.mu.Unlock()
	a.poke()
}

// longest is the live replica with the longest log of a partition without a
// leader, of those reported; -1 when there is none.
func (a *activeController) longest(img *metadata.Image, topicID metadata.UUID, partition int32) int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.recoveries.Longest(img, topicID, partition)
}

// recover elects leaders of partitions of which nobody is known to hold
// everything any more, once their replicas have reported or were waited for.
func (a *activeController) recover() {
	b := a.broker
	old := b.meta.Image()
	a.mu.Lock()
	due := a.mu.recoveries.Due(old, monotonicMs())
	a.mu.Unlock()
	if len(due) == 0 {
		return
	}
	due = due[:min(len(due), balanceMoves)]
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) []metadata.Record {
		return c.Recover(img, due)
	})
	if err != nil {
		return
	}
	for i := range due {
		r := &due[i]
		if topic := img.TopicByID(r.TopicID); topic != nil && topic.Partition(r.Partition).Leader == r.Leader {
			slog.Warn("logs were compared after unclean restarts of all replicas: "+r.String(), "topic", topic.Name, "partition", r.Partition)
		}
	}
	a.changed(old, img)
}

// asksForLogs reports whether partitions lost their leader between two images:
// the controller is to hear of their logs soon.
func asksForLogs(old, next *metadata.Image) bool {
	for _, topic := range metadata.Diff(old, next).Changed {
		for _, p := range topic.ChangedSince(old.TopicByID(topic.ID)) {
			if p.Leader < 0 {
				return true
			}
		}
	}
	return false
}
