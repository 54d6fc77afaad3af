package quorum

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"freshet/metadata"
)

func testHello() hello {
	return hello{clusterID: "cluster", founding: "1,2", incarnation: 7, to: 2,
		self: Voter{ID: 1, Dir: metadata.RandomUUID(), Host: "host", Port: 9093}}
}

func TestHelloTravels(t *testing.T) {
	h := testHello()
	frame := h.appendRequest(nil)
	got, err := parseRequest(frame[4:])
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v, %v", got, err)
	}
	reply := helloReply{code: helloWrongCluster, message: "no", hello: h, leader: 3, voters: []Voter{{ID: 1}, {ID: 2, Host: "b", Port: 1}}}
	frame = reply.appendResponse(nil)
	back, err := parseResponse(frame[4:])
	if err != nil || !reflect.DeepEqual(back, reply) {
		t.Errorf("%+v, %v", back, err)
	}
	for cut := 4; cut < len(frame); cut++ {
		if _, err := parseResponse(frame[4:cut]); err == nil {
			t.Errorf("an answer cut to %d bytes was read", cut)
		}
	}
}

// testFrames is a stream with a message and a snapshot.
func testFrames(t testing.TB) ([]byte, *Snapshot) {
	kind, index, term, from, to := raftpb.MsgHeartbeat, uint64(9), uint64(2), uint64(2), uint64(3)
	b, err := appendMessage(nil, &raftpb.Message{Type: &kind, From: &from, To: &to, Term: &term})
	if err != nil {
		t.Fatal(err)
	}
	img, err := metadata.Apply(metadata.NewImage(), &metadata.ClusterRecord{ClusterID: "c"}, &metadata.TopicRecord{Name: "t", ID: metadata.UUID{1}})
	if err != nil {
		t.Fatal(err)
	}
	img.Index = 40
	s := &Snapshot{Index: index, Term: term, Conf: &raftpb.ConfState{Voters: []uint64{2}, Learners: []uint64{3}}, Founding: "1",
		Members: []Voter{{ID: 1}, {ID: 2}}, MembersLogged: true, Image: img}
	snap := raftpb.MsgSnap
	m := Message{Snapshot: s, Raft: &raftpb.Message{Type: &snap, From: &from, To: &to, Term: &term,
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: s.Conf, Index: &index, Term: &term}}}}
	sender := newSnapshotSender(&m)
	for !sender.ended {
		if b, err = sender.append(b); err != nil {
			t.Fatal(err)
		}
	}
	return b, s
}

// readAll reads frames until the stream ends.
func readAll(stream []byte) (messages []Message, err error) {
	r := bytes.NewReader(stream)
	var buffer []byte
	var receiving snapshotReceiver
	for {
		kind, payload, grown, err := readFrame(r, buffer)
		if err != nil {
			return messages, err
		}
		buffer = grown
		m, err := receiving.frame(kind, payload)
		if err != nil {
			return messages, err
		}
		if m.Raft != nil {
			messages = append(messages, m)
		}
	}
}

func TestFramesTravel(t *testing.T) {
	stream, s := testFrames(t)
	messages, err := readAll(stream)
	if !errors.Is(err, io.EOF) || len(messages) != 2 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	got := messages[1].Snapshot
	if !sameImages(got.Image, s.Image) || !reflect.DeepEqual(got.Members, s.Members) || got.Conf.Equivalent(s.Conf) != nil ||
		got.Index != s.Index || got.Term != s.Term || got.Founding != s.Founding || !got.MembersLogged {
		t.Errorf("%+v", got)
	}
	for i := range stream {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 0x10
		if messages, err := readAll(damaged); err == io.EOF && len(messages) == 2 {
			t.Fatalf("a bit of byte %d was flipped and not noticed", i)
		}
	}
}

// FuzzFrames feeds a stream's decoder; whatever it accepts must go in and out.
func FuzzFrames(f *testing.F) {
	stream, _ := testFrames(f)
	f.Add(stream)
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, _ := readAll(b)
		for _, m := range messages {
			if _, err := proto.Marshal(m.Raft); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzPayload feeds what follows a frame's checksum.
func FuzzPayload(f *testing.F) {
	stream, _ := testFrames(f)
	r := bytes.NewReader(stream)
	for {
		kind, payload, _, err := readFrame(r, nil)
		if err != nil {
			break
		}
		f.Add(kind, payload)
	}
	f.Fuzz(func(_ *testing.T, kind byte, payload []byte) {
		var receiving snapshotReceiver
		if kind == frameSnapshotPart || kind == frameSnapshotEnd {
			receiving.message = &raftpb.Message{}
		}
		_, _ = receiving.frame(kind, payload)
	})
}

func FuzzHello(f *testing.F) {
	h := testHello()
	f.Add(h.appendRequest(nil)[4:])
	reply := helloReply{hello: h, voters: []Voter{{ID: 1}}}
	f.Add(reply.appendResponse(nil)[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseRequest(b); err == nil {
			again, err := parseRequest(h.appendRequest(nil)[4:])
			if err != nil || again != h {
				t.Errorf("%+v became %+v, %v", h, again, err)
			}
		}
		_, _ = parseResponse(b)
	})
}

// FuzzEntry feeds the decoder of the log's payloads and of sealed entries.
func FuzzEntry(f *testing.F) {
	value := "v"
	payloads, err := EncodeRecords([]metadata.Record{&metadata.ConfigRecord{Resource: metadata.ResourceBroker, Key: "k", Value: &value}}, 100)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payloads[0])
	f.Add(encodeMembers([]Voter{{ID: 1}}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeRecords(b)
		_, _ = decodeMembers(b)
		_, _ = unsealEntry(1, b)
	})
}
