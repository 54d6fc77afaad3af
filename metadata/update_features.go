package metadata

import (
	"fmt"
	"slices"
)

// UpgradeType says which way a feature may go, by its number in the protocol
// (KIP-584, KIP-778).
type UpgradeType int8

// Types of feature updates (FeatureUpdate.UpgradeType).
const (
	UpgradeOnly     UpgradeType = 1
	SafeDowngrade   UpgradeType = 2
	UnsafeDowngrade UpgradeType = 3
)

// FeatureUpdate asks for a feature to be finalized at a level; 0 takes it out
// of use.
type FeatureUpdate struct {
	Name  string
	Level int16
	Type  UpgradeType
}

// UpdateFeatures decides on changes of finalized features, all or none. Every
// registered broker must support the new levels, which is what keeps a rolling
// upgrade safe: nothing new is used before all can use it (Kafka:
// FeatureControlManager.updateFeatures).
func (c *Controller) UpdateFeatures(img *Image, updates []FeatureUpdate, validateOnly bool) ([]Record, *Error) {
	var records []Record
	current, proposed := img.FeatureLevels(), img.FeatureLevels()
	for _, u := range updates {
		proposed[u.Name] = u.Level
	}
	for _, u := range updates {
		if err := c.checkFeatureUpdate(img, u, current[u.Name], proposed); err != nil {
			return nil, err
		}
		if current[u.Name] != u.Level {
			records = append(records, &FeatureRecord{Name: u.Name, Level: u.Level})
		}
		if u.Name == ELRVersion && u.Level == 0 && img.UsesELR() {
			records = append(records, c.dropELR(img)...)
		}
		if u.Name == ELRVersion && u.Level > 0 && !img.UsesELR() {
			records = append(records, c.oneMinISR(img)...)
		}
	}
	if validateOnly {
		return nil, nil
	}
	return records, nil
}

func (c *Controller) checkFeatureUpdate(img *Image, u FeatureUpdate, current int16, proposed map[string]int16) *Error {
	invalid := func(reason string) *Error {
		return refuse(CodeInvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.Level, u.Name, reason)
	}
	switch {
	case u.Type < UpgradeOnly || u.Type > UnsafeDowngrade:
		return invalid("The controller does not support the given upgrade type.")
	case u.Level < 0:
		return invalid("A feature version cannot be less than 0.")
	}
	if reason := c.whyUnsupported(img, u); reason != "" {
		return invalid(reason)
	}
	switch {
	case u.Level < current && u.Type == UpgradeOnly:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case u.Level > current && u.Type != UpgradeOnly:
		return invalid("Can't downgrade to a newer version.")
	}
	switch {
	case u.Name == MetadataVersion:
		return checkMetadataVersion(current, u)
	case u.Name == KRaftVersion && u.Level != current:
		return invalid("Can't downgrade the version of this feature.")
	}
	if u.Name == ELRVersion && u.Level > 0 && proposed[MetadataVersion] < elrNeeds {
		return invalid(fmt.Sprintf("%s could not be set to %d because it depends on %s level %d", u.Name, u.Level, MetadataVersion, elrNeeds))
	}
	return nil
}

// elrNeeds is the metadata.version that ELRVersion 1 depends on (4.0-IV1).
const elrNeeds = 23

// whyUnsupported says which broker does not support the level; "" if all do
// (Kafka: QuorumFeatures.reasonNotSupported).
func (c *Controller) whyUnsupported(img *Image, u FeatureUpdate) string {
	local := Broker{}
	if reason := local.whyUnsupported(fmt.Sprintf("Local controller %d", c.NodeID), u); reason != "" {
		return reason
	}
	for i := range img.Brokers {
		b := &img.Brokers[i]
		if reason := b.whyUnsupported(fmt.Sprintf("Broker %d", b.ID), u); reason != "" {
			return reason
		}
	}
	return ""
}

func (b *Broker) whyUnsupported(who string, u FeatureUpdate) string {
	feature, known := b.supports(u.Name)
	switch {
	case u.Level >= feature.Min && u.Level <= feature.Max:
		return ""
	case !known:
		return who + " does not support this feature."
	case feature.Min == feature.Max:
		return fmt.Sprintf("%s only supports versions %d", who, feature.Min)
	}
	return fmt.Sprintf("%s only supports versions %d-%d", who, feature.Min, feature.Max)
}

// metadataChanges are the metadata.versions whose records an older version
// cannot read (Kafka: MetadataVersion.didMetadataChange).
var metadataChanges = []int16{8, 11, 13, 14, 15, 17, 23, 30}

func checkMetadataVersion(current int16, u FeatureUpdate) *Error {
	if u.Level >= current || !slices.ContainsFunc(metadataChanges, func(level int16) bool { return level > u.Level && level <= current }) {
		return nil
	}
	reason := "Refusing to perform the requested downgrade because it might delete metadata information."
	if u.Type == UnsafeDowngrade {
		reason = "Unsafe metadata downgrade is not supported in this version."
	}
	return refuse(CodeInvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. %s", current, u.Level, reason)
}

// dropELR takes the eligible leader replicas out of all partitions, because
// nobody keeps them right any more.
func (c *Controller) dropELR(img *Image) []Record {
	concerns := func(p *Partition) bool { return len(p.ELR) > 0 || len(p.LastKnownELR) > 0 }
	changes := leaderChanges{}
	for _, topic := range sortedTopicsWith(img, concerns) {
		for i, p := range topic.Partitions {
			if !concerns(p) {
				continue
			}
			next := *p
			if len(p.ISR) == 0 && len(p.ELR) > 0 { // the ISR is never empty without them
				next.ISR = p.ELR
			}
			next.ELR, next.LastKnownELR = nil, nil
			next.PartitionEpoch++
			changes.add(topic, int32(i), p, &next)
		}
	}
	return changes.records
}
