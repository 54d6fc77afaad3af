package metadata

import "slices"

// Feature is a feature with the range of levels this version supports
// (KIP-584).
type Feature struct {
	Name string `json:"name"`
	Min  int16  `json:"min"`
	Max  int16  `json:"max"`
}

// MetadataVersion is the feature that stands for the version of the cluster's
// records and requests; 30 is that of Apache Kafka 4.3 (4.3-IV0).
const MetadataVersion = "metadata.version"

// ELRVersion is the feature that turns eligible leader replicas on at level 1
// (KIP-966).
const ELRVersion = "eligible.leader.replicas.version"

// supportedFeatures lists what a broker of this version supports. Features that
// Kafka has beyond these (group.version, transaction.version, share.version and
// others) stand for protocols this version does not speak, and are left out so
// that clients do not try them.
var supportedFeatures = []Feature{
	{MetadataVersion, 7, 30},
	{ELRVersion, 0, 1},
}

// SupportedFeatures lists the features this version supports.
func SupportedFeatures() []Feature { return slices.Clone(supportedFeatures) }

// AssignDirs records in which log directory the broker keeps each of these
// partitions, where that is not known yet or has changed (KIP-858).
func (c *Controller) AssignDirs(img *Image, brokerID int32, dirs map[UUID]map[int32]UUID) []Record {
	var records []Record
	for _, topic := range img.SortedTopics() {
		for i, p := range topic.Partitions {
			dir, wanted := dirs[topic.ID][int32(i)]
			replica := slices.Index(p.Replicas, brokerID)
			if !wanted || replica < 0 || p.Dirs != nil && p.Dirs[replica] == dir {
				continue
			}
			state := *p
			state.Dirs = slices.Clone(p.Dirs)
			if state.Dirs == nil {
				state.Dirs = make([]UUID, len(p.Replicas))
			}
			state.Dirs[replica] = dir
			state.PartitionEpoch++
			records = append(records, &PartitionChangeRecord{TopicID: topic.ID, Partition: int32(i), State: state})
		}
	}
	return records
}
