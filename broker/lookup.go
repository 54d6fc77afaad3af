package broker

import (
	"errors"
	"slices"

	"freshet/metadata"
	"freshet/storage"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Bit sets of what may be done with a topic and with the cluster, as clients
// ask for with authorized operations (KIP-430; Kafka: AclEntry). Without an
// authorizer everybody may do all of it.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// hostedPartition finds a partition this broker leads, for handlers on the
// workers; otherwise err says why it cannot serve it.
func (b *Broker) hostedPartition(topicName string, index int32) (*partition, *kerr.Error) {
	meta := b.meta.Image().Topic(topicName)
	if meta == nil || meta.Partition(index) == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	t := b.net.topics.id(meta.ID)
	if t == nil {
		return nil, kerr.KafkaStorageError // its log could not be opened
	}
	p := t.partition(index)
	switch {
	case p == nil:
		return nil, t.absent(index)
	case slices.Contains(b.offlineDirs(), p.log.LogDir()):
		return nil, kerr.KafkaStorageError
	case !p.Role().Leads:
		return nil, kerr.NotLeaderForPartition
	}
	return p, nil
}

// checkLeaderEpoch compares the leader epoch a client knows, -1 for none, with
// the partition's (KIP-320).
func (p *partition) checkLeaderEpoch(current int32) *kerr.Error {
	epoch := p.LeaderEpoch()
	switch {
	case current == -1 || current == epoch:
		return nil
	case current < epoch:
		return kerr.FencedLeaderEpoch
	}
	return kerr.UnknownLeaderEpoch
}

// isOffline reports whether this broker's replica of a partition lies in a
// failed log directory or could not be opened.
func (b *Broker) isOffline(topicID [16]byte, index int32, offlineDirs []string) bool {
	t := b.net.topics.id(topicID)
	if t == nil {
		return true
	}
	p := t.partition(index)
	return p == nil || len(offlineDirs) > 0 && slices.Contains(offlineDirs, p.log.LogDir())
}

// storageCode is the protocol's error for an error of package storage.
func storageCode(err error) *kerr.Error {
	switch {
	case errors.Is(err, storage.ErrOffsetOutOfRange):
		return kerr.OffsetOutOfRange
	case errors.Is(err, storage.ErrLogClosed):
		return kerr.NotLeaderForPartition // deleted or stopping
	}
	return kerr.KafkaStorageError
}

// codeAndMessage is a refusal as answers carry it: 0 and nil for none.
func codeAndMessage(err *metadata.Error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	return int16(err.Code), &err.Message
}
