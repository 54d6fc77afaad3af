package sim

// What clients and nodes say to each other. The bytes of Kafka's protocol are
// other tests' business: here a request is a value, and a record batch is the
// only thing that travels as the bytes it is.

// topicPartition names a partition. It is comparable and small.
type topicPartition struct {
	topic     string
	partition int32
}

// Services that nodes listen for.
const (
	serviceClient      = "client"      // Kafka clients and other brokers' forwarded requests
	serviceReplication = "replication" // the stream of pushes, key 120
	serviceQuorum      = "quorum"      // raft messages, key 121
)

// Error codes of Kafka's protocol that the simulated shell and clients use.
const (
	codeNone                    int16 = 0
	codeOffsetOutOfRange        int16 = 1
	codeCorruptMessage          int16 = 2
	codeUnknownTopicOrPartition int16 = 3
	codeNotLeaderOrFollower     int16 = 6
	codeRequestTimedOut         int16 = 7
	codeCoordinatorLoading      int16 = 14
	codeNotCoordinator          int16 = 16
	codeNotEnoughReplicas       int16 = 19
	codeNotController           int16 = 41
	codeOutOfOrderSequence      int16 = 45
	codeInvalidProducerEpoch    int16 = 47
	codeKafkaStorageError       int16 = 56
	codeUnknownProducerID       int16 = 59
	codeFencedLeaderEpoch       int16 = 74
	codeUnknownLeaderEpoch      int16 = 75
	codeStaleBrokerEpoch        int16 = 77
	// codeConnectionLost is not Kafka's: there will be no answer.
	codeConnectionLost int16 = -1000
)

// call is a request on its way: who asks names it by ID, and hears one answer.
type call struct {
	id   uint64
	body any
}

// answer ends the call of the same id.
type answer struct {
	id   uint64
	body any
}

type produceRequest struct {
	at        topicPartition
	acks      int16
	timeoutMs int64
	batch     []byte // the request's own copy
}

type produceResponse struct {
	code       int16
	baseOffset int64
}

type fetchRequest struct {
	at       topicPartition
	epoch    int32 // leader epoch that the client knows of (KIP-320)
	offset   int64
	maxBytes int32
}

type fetchResponse struct {
	code           int16
	highWatermark  int64
	logStartOffset int64
	data           []byte // whole batches
	sent           pages  // that they are sent from
}

func (a answer) lent() []pages {
	if f, ok := a.body.(fetchResponse); ok && len(f.sent.want) > 0 {
		return []pages{f.sent}
	}
	return nil
}

type metadataRequest struct{}

type metadataResponse struct {
	leaders map[topicPartition]leadership
}

// leadership is who leads a partition, -1 nobody, in which leader epoch.
type leadership struct{ id, epoch int32 }
