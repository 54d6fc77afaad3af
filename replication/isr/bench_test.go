package isr

import "testing"

// flow is a leader and one follower that take turns, without records in memory.
type flow struct {
	leaderLog, followerLog benchLog
	sender                 Sender
	leader                 *Leader
	frame                  []byte
}

// benchLog is a log of one epoch.
type benchLog struct{ end int64 }

func (l *benchLog) LogStartOffset() int64 { return 0 }
func (l *benchLog) LogEndOffset() int64   { return l.end }
func (l *benchLog) LatestEpoch() int32 {
	if l.end == 0 {
		return -1
	}
	return 3
}
func (l *benchLog) EndOffsetForEpoch(int32) (int32, int64) { return 3, l.end }
func (l *benchLog) EpochAt(int64) int32                    { return l.LatestEpoch() }

func newFlow() *flow {
	f := &flow{}
	f.leader = NewLeader(LeaderConfig{Self: 1, LeaderEpoch: 3, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, MinInsync: 2, LagTimeMaxMs: 30_000})
	f.leader.Eligible(func(broker int32) bool { return broker != 3 })
	f.sender.Start(3)
	f.round(0) // probe
	f.round(0)
	return f
}

// round pushes records to the follower and takes its answer, over the codec.
func (f *flow) round(records int64) {
	f.leaderLog.end += records
	hw := f.leader.Appended(f.leaderLog.end)
	if !f.sender.Wants(f.leaderLog.end, hw) {
		return
	}
	p, ok := f.sender.Next(&f.leaderLog, hw)
	if !ok {
		panic("nothing to send")
	}
	if p.Kind == Append {
		f.sender.Sent(f.leaderLog.end, 100, 1)
	}
	f.frame = p.Append(f.frame[:0])
	got, err := ParsePush(f.frame)
	if err != nil {
		panic(err)
	}
	action, _, code := Follow(3, &f.followerLog, &got)
	if action == Accept {
		f.followerLog.end = f.leaderLog.end
	}
	result := got.Result(code, &f.followerLog)
	f.frame = result.Append(f.frame[:0])
	result, err = ParsePushResult(f.frame)
	if err != nil {
		panic(err)
	}
	if acked, _ := f.sender.Result(&result, &f.leaderLog, 1); acked >= 0 {
		f.leader.Acked(2, acked, 1)
	}
}

func TestReplicationDoesNotAllocate(t *testing.T) {
	f := newFlow()
	if n := testing.AllocsPerRun(100, func() { f.round(10) }); n != 0 {
		t.Errorf("a push and its answer allocate %v times", n)
	}
	if f.leader.HighWatermark() != f.leaderLog.end || f.leaderLog.end == 0 {
		t.Errorf("high watermark is %d, log end %d", f.leader.HighWatermark(), f.leaderLog.end)
	}
}

// BenchmarkPushAndAnswer is all that the rules cost for one push of one
// partition to one follower, on both sides, codec included.
func BenchmarkPushAndAnswer(b *testing.B) {
	f := newFlow()
	b.ReportAllocs()
	for b.Loop() {
		f.round(10)
	}
}

// BenchmarkAppended is what an append costs the leader of three replicas.
func BenchmarkAppended(b *testing.B) {
	f := newFlow()
	b.ReportAllocs()
	for b.Loop() {
		f.leaderLog.end++
		f.leader.Appended(f.leaderLog.end)
	}
}

// BenchmarkWants is asking a Sender that has nothing to do.
func BenchmarkWants(b *testing.B) {
	f := newFlow()
	f.round(10)
	f.round(0)
	b.ReportAllocs()
	for b.Loop() {
		if f.sender.Wants(f.leaderLog.end, f.leader.HighWatermark()) {
			b.Fatal("it has something to do")
		}
	}
}

func BenchmarkPushCodec(b *testing.B) {
	p := samplePush()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = p.Append(buf[:0])
		if _, err := ParsePush(buf); err != nil {
			b.Fatal(err)
		}
	}
}
