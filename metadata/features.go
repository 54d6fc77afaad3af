package metadata

import (
	"maps"
	"slices"
)

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

// KRaftVersion is the feature by which the set of controllers may change at
// level 1 (KIP-853). Here it always may, also where controller.quorum.voters
// named the first ones: the level is 1 from the start, and not a record.
const KRaftVersion = "kraft.version"

// supportedFeatures lists what a broker of this version supports. Features that
// Kafka has beyond these (group.version, transaction.version, share.version and
// others) stand for protocols this version does not speak, and are left out so
// that clients do not try them.
var supportedFeatures = []Feature{
	{MetadataVersion, 7, 30},
	{ELRVersion, 0, 1},
	{KRaftVersion, 0, 1},
}

// SupportedFeatures lists the features this version supports.
func SupportedFeatures() []Feature { return slices.Clone(supportedFeatures) }

// FeatureLevels are the finalized levels by feature, without those at 0.
func (img *Image) FeatureLevels() map[string]int16 {
	levels := maps.Clone(img.Features)
	if levels == nil {
		levels = map[string]int16{}
	}
	levels[KRaftVersion] = 1
	return levels
}

// newClusterLevels are what a new cluster finalizes.
func newClusterLevels() map[string]int16 {
	levels := map[string]int16{}
	for _, feature := range supportedFeatures {
		if feature.Name != KRaftVersion {
			levels[feature.Name] = feature.Max
		}
	}
	return levels
}
