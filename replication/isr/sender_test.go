package isr

import "testing"

// replicating is a Sender at epoch 1 whose follower agrees at offset 0, over a
// leader's log of 100 records.
func replicating(t *testing.T) (*Sender, *memLog) {
	t.Helper()
	log := &memLog{entries: make([]entry, 100)}
	for i := range log.entries {
		log.entries[i].epoch = 1
	}
	s := &Sender{}
	s.Start(1)
	p, ok := s.Next(log, 0)
	if !ok || p.Kind != Probe {
		t.Fatalf("first push is %+v, %v", p, ok)
	}
	r := p.Result(CodeNone, &memLog{})
	if acked, _ := s.Result(&r, log, 1); acked != 0 || s.State() != Replicating {
		t.Fatalf("acked %d in state %v", acked, s.State())
	}
	return s, log
}

// send pushes one record.
func send(t *testing.T, s *Sender, log *memLog, bytes int32, nowMs int64) Push {
	t.Helper()
	p, ok := s.Next(log, 0)
	if !ok {
		t.Fatal("nothing to send")
	}
	s.Sent(p.Offset+1, bytes, nowMs)
	return p
}

// told is the follower's answer with a log end.
func told(p *Push, logEnd int64) *PushResult {
	return &PushResult{Session: p.Session, LogEndOffset: logEnd, LastEpoch: 1}
}

func TestTheWindowIsBoundedByPushes(t *testing.T) {
	s, log := replicating(t)
	first := send(t, s, log, 1, 10)
	for range MaxInflightPushes - 1 {
		send(t, s, log, 1, 10)
	}
	if s.Wants(log.LogEndOffset(), 0) {
		t.Error("it wants more than its window")
	}
	if _, ok := s.Next(log, 0); ok {
		t.Error("it sends more than its window")
	}
	if got := s.SilentMs(25); got != 15 {
		t.Errorf("silent for %d ms, want 15", got)
	}
	s.Result(told(&first, 1), log, 30)
	if pushes, bytes := s.InFlight(); pushes != MaxInflightPushes-1 || bytes != int64(pushes) || s.Acked() != 1 {
		t.Errorf("%d pushes of %d bytes in flight, acked %d", pushes, bytes, s.Acked())
	}
	if got := s.SilentMs(35); got != 5 {
		t.Errorf("silent for %d ms, want 5", got)
	}
	send(t, s, log, 1, 40)
}

func TestTheWindowIsBoundedByBytes(t *testing.T) {
	s, log := replicating(t)
	p := send(t, s, log, MaxInflightBytes-1, 1)
	send(t, s, log, 1<<20, 1) // soft
	if s.Wants(log.LogEndOffset(), 0) {
		t.Error("it wants more than its window")
	}
	s.Result(told(&p, 1), log, 1)
	if !s.Wants(log.LogEndOffset(), 0) {
		t.Error("half of the window is free, and it wants nothing")
	}
}

func TestRefusalsPauseForLongerEachTime(t *testing.T) {
	s, log := replicating(t)
	nowMs := int64(1)
	for i, want := range []int32{10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
		p, ok := s.Next(log, 0)
		if !ok {
			t.Fatalf("%d: nothing to send", i)
		}
		if p.Kind == Append {
			s.Sent(p.Offset+1, 1, 1)
		}
		_, event := s.Result(&PushResult{Code: CodeUnknownLeaderEpoch, Session: p.Session}, log, nowMs)
		if event.Kind != Reprobe || event.BackoffMs != want || event.Code != CodeUnknownLeaderEpoch {
			t.Errorf("%d: event is %+v, want a pause of %d ms", i, event, want)
		}
		if s.Wants(log.LogEndOffset(), 0) {
			t.Error("it does not pause")
		}
		// A caller that wakes for something else, a high watermark that moved, say,
		// does not end the pause.
		if wait := s.Retry(nowMs + 5); wait != int64(want)-5 || s.Wants(log.LogEndOffset(), 0) {
			t.Errorf("%d: after 5 ms of %d the pause lasts %d ms more", i, want, wait)
		}
		nowMs += int64(want)
		if wait := s.Retry(nowMs); wait != 0 || !s.Wants(log.LogEndOffset(), 0) {
			t.Errorf("%d: the pause has not ended after %d ms", i, want)
		}
	}
}

func TestOneRefusalVoidsWhatIsInFlightBehindIt(t *testing.T) {
	s, log := replicating(t)
	pushes := []Push{send(t, s, log, 1, 1), send(t, s, log, 1, 1), send(t, s, log, 1, 1)}
	if _, event := s.Result(&PushResult{Code: CodeOffsetOutOfRange, Session: pushes[0].Session}, log, 1); event.Kind != Reprobe || event.BackoffMs != 0 {
		t.Errorf("event is %+v, want to be asked again at once", event)
	}
	for _, p := range pushes[1:] {
		if acked, event := s.Result(told(&p, 3), log, 1); acked >= 0 || event != (Event{}) {
			t.Errorf("a result of the session before counts: %d, %+v", acked, event)
		}
	}
	if pushes, bytes := s.InFlight(); pushes != 0 || bytes != 0 {
		t.Errorf("%d pushes of %d bytes in flight", pushes, bytes)
	}
}

func TestResultsThatCannotBe(t *testing.T) {
	f := func(name string, r PushResult) {
		t.Helper()
		s, log := replicating(t)
		p := send(t, s, log, 1, 1)
		r.Session = p.Session
		if acked, event := s.Result(&r, log, 1); acked >= 0 || event.Kind != Reprobe || s.State() != Probing {
			t.Errorf("%s: acked %d, %+v, %v", name, acked, event, s.State())
		}
	}
	f("more than was sent", PushResult{LogEndOffset: 50, LastEpoch: 1})
	f("log start above log end", PushResult{LogEndOffset: 1, LogStartOffset: 2, LastEpoch: 1})
	f("no log", PushResult{LogEndOffset: -1, LogStartOffset: -1, LastEpoch: -1})
	s, log := replicating(t)
	p := send(t, s, log, 1, 1)
	s.Result(told(&p, 1), log, 1)
	if acked, event := s.Result(told(&p, 1), log, 1); acked >= 0 || event != (Event{}) {
		t.Errorf("a result that nothing is owed counts: %d, %+v", acked, event)
	}
	p = send(t, s, log, 1, 1)
	if acked, event := s.Result(told(&p, 0), log, 1); acked >= 0 || event.Kind != Reprobe {
		t.Errorf("a log end that went back counts: %d, %+v", acked, event)
	}
}

func TestAFollowerOfANewerEpochFencesByItsLog(t *testing.T) { // KIP-320
	log := &memLog{}
	s := &Sender{}
	s.Start(3)
	p, _ := s.Next(log, 0)
	_, event := s.Result(&PushResult{Session: p.Session, LogEndOffset: 4, LastEpoch: 4}, log, 1)
	if event.Kind != Fenced || s.State() != Stopped || s.Wants(10, 10) {
		t.Errorf("event %+v, state %v", event, s.State())
	}
	s.Start(5)
	if !s.Wants(0, 0) {
		t.Error("a new epoch does not start it")
	}
}

func TestAHeartbeatGoesOnlyWhenNothingElseDoes(t *testing.T) {
	s, log := replicating(t)
	log.truncateTo(1)
	p := send(t, s, log, 1, 1)
	if s.Wants(1, 1) {
		t.Error("it wants a heartbeat while an append is in flight")
	}
	s.Result(told(&p, 1), log, 1)
	if !s.Wants(1, 1) || s.Wants(1, 0) {
		t.Error("it does not want a heartbeat for a new high watermark, or wants one for the old")
	}
	beat, ok := s.Next(log, 1)
	s.Sent(beat.Offset, 0, 1)
	if !ok || beat.Kind != Append || beat.Offset != 1 || beat.HighWatermark != 1 || beat.Epoch != 1 {
		t.Errorf("heartbeat is %+v", beat)
	}
	s.Result(told(&beat, 1), log, 1)
	if s.Wants(1, 1) {
		t.Error("it tells the same high watermark twice")
	}
	s.Nudge()
	if !s.Wants(1, 1) {
		t.Error("a nudge gives no heartbeat")
	}
}

func TestAStoppedSenderIsSilent(t *testing.T) {
	s, log := replicating(t)
	p := send(t, s, log, 1, 1)
	s.Stop()
	if acked, event := s.Result(told(&p, 1), log, 1); acked >= 0 || event != (Event{}) || s.Wants(100, 100) {
		t.Errorf("acked %d, %+v", acked, event)
	}
	var zero Sender
	if _, ok := zero.Next(log, 0); ok || zero.Wants(1, 1) {
		t.Error("a Sender that was not started sends")
	}
}
