package cli

import (
	"fmt"
	"strings"
)

// metadataLevel is a level of metadata.version and the name Kafka gives it.
type metadataLevel struct {
	level int16
	name  string
}

// metadataLevels are those of Apache Kafka 4.3 (org.apache.kafka.server.common
// .MetadataVersion), the newest of which is not for production yet.
var metadataLevels = []metadataLevel{
	{7, "3.3-IV3"}, {8, "3.4-IV0"}, {9, "3.5-IV0"}, {10, "3.5-IV1"}, {11, "3.5-IV2"}, {12, "3.6-IV0"}, {13, "3.6-IV1"},
	{14, "3.6-IV2"}, {15, "3.7-IV0"}, {16, "3.7-IV1"}, {17, "3.7-IV2"}, {18, "3.7-IV3"}, {19, "3.7-IV4"}, {20, "3.8-IV0"},
	{21, "3.9-IV0"}, {22, "4.0-IV0"}, {23, "4.0-IV1"}, {24, "4.0-IV2"}, {25, "4.0-IV3"}, {26, "4.1-IV0"}, {27, "4.1-IV1"},
	{28, "4.2-IV0"}, {29, "4.2-IV1"}, {30, metadataVersion}, {31, "4.4-IV0"},
}

// metadataFeature is the feature that stands for the records' version.
const metadataFeature = "metadata.version"

// featureLevel is a level of a feature: the level of metadata.version with which
// it becomes the default, and other levels it needs.
type featureLevel struct {
	since int16
	needs map[string]int16
}

// knownFeature is a feature with its levels, from 0.
type knownFeature struct {
	name   string
	levels []featureLevel
}

// knownFeatures are the features of Apache Kafka 4.3 beside metadata.version, in
// its order (org.apache.kafka.server.common.Feature).
var knownFeatures = []knownFeature{
	{"kraft.version", []featureLevel{{since: 7}, {since: 21}}},
	{"transaction.version", []featureLevel{{since: 7}, {since: 24}, {since: 24}}},
	{"group.version", []featureLevel{{since: 7}, {since: 22}}},
	{"eligible.leader.replicas.version", []featureLevel{{since: 7}, {since: 26, needs: map[string]int16{metadataFeature: 23}}}},
	{"share.version", []featureLevel{{since: 7}, {since: 28}}},
	{"streams.version", []featureLevel{{since: 7}, {since: 29}}},
}

// defaultLevel is the feature's level in a new cluster of that metadata.version.
func (f *knownFeature) defaultLevel(metadata int16) int16 {
	level := 0
	for i := 1; i < len(f.levels) && f.levels[i].since <= metadata; i++ {
		level = i
	}
	return int16(level)
}

// levelText names a level of metadata.version and prints others as numbers.
func levelText(feature string, level int16) string {
	if feature != metadataFeature {
		return fmt.Sprint(level)
	}
	for _, m := range metadataLevels {
		if m.level == level {
			return m.name
		}
	}
	return fmt.Sprintf("UNKNOWN %d", level)
}

// metadataLevelOf reads a version such as 4.1, 4.1-IV0 or 4.1.2, of which the
// first two numbers count; "4.1" is its newest level.
func metadataLevelOf(version string) (metadataLevel, error) {
	key := version
	if words := strings.Split(version, "."); len(words) > 2 {
		key = words[0] + "." + words[1]
	}
	var found metadataLevel
	for _, m := range metadataLevels {
		if release, _, _ := strings.Cut(m.name, "-"); m.name == key || release == key {
			found = m
		}
	}
	if found.level == 0 {
		names := make([]string, len(metadataLevels))
		for i, m := range metadataLevels {
			names[i] = m.name
		}
		return found, tersef("Unknown metadata.version '%s'. Supported metadata.version are: %s", version, strings.Join(names, ", "))
	}
	return found, nil
}
