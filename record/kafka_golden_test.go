package record

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kafkaRecords is the content of the batches in testdata/kafka.
func kafkaRecords() []testRecord {
	var records []testRecord
	for i := range 200 {
		r := testRecord{ms: 1700000000000 + int64(i)}
		if i%3 != 0 {
			r.key = []byte(fmt.Sprintf("key-%d", i))
		}
		if i%5 != 0 {
			r.value = []byte(strings.Repeat(fmt.Sprintf("value %d ", i), 1+i*2))
		}
		if i%4 == 0 {
			r.headers = []Header{
				{Key: []byte(fmt.Sprintf("h%d", i)), Value: []byte(fmt.Sprintf("x%d", i))}, {Key: []byte("null")}}
		}
		records = append(records, r)
	}
	return records
}

// TestKafkaBatches reads what Apache Kafka's own producer code wrote.
func TestKafkaBatches(t *testing.T) {
	opts := DefaultBuilderOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = 77, 3, 5
	for _, codec := range allCodecs {
		b, err := os.ReadFile(filepath.Join("testdata", "kafka", "kafka-4.3.1-"+codec.String()+".batch"))
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b)
		opt := lenient()
		opt.NowMs = 1700000000000
		result, err := Validate(b, opt)
		if err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		if Batch(b).Codec() != codec || !bytes.Equal(b, before) || result.MaxTimestampMs != 1700000000199 ||
			result.OffsetDeltaOfMaxTimestamp != 199 || Batch(b).LastSequence() != 204 {
			t.Fatalf("%s: %+v", codec, result)
		}
		checkIterates(t, b, kafkaRecords())
		if codec == None && !bytes.Equal(b, build(t, opts, kafkaRecords())) {
			t.Error("the Builder's batch differs from Kafka's")
		}
	}
}
