package metadata

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestOldRecords reads records as they were written before there were clusters.
func TestOldRecords(t *testing.T) {
	img := NewImage()
	for _, line := range []string{
		`{"kind":"cluster","data":{"clusterId":"c"}}`,
		`{"kind":"feature","data":{"name":"metadata.version","level":30}}`,
		`{"kind":"broker","data":{"id":1,"rack":"r","dirs":["AQEAAAAAAAAAAAAAAAAAAA"]}}`,
		`{"kind":"topic","data":{"name":"t","id":"AQAAAAAAAAAAAAAAAAAAAA"}}`,
		`{"kind":"partitions","data":{"topicId":"AQAAAAAAAAAAAAAAAAAAAA","first":0,"partitions":[{"replicas":[1],"isr":[1],"leader":1,"leaderEpoch":0,"partitionEpoch":0}]}}`,
		`{"kind":"partition","data":{"topicId":"AQAAAAAAAAAAAAAAAAAAAA","partition":0,"state":{"replicas":[1],"dirs":["AQEAAAAAAAAAAAAAAAAAAA"],"isr":[1],"leader":1,"leaderEpoch":0,"partitionEpoch":1}}}`,
	} {
		r, err := decodeRecord([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		again, err := encodeRecord(r)
		if err != nil || string(again) != line {
			t.Errorf("written again: %s\nwas            %s (%v)", again, line, err)
		}
		img = mustApply(t, img, []Record{r})
	}
	b, p := img.Broker(1), img.Topic("t").Partition(0)
	if b.Epoch != 0 || !b.Active() || p.Reassigning() || p.Recovering || img.UsesELR() {
		t.Errorf("broker %+v, partition %+v", b, p)
	}
	// The broker starts with this version, alone as before: it is the same.
	c := testController()
	records, refusal := c.RegisterAlone(img, Registration{ClusterID: "c", BrokerID: 1, Rack: "r", IncarnationID: UUID{7}, Dirs: b.Dirs})
	if refusal != nil || len(records) != 0 {
		t.Errorf("%d records, %v", len(records), refusal)
	}
	// It joins a cluster: it is registered anew, fenced until it is heard of, and
	// then leads as before.
	records, refusal = c.RegisterBroker(img, Registration{ClusterID: "c", BrokerID: 1, Rack: "r", IncarnationID: UUID{7}, Dirs: b.Dirs, PredecessorGone: true})
	if refusal != nil {
		t.Fatal(refusal)
	}
	img = mustApply(t, img, records)
	if p := img.Topic("t").Partition(0); p.Leader != noLeader || !img.Broker(1).Fenced {
		t.Errorf("after the registration: %+v", p)
	}
	img = mustApply(t, img, c.UnfenceBroker(img, 1))
	if p := img.Topic("t").Partition(0); p.Leader != 1 || p.LeaderEpoch != 2 {
		t.Errorf("after the unfencing: %+v", p)
	}
}

func TestEveryRecordReadsBack(t *testing.T) {
	value := "v"
	for _, r := range []Record{
		&ClusterRecord{"c"},
		&BrokerRecord{Broker{
			ID: 3, Epoch: -1, CleanSince: 5, IncarnationID: UUID{1}, Endpoints: []Endpoint{{"PLAINTEXT", "::1", 9092, "PLAINTEXT"}},
			Features: []Feature{{"f", 1, 2}}, Rack: "r", Fenced: true, InControlledShutdown: true, ShutdownIndex: 7,
			Dirs: []UUID{{1}, {2}}, CordonedDirs: []UUID{{2}},
		}},
		&RemoveBrokerRecord{3, 9},
		&FeatureRecord{"f", 2},
		&TopicRecord{"t", UUID{1}, true},
		&PartitionsRecord{UUID{1}, 0, []Partition{{Replicas: []int32{1, 2, 3}, ISR: []int32{}, Leader: -1, ELR: []int32{1}, LastKnownELR: []int32{2}, Recovering: true}}},
		&PartitionChangeRecord{UUID{1}, 0, Partition{Replicas: []int32{1, 2}, ISR: []int32{1}, AddingReplicas: []int32{2}, RemovingReplicas: []int32{1}}},
		&LeadershipsRecord{UUID{1}, []Leadership{}},
		&LeadershipsRecord{UUID{1}, []Leadership{{0, -1, 1 << 30, 2, true, nil, []int32{1, 2}, []int32{2}}, {1, 2, 3, 4, false, []int32{2, 1}, nil, nil}}},
		&RemoveTopicRecord{UUID{1}},
		&ConfigRecord{ResourceTopic, "t", "k", &value},
		&ConfigRecord{ResourceTopic, "t", "k", nil},
		&ProducerIDsRecord{1, 1000},
	} {
		text, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRecord(text)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%s: %v\n%+v\n%+v", text, err, r, again)
		}
		// The same with white space, as a person might write it.
		spaced := strings.NewReplacer(",", " , ", ":", " : ", "[", "[ ").Replace(string(text))
		if r.kind() == "broker" {
			continue // has colons in a host
		}
		if again, err = decodeRecord([]byte(spaced)); err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%s: %v\n%+v\n%+v", spaced, err, r, again)
		}
	}
}

// TestDocumentedRecords reads the records of the description of the format, one
// after the other, and writes them again.
func TestDocumentedRecords(t *testing.T) {
	text, err := os.ReadFile("../docs/format/metadata-records.md")
	if err != nil {
		t.Fatal(err)
	}
	img := mustApply(t, NewImage(), []Record{&BrokerRecord{Broker{ID: 2, Epoch: 9}}})
	kinds := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "{") {
			continue
		}
		r, err := decodeRecord([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		again, err := encodeRecord(r)
		if err != nil || string(again) != line {
			t.Errorf("documented: %s\nwritten:    %s (%v)", line, again, err)
		}
		img = mustApply(t, img, []Record{r})
		kinds[r.kind()] = true
	}
	if len(kinds) != 11 {
		t.Errorf("%d kinds of records are documented: %v", len(kinds), kinds)
	}
}

func TestBadLeaderships(t *testing.T) {
	good := `{"topicId":"AQAAAAAAAAAAAAAAAAAAAA","changes":[[0,1,2,3,0,[1],[],[]]]}`
	if !new(LeadershipsRecord).parse([]byte(good)) {
		t.Fatal("the good one is refused")
	}
	for i := range good {
		if new(LeadershipsRecord).parse([]byte(good[:i])) {
			t.Errorf("%q was read", good[:i])
		}
	}
	for _, change := range []string{`[]`, `[0,1,2,3,0,[1],[]]`, `[0,1,2,3,0,[1],[],[],[]]`, `[0,1,2,3,0,[1,],[],[]]`, `[0,1,2,3,0,[--1],[],[]]`, `[0,1,2,3,0,[9999999999],[],[]]`, `{}`, `[0,1,2,3,0,[1],[],[]],`} {
		text := strings.Replace(good, "[0,1,2,3,0,[1],[],[]]", change, 1)
		if new(LeadershipsRecord).parse([]byte(text)) {
			t.Errorf("%s was read", text)
		}
	}
}
