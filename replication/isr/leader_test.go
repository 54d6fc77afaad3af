package isr

import (
	"slices"
	"testing"
)

// leaderOf3 leads replicas 1 to 3 at epoch 5 with ten records of older epochs,
// of which six are known to be committed.
func leaderOf3(isr ...int32) *Leader {
	l := NewLeader(LeaderConfig{
		Self: 1, LeaderEpoch: 5, PartitionEpoch: 7, Replicas: []int32{1, 2, 3}, ISR: isr,
		MinInsync: 2, LagTimeMaxMs: 1000, LogEnd: 10, HighWatermark: 6, NowMs: 100,
	})
	l.Joined(2, 20)
	l.Joined(3, 30)
	return l
}

// propose has follower 3 catch up, which gives a proposal to add it.
func propose(t *testing.T, l *Leader) *Proposal {
	t.Helper()
	_, p := l.Acked(3, 10, 200)
	if p == nil || !slices.Equal(p.ISR, []int32{1, 2, 3}) {
		t.Fatalf("proposal is %+v, want the ISR 1, 2, 3", p)
	}
	return p
}

func wantHW(t *testing.T, l *Leader, want int64) {
	t.Helper()
	if got := l.HighWatermark(); got != want {
		t.Errorf("high watermark is %d, want %d", got, want)
	}
}

func TestAReplicaBelowTheStartOfTheEpochDoesNotJoin(t *testing.T) {
	l := leaderOf3(1, 2)
	if _, p := l.Acked(3, 9, 200); p != nil {
		t.Errorf("it is proposed: %+v", p)
	}
	propose(t, l)
}

func TestAReplicaThatIsNotEligibleDoesNotJoin(t *testing.T) { // KIP-841
	l := leaderOf3(1, 2)
	fenced := true
	l.Eligible(func(broker int32) bool { return broker != 3 || !fenced })
	if _, p := l.Acked(3, 10, 200); p != nil {
		t.Errorf("it is proposed: %+v", p)
	}
	l.Acked(2, 10, 200)
	wantHW(t, l, 10) // which it does not hold
	fenced = false
	if p := l.Tick(10, 300); p == nil || !slices.Equal(p.ISR, []int32{1, 2, 3}) {
		t.Errorf("once eligible, the proposal is %+v", p)
	}
}

// A follower that spoke before it was registered may be another one by now.
func TestAReplicaOfUnknownEpochDoesNotJoin(t *testing.T) { // KIP-903
	l := leaderOf3(1, 2)
	l.Joined(3, -1)
	if _, p := l.Acked(3, 10, 200); p != nil {
		t.Errorf("it is proposed: %+v", p)
	}
	if p := l.Tick(10, 300); p != nil {
		t.Errorf("it is proposed: %+v", p)
	}
	l.Joined(3, 31)
	if p := propose(t, l); !slices.Equal(p.BrokerEpochs, []int64{-1, 20, 31}) {
		t.Errorf("the proposal rests on epochs %v", p.BrokerEpochs)
	}
}

func TestAPendingMemberHoldsTheHighWatermark(t *testing.T) { // KIP-497
	l := leaderOf3(1, 2)
	p := propose(t, l)
	l.Appended(20)
	l.Acked(2, 20, 300)
	wantHW(t, l, 10)

	// An image that is not newer must not end the wait, nor an answer to some
	// other proposal, nor an error that leaves open whether it was done.
	l.State(State{LeaderEpoch: 5, PartitionEpoch: 7, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}})
	l.State(State{LeaderEpoch: 4, PartitionEpoch: 9, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}})
	l.Answered(ProposalResult{Proposal: &Proposal{}, Code: CodeIneligibleReplica})
	for _, code := range []int16{CodeFencedLeaderEpoch, CodeInvalidUpdateVersion, CodeUnknownTopicID,
		CodeUnknownTopicOrPart, CodeInvalidRequest, CodeNewLeaderElected} {
		if _, again, _ := l.Answered(ProposalResult{Proposal: p, Code: code}); again != nil {
			t.Errorf("after code %d it is tried again", code)
		}
	}
	// Neither does success: the image that holds it follows.
	l.Answered(ProposalResult{Proposal: p, LeaderEpoch: 5, PartitionEpoch: 8, ISR: []int32{1, 2, 3}})
	l.Tick(20, 10_000)
	wantHW(t, l, 10)
	if l.Pending() != p {
		t.Fatalf("pending is %+v", l.Pending())
	}
	l.State(State{LeaderEpoch: 5, PartitionEpoch: 8, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}})
	if l.Pending() != nil || !slices.Equal(l.ISR(), []int32{1, 2, 3}) || l.PartitionEpoch() != 8 {
		t.Errorf("after the image: pending %+v, ISR %v, partition epoch %d", l.Pending(), l.ISR(), l.PartitionEpoch())
	}
	wantHW(t, l, 10) // it is a member now
	l.Acked(3, 20, 10_000)
	wantHW(t, l, 20)
}

func TestProposalsThatFailAreTriedAgain(t *testing.T) {
	l := leaderOf3(1, 2)
	p := propose(t, l)
	_, again, backoffMs := l.Answered(ProposalResult{Proposal: p, Code: 7}) // REQUEST_TIMED_OUT
	if again != p || backoffMs <= 0 {
		t.Errorf("after a time-out: %+v in %d ms", again, backoffMs)
	}
	if _, second := l.Acked(3, 10, 300); second != nil {
		t.Errorf("a second proposal while one is pending: %+v", second)
	}
}

func TestAReplicaThatTheControllerRefusesIsProposedLater(t *testing.T) {
	l := leaderOf3(1, 2)
	p := propose(t, l)
	copied := *p
	if _, next, _ := l.Answered(ProposalResult{Proposal: &copied, Code: CodeIneligibleReplica}); next != nil {
		t.Errorf("it is proposed at once again: %+v", next)
	}
	if _, next := l.Acked(3, 10, 201); next != nil {
		t.Errorf("it is proposed at its next answer: %+v", next)
	}
	if _, next := l.Acked(3, 10, 200+alterRetryMs); next == nil {
		t.Error("it is not proposed any more")
	}
}

func TestAnAnswerThatNothingChangedCommits(t *testing.T) {
	l := leaderOf3(1, 2)
	p := propose(t, l)
	l.Answered(ProposalResult{Proposal: p, LeaderEpoch: 5, PartitionEpoch: 7, ISR: []int32{1, 2, 3}})
	if l.Pending() != nil || !slices.Equal(l.ISR(), []int32{1, 2, 3}) {
		t.Errorf("pending %+v, ISR %v", l.Pending(), l.ISR())
	}
}

func TestTheLeaderNeverLeavesTheISR(t *testing.T) {
	l := leaderOf3(2, 3) // which it is not even in
	l.Appended(20)
	p := l.Tick(20, 5000)
	if p == nil || !slices.Equal(p.ISR, []int32{1}) {
		t.Errorf("proposal is %+v, want the ISR 1", p)
	}
	if again := l.Tick(20, 6000); again != nil {
		t.Errorf("proposed twice: %+v", again)
	}
}

func TestBrokerEpochsOfAProposal(t *testing.T) { // KIP-903
	l := leaderOf3(1, 2)
	l.Joined(3, 40)
	p := propose(t, l)
	l.Joined(3, 41) // comes back while it is pending
	if !slices.Equal(p.BrokerEpochs, []int64{-1, 20, 40}) {
		t.Errorf("broker epochs are %v", p.BrokerEpochs)
	}
	l.Answered(ProposalResult{Proposal: p, Code: CodeIneligibleReplica})
	if next := l.Tick(10, 5000); next != nil && slices.Contains(next.ISR, 3) {
		t.Errorf("proposed on the word of its predecessor: %+v", next)
	}
}

// What is acknowledged is what the high watermark has passed, and it passes
// nothing while fewer than min.insync.replicas are in sync.
func TestAcknowledging(t *testing.T) {
	f := func(name string, hw, want int64) {
		t.Helper()
		if hw != want {
			t.Errorf("%s: high watermark %d, want %d", name, hw, want)
		}
	}
	l := leaderOf3(1, 2)
	f("not there yet", l.HighWatermark(), 6)
	l.Eligible(func(int32) bool { return false })
	l.State(State{LeaderEpoch: 5, PartitionEpoch: 8, Replicas: []int32{1, 2, 3}, ISR: []int32{1}})
	l.Acked(2, 10, 200)
	f("all have it, but the ISR has shrunk", l.HighWatermark(), 6)
	f("min.insync.replicas lowered", l.SetMinInsync(1), 10)
	alone := NewLeader(LeaderConfig{Self: 1, Replicas: []int32{1}, ISR: []int32{1}, MinInsync: 2, LogEnd: 3})
	f("min.insync.replicas above the number of replicas", alone.HighWatermark(), 3)
}

func TestLatestOffsetIsAvailableFromTheStartOfTheEpoch(t *testing.T) { // KIP-207
	l := leaderOf3(1, 2)
	if l.Available() {
		t.Error("available with a high watermark of 6 and an epoch that starts at 10")
	}
	l.Acked(2, 10, 200)
	if !l.Available() || l.EpochStart() != 10 {
		t.Errorf("not available with high watermark %d, epoch start %d", l.HighWatermark(), l.EpochStart())
	}
}

func TestLowWatermark(t *testing.T) {
	l := leaderOf3(1, 2)
	l.Eligible(func(broker int32) bool { return broker != 3 })
	if got := l.LowWatermark(4); got != -1 {
		t.Errorf("with follower 2 unknown it is %d", got)
	}
	l.AckedLogStart(2, 3)
	l.AckedLogStart(3, 1) // fenced: does not count
	if got := l.LowWatermark(4); got != 3 {
		t.Errorf("low watermark is %d, want 3", got)
	}
}

func TestAnAssignmentThatGrows(t *testing.T) {
	l := leaderOf3(1, 2, 3)
	l.Acked(2, 10, 200)
	l.Acked(3, 10, 200)
	// Replica 4 is added: it does not hold the high watermark before it is near.
	l.State(State{LeaderEpoch: 5, PartitionEpoch: 8, Replicas: []int32{1, 2, 3, 4}, ISR: []int32{1, 2, 3}})
	l.Appended(20)
	l.Joined(4, 40)
	l.Acked(4, 3, 300)
	l.Acked(2, 20, 300)
	l.Acked(3, 20, 300)
	wantHW(t, l, 20)
	_, p := l.Acked(4, 20, 400)
	if p == nil || !slices.Equal(p.ISR, []int32{1, 2, 3, 4}) {
		t.Fatalf("proposal is %+v", p)
	}
	// Replica 2 is taken away; what it says does not matter any more.
	l.State(State{LeaderEpoch: 5, PartitionEpoch: 9, Replicas: []int32{1, 3, 4}, ISR: []int32{1, 3, 4}})
	l.Appended(30)
	l.Acked(2, 30, 500)
	l.Acked(3, 30, 500)
	wantHW(t, l, 20)
	l.Acked(4, 30, 500)
	wantHW(t, l, 30)
	var followers []int32
	l.Followers(func(broker int32, _, logEnd int64, inISR bool) {
		if logEnd != 30 || !inISR {
			t.Errorf("follower %d: log end %d, in ISR %v", broker, logEnd, inISR)
		}
		followers = append(followers, broker)
	})
	if !slices.Equal(followers, []int32{3, 4}) {
		t.Errorf("followers are %v", followers)
	}
}

// TestAMemberThatWasFencedHoldsNothing: the image that takes it out of the ISR
// comes before the rule of Eligible knows that it is fenced.
func TestAMemberThatWasFencedHoldsNothing(t *testing.T) {
	l := leaderOf3(1, 2, 3)
	l.Acked(2, 10, 200)
	l.Acked(3, 10, 200)
	l.Appended(20)
	l.Acked(2, 20, 210)
	wantHW(t, l, 10)
	hw, p := l.State(State{LeaderEpoch: 5, PartitionEpoch: 8, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}})
	if hw != 20 || p != nil {
		t.Errorf("high watermark is %d, want 20; proposal %+v", hw, p)
	}
	// It was only slow to answer: heard of again, it comes back.
	if _, p := l.Acked(3, 20, 220); p == nil || !slices.Equal(p.ISR, []int32{1, 2, 3}) {
		t.Errorf("proposal is %+v", p)
	}
}

// TestAMemberThatWasFencedComesBackWithoutAWord: no records, so no answers.
func TestAMemberThatWasFencedComesBackWithoutAWord(t *testing.T) {
	l := leaderOf3(1, 2, 3)
	l.Acked(3, 10, 200)
	if _, p := l.State(State{LeaderEpoch: 5, PartitionEpoch: 8, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}}); p != nil {
		t.Errorf("proposed at once again: %+v", p)
	}
	if p := l.Tick(10, 300); p == nil || !slices.Equal(p.ISR, []int32{1, 2, 3}) {
		t.Errorf("proposal is %+v", p)
	}
}
