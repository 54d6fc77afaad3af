package broker

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/metadata"
	"freshet/record"
	"freshet/replication/isr"
)

// replicas are brokers that share their metadata by the test's hand: each
// change is written to the store of every one, and ISR changes are granted.
type replicas struct {
	t     *testing.T
	nodes []*served // node.id is the index + 1
	topic metadata.UUID
	// grant decides on ISR changes; nil grants all.
	grant func(c isrChange) bool
}

// newReplicas starts n brokers and a topic of one partition with a replica on
// each, led by the first.
func newReplicas(t *testing.T, n int, overrides ...string) *replicas {
	t.Setenv("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qg")
	r := &replicas{t: t, topic: metadata.RandomUUID()}
	for i := range n {
		r.nodes = append(r.nodes, newServed(t, t.TempDir(), append([]string{"node.id", fmt.Sprint(i + 1), "broker.session.timeout.ms", "600000", "controlled.shutdown.enable", "false"}, overrides...)...))
	}
	for _, s := range r.nodes {
		s.broker.changeISR = r.alter
	}
	var brokers []metadata.Record
	for i, s := range r.nodes {
		self := *s.broker.meta.Image().Broker(int32(i + 1))
		self.Endpoints = []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "127.0.0.1", Port: uint16(s.broker.Port("PLAINTEXT"))}}
		brokers = append(brokers, &metadata.BrokerRecord{Broker: self})
	}
	r.apply(brokers...)
	r.apply(&metadata.TopicRecord{Name: "t", ID: r.topic})
	all := r.ids()
	r.apply(&metadata.PartitionsRecord{TopicID: r.topic, Partitions: []metadata.Partition{{Replicas: all, ISR: all, Leader: 1}}})
	return r
}

func (r *replicas) ids() (ids []int32) {
	for i := range r.nodes {
		ids = append(ids, int32(i+1))
	}
	return ids
}

// apply writes records to every node's metadata.
func (r *replicas) apply(records ...metadata.Record) {
	r.t.Helper()
	for _, s := range r.nodes {
		if s.broker.stopped.Load() {
			continue
		}
		if _, err := s.broker.meta.Do(func(*metadata.Image) ([]metadata.Record, error) { return records, nil }); err != nil {
			if s.broker.stopped.Load() {
				continue // since a moment ago
			}
			r.t.Error(err)
		}
	}
}

// state is the partition's, by the first node that runs.
func (r *replicas) state() metadata.Partition {
	for _, s := range r.nodes {
		if !s.broker.stopped.Load() {
			return *s.broker.meta.Image().TopicByID(r.topic).Partitions[0]
		}
	}
	return metadata.Partition{Leader: -1}
}

// change changes the partition's state.
func (r *replicas) change(f func(p *metadata.Partition)) {
	p := r.state()
	p.PartitionEpoch++
	f(&p)
	r.apply(&metadata.PartitionChangeRecord{TopicID: r.topic, Partition: 0, State: p})
}

// elect makes a broker the leader of a new epoch.
func (r *replicas) elect(id int32, isr ...int32) {
	r.change(func(p *metadata.Partition) { p.Leader, p.LeaderEpoch, p.ISR = id, p.LeaderEpoch+1, isr })
}

func (r *replicas) alter(changes ...isrChange) {
	go func() {
		c := changes[0]
		if r.state().Leader < 0 || r.grant != nil && !r.grant(c) {
			c.answer(isrAnswer{err: kerr.IneligibleReplica})
			return
		}
		r.change(func(p *metadata.Partition) { p.ISR = c.proposal.ISR })
		p := r.state()
		c.answer(isrAnswer{leader: p.Leader, leaderEpoch: p.LeaderEpoch, partitionEpoch: p.PartitionEpoch, isr: p.ISR})
	}()
}

func (r *replicas) part(id int32) *partition { return r.nodes[id-1].partition("t", 0) }

// equal waits until the logs of ids have the same bytes and high watermark.
func (r *replicas) equal(ids ...int32) {
	r.t.Helper()
	eventually(r.t, func() string {
		first := r.part(ids[0])
		for _, id := range ids {
			p := r.part(id)
			if p.log.LogEndOffset() != first.log.LogEndOffset() || p.HighWatermark() != p.log.LogEndOffset() {
				return fmt.Sprintf("broker %d: log end offset %d, high watermark %d; broker %d has %d",
					id, p.log.LogEndOffset(), p.HighWatermark(), ids[0], first.log.LogEndOffset())
			}
		}
		return ""
	})
	want := logBytes(r.t, r.part(ids[0]))
	for _, id := range ids[1:] {
		if !bytes.Equal(logBytes(r.t, r.part(id)), want) {
			r.t.Fatalf("the logs of brokers %d and %d differ", ids[0], id)
		}
	}
}

func logBytes(t *testing.T, p *partition) (all []byte) {
	t.Helper()
	err := readLog(p.log, func(b record.Batch) error {
		all = append(all, b...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Records reach every follower as they are, acks=all is answered when they
// have, and the high watermark follows.
func TestReplication(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newReplicas(t, 3, "freshet.io.engine", engine, "min.insync.replicas", "2")
		c := r.nodes[0].dial()
		for i := range int32(50) {
			c.send(produceFrame("t", batchOf(t, 1+int(i)%7, 100), -1, 9))
			if got := decodeProduce(t, c.answer(), 9); got.ErrorCode != 0 {
				t.Fatalf("produce: %v", kerr.ErrorForCode(got.ErrorCode))
			}
		}
		r.equal(1, 2, 3)
		c = r.nodes[1].dial()
		c.send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
		if got := decodeProduce(t, c.answer(), 9); got.ErrorCode != kerr.NotLeaderForPartition.Code {
			t.Errorf("a follower answers a producer with error code %d", got.ErrorCode)
		}
	})
}

func produceTo(t *testing.T, c *rawClient, acks int16, n, size int) error {
	t.Helper()
	c.send(produceFrame("t", batchOf(t, n, size), acks, 9))
	return kerr.ErrorForCode(decodeProduce(t, c.answer(), 9).ErrorCode)
}

// A deposed leader's records that nobody else had are cut off, and its log
// becomes the new leader's.
func TestFailoverTruncates(t *testing.T) {
	r := newReplicas(t, 3)
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 3, 100); err != nil {
		t.Fatal(err)
	}
	r.equal(1, 2, 3)
	r.elect(2, 2, 3)
	if err := produceTo(t, c, 1, 5, 10); err != kerr.NotLeaderForPartition {
		t.Fatalf("a deposed leader answers %v", err)
	}
	c2 := r.nodes[1].dial()
	for range 4 {
		if err := produceTo(t, c2, -1, 1, 50); err != nil {
			t.Fatal(err)
		}
	}
	r.equal(1, 2, 3)
}

// lonely makes broker 1 a leader that its followers do not follow: they are
// told of an epoch that it has not heard of.
func (r *replicas) lonely(leader int32, f func()) {
	r.t.Helper()
	p := r.state()
	p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR = leader, p.LeaderEpoch+1, p.PartitionEpoch+1, r.ids()
	rec := &metadata.PartitionChangeRecord{TopicID: r.topic, Partition: 0, State: p}
	for i, s := range r.nodes {
		if int32(i+1) != 1 {
			if _, err := s.broker.meta.Do(func(*metadata.Image) ([]metadata.Record, error) { return []metadata.Record{rec}, nil }); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	f()
	if _, err := r.nodes[0].broker.meta.Do(func(*metadata.Image) ([]metadata.Record, error) { return []metadata.Record{rec}, nil }); err != nil {
		r.t.Fatal(err)
	}
}

// A leader that has not heard that it is deposed appends what nobody else gets;
// when it has, its log is cut back to what the new leader has (KIP-101), and
// producers that waited for acks=all are told.
func TestDivergedLogIsTruncated(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newReplicas(t, 3, "freshet.io.engine", engine)
		c, waiting := r.nodes[0].dial(), r.nodes[0].dial()
		if err := produceTo(t, c, -1, 3, 100); err != nil {
			t.Fatal(err)
		}
		r.equal(1, 2, 3)
		r.lonely(2, func() {
			if err := produceTo(t, c, 1, 5, 10); err != nil {
				t.Fatal(err)
			}
			waiting.send(produceFrame("t", batchOf(t, 2, 10), -1, 9))
			c2 := r.nodes[1].dial()
			if err := produceTo(t, c2, 1, 1, 10); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() string {
				if end := r.part(1).log.LogEndOffset(); end != 10 {
					return fmt.Sprintf("log end offset %d", end)
				}
				return ""
			})
			if hw := r.part(1).HighWatermark(); hw != 3 {
				t.Errorf("the high watermark of a leader without followers is %d", hw)
			}
		})
		if err := kerr.ErrorForCode(decodeProduce(t, waiting.answer(), 9).ErrorCode); err != kerr.NotLeaderForPartition {
			t.Errorf("acks=all of a deposed leader: %v", err)
		}
		r.equal(1, 2, 3)
		if end := r.part(1).log.LogEndOffset(); end != 4 {
			t.Errorf("log end offset %d, want 4", end)
		}
	})
}

// acks=all ends with REQUEST_TIMED_OUT when a follower of the in-sync replicas
// does not answer, and with NOT_ENOUGH_REPLICAS when there are too few.
func TestAcksAllWithoutFollowers(t *testing.T) {
	r := newReplicas(t, 2, "min.insync.replicas", "2", "replica.lag.time.max.ms", "600000")
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 1, 10); err != nil {
		t.Fatal(err)
	}
	r.nodes[1].stop()
	if err := produceTo(t, c, -1, 1, 10); err != kerr.RequestTimedOut {
		t.Errorf("with a dead follower: %v", err)
	}
	if err := produceTo(t, c, 1, 1, 10); err != nil {
		t.Errorf("acks=1: %v", err)
	}
	r.change(func(p *metadata.Partition) { p.ISR = []int32{1} })
	if err := produceTo(t, c, -1, 1, 10); err != kerr.NotEnoughReplicas {
		t.Errorf("below min.insync.replicas: %v", err)
	}
	if p := r.part(1); p.HighWatermark() != 1 || p.log.LogEndOffset() != 3 {
		t.Errorf("high watermark %d, log end offset %d: want 1 and 3", p.HighWatermark(), p.log.LogEndOffset())
	}
}

// A lowered min.insync.replicas lets the high watermark go on, and answers who
// waited for it.
func TestLoweredMinInsyncAnswersWhoWaits(t *testing.T) {
	r := newReplicas(t, 2, "min.insync.replicas", "2", "replica.lag.time.max.ms", "600000")
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 1, 10); err != nil {
		t.Fatal(err)
	}
	r.nodes[1].stop()
	c.send(produceFrameWithin(600_000, "t", batchOf(t, 1, 10), -1, 9))
	eventually(t, func() string {
		if end := r.part(1).log.LogEndOffset(); end != 2 {
			return fmt.Sprintf("log end offset %d", end)
		}
		return ""
	})
	r.change(func(p *metadata.Partition) { p.ISR = []int32{1} })
	if hw := r.part(1).HighWatermark(); hw != 1 {
		t.Fatalf("high watermark %d with too few in sync", hw)
	}
	one := "1"
	r.apply(&metadata.ConfigRecord{Resource: metadata.ResourceBroker, Name: "", Key: "min.insync.replicas", Value: &one})
	if err := kerr.ErrorForCode(decodeProduce(t, c.answer(), 9).ErrorCode); err != nil {
		t.Fatal(err)
	}
}

// truncating begins to cut p's log for its leader; end lets it go on and returns
// whether the broker is to lead then.
func truncating(t *testing.T, p *partition, cut func() error) (end func() (lead bool)) {
	t.Helper()
	entered, release, ended := make(chan struct{}), make(chan struct{}), make(chan bool)
	go func() {
		lead, err := p.WhileFollowing(p.LeaderEpoch(), func() error {
			close(entered)
			<-release
			return cut()
		})
		if err != nil {
			t.Error(err)
		}
		ended <- lead
	}()
	<-entered
	return func() bool {
		close(release)
		return <-ended
	}
}

// A broker that is elected while its log is being truncated for the leader
// before leads once that has ended; the metadata does not wait for it.
func TestElectedDuringATruncation(t *testing.T) {
	r := newReplicas(t, 3)
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 5, 10); err != nil {
		t.Fatal(err)
	}
	r.equal(1, 2, 3)
	p, b := r.part(2), r.nodes[1].broker
	end := truncating(t, p, func() error { return nil })
	r.elect(2, 1, 2, 3)
	if role := p.Role(); role.Leads || role.LeaderEpoch != 1 {
		t.Errorf("role %+v during the truncation", role)
	}
	if !end() {
		t.Fatal("nobody is told that the broker is to lead now")
	}
	b.leadNow(p)
	c = r.nodes[1].dial()
	if err := produceTo(t, c, -1, 2, 10); err != nil {
		t.Fatal(err)
	}
	r.equal(1, 2, 3)
}

// Many partitions, loops and connections at once.
func TestReplicationUnderLoad(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newReplicas(t, 3, "freshet.io.engine", engine, "num.network.threads", "3", "log.segment.bytes", "1048576")
		const clients, each = 6, 60
		done := make(chan error, clients)
		for k := range clients {
			c := r.nodes[0].dial()
			go func() {
				acks := int16(1 - 2*(k%2))
				frame := produceFrameWithin(int32(testDeadline.Milliseconds()), "t", batchOf(t, 1+k, 1+k*7000), acks, 9)
				for range each {
					if _, err := c.conn.Write(frame); err != nil {
						done <- err
						return
					}
				}
				for range each {
					b, err := c.tryAnswer()
					if err != nil {
						done <- err
						return
					}
					if code := decodeProduce(t, b, 9).ErrorCode; code != 0 {
						done <- kerr.ErrorForCode(code)
						return
					}
				}
				done <- nil
			}()
		}
		for range clients {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.equal(1, 2, 3)
	})
}

// A throttled follower that has to catch up takes its time; one that is in sync
// is never held back, and without the throttle it is quick again.
func TestReplicationThrottle(t *testing.T) {
	r := newReplicas(t, 2, "replica.lag.time.max.ms", "600000", "log.segment.bytes", "1048576")
	rate := func(value *string) {
		r.apply(&metadata.ConfigRecord{Resource: metadata.ResourceBroker, Name: "", Key: "leader.replication.throttled.rate", Value: value})
	}
	star, slow := "*", "1000"
	r.apply(&metadata.ConfigRecord{Resource: metadata.ResourceTopic, Name: "t", Key: leaderThrottledReplicas, Value: &star})
	rate(&slow)
	c := r.nodes[0].dial()
	for range 3 { // in sync: not held back, only counted
		if err := produceTo(t, c, -1, 1, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	r.grant = func(isrChange) bool { return false }
	r.change(func(p *metadata.Partition) { p.ISR = []int32{1} })
	for range 3 {
		if err := produceTo(t, c, 1, 1, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	if end := r.part(2).log.LogEndOffset(); end != 3 {
		t.Errorf("a throttled follower has %d records, want the 3 of before", end)
	}
	rate(nil)
	r.equal(1, 2)
}

// A follower says nothing of its logs before it is registered: nobody could tell
// it from the process before.
func TestHelloBeforeRegistration(t *testing.T) {
	r := newReplicas(t, 2)
	follower := r.nodes[1].broker
	epoch := follower.brokerEpoch()
	for _, c := range []struct {
		epoch int64
		code  int16
	}{{-1, isr.CodeBrokerIDNotRegistered}, {epoch, isr.CodeNone}} {
		follower.member.epoch.Store(c.epoch)
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(follower.Port("PLAINTEXT"))))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		reply, err := greet(nc, &isr.Hello{ClusterID: follower.meta.Image().ClusterID, From: 1, FromEpoch: math.MaxInt64, To: 2})
		if err != nil || reply.Code != c.code || reply.BrokerEpoch != c.epoch {
			t.Errorf("a broker of epoch %d answers %+v, %v; want code %d", c.epoch, reply, err, c.code)
		}
	}
}

// A follower that refuses is left alone for as long as the sender pauses, though
// its stream wakes for a high watermark that others have moved.
func TestHighWatermarkDoesNotEndAPause(t *testing.T) {
	r := newReplicas(t, 2)
	c := r.nodes[0].dial()
	c.send(produceFrame("t", batchOf(t, 1, 100), -1, 9))
	c.answer()
	p := r.part(1)
	onLoop(p.streamLoop(), func() {
		pp := (*p.streamed.Load())[0]
		s, pauseMs := pp.stream, int64(0)
		pp.sender.Start(pp.epoch)
		for range 7 {
			pp.sender.Retry(math.MaxInt64)
			push, ok := pp.sender.Next(p.log, p.HighWatermark())
			if !ok {
				t.Error("nothing to send")
				return
			}
			result := push.Refusal(isr.CodeStorageError)
			_, event := pp.sender.Result(&result, p.log, s.loop.monoMs)
			pauseMs = int64(event.BackoffMs)
		}
		s.markLater(pp, pauseMs)
		s.markLater(pp, 0) // as partition.advanced does
		s.onTimer()
		if pp.sender.Wants(p.log.LogEndOffset(), p.HighWatermark()) || !pp.lazy || pp.dueMs != s.loop.monoMs+pauseMs || pauseMs < 500 {
			t.Errorf("it is asked again in %d ms of %d", pp.dueMs-s.loop.monoMs, pauseMs)
		}
	})
}
