package isr

// Progress is what the leader knows of one other in-sync (or joining) replica.
type Progress struct {
	BrokerID     int32
	LogEndOffset int64 // next offset the replica will write; -1 while unknown
}

// HighWatermark is the offset below which every member of the maximal ISR has
// the records: the least log end offset of the leader and the members given.
//
// It never goes back (current is a lower bound), and stands still while fewer
// than minInsync replicas are in sync, the leader counted (KIP-966): then
// consumers do not see what acks=all producers were not promised. Without
// other members a min.insync.replicas of more than one is the topic's
// misconfiguration on a lone broker; Apache Kafka then still advances for
// acks=1, and so does this.
func HighWatermark(current, leaderEnd int64, others []Progress, minInsync int) int64 {
	if len(others) > 0 && len(others)+1 < minInsync {
		return current
	}
	low := leaderEnd
	for i := range others {
		low = min(low, others[i].LogEndOffset)
	}
	return max(current, low)
}
