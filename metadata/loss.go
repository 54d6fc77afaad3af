package metadata

import (
	"fmt"
	"slices"
	"strings"
)

// Loss is a partition whose new leader is not known to hold everything that was
// committed: records acknowledged to clients may be gone.
type Loss struct {
	Topic     string
	Partition int32
	Leader    int32 // the new one
	// LeaderEpoch is the epoch that begins with it.
	LeaderEpoch int32
	// InSync and Eligible are the replicas that were known to hold everything and
	// did not come to lead.
	InSync, Eligible []int32
	// Restarted are replicas that held everything until they restarted uncleanly.
	Restarted []int32
}

// String is the loss as one sentence for the log.
func (l Loss) String() string {
	why := "no replica was known to hold everything committed"
	switch {
	case len(l.InSync) > 0:
		why = fmt.Sprintf("the replicas in sync (%s) were not available", joinIDs(l.InSync))
	case len(l.Eligible) > 0:
		why = fmt.Sprintf("the eligible replicas (%s) were not available", joinIDs(l.Eligible))
	case len(l.Restarted) > 0:
		why = fmt.Sprintf("every replica that held everything committed (%s) restarted uncleanly", joinIDs(l.Restarted))
	}
	return fmt.Sprintf("broker %d leads partition %s-%d from leader epoch %d on after an unclean election: %s; "+
		"acknowledged records that it does not hold are lost", l.Leader, l.Topic, l.Partition, l.LeaderEpoch, why)
}

func joinIDs(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return strings.Join(texts, ", ")
}

// Losses finds the unclean elections among records that are about to be applied
// to the image. Whoever applies them logs these.
func Losses(img *Image, records []Record) []Loss {
	var losses []Loss
	look := func(topicID UUID, next Leadership) {
		topic := img.TopicByID(topicID)
		if topic == nil || !next.Recovering || next.Leader == noLeader {
			return
		}
		p := topic.Partition(next.Partition)
		if p == nil || p.Leader == next.Leader || slices.Contains(p.ISR, next.Leader) || slices.Contains(p.ELR, next.Leader) {
			return
		}
		losses = append(losses, Loss{
			Topic: topic.Name, Partition: next.Partition, Leader: next.Leader, LeaderEpoch: next.LeaderEpoch,
			InSync: p.ISR, Eligible: p.ELR, Restarted: p.LastKnownELR,
		})
	}
	for _, r := range records {
		switch r := r.(type) {
		case *LeadershipsRecord:
			for i := range r.Changes {
				look(r.TopicID, r.Changes[i])
			}
		case *PartitionChangeRecord:
			look(r.TopicID, leadershipOf(r.Partition, &r.State))
		}
	}
	return losses
}
