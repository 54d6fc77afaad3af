package metadata

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// Image is everything the cluster agreed on at one moment. It is immutable, as
// is all that hangs from it: callers must not change what they are given.
type Image struct {
	// Index is the number of the last record applied.
	Index int64
	// ClusterID is the cluster's name for itself, in base64.
	ClusterID string
	// NextProducerID is the first producer id not yet given to a broker.
	NextProducerID int64
	// Features are the finalized feature levels, for example metadata.version.
	Features map[string]int16
	// Brokers are the registered brokers by id.
	Brokers []Broker
	// BrokerConfigs are the dynamic values by broker id in decimal; those for
	// all brokers stand under "".
	BrokerConfigs map[string]map[string]string

	byName trie[string, *Topic]
	byID   trie[UUID, *Topic]
	// collisions lists, by unified name, the topics whose names have a
	// character that may collide.
	collisions trie[string, []string]
	partitions int
}

// Topic is one topic.
type Topic struct {
	Name     string
	ID       UUID
	Internal bool
	// Synced: flush.messages=1 has been set since the topic was created, so that
	// every acknowledged record was on its replicas' disks.
	Synced     bool
	Partitions []*Partition      // by partition number, without gaps
	Configs    map[string]string // the topic's overrides, nil when it has none
}

var hashSeed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(hashSeed, s) }

// hashUUID mixes an id's halves; ids are random but a client may ask for any.
func hashUUID(u UUID) uint64 {
	return maphash.Comparable(hashSeed, [2]uint64{binary.LittleEndian.Uint64(u[:8]), binary.LittleEndian.Uint64(u[8:])})
}

// NewImage is the image before the first record.
func NewImage() *Image {
	return &Image{
		byName:     trie[string, *Topic]{hash: hashString},
		byID:       trie[UUID, *Topic]{hash: hashUUID},
		collisions: trie[string, []string]{hash: hashString},
	}
}

// Topic finds a topic by name, nil when there is none. It does not allocate.
func (img *Image) Topic(name string) *Topic {
	topic, _ := img.byName.get(name)
	return topic
}

// TopicByID finds a topic by id, nil when there is none. It does not allocate.
func (img *Image) TopicByID(id [16]byte) *Topic {
	topic, _ := img.byID.get(id)
	return topic
}

// NumTopics is the number of topics, NumPartitions that of all partitions.
func (img *Image) NumTopics() int { return img.byName.size }

// NumPartitions is the number of partitions of all topics.
func (img *Image) NumPartitions() int { return img.partitions }

// Topics yields every topic in no order.
func (img *Image) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		img.byName.each(func(_ string, topic *Topic) bool { return yield(topic) })
	}
}

// SortedTopics lists every topic by name.
func (img *Image) SortedTopics() []*Topic {
	topics := slices.AppendSeq(make([]*Topic, 0, img.NumTopics()), img.Topics())
	slices.SortFunc(topics, compareTopicNames)
	return topics
}

func compareTopicNames(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }
