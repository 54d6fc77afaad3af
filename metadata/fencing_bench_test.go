package metadata

import (
	"fmt"
	"testing"
)

// bigCluster has topics with three replicas each on three brokers.
func bigCluster(b testing.TB, topics int, partitionsPerTopic int32) (*Controller, *Image) {
	c := testController()
	img := testImage(b)
	records := []Record{&FeatureRecord{Name: MetadataVersion, Level: 30}, &FeatureRecord{Name: ELRVersion, Level: 1}}
	for id := range int32(3) {
		records = append(records, &BrokerRecord{Broker{ID: id, Epoch: indexOfRecord, Dirs: []UUID{stageDir(id, 0)}}})
	}
	img = mustApply(b, img, records)
	for i := range topics {
		_, records := c.CreateTopics(img, []NewTopic{plain(fmt.Sprintf("topic-%d", i), partitionsPerTopic, 3)}, false)
		img = mustApply(b, img, records)
	}
	return c, img
}

// BenchmarkFenceBroker is a broker's failure with 10,000 partitions: the
// decision, its encoding as it goes to the log, decoding and applying on each
// node.
func BenchmarkFenceBroker(b *testing.B) {
	for _, shape := range []struct {
		topics     int
		partitions int32
	}{{1, 10_000}, {1000, 10}, {10_000, 1}} {
		b.Run(fmt.Sprintf("topics=%d/partitions=%d", shape.topics, shape.partitions), func(b *testing.B) {
			c, img := bigCluster(b, shape.topics, shape.partitions)
			var records []Record
			var encoded [][]byte
			b.Run("decide", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					records = c.FenceBroker(img, 1)
				}
				b.ReportMetric(float64(len(records)), "records")
			})
			b.Run("encode", func(b *testing.B) {
				bytes := 0
				for b.Loop() {
					encoded, bytes = encoded[:0], 0
					for _, r := range records {
						text, err := encodeRecord(r)
						if err != nil {
							b.Fatal(err)
						}
						bytes += len(text)
						encoded = append(encoded, text)
					}
				}
				b.ReportMetric(float64(bytes), "bytes")
			})
			b.Run("decode", func(b *testing.B) {
				for b.Loop() {
					for _, text := range encoded {
						if _, err := decodeRecord(text); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
			b.Run("apply", func(b *testing.B) {
				for b.Loop() {
					if _, err := Apply(img, records...); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkAlterPartition is a leader's wish for one partition, and for a
// thousand at once.
func BenchmarkAlterPartition(b *testing.B) {
	c, img := bigCluster(b, 10, 1000)
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("partitions=%d", n), func(b *testing.B) {
			r := AlterPartitionRequest{BrokerID: 0, BrokerEpoch: img.BrokerEpoch(0)}
			for topic := range img.Topics() {
				for i, p := range topic.Partitions {
					if p.Leader == 0 && len(r.Partitions) < n {
						r.Partitions = append(r.Partitions, PartitionAlteration{TopicID: topic.ID, Partition: int32(i), NewISR: []ISRMember{{0, -1}}})
					}
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, records, err := c.AlterPartition(img, r); err != nil || len(records) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFailureIsFewRecords keeps the size of a broker's failure in the log.
func TestFailureIsFewRecords(t *testing.T) {
	c, img := bigCluster(t, 2, 1500)
	records := c.FenceBroker(img, 1)
	changed, bytes := 0, 0
	for _, r := range records {
		text, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		bytes += len(text)
		if l, ok := r.(*LeadershipsRecord); ok {
			changed += len(l.Changes)
		}
	}
	if changed != 3000 || len(records) > 2*(1500/changesPerRecord)+1 || bytes > changed*100 {
		t.Errorf("%d partitions in %d records of %d bytes", changed, len(records), bytes)
	}
}

// BenchmarkSnapshot is what a node that starts or joins does with 10,000
// partitions of three replicas.
func BenchmarkSnapshot(b *testing.B) {
	for _, topics := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			_, img := bigCluster(b, topics, int32(10_000/topics))
			var encoded [][]byte
			b.Run("encode", func(b *testing.B) {
				bytes := 0
				for b.Loop() {
					encoded, bytes = encoded[:0], 0
					for _, r := range img.Records() {
						text, err := encodeRecord(r)
						if err != nil {
							b.Fatal(err)
						}
						bytes += len(text)
						encoded = append(encoded, text)
					}
				}
				b.ReportMetric(float64(bytes), "bytes")
			})
			b.Run("load", func(b *testing.B) {
				for b.Loop() {
					var records []Record
					for _, text := range encoded {
						r, err := decodeRecord(text)
						if err != nil {
							b.Fatal(err)
						}
						records = append(records, r)
					}
					if _, err := Apply(NewImage(), records...); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
