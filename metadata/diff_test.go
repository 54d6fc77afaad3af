package metadata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDiff compares Diff with looking at every topic, over random changes.
func TestDiff(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	c := testController()
	img := testImage(t, 1)
	for round := range 200 {
		old := img
		for range random.IntN(6) {
			name := fmt.Sprint("t", random.IntN(60))
			topic := img.Topic(name)
			var records []Record
			switch {
			case topic == nil:
				_, records = c.CreateTopics(img, []NewTopic{plain(name, 1, 1)}, false)
			case random.IntN(2) == 0:
				_, records = c.DeleteTopics(img, []TopicRef{{ID: topic.ID}})
			default:
				_, records = c.CreatePartitions(img, []PartitionsWish{{Topic: name, Count: int32(len(topic.Partitions) + 1)}}, false)
			}
			img = mustApply(t, img, records)
		}
		var removed, changed []string
		for topic := range old.Topics() {
			if img.TopicByID(topic.ID) == nil {
				removed = append(removed, topic.ID.String())
			}
		}
		for topic := range img.Topics() {
			if old.TopicByID(topic.ID) != topic {
				changed = append(changed, topic.ID.String())
			}
		}
		got := Diff(old, img)
		if !sameIDs(got.Removed, removed) || !sameIDs(got.Changed, changed) {
			t.Fatalf("round %d: removed %v, want %v; changed %v, want %v", round, got.Removed, removed, got.Changed, changed)
		}
	}
}

func sameIDs(topics []*Topic, want []string) bool {
	var got []string
	for _, topic := range topics {
		got = append(got, topic.ID.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

func TestDiffBrokers(t *testing.T) {
	old := testImage(t, 1, 2, 4)
	next := mustApply(t, old, []Record{
		&BrokerRecord{Broker{ID: 0}}, &RemoveBrokerRecord{ID: 1}, &BrokerRecord{Broker{ID: 2, Fenced: true}},
		&BrokerRecord{Broker{ID: 4}}, &BrokerRecord{Broker{ID: 7}},
	})
	got := Diff(old, next)
	if fmt.Sprint(got.BrokersChanged, got.BrokersRemoved) != "[0 2 7] [1]" {
		t.Errorf("changed %v, removed %v", got.BrokersChanged, got.BrokersRemoved)
	}
	back := Diff(next, old)
	if fmt.Sprint(back.BrokersChanged, back.BrokersRemoved) != "[1 2] [0 7]" {
		t.Errorf("back: changed %v, removed %v", back.BrokersChanged, back.BrokersRemoved)
	}
	if same := Diff(old, mustApply(t, old, []Record{&FeatureRecord{"f", 1}})); same.BrokersChanged != nil || same.BrokersRemoved != nil {
		t.Errorf("same: %+v", same)
	}
}
