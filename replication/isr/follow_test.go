package isr

import "testing"

// TestFollow decides single pushes against a log of offsets 10 to 19: epoch 2
// up to 14, epoch 4 from 15 on.
func TestFollow(t *testing.T) {
	log := &memLog{start: 10}
	for offset := range int64(10) {
		epoch := int32(2)
		if offset >= 5 {
			epoch = 4
		}
		log.entries = append(log.entries, entry{epoch: epoch})
	}
	f := func(name string, p Push, wantAction Action, wantOffset int64, wantCode int16) {
		t.Helper()
		if p.LeaderEpoch == 0 {
			p.LeaderEpoch = 6
		}
		p.LogStartOffset = 3
		action, offset, code := Follow(6, log, &p)
		if action != wantAction || offset != wantOffset || code != wantCode {
			t.Errorf("%s: %v, %d, %d; want %v, %d, %d", name, action, offset, code, wantAction, wantOffset, wantCode)
		}
	}
	f("of an older leader", Push{LeaderEpoch: 5, Kind: Append, Offset: 20, Epoch: 4}, Refuse, -1, CodeFencedLeaderEpoch)
	f("of a leader not known yet", Push{LeaderEpoch: 7, Kind: Probe, Offset: -1}, Refuse, -1, CodeUnknownLeaderEpoch)
	f("of a kind not known", Push{Kind: 9}, Refuse, -1, CodeInvalidRequest)

	f("append at the end", Push{Kind: Append, Offset: 20, Epoch: 4}, Accept, 20, 0)
	f("append at the end, behind an epoch unknown to the leader", Push{Kind: Append, Offset: 20, Epoch: -1}, Accept, 20, 0)
	f("append behind appends in flight", Push{Kind: Append, Offset: 25, Epoch: 4}, Accept, 25, 0)
	f("append of what is there", Push{Kind: Append, Offset: 19, Epoch: 4}, Refuse, -1, CodeOffsetOutOfRange)
	f("append behind another epoch than the last", Push{Kind: Append, Offset: 20, Epoch: 5}, Refuse, -1, CodeOffsetOutOfRange)

	f("question", Push{Kind: Probe, Offset: -1, Epoch: -1, LastEpoch: -1}, Answer, 20, 0)
	f("our last epoch ends sooner", Push{Kind: Probe, Offset: 17, Epoch: 4, LastEpoch: 4}, Truncate, 17, 0)
	f("our last epoch is not there, the one before ends later", Push{Kind: Probe, Offset: 18, Epoch: 2, LastEpoch: 4}, Truncate, 15, 0)
	f("our last epoch is not there, the one before ends sooner", Push{Kind: Probe, Offset: 12, Epoch: 2, LastEpoch: 4}, Truncate, 12, 0)
	f("an epoch in between, which we have not", Push{Kind: Probe, Offset: 18, Epoch: 3, LastEpoch: 4}, Truncate, 15, 0)
	f("an epoch below ours", Push{Kind: Probe, Offset: 12, Epoch: 1, LastEpoch: 4}, StartAt, 10, 0)
	f("an end below our start", Push{Kind: Probe, Offset: 8, Epoch: 1, LastEpoch: 4}, StartAt, 3, 0)
	f("nothing to cut", Push{Kind: Probe, Offset: 25, Epoch: 4, LastEpoch: 4}, Answer, 20, 0)
	f("judged by another log", Push{Kind: Probe, Offset: 12, Epoch: 2, LastEpoch: 5}, Answer, 20, 0)

	f("reset above the end", Push{Kind: Reset, Offset: 21}, StartAt, 21, 0)
	f("reset that comes late", Push{Kind: Reset, Offset: 20}, Answer, 20, 0)
}

func TestRefusalWithoutALog(t *testing.T) {
	p := Push{Session: 9}
	r := p.Refusal(CodeUnknownTopicID)
	got, err := ParsePushResult(r.Append(nil))
	if err != nil || got != r || got.Session != 9 || got.LogEndOffset != -1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// emptied is a log whose records are all deleted, but that still knows their
// epoch, as storage.Log does.
type emptied struct {
	memLog
	last int32
}

func (l *emptied) LatestEpoch() int32 { return l.last }
func (l *emptied) EndOffsetForEpoch(epoch int32) (int32, int64) {
	if epoch > l.last {
		return -1, -1
	}
	return epoch, l.start
}

// TestAnEmptyLogLosesItsEpoch: were it kept, the leader could ask forever.
func TestAnEmptyLogLosesItsEpoch(t *testing.T) {
	log := &emptied{memLog{start: 100}, 5}
	p := Push{LeaderEpoch: 6, Kind: Probe, Offset: 110, Epoch: 4, LastEpoch: 5, LogStartOffset: 90}
	if action, offset, _ := Follow(6, log, &p); action != StartAt || offset != 100 {
		t.Errorf("%v %d, want to start at 100", action, offset)
	}
}
