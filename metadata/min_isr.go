package metadata

import "strconv"

// Eligible leader replicas are safe as long as leader and controller agree on
// min.insync.replicas: below it the leader keeps the high watermark where it
// is. So with them the cluster has one value for all brokers, in the metadata,
// and topics may have their own.

var (
	errBrokerMinISR  = &Error{CodeInvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled."}
	errClusterMinISR = &Error{CodeInvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."}
)

// oneMinISR makes min.insync.replicas one for all brokers: the cluster's if it
// has one, else this node's (Kafka:
// ConfigurationControlManager.maybeGenerateElrSafetyRecords).
func (c *Controller) oneMinISR(img *Image) []Record {
	var records []Record
	if _, ok := img.BrokerConfigs[""][minInsyncReplicas]; !ok {
		value := strconv.Itoa(int(max(c.MinInsyncReplicas, 1)))
		records = append(records, &ConfigRecord{Resource: ResourceBroker, Key: minInsyncReplicas, Value: &value})
	}
	for _, name := range sortedKeys(img.BrokerConfigs) {
		if _, ok := img.BrokerConfigs[name][minInsyncReplicas]; ok && name != "" {
			records = append(records, &ConfigRecord{Resource: ResourceBroker, Name: name, Key: minInsyncReplicas})
		}
	}
	return records
}

// checkMinISR refuses changes of brokers' configuration after which they would
// not agree on min.insync.replicas.
func checkMinISR(img *Image, a *ConfigAlteration, current, next map[string]string) *Error {
	if !img.UsesELR() || a.Resource != ResourceBroker {
		return nil
	}
	before, had := current[minInsyncReplicas]
	after, has := next[minInsyncReplicas]
	switch {
	case a.Name != "" && (had != has || before != after):
		return errBrokerMinISR
	case a.Name == "" && had && !has:
		return errClusterMinISR
	}
	return nil
}

// minISRChanged are the partitions that lose their eligible replicas by changed
// configuration: where the ISR is large enough now, the high watermark moves on
// without them.
func (c *Controller) minISRChanged(img *Image, configs []Record) []Record {
	changed := false
	for _, r := range configs {
		if config, ok := r.(*ConfigRecord); ok && config.Key == minInsyncReplicas {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	after, err := Apply(img, configs...)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	concerns := func(p *Partition) bool { return len(p.ELR)+len(p.LastKnownELR) > 0 && len(p.ISR) > 0 }
	changes := leaderChanges{}
	for _, topic := range sortedTopicsWith(after, concerns) {
		settings := c.settings(after, topic)
		for i, p := range topic.Partitions {
			if !concerns(p) {
				continue
			}
			change := settings.change(p, acceptable(after, p, after.Active))
			if next := change.build(after.defaultDir); next != nil {
				changes.add(topic, int32(i), p, next)
			}
		}
	}
	return changes.records
}
