package metadata

// producerIDBlock is how many producer ids a broker takes at a time (Kafka:
// ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
const producerIDBlock = 1000

// ProducerIDBlock is a range of producer ids that one broker may give out.
type ProducerIDBlock struct {
	First int64
	Count int64
}

// AllocateProducerIDs reserves the next block for a broker. A block is never
// given twice, also not after a crash: ids that were not used are lost.
func (c *Controller) AllocateProducerIDs(img *Image, brokerID int32) (ProducerIDBlock, []Record) {
	block := ProducerIDBlock{First: img.NextProducerID, Count: producerIDBlock}
	return block, []Record{&ProducerIDsRecord{BrokerID: brokerID, NextProducerID: block.First + block.Count}}
}
