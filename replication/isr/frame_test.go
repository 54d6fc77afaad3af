package isr

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func samplePush() Push {
	return Push{
		TopicID: [16]byte{1, 2, 3}, Partition: 7, Kind: Append, LeaderEpoch: 5, Session: 5<<32 + 1,
		HighWatermark: 90, LogStartOffset: 10, Offset: 100, Epoch: 4, LastEpoch: -1, Length: 3,
	}
}

func TestPushCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Push{
			Partition:      rapid.Int32Range(0, 1<<30).Draw(t, "partition"),
			Kind:           Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
			LeaderEpoch:    rapid.Int32Min(0).Draw(t, "leaderEpoch"),
			Session:        rapid.Int64().Draw(t, "session"),
			HighWatermark:  rapid.Int64Min(0).Draw(t, "hw"),
			LogStartOffset: rapid.Int64Min(0).Draw(t, "start"),
			Offset:         rapid.Int64Min(0).Draw(t, "offset"),
			Epoch:          rapid.Int32Min(-1).Draw(t, "epoch"),
			LastEpoch:      rapid.Int32Min(-1).Draw(t, "lastEpoch"),
		}
		p.TopicID[rapid.IntRange(0, 15).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		body := []byte("after")
		if p.Kind == Append {
			p.Length = rapid.Int32Range(0, int32(len(body))).Draw(t, "length")
		}
		b := p.Append(nil)
		if len(b) != PushBytes {
			t.Fatalf("a push took %d bytes, PushBytes is %d", len(b), PushBytes)
		}
		got, records, rest, err := NextPush(append(b, body...))
		if err != nil || got != p {
			t.Fatalf("decoded %+v, %v; want %+v", got, err, p)
		}
		if len(records) != int(p.Length) || len(records)+len(rest) != len(body) {
			t.Fatalf("records %q and rest %q of %q, Length %d", records, rest, body, p.Length)
		}
	})
}

func TestPushesThatNoSenderMakesAreMalformed(t *testing.T) {
	f := func(name string, spoil func(*Push)) {
		t.Helper()
		p := samplePush()
		spoil(&p)
		if _, _, _, err := NextPush(append(p.Append(nil), 1, 2, 3)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	f("unknown kind", func(p *Push) { p.Kind = 3 })
	f("negative partition", func(p *Push) { p.Partition = -1 })
	f("no leader epoch", func(p *Push) { p.LeaderEpoch = -1 })
	f("negative high watermark", func(p *Push) { p.HighWatermark = -1 })
	f("negative log start", func(p *Push) { p.LogStartOffset = -1 })
	f("append without offset", func(p *Push) { p.Offset = -1 })
	f("offset below -1", func(p *Push) { p.Offset = -2 })
	f("epoch below -1", func(p *Push) { p.Epoch = -2 })
	f("last epoch below -1", func(p *Push) { p.LastEpoch = -2 })
	f("negative length", func(p *Push) { p.Length = -1 })
	f("more bytes than there are", func(p *Push) { p.Length = 4 })
	f("probe with records", func(p *Push) { p.Kind = Probe })
	f("reset with records", func(p *Push) { p.Kind = Reset })
	f("reset without offset", func(p *Push) { p.Kind, p.Length, p.Offset = Reset, 0, -1 })
}

func TestResultCodec(t *testing.T) {
	r := PushResult{Code: CodeOffsetOutOfRange, Session: 9<<32 + 4, LogEndOffset: 120, LastEpoch: 8, LogStartOffset: 30}
	b := r.Append(nil)
	got, err := ParsePushResult(b)
	if err != nil || got != r || len(b) != ResultBytes {
		t.Errorf("decoded %+v, %v from %d bytes; want %+v from %d", got, err, len(b), r, ResultBytes)
	}
	if _, err := ParsePushResult(b[:ResultBytes-1]); !errors.Is(err, ErrMalformed) {
		t.Errorf("a short result gives error %v", err)
	}
}

func TestFrameHeaders(t *testing.T) {
	p := samplePush()
	h := FrameHeader{From: 2, BrokerEpoch: 77, To: 3, Count: 1}
	got, rest, err := ParseFrameHeader(p.Append(h.Append(nil)))
	if err != nil || got != h || len(rest) != PushBytes {
		t.Errorf("decoded %+v, %d bytes left, %v", got, len(rest), err)
	}
	h.Count = 2
	if _, _, err := ParseFrameHeader(p.Append(h.Append(nil))); !errors.Is(err, ErrMalformed) {
		t.Errorf("a count beyond the bytes gives error %v", err)
	}
	r := PushResult{LogEndOffset: 5, LastEpoch: 1}
	reply := FrameReply{Count: 1}
	gotReply, rest, err := ParseFrameReply(r.Append(reply.Append(nil)))
	if err != nil || gotReply != reply || len(rest) != ResultBytes {
		t.Errorf("decoded %+v, %d bytes left, %v", gotReply, len(rest), err)
	}
	refused := FrameReply{Code: CodeStaleBrokerEpoch}
	if got, _, err := ParseFrameReply(refused.Append(nil)); err != nil || got != refused {
		t.Errorf("decoded %+v, %v", got, err)
	}
	if _, _, err := ParseFrameReply(r.Append(refused.Append(nil))); !errors.Is(err, ErrMalformed) {
		t.Errorf("results behind a refused frame give error %v", err)
	}
}

func TestHelloCodec(t *testing.T) {
	h := Hello{ClusterID: "MkU3OEVBNTcwNTJENDM2Qg", From: 1, FromEpoch: 40, To: 2}
	b := h.Append(nil)
	if got, err := ParseHello(b); err != nil || got != h {
		t.Errorf("decoded %+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(b[:len(b):len(b)], 0)} {
		if _, err := ParseHello(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes give error %v", len(bad), err)
		}
	}
	r := HelloReply{Code: CodeInconsistentClusterID, BrokerEpoch: 12}
	if got, err := ParseHelloReply(r.Append(nil)); err != nil || got != r {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

// FuzzFrames holds the decoders against their encoders: whatever is accepted
// encodes to the same bytes.
func FuzzFrames(f *testing.F) {
	p := samplePush()
	h := FrameHeader{From: 1, BrokerEpoch: 2, To: 3, Count: 1}
	f.Add(append(p.Append(h.Append(nil)), 1, 2, 3))
	r := PushResult{LogEndOffset: 4}
	reply := FrameReply{Count: 1}
	f.Add(r.Append(reply.Append(nil)))
	hello := Hello{ClusterID: "c"}
	f.Add(hello.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, got []byte) {
			if string(got) != string(b[:len(got)]) {
				t.Fatalf("%s: %x decoded and encoded is %x", what, b, got)
			}
		}
		if h, rest, err := ParseFrameHeader(b); err == nil {
			same("header", h.Append(nil))
			for range h.Count {
				p, records, after, err := NextPush(rest)
				if err != nil {
					break
				}
				if got := p.Append(nil); string(got) != string(rest[:PushBytes]) || len(records)+len(after)+PushBytes != len(rest) {
					t.Fatalf("push %x decoded and encoded is %x", rest[:PushBytes], got)
				}
				rest = after
			}
		}
		if reply, rest, err := ParseFrameReply(b); err == nil {
			same("reply", reply.Append(nil))
			if len(rest) != int(reply.Count)*ResultBytes {
				t.Fatalf("%d results in %d bytes", reply.Count, len(rest))
			}
		}
		if r, err := ParsePushResult(b); err == nil {
			same("result", r.Append(nil))
		}
		if h, err := ParseHello(b); err == nil {
			same("hello", h.Append(nil))
		}
		if r, err := ParseHelloReply(b); err == nil {
			same("hello reply", r.Append(nil))
		}
	})
}
