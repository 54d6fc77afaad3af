package broker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/config"
	"freshet/coordinator/group"
	"freshet/iouring"
	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"

	"golang.org/x/sys/unix"
)

// Broker is one node: configuration, metadata, logs, network, coordinators.
type Broker struct {
	cfg       atomic.Pointer[config.BrokerConfig]
	clusterID string // of the log directories' meta.properties
	// directoryID is that of the metadata directory.
	directoryID metadata.UUID
	meta        metadataLog
	quorum      *quorum.Node // meta, and what only the controller side needs of it
	ctl         controllerSide
	member      *lifecycle // nil without the broker role, as are the next three
	logs        *storage.LogManager
	net         *server
	group       *group.Coordinator
	admin       *adminServer

	// opened is set once the topics of the metadata have been opened; what
	// comes after is new. Guarded by topicMu, or the start.
	opened bool

	// changeISR asks the controller for changes of in-sync replicas.
	changeISR func(changes ...isrChange)
	isrTally  isrTally
	// wasLive is what live said of the newest image. Guarded by topicMu.
	wasLive bool

	// topicMu serializes changes to what this broker hosts: topics opened,
	// extended, reconfigured and dropped.
	topicMu sync.Mutex
	// newest is the newest image, published or just being taken over. Stored
	// under topicMu.
	newest atomic.Pointer[metadata.Image]

	// leaseUntilMs is until when this broker may act as the leader of its
	// partitions, on the clock of monotonicMs: heartbeats extend it.
	leaseUntilMs atomic.Int64

	bootMu        sync.Mutex // over the boot record
	bootForgotten bool       // for good: this broker may lose what it acknowledges

	producerIDs producerIDs
	started     time.Time
	fatal       chan error
	stopped     atomic.Bool
	joined      bool
	incarnation metadata.UUID // of this process; another one at each start

	// life ends when the broker stops; tasks run in it.
	life    context.Context
	endLife context.CancelFunc
	tasks   sync.WaitGroup
	// hurry is closed when a stop is not to wait for other nodes.
	hurry     chan struct{}
	hurryOnce sync.Once
}

// Config is the configuration in force.
func (b *Broker) Config() *config.BrokerConfig { return b.cfg.Load() }

// Fatal delivers at most one error after which the broker must stop: no log
// directory is left.
func (b *Broker) Fatal() <-chan error { return b.fatal }

// Open locks and loads the data directories and binds the listeners. A broker
// that is a cluster by itself also opens its topics; one of a cluster does that
// in Start, which needs the others. Nothing is served before Start.
func Open(cfg *config.BrokerConfig) (*Broker, error) {
	b := &Broker{started: time.Now(), fatal: make(chan error, 1), hurry: make(chan struct{}), incarnation: metadata.RandomUUID()}
	b.life, b.endLife = context.WithCancel(context.Background())
	b.changeISR = b.alterPartition
	b.cfg.Store(cfg)
	if err := b.openController(); err != nil {
		return nil, err
	}
	if err := b.openData(); err != nil {
		b.ctl.server.stop()
		return nil, err
	}
	if cfg.Role.Broker {
		srv, err := newServer(b, networkOptions(cfg))
		if err != nil {
			b.closeData()
			return nil, err
		}
		b.net = srv
	}
	if b.aloneInQuorum() {
		if err := b.join(); err != nil {
			b.Stop()
			return nil, err
		}
	}
	return b, nil
}

// join takes part in the metadata quorum and, with the broker role, registers
// this broker, waits until it has the metadata of that moment, and opens what
// it hosts.
func (b *Broker) join() error {
	b.joined = true
	if b.member != nil {
		b.quorum.Watch(b.metadataChanged)
		b.quorum.Watch(b.member.imageChanged)
	}
	b.quorum.OnLeader(b.ctl.active.lead)
	b.quorum.PeerDown(b.ctl.active.peerDown)
	if b.member != nil {
		b.quorum.OnLeader(b.member.controllerMoved)
		b.quorum.OnCutOff(b.member.cutOff)
		b.quorum.OnRoom(b.member.metadataRoom)
	}
	b.quorum.OnFailed(b.metadataFailed)
	b.startController()
	if err := b.quorum.Start(); err != nil {
		return err
	}
	if b.member == nil {
		return nil
	}
	if err := b.member.register(b.life); err != nil {
		return err
	}
	b.noteEpoch(b.brokerEpoch())
	if b.aloneInCluster() {
		b.extendLease(time.Now())
	}
	if err := b.refreshConfig(); err != nil {
		return err
	}
	if err := b.setStraysAside(); err != nil {
		return err
	}
	if err := b.openTopics(); err != nil {
		return err
	}
	return b.openCoordinators()
}

// networkOptions translates the configuration for the network layer.
func networkOptions(cfg *config.BrokerConfig) netOptions {
	loops := int(cfg.Network.NumNetworkThreads)
	if _, set := cfg.Static.Get("num.network.threads"); !set {
		loops = runtime.GOMAXPROCS(0)
	}
	opts := netOptions{
		Loops:           loops,
		DataDir:         cfg.LogDirs[0],
		IOEngine:        cfg.Freshet.IOEngine,
		MaxRequestBytes: int(cfg.Network.SocketRequestMaxBytes),
		FetchMaxBytes:   cfg.FetchMaxBytes,
		MaxIdleMs:       cfg.Network.ConnectionsMaxIdleMs,
		QueuedBytes:     queuedBytes(cfg.Network.QueuedMaxRequestBytes),
		MaxConnections:  int(cfg.Network.MaxConnections),
		MaxConnsPerIP:   int(cfg.Network.MaxConnectionsPerIP),
		Congestion:      cfg.Freshet.CongestionControl,
		TrustCompressed: !cfg.Freshet.ValidateCompressed,
		SessionSlots:    int(cfg.FetchSessionCacheSlots),
		Workers:         int(cfg.Network.NumIOThreads),
		CommitTimeoutMs: cfg.Group.OffsetsCommitTimeoutMs,
	}
	// Socket buffers are left to the kernel's autotuning unless they are set:
	// Kafka's 100 KiB default would cap every read at that size.
	if _, set := cfg.Static.Get("socket.send.buffer.bytes"); set {
		opts.SendBufferBytes = int(cfg.Network.SocketSendBufferBytes)
	}
	if _, set := cfg.Static.Get("socket.receive.buffer.bytes"); set {
		opts.RecvBufferBytes = int(cfg.Network.SocketReceiveBufferBytes)
	}
	for _, ln := range cfg.Listeners {
		opts.Listeners = append(opts.Listeners, ListenerSpec{Name: ln.Name, Host: ln.Host, Port: ln.Port})
	}
	return opts
}

// queuedBytes is queued.max.request.bytes, or a quarter of the machine's
// memory where it is not set: many clients that each begin a large request
// must not take the whole of it.
func queuedBytes(configured int64) int64 {
	if configured > 0 {
		return configured
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	return int64(info.Totalram) * int64(info.Unit) / 4
}

// Start begins to serve. A node of a cluster waits here until it is registered
// with the controllers and allowed to lead; Stop ends the wait.
func (b *Broker) Start() error {
	if !b.joined {
		if err := b.join(); err != nil {
			return err
		}
	}
	b.tasks.Go(func() { b.reportQuorum(b.life) })
	if role := b.Config().Role; role.Controller && role.AutoJoin {
		b.tasks.Go(func() { b.autoJoin(b.life) })
	}
	b.admin = startAdmin(b, b.Config().Freshet.AdminListener)
	if b.member == nil {
		return nil
	}
	if err := b.net.start(); err != nil {
		return err
	}
	b.logs.Start()
	b.tasks.Go(func() { b.member.run(b.life) })
	b.tasks.Go(func() { b.reportDirs(b.life) })
	return b.member.serve(b.life)
}

// Hurry makes a Stop that is under way, or comes, not wait until leaders have
// moved to other brokers.
func (b *Broker) Hurry() { b.hurryOnce.Do(func() { close(b.hurry) }) }

// Stop moves this broker's leaderships to others, ends serving, flushes the
// logs and marks the shutdown clean. It may be called once Open has begun, and
// more than once.
func (b *Broker) Stop() {
	if b.stopped.Swap(true) {
		return
	}
	if b.member != nil && b.Config().Role.ControlledShutdown && !b.aloneInCluster() {
		b.member.leave(b.hurry)
	}
	b.admin.stop()
	if b.group != nil {
		b.group.Close()
	}
	if b.net != nil {
		b.net.stop()
	}
	b.closeData()
}

// Banner is what a person wants to read after the start: where the broker
// listens, how it writes, what an acknowledgement means.
func (b *Broker) Banner() []string {
	cfg := b.Config()
	var addrs []string
	show := func(name, host string, port int) {
		if host == "" {
			host = "*"
		}
		addrs = append(addrs, fmt.Sprintf("%s://%s:%d", name, host, port))
	}
	if b.net != nil {
		for _, ln := range b.net.listeners {
			show(ln.spec.Name, ln.spec.Host, ln.port)
		}
	}
	if b.ctl.server != nil {
		for _, ln := range b.ctl.server.listeners {
			show(ln.spec.Name, ln.spec.Host, ln.port)
		}
	}
	if b.member == nil {
		return []string{
			fmt.Sprintf("freshet controller %d of cluster %s is up after %d ms", cfg.NodeID, b.clusterID, time.Since(b.started).Milliseconds()),
			"  listening  " + strings.Join(addrs, ", "),
			"  metadata   " + cfg.MetadataLogDir,
		}
	}
	lines := []string{
		fmt.Sprintf("freshet broker %d of cluster %s is ready after %d ms", cfg.NodeID, b.meta.Image().ClusterID, time.Since(b.started).Milliseconds()),
		"  listening  " + strings.Join(addrs, ", "),
		"  data       " + strings.Join(cfg.LogDirs, ", "),
		fmt.Sprintf("  loops      %d on %s", len(b.net.loops), b.net.ring.Release),
		"  engine     " + b.Engine(),
		"  acks       " + b.ackMeaning(),
	}
	if b.admin != nil {
		lines = append(lines, "  admin      http://"+b.admin.addr+"/metrics, /readyz, /debug/pprof/")
	}
	return lines
}

// Engine says which write engine runs, and why.
func (b *Broker) Engine() string {
	e := b.net.loops[0].engine
	if x, ok := e.(iouring.Explainer); ok {
		return x.Explain()
	}
	return e.Name()
}

// ackMeaning is the durability contract in one line.
func (b *Broker) ackMeaning() string {
	topic, err := b.Config().Topic(nil)
	if err == nil && topic.FlushMessages == 1 {
		return "acks=1 and acks=all answer after fdatasync (log.flush.interval.messages=1): survives power loss"
	}
	return "acks=1 and acks=all answer from the page cache, as Apache Kafka does: survives kill -9, not power loss (flush.messages=1 does)"
}

// logger is the broker's log.
func (b *Broker) logger() *slog.Logger { return slog.Default() }

// Port is the port of the named listener, for callers that asked for port 0.
func (b *Broker) Port(listener string) int {
	if b.net != nil {
		for _, ln := range b.net.listeners {
			if ln.spec.Name == listener {
				return ln.port
			}
		}
	}
	return b.controllerPort(listener)
}

// offlineDirs lists the log directories that failed.
func (b *Broker) offlineDirs() (offline []string) {
	if b.logs == nil {
		return nil
	}
	for _, d := range b.logs.Dirs() {
		if d.Err != nil {
			offline = append(offline, d.Path)
		}
	}
	return offline
}

// metadataFailed is called when this node's metadata stands still from now on.
// A broker that is a cluster by itself serves records on, and refuses changes; in
// a cluster others take over from one that no longer hears of them.
func (b *Broker) metadataFailed(err error) {
	if b.member != nil && b.aloneInCluster() {
		return // the quorum has logged it
	}
	select {
	case b.fatal <- fmt.Errorf("the metadata of this node failed: %w", err):
	default:
	}
}

// dirFailed is called when a log directory went offline.
func (b *Broker) dirFailed(dir string, err error) {
	slog.Error("log directory is offline: its partitions take no more appends; replace the disk and restart", "dir", dir, "error", err)
	if b.member != nil {
		b.member.wakeUp() // the controller gives what it led to others
		b.noteFailed(dir) // before this process ends
	}
	if len(b.offlineDirs()) < len(b.Config().LogDirs) {
		return
	}
	select {
	case b.fatal <- fmt.Errorf("every log directory has failed, last %s: %w", dir, err):
	default:
	}
}
