package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"

	"freshet/metadata"
	"freshet/replication"
	"freshet/storage"
)

// Times of the simulated cluster: Kafka's keys, smaller values, so that a short
// run sees every timeout.
const (
	sessionTimeoutMs    = 1500 // broker.session.timeout.ms
	heartbeatIntervalMs = 300  // broker.heartbeat.interval.ms
	disconnectGraceMs   = 200  // freshet.broker.disconnect.grace.ms
	lagTimeMaxMs        = 1200 // replica.lag.time.max.ms
	fetchTimeoutMs      = 1000 // controller.quorum.fetch.timeout.ms
	electionTimeoutMs   = 600  // controller.quorum.election.timeout.ms
	requestTimeoutMs    = 1000 // of requests to the controller
	logTickMs           = 500
	offsetPartitions    = 2
)

// broker is one life of the process on a node: everything that a kill takes.
type broker struct {
	node     *node
	proc     *process
	logs     *storage.LogManager
	replicas []*replica // in the order in which they were opened
	streams  []*stream
	quorum   *quorumMember
	member   *member
	coord    []*groupShard
	control  controllerState
	// controllers are the ways to the other nodes' controllers, by index.
	controllers []*rpc
	img         *metadata.Image // newest published
	epoch       int64           // broker epoch, -1 before registration
	leaseMs     int64           // may lead until, monotonic
	cutMs       int64           // when it was last cut off from the controllers
	dirError    error           // the log directory failed
	stopping    bool
}

func newBroker(n *node) *broker {
	b := &broker{node: n, proc: n.proc, epoch: -1, img: metadata.NewImage()}
	b.member = newMember(b)
	return b
}

func (b *broker) tracef(format string, args ...any) { b.node.tracef(format, args...) }
func (b *broker) wallMs() int64                     { return b.node.clock.wallMs() }
func (b *broker) monotonicMs() int64                { return b.node.clock.monotonicMs() }
func (b *broker) image() *metadata.Image            { return b.img }
func (b *broker) leaseLapsed() bool                 { return b.monotonicMs() >= b.leaseMs }

// silent drops what the real code logs; the trace has its own words.
var silent = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.Level(math.MaxInt)}))

// open loads the logs, joins the quorum and starts everything that runs by
// itself: what Broker.Open and Start do.
func (b *broker) open() error {
	if err := b.openLogs(); err != nil {
		return err
	}
	if err := b.openQuorum(); err != nil {
		return err
	}
	b.openCoordinators()
	b.listen()
	b.proc.every(lagTimeMaxMs/2*millisecond, b.checkLag)
	b.proc.every(logTickMs*millisecond, func() { b.logs.Step(b.wallMs()) })
	b.member.begin()
	return nil
}

func (b *broker) openLogs() error {
	logs, err := storage.OpenManager(storage.ManagerConfig{
		FS: b.node.disk, Dirs: []string{logDir}, ClusterID: clusterID, NodeID: b.node.id,
		TopicConfig: b.logConfig, RecoveryThreadsPerDir: 1, InitialTaskDelayMs: 1500,
		RecoveryPointCheckpointMs: 2000, LogStartCheckpointMs: 2000, HighWatermarkCheckpointMs: 1000, RetentionCheckMs: 3_600_000,
		NowMs: b.wallMs, Logger: silent, OnDirFailed: b.dirFailed,
	})
	if err != nil {
		return err
	}
	b.logs = logs
	if b.damaged() {
		b.node.mark.epoch = -1 // for the next start too, should this one not get as far as registering
	} else {
		b.member.previousEpoch = b.node.previousEpoch(logs.CleanShutdownEpoch())
		b.member.syncedEpoch = max(b.member.previousEpoch, b.node.mark.epoch)
	}
	if err := logs.ForgetFailures(); err != nil {
		return err
	}
	open := logs.Logs()
	slices.SortFunc(open, func(a, b *storage.Log) int { return compareNames(a.TopicPartition(), b.TopicPartition()) })
	for _, l := range open {
		b.addReplica(l)
	}
	for _, p := range b.recovered() {
		b.tracef("recovery: %s", p)
	}
	return b.dropBehindGaps()
}

// damaged reports whether recovery set anything aside or, unless the machine
// went down, cut it off: then the logs are not what this node had, whatever the
// machine says of its life.
func (b *broker) damaged() bool {
	if len(b.logs.RecoveryReport().AfterFailure) > 0 {
		return true
	}
	for _, p := range b.logs.RecoveryReport().Partitions {
		if len(p.Quarantined) > 0 || p.MissingTo > 0 || p.TruncatedBytes > 0 && b.node.mark.boot == b.node.boots {
			return true
		}
	}
	return false
}

// dropBehindGaps cuts every log back to where recovery found something missing:
// a log with a gap is no prefix of its leader's, and what follows the gap is
// there to be had from the other replicas.
func (b *broker) dropBehindGaps() error {
	for _, p := range b.logs.RecoveryReport().Partitions {
		to := int64(math.MaxInt64)
		for _, q := range p.Quarantined {
			to = min(to, q.FromOffset)
		}
		if p.MissingTo > 0 {
			to = min(to, p.MissingFrom)
		}
		if to == math.MaxInt64 {
			continue
		}
		if _, err := b.logs.Get(p.TopicPartition).CutAtHole(to); err != nil {
			return err
		}
	}
	return nil
}

func compareNames(a, b storage.TopicPartition) int {
	if a.Topic != b.Topic {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	}
	return int(a.Partition) - int(b.Partition)
}

// recovered describes what recovery found and did, in a fixed order.
func (b *broker) recovered() []string {
	report := b.logs.RecoveryReport().Partitions
	slices.SortFunc(report, func(a, b storage.PartitionRecovery) int { return compareNames(a.TopicPartition, b.TopicPartition) })
	var lines []string
	for _, p := range report {
		line := fmt.Sprintf("%s: %d segments read, %d bytes torn off", p.TopicPartition, p.SegmentsRead, p.TruncatedBytes)
		for _, q := range p.Quarantined {
			line += fmt.Sprintf("; offsets %d to %d damaged and set aside (%s)", q.FromOffset, q.ToOffset, q.Reason)
		}
		if p.MissingTo > 0 {
			line += fmt.Sprintf("; durable offsets %d to %d are missing", p.MissingFrom, p.MissingTo)
		}
		lines = append(lines, line)
	}
	return lines
}

// logConfig is a topic's configuration.
func (b *broker) logConfig(topic string) storage.LogConfig {
	c := storage.DefaultLogConfig()
	c.SegmentBytes = b.node.world.plan.segmentBytes
	c.IndexIntervalBytes = 512
	c.RetentionMs = -1
	c.MessageTimestampAfterMax = math.MaxInt64
	if b.node.world.plan.flushEach {
		c.FlushMessages = 1
	}
	return c
}

// dirFailed takes note: the only log directory is gone, so the process ends,
// once what is going on has ended.
func (b *broker) dirFailed(_ string, err error) {
	if b.dirError != nil {
		return
	}
	b.dirError = err
	b.node.mark.epoch = -1
	b.node.world.noteLoss(b.node)
	if err := b.noteFailed(); err != nil {
		b.tracef("that its log directory failed could not be noted: %v", err)
	}
	b.proc.defers(func() { b.node.crash(fmt.Sprintf("its log directory failed: %v", err)) })
}

// noteFailed leaves a note for the next start. The logs are there unless the
// directory failed while they were opened.
func (b *broker) noteFailed() error {
	if b.logs == nil {
		return nil
	}
	return b.logs.NoteFailed(logDir)
}

func (b *broker) addReplica(l *storage.Log) *replica {
	tp := l.TopicPartition()
	r := &replica{b: b, at: topicPartition{tp.Topic, tp.Partition}, log: l}
	r.part = replication.NewPartition(l, int32(b.node.world.plan.minInsync))
	l.SetListener(r)
	b.replicas = append(b.replicas, r)
	return r
}

// replica finds this broker's replica of a partition.
func (b *broker) replica(at topicPartition) *replica {
	for _, r := range b.replicas {
		if r.at == at {
			return r
		}
	}
	return nil
}

func (b *broker) replicaByID(topicID [16]byte, partition int32) *replica {
	for _, r := range b.replicas {
		if r.topicID == topicID && r.at.partition == partition {
			return r
		}
	}
	return nil
}

func (n *node) replica(at topicPartition) *replica {
	if n.broker == nil {
		return nil
	}
	return n.broker.replica(at)
}

// io does f when the disk has taken a write: at once when writes go inline.
func (b *broker) io(f func()) {
	w := b.node.world
	d := b.node.writeDelay
	if w.plan.lateWrites {
		d += Time(w.rng.disk.IntN(3000)) * microsecond
	}
	if d == 0 {
		f()
		return
	}
	b.proc.after(d, f)
}

// fsync does f in the time of an fdatasync.
func (b *broker) fsync(f func()) { b.proc.after(b.syncTime(), f) }

func (b *broker) syncTime() Time {
	return b.node.writeDelay + Time(200+b.node.world.rng.disk.IntN(3000))*microsecond
}

// imageChanged applies a new image to this broker's replicas and publishes it:
// what the watchers of Broker do.
func (b *broker) imageChanged(next *metadata.Image) {
	old := b.img
	for _, topic := range next.SortedTopics() {
		for i, p := range topic.Partitions {
			if slices.Contains(p.Replicas, b.node.id) {
				b.hostPartition(next, topic, int32(i))
			}
		}
	}
	b.img = next
	b.node.world.noteImage(b.node, next)
	if b.dirError != nil {
		return
	}
	b.renewStreams(old, next)
	live := b.live(next)
	for _, r := range b.replicas {
		topic := next.Topic(r.at.topic)
		if topic == nil {
			continue
		}
		r.topicID = topic.ID // a creation that a crash cut short may have left none in the log
		if p := topic.Partition(r.at.partition); p != nil && (p != r.state || live != b.live(old)) {
			r.state = p
			r.assign(p, live)
		}
	}
}

// live reports whether an image holds this process's own registration: before,
// it speaks of an earlier incarnation, which must not lead.
func (b *broker) live(img *metadata.Image) bool {
	self := img.Broker(b.node.id)
	return self != nil && b.epoch >= 0 && self.Epoch == b.epoch
}

// hostPartition opens a replica that the metadata puts here.
func (b *broker) hostPartition(img *metadata.Image, topic *metadata.Topic, i int32) {
	at := topicPartition{topic.Name, i}
	if b.replica(at) != nil || b.dirError != nil {
		return
	}
	id := storage.UUID(topic.ID)
	l, err := b.logs.Create(storage.TopicPartition{Topic: topic.Name, Partition: i}, &id, b.logConfig(topic.Name))
	if err != nil {
		b.dirFailed(logDir, err) // a full disk, say
		return
	}
	b.addReplica(l)
}

// registered takes over this broker's epoch: its image may show it already.
func (b *broker) registered(epoch int64) {
	b.epoch = epoch
	b.node.mark.epoch, b.node.mark.boot = epoch, b.node.boots
	b.tracef("registered with epoch %d, claims epoch %d before, %d for what it had synced", epoch, b.member.previousEpoch, b.member.syncedEpoch)
	live := b.live(b.img)
	for _, r := range b.replicas {
		if r.state != nil {
			r.assign(r.state, live)
		}
	}
}

func (b *broker) checkLag() {
	for _, r := range b.replicas {
		r.tick()
	}
}

// eligible reports whether a broker may join in-sync replicas (KIP-841).
func (b *broker) eligible(id int32) bool { return b.img.Active(id) }

// shutDown stops the process cleanly: leaderships move away, the logs are
// closed with their mark, then the process ends.
func (n *node) shutDown(done func()) {
	b := n.broker
	if b.stopping {
		return
	}
	b.stopping = true
	b.member.leave(func() { b.stop(done) })
}

func (b *broker) stop(done func()) {
	for _, r := range b.replicas {
		if r.inFlight > 0 {
			b.proc.after(millisecond, func() { b.stop(done) })
			return
		}
	}
	if b.dirError != nil {
		return
	}
	rest := b.quorum.core.Rest()
	if err := b.logs.Close(b.epoch); err != nil {
		b.tracef("the logs could not be closed: %v", err)
	} else if rest != nil {
		b.node.meta.state.Apply(rest)
	}
	b.node.kill()
	done()
}
