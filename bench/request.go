package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	clientID = "freshet-bench"
	// Versions of the prebuilt requests: the newest that name topics instead of
	// giving their ids, or what the broker has if that is older.
	newestProduceVersion = 12
	oldestProduceVersion = 7
	newestFetchVersion   = 12
	oldestFetchVersion   = 11
	// correlationAt is where a framed request keeps its correlation id: after
	// size, API key and version.
	correlationAt    = 8
	produceTimeoutMs = 30_000
)

// requestVersions are the versions that the prebuilt requests use.
type requestVersions struct{ produce, fetch int16 }

func (v requestVersions) flexibleProduce() bool { return v.produce >= 9 }
func (v requestVersions) flexibleFetch() bool   { return v.fetch >= 12 }

// chooseVersions picks from what the broker offers.
func chooseVersions(maxProduce, maxFetch int16) (requestVersions, error) {
	v := requestVersions{
		produce: min(maxProduce, newestProduceVersion),
		fetch:   min(maxFetch, newestFetchVersion),
	}
	if v.produce < oldestProduceVersion || v.fetch < oldestFetchVersion {
		return v, fmt.Errorf("the broker offers Produce up to v%d and Fetch up to v%d; the saturate mode needs v%d and v%d: use the client mode",
			maxProduce, maxFetch, oldestProduceVersion, oldestFetchVersion)
	}
	return v, nil
}

// produceTemplate is one framed Produce request in three pieces, so that a
// send needs only the correlation id patched in a copy of the head.
type produceTemplate struct {
	head, batch, tail []byte
	records           int
}

// newProduceTemplate frames a request for one batch to one partition.
func newProduceTemplate(v requestVersions, topic string, partition int32, acks int16, b PrebuiltBatch) produceTemplate {
	req := kmsg.NewPtrProduceRequest()
	req.Version = v.produce
	req.Acks = acks
	req.TimeoutMillis = produceTimeoutMs
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition = partition
	p.Records = b.Bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	framed := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
	at := bytes.LastIndex(framed, b.Bytes)
	if at < 0 {
		panic("BUG: the framed Produce request does not hold its batch")
	}
	return produceTemplate{
		head:    framed[:at:at],
		batch:   b.Bytes,
		tail:    bytes.Clone(framed[at+len(b.Bytes):]),
		records: b.Records,
	}
}

// fetchTemplate is one framed Fetch request of one partition with the places
// to patch.
type fetchTemplate struct {
	frame         []byte
	fetchOffsetAt int
}

// newFetchTemplate frames a sessionless fetch of up to maxBytes. With
// minBytes 1 the broker answers as soon as it has anything.
func newFetchTemplate(v requestVersions, topic string, partition int32, maxBytes int) fetchTemplate {
	const sentinel = 0x5f5e5d5c5b5a5958
	req := kmsg.NewPtrFetchRequest()
	req.Version = v.fetch
	req.MaxWaitMillis = 5_000
	req.MinBytes = 1
	req.MaxBytes = int32(maxBytes)
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = partition
	p.FetchOffset = sentinel
	p.PartitionMaxBytes = int32(maxBytes)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
	want := binary.BigEndian.AppendUint64(nil, sentinel)
	at := bytes.Index(frame, want)
	if at < 0 || bytes.Count(frame, want) != 1 {
		panic("BUG: the framed Fetch request does not hold its offset once")
	}
	return fetchTemplate{frame: frame, fetchOffsetAt: at}
}

// patch sets the correlation id and the offset.
func (t fetchTemplate) patch(correlation int32, offset int64) {
	binary.BigEndian.PutUint32(t.frame[correlationAt:], uint32(correlation))
	binary.BigEndian.PutUint64(t.frame[t.fetchOffsetAt:], uint64(offset))
}

// cursor reads a message in place; once it has run over the end, ok is false
// and every read gives zero.
type cursor struct {
	b  []byte
	at int
	ok bool
}

func newCursor(b []byte) cursor { return cursor{b: b, ok: true} }

func (c *cursor) skip(n int) {
	if n < 0 || n > len(c.b)-c.at {
		c.ok = false
		c.at = len(c.b)
		return
	}
	c.at += n
}

func (c *cursor) take(n int) []byte {
	at := c.at
	c.skip(n)
	if !c.ok {
		return nil
	}
	return c.b[at:c.at]
}

func (c *cursor) int16() int16 {
	if p := c.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if p := c.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if p := c.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.b[c.at:])
	if n <= 0 || v > 1<<31 {
		c.ok = false
		c.at = len(c.b)
		return 0
	}
	c.at += n
	return int(v)
}

// length reads an array's or a byte string's length: compact (plus one, as a
// varint) when flexible, int32 otherwise; -1 is null.
func (c *cursor) length(flexible bool) int {
	if flexible {
		return c.uvarint() - 1
	}
	return int(c.int32())
}

// str reads a string, nil for null.
func (c *cursor) str(flexible bool) []byte {
	n := 0
	if flexible {
		n = c.uvarint() - 1
	} else {
		n = int(c.int16())
	}
	if n < 0 {
		return nil
	}
	return c.take(n)
}

// tags skips a tag section when flexible.
func (c *cursor) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := c.uvarint(); n > 0 && c.ok; n-- {
		c.uvarint()
		c.skip(c.uvarint())
	}
}

// parseProduceResponse reads the answer to a request of one partition. frame
// is without its size; the base offset is the broker's for the batch.
func parseProduceResponse(frame []byte, v requestVersions) (correlation int32, baseOffset int64, err error) {
	flexible := v.flexibleProduce()
	c := newCursor(frame)
	correlation = c.int32()
	c.tags(flexible)
	topics := c.length(flexible)
	c.str(flexible)
	partitions := c.length(flexible)
	partition := c.int32()
	code := c.int16()
	baseOffset = c.int64()
	if !c.ok || topics != 1 || partitions != 1 {
		return correlation, 0, fmt.Errorf("a Produce v%d answer of %d bytes does not hold one partition", v.produce, len(frame))
	}
	if code != 0 {
		return correlation, 0, fmt.Errorf("produce to partition %d: %w", partition, kerr.ErrorForCode(code))
	}
	return correlation, baseOffset, nil
}

// parseFetchHead reads the start of an answer to a fetch of one partition, up
// to the records. head begins after the size and need not hold the records;
// recordsAt is where they begin in it and recordsBytes how many there are.
func parseFetchHead(head []byte, v requestVersions) (correlation int32, recordsAt, recordsBytes int, err error) {
	flexible := v.flexibleFetch()
	c := newCursor(head)
	correlation = c.int32()
	c.tags(flexible)
	c.skip(4) // throttle time
	code := c.int16()
	c.skip(4) // session id
	if c.ok && code != 0 {
		return correlation, 0, 0, fmt.Errorf("fetch: %w", kerr.ErrorForCode(code))
	}
	topics := c.length(flexible)
	c.str(flexible)
	partitions := c.length(flexible)
	partition := c.int32()
	code = c.int16()
	c.skip(3 * 8) // high watermark, last stable offset, log start offset
	for aborted := c.length(flexible); aborted > 0 && c.ok; aborted-- {
		c.skip(2 * 8)
		c.tags(flexible)
	}
	c.skip(4) // preferred read replica
	if c.ok && code != 0 {
		return correlation, 0, 0, fmt.Errorf("fetch from partition %d: %w", partition, kerr.ErrorForCode(code))
	}
	recordsBytes = c.length(flexible)
	if !c.ok || topics != 1 || partitions != 1 {
		return correlation, 0, 0, fmt.Errorf("a Fetch v%d answer does not hold one partition", v.fetch)
	}
	return correlation, c.at, max(recordsBytes, 0), nil
}
