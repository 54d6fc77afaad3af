package bench

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

func TestProduceTemplateIsARequest(t *testing.T) {
	batch := BuildBatch(100, 8192, 0, 123)
	for version := int16(oldestProduceVersion); version <= newestProduceVersion; version++ {
		tpl := newProduceTemplate(requestVersions{produce: version}, "topic", 3, -1, batch)
		frame := append(append(append([]byte(nil), tpl.head...), tpl.batch...), tpl.tail...)
		if got := int(binary.BigEndian.Uint32(frame)); got != len(frame)-4 {
			t.Fatalf("v%d: the size says %d of %d bytes", version, got, len(frame)-4)
		}
		cur := newCursor(frame[4:])
		h := readHeader(&cur)
		if h.key != keyProduce || h.version != version {
			t.Fatalf("v%d: header %+v", version, h)
		}
		acks, topic, partition, recordsBytes, single := readProduceHead(&cur, version)
		if acks != -1 || string(topic) != "topic" || partition != 3 || recordsBytes != len(batch.Bytes) || !single {
			t.Errorf("v%d: read back acks %d, topic %q, partition %d, %d bytes, single %v", version, acks, topic, partition, recordsBytes, single)
		}
	}
}

func TestParseProduceResponse(t *testing.T) {
	for version := int16(oldestProduceVersion); version <= newestProduceVersion; version++ {
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = version
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = "topic"
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.Partition, rp.BaseOffset = 2, 4711
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		v := requestVersions{produce: version}
		correlation, offset, err := parseProduceResponse(withHeader(77, resp), v)
		if err != nil || correlation != 77 || offset != 4711 {
			t.Errorf("v%d: %d, %d, %v", version, correlation, offset, err)
		}
		resp.Topics[0].Partitions[0].ErrorCode = 6
		if _, _, err := parseProduceResponse(withHeader(77, resp), v); err == nil {
			t.Errorf("v%d: an error code passed", version)
		}
		whole := withHeader(77, resp)
		for cut := range 20 {
			if _, _, err := parseProduceResponse(whole[:cut], v); err == nil {
				t.Errorf("v%d: %d bytes passed for an answer", version, cut)
			}
		}
	}
}

func TestParseFetchHead(t *testing.T) {
	batch := BuildBatch(100, 4096, 0, 123)
	for version := int16(oldestFetchVersion); version <= newestFetchVersion; version++ {
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = version
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = "topic"
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.RecordBatches = batch.Bytes
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		whole := withHeader(9, resp)
		correlation, at, n, err := parseFetchHead(whole[:200], requestVersions{fetch: version})
		if err != nil || correlation != 9 || n != len(batch.Bytes) {
			t.Fatalf("v%d: %d, %d bytes, %v", version, correlation, n, err)
		}
		if got := record.Batch(whole[at : at+n]); got.CRC() != batch.Bytes.CRC() {
			t.Errorf("v%d: the records do not start at %d", version, at)
		}
	}
}

// withHeader frames a response without its size.
func withHeader(correlation int32, resp kmsg.Response) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(correlation))
	if resp.IsFlexible() {
		b = append(b, 0)
	}
	return resp.AppendTo(b)
}

func TestFetchTemplatePatches(t *testing.T) {
	tpl := newFetchTemplate(requestVersions{fetch: newestFetchVersion}, "topic", 1, 1<<20)
	tpl.patch(42, 1<<40)
	req := kmsg.NewPtrFetchRequest()
	req.Version = newestFetchVersion
	cur := newCursor(tpl.frame[4:])
	if h := readHeader(&cur); h.correlation != 42 {
		t.Errorf("correlation id %d, want 42", h.correlation)
	}
	cur.tags(true)
	if err := req.ReadFrom(cur.b[cur.at:]); err != nil {
		t.Fatal(err)
	}
	if got := req.Topics[0].Partitions[0].FetchOffset; got != 1<<40 {
		t.Errorf("offset %d, want 2^40", got)
	}
}

func TestChooseVersions(t *testing.T) {
	if v, err := chooseVersions(13, 18); err != nil || v.produce != newestProduceVersion || v.fetch != newestFetchVersion {
		t.Errorf("a new broker: %+v, %v", v, err)
	}
	if v, err := chooseVersions(7, 11); err != nil || v.flexibleProduce() || v.flexibleFetch() {
		t.Errorf("an older broker: %+v, %v", v, err)
	}
	if _, err := chooseVersions(5, 11); err == nil {
		t.Error("a broker of the past was accepted")
	}
}

func TestBuildBatch(t *testing.T) {
	for _, c := range []struct{ value, bytes, max int }{{100, 64 << 10, 0}, {100, 512, 1}, {1, 8192, 0}, {5000, 512, 0}} {
		b := BuildBatch(c.value, c.bytes, c.max, 1)
		n, records, err := CheckBatches(b.Bytes, 0)
		if err != nil || n != len(b.Bytes) || records != int64(b.Records) || records < 1 {
			t.Errorf("%+v: %d of %d bytes, %d of %d records, %v", c, n, len(b.Bytes), records, b.Records, err)
		}
		if b.Records > 1 && (len(b.Bytes) > c.bytes || len(b.Bytes) < c.bytes-c.value-16) {
			t.Errorf("%+v: a batch of %d bytes", c, len(b.Bytes))
		}
	}
	broken := BuildBatch(100, 4096, 0, 1)
	broken.Bytes[200]++
	if _, _, err := CheckBatches(broken.Bytes, 0); err == nil {
		t.Error("a changed byte passed the checksum")
	}
	if _, _, err := CheckBatches(BuildBatch(100, 4096, 0, 1).Bytes, 7); err == nil {
		t.Error("a gap in the offsets passed")
	}
}

func TestPlanConnections(t *testing.T) {
	one := []string{"a:1", "a:1", "a:1", "a:1", "a:1", "a:1"}
	plans := planConnections(one, 3)
	if len(plans) != 3 || len(plans[1].partitions) != 2 || plans[1].partitions[1] != 4 {
		t.Errorf("one broker: %+v", plans)
	}
	plans = planConnections([]string{"a:1", "b:1", "a:1", "b:1"}, 1)
	if len(plans) != 2 || plans[0].addr == plans[1].addr {
		t.Errorf("two brokers, one connection: %+v", plans)
	}
}
