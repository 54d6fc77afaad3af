package group

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

// Appender appends to __consumer_offsets.
type Appender interface {
	// Append appends one v2 batch to a partition as its leader, with acks=all,
	// and calls done exactly once, from any goroutine, possibly before it
	// returns: with nil when the batch is committed, else with why nothing of
	// it is in the log (a *kerr.Error inside decides what the client gets).
	// The batch belongs to the Appender until then. Batches of one partition
	// must enter the log in the order of the calls. It must not block.
	Append(partition int32, batch []byte, done func(err error))
}

// LogReader reads __consumer_offsets to load a partition.
type LogReader interface {
	// ReadLog calls visit with each batch of the partition in order, from the
	// log's start to its end as of the call. The batch is valid during the
	// visit; an error of visit ends the reading and is returned.
	ReadLog(partition int32, visit func(batch record.Batch) error) error
}

// Clock is the coordinator's time.
type Clock interface {
	// NowMs is milliseconds since the epoch, and never goes back or jumps:
	// session timeouts count on it (see SystemClock).
	NowMs() int64
	// AfterFunc calls f on its own goroutine after delayMs, unless stop is
	// called before.
	AfterFunc(delayMs int64, f func()) (stop func())
}

// RequestMeta is what a handler knows about the client besides the request.
type RequestMeta struct {
	ClientID string
	// ClientHost is the client's address as Kafka shows it, "/127.0.0.1".
	ClientHost string
}

// Coordinator is the group coordinator of a broker: a shard for each partition
// of __consumer_offsets. All its methods may be called from any goroutine and
// none of them blocks on the log, except Close, which waits for loads to stop.
type Coordinator struct {
	cfg      Config
	appender Appender
	reader   LogReader
	clock    Clock
	log      *slog.Logger

	shards []*shard
	closed atomic.Bool
	loads  sync.WaitGroup
	// loadSlots bounds how many partitions are read at once.
	loadSlots chan struct{}
}

// concurrentLoads is how many partitions are read at a time.
const concurrentLoads = 4

// New returns a coordinator that leads no partition yet.
func New(cfg Config, appender Appender, reader LogReader, clock Clock, log *slog.Logger) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, appender: appender, reader: reader, clock: clock, log: log,
		loadSlots: make(chan struct{}, concurrentLoads),
	}
	c.shards = make([]*shard, cfg.Partitions)
	for p := range c.shards {
		c.shards[p] = &shard{coordinator: c, partition: int32(p), timerAt: noDeadline}
	}
	return c, nil
}

// PartitionFor is the partition of __consumer_offsets that owns groupID; its
// leader is the group's coordinator.
func (c *Coordinator) PartitionFor(groupID string) int32 {
	return PartitionFor(groupID, c.cfg.Partitions)
}

// BecomeLeader starts loading a partition that this broker now leads. Until
// the load ends its groups answer COORDINATOR_LOAD_IN_PROGRESS. For a partition
// that is loading or loaded it does nothing. Partitions added to the topic
// after its creation own no group: ids keep hashing to the first ones.
func (c *Coordinator) BecomeLeader(partition int32) {
	if int(partition) < len(c.shards) {
		c.shards[partition].becomeLeader()
	}
}

// Resign gives a partition up: requests that wait are answered NOT_COORDINATOR.
func (c *Coordinator) Resign(partition int32) {
	if int(partition) < len(c.shards) {
		c.shards[partition].resign()
	}
}

// TopicsDeleted drops all groups' offsets of topics that no longer exist.
func (c *Coordinator) TopicsDeleted(topics []DeletedTopic) {
	for _, s := range c.shards {
		s.event(TopicsDeleted{Topics: topics})
	}
}

// Close resigns from everything and waits for loads to stop. Requests that
// wait, and later ones, are answered.
func (c *Coordinator) Close() {
	c.closed.Store(true)
	for _, s := range c.shards {
		s.resign()
	}
	c.loads.Wait()
}

// Handle answers a request through reply, exactly once, now or later, from any
// goroutine. The request is one of those that Request.Body lists, decoded with
// its version set, OffsetFetch in any version. Its topics' names are set where
// the wire has ids (OffsetCommit and OffsetFetch from version 10), and it holds
// only topics and partitions that exist, where that matters. The request
// belongs to the coordinator from now on. The response's version is set.
func (c *Coordinator) Handle(req kmsg.Request, meta RequestMeta, reply func(kmsg.Response)) {
	version := req.GetVersion()
	answer := func(resp kmsg.Response) {
		resp.SetVersion(version)
		reply(resp)
	}
	if c.closed.Load() {
		if fetch, ok := req.(*kmsg.OffsetFetchRequest); ok {
			c.refuseOffsetFetch(fetch, answer)
			return
		}
		answer(ErrorResponse(req, coordinatorNotAvailable))
		return
	}
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		if code := c.checkJoin(req); code != none {
			answer(ErrorResponse(req, code))
			return
		}
		c.submit(req.Group, req, meta, answer)
	case *kmsg.SyncGroupRequest:
		c.submitNamed(req.Group, req, meta, answer)
	case *kmsg.HeartbeatRequest:
		c.submitNamed(req.Group, req, meta, answer)
	case *kmsg.LeaveGroupRequest:
		c.submitNamed(req.Group, req, meta, answer)
	case *kmsg.OffsetDeleteRequest:
		c.submitNamed(req.Group, req, meta, answer)
	case *kmsg.OffsetCommitRequest:
		// Offsets of the empty group id are an old custom that Kafka keeps.
		c.submit(req.Group, req, meta, answer)
	case *kmsg.OffsetFetchRequest:
		c.offsetFetch(req, answer)
	case *kmsg.DescribeGroupsRequest:
		c.describeGroups(req, answer)
	case *kmsg.DeleteGroupsRequest:
		c.deleteGroups(req, answer)
	case *kmsg.ListGroupsRequest:
		c.listGroups(req, answer)
	default:
		panic(fmt.Sprintf("BUG: the group coordinator got a %T", req))
	}
}

func (c *Coordinator) checkJoin(req *kmsg.JoinGroupRequest) int16 {
	switch {
	case req.Group == "":
		return invalidGroupID
	case req.SessionTimeoutMillis < c.cfg.MinSessionTimeoutMs, req.SessionTimeoutMillis > c.cfg.MaxSessionTimeoutMs:
		return invalidSessionTimeout
	}
	return none
}

func (c *Coordinator) submitNamed(groupID string, req kmsg.Request, meta RequestMeta, answer func(kmsg.Response)) {
	if groupID == "" {
		answer(ErrorResponse(req, invalidGroupID))
		return
	}
	c.submit(groupID, req, meta, answer)
}

func (c *Coordinator) submit(groupID string, req kmsg.Request, meta RequestMeta, answer func(kmsg.Response)) {
	r := Request{Body: req, ClientID: meta.ClientID, ClientHost: meta.ClientHost}
	if join, ok := req.(*kmsg.JoinGroupRequest); ok && join.MemberID == "" {
		r.UUID = newUUID()
	}
	c.shards[c.PartitionFor(groupID)].submit(r, answer)
}

// newUUID is a random (version 4) UUID.
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails: the runtime aborts instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
