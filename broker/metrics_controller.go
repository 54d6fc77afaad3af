package broker

import "github.com/prometheus/client_golang/prometheus"

var (
	descController      = desc("kafka_controller_kafkacontroller_activecontrollercount", "1 on the active controller.")
	descActiveBrokers   = desc("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are registered and not fenced.")
	descFencedBrokers   = desc("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are registered and fenced.")
	descGlobalTopics    = desc("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.")
	descGlobalParts     = desc("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.")
	descOfflineParts    = desc("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.")
	descImbalancedParts = desc("kafka_controller_kafkacontroller_preferredreplicaimbalancecount", "Partitions not led by their preferred replica.")
	descMetadataIndex   = desc("freshet_metadata_index", "Index of the newest metadata record that this node has.")

	controllerDescs = []*prometheus.Desc{descController, descActiveBrokers, descFencedBrokers, descGlobalTopics,
		descGlobalParts, descOfflineParts, descImbalancedParts, descMetadataIndex}
)

// collectController reads what Kafka's controllers show. As there, only the
// active one knows the state of the cluster; others show 0.
func (b *Broker) collectController(gauge func(d *prometheus.Desc, v int64, labels ...string)) {
	img := b.meta.Image()
	gauge(descMetadataIndex, img.Index)
	if !b.isActiveController() {
		for _, d := range controllerDescs {
			if d != descMetadataIndex {
				gauge(d, 0)
			}
		}
		return
	}
	var active, fenced, offline, imbalanced int64
	for i := range img.Brokers {
		if img.Brokers[i].Fenced {
			fenced++
		} else {
			active++
		}
	}
	for topic := range img.Topics() {
		for _, p := range topic.Partitions {
			switch {
			case p.Leader < 0:
				offline++
				imbalanced++
			case p.Leader != p.Replicas[0]:
				imbalanced++
			}
		}
	}
	gauge(descController, 1)
	gauge(descActiveBrokers, active)
	gauge(descFencedBrokers, fenced)
	gauge(descGlobalTopics, int64(img.NumTopics()))
	gauge(descGlobalParts, int64(img.NumPartitions()))
	gauge(descOfflineParts, offline)
	gauge(descImbalancedParts, imbalanced)
}
