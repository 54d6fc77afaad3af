package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/config"
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// lifecycle is this broker's membership in the cluster: registered with an
// epoch, fenced until it has caught up with the metadata and serves, kept alive
// by heartbeats, and taken out of the leaderships before it stops (Kafka:
// BrokerLifecycleManager). It has one goroutine and one connection of its own.
type lifecycle struct {
	broker  *Broker
	channel *controllerChannel
	// previousEpoch is the broker epoch of the last clean stop, -1 for none:
	// after an unclean one the controller does not count on what this broker
	// had (KIP-966).
	previousEpoch int64
	// syncedEpoch is the one since which nothing is missing that was synced, -1
	// for none.
	syncedEpoch int64

	epoch atomic.Int64 // broker epoch; -1 before the first registration
	ready atomic.Bool  // everything is open and served: may be unfenced

	full         atomic.Bool // a log directory, or the metadata, has no room: others should lead
	metadataFull atomic.Bool // the metadata has no room and stands still
	// freeBytes is what may still be written to a directory's file system.
	freeBytes func(dir string) (int64, bool)

	lease  lease
	asking asking // the heartbeat under way

	wantShutdown atomic.Bool
	wake         chan struct{} // one token: heartbeat now
	ended        chan struct{} // the goroutine has returned

	mu struct {
		sync.Mutex
		unfenced   chan struct{} // closed when first unfenced
		released   chan struct{} // closed when the controller lets it stop
		wasFenced  bool
		heard      time.Time // when the controller last answered a heartbeat
		atIndex    int64     // of the metadata that its answer was about
		clockAside time.Time // when the clock was last complained about
	}
}

// Times of the lifecycle that Kafka has no keys for.
const (
	lifecycleRetryMin = 20 * time.Millisecond
	lifecycleRetryMax = 500 * time.Millisecond
	shutdownBeat      = 50 * time.Millisecond  // between heartbeats while leaders move
	fullBeat          = 500 * time.Millisecond // between heartbeats while a disk is full
	clockTolerance    = 10 * time.Second
	clockComplaint    = time.Minute
	maxControlledStop = 30 * time.Second
	// maxUnheardStop ends a controlled stop while no controller answers: they
	// may be stopping too.
	maxUnheardStop     = 1500 * time.Millisecond
	waitingForMajority = 5 * time.Second // until the log says what the start waits for
)

// Tagged fields of ours in heartbeat answers, int64 each.
const (
	heartbeatIndexTag = 10_000 // index of the metadata that the answer is about
	heartbeatClockTag = 10_001 // the controller's wall clock, ms
)

// registrationSyncedTag is a tagged field of ours in registrations: the epoch
// since which nothing is missing that this broker had synced, int64.
const registrationSyncedTag = 10_000

func newLifecycle(b *Broker) *lifecycle {
	lc := &lifecycle{broker: b, channel: &controllerChannel{broker: b},
		previousEpoch: -1, syncedEpoch: -1, freeBytes: freeBytes, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	lc.epoch.Store(-1)
	lc.mu.unfenced, lc.mu.released = make(chan struct{}), make(chan struct{})
	return lc
}

// register registers this broker and returns when its own image shows it. It
// tries until the configuration's time is over: controllers may still be
// electing, and a crashed predecessor of the same id may not be fenced yet.
func (lc *lifecycle) register(ctx context.Context) error {
	cfg := lc.broker.Config()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(cfg.Role.RegistrationMs)*time.Millisecond)
	defer cancel()
	begun, complained := time.Now(), false
	for pause := lifecycleRetryMin; ; pause = min(2*pause, lifecycleRetryMax) {
		epoch, err := lc.tryRegister(ctx)
		if err == nil {
			lc.epoch.Store(epoch)
			return lc.broker.meta.WaitIndex(ctx, epoch)
		}
		var final *registrationError
		if errors.As(err, &final) && final.final {
			return err
		}
		if !complained && time.Since(begun) > waitingForMajority {
			complained = true
			slog.Warn("still waiting to be registered with the controllers; a majority of them must be up", "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if lc.broker.stopped.Load() {
				return errStopping
			}
			return fmt.Errorf("broker %d could not register with the controllers in %d ms (initial.broker.registration.timeout.ms): %w; the log above says whom it tried to reach", cfg.NodeID, cfg.Role.RegistrationMs, err)
		}
	}
}

// registrationError is a refused registration; final ones do not get better.
type registrationError struct {
	final bool
	text  string
}

func (e *registrationError) Error() string { return e.text }

func (lc *lifecycle) tryRegister(ctx context.Context) (epoch int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lc.requestTime())
	defer cancel()
	answer, err := lc.channel.ask(ctx, lc.registration())
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.BrokerRegistrationResponse)
	id := lc.broker.Config().NodeID
	switch resp.ErrorCode {
	case 0:
		return resp.BrokerEpoch, nil
	case kerr.DuplicateBrokerRegistration.Code:
		return 0, &registrationError{text: fmt.Sprintf("another broker with node.id %d is registered and alive: give this one another node.id, or stop the other", id)}
	case kerr.InconsistentClusterID.Code:
		return 0, &registrationError{final: true, text: fmt.Sprintf("this broker's log directories are of cluster %s, but the controllers are of another cluster: "+
			"use log.dirs of that cluster, or correct controller.quorum.voters or controller.quorum.bootstrap.servers", lc.broker.meta.Image().ClusterID)}
	case kerr.UnsupportedVersion.Code:
		return 0, &registrationError{final: true, text: "this version of freshet does not support the features that the cluster has finalized: use a newer one (freshet features describe)"}
	case kerr.InvalidRegistration.Code:
		return 0, &registrationError{final: true, text: "the controllers refuse this broker's registration as invalid: look at the active controller's log"}
	}
	return 0, fmt.Errorf("the controller answered the registration with %w", kerr.ErrorForCode(resp.ErrorCode))
}

// requestTime bounds one request to the controller, so that a hung one does
// not eat the session.
func (lc *lifecycle) requestTime() time.Duration {
	role := lc.broker.Config().Role
	return time.Duration(max(role.RequestTimeoutMs, 100)) * time.Millisecond
}

// registration is the request that registers this broker.
func (lc *lifecycle) registration() *kmsg.BrokerRegistrationRequest {
	b := lc.broker
	cfg := b.Config()
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = 4
	req.BrokerID, req.ClusterID, req.IncarnationID = cfg.NodeID, b.clusterID, b.incarnation
	req.PreviousBrokerEpoch = lc.previousEpoch
	if lc.syncedEpoch >= 0 {
		req.UnknownTags.Set(registrationSyncedTag, binary.BigEndian.AppendUint64(nil, uint64(lc.syncedEpoch)))
	}
	if cfg.Rack != "" {
		req.Rack = &cfg.Rack
	}
	for _, l := range cfg.AdvertisedListeners {
		host, port, ok := b.ownAddress(l.Name)
		if !ok {
			continue
		}
		req.Listeners = append(req.Listeners, kmsg.BrokerRegistrationRequestListener{
			Name: l.Name, Host: host, Port: uint16(port), SecurityProtocol: securityProtocol(l)})
	}
	for _, f := range metadata.SupportedFeatures() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	for _, d := range b.logs.Dirs() {
		if d.Err == nil {
			req.LogDirs = append(req.LogDirs, d.DirectoryID)
		}
	}
	return req
}

// securityProtocol is the protocol's number (Kafka: SecurityProtocol).
func securityProtocol(l config.Listener) int16 {
	return map[string]int16{"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}[l.Protocol]
}

// run sends heartbeats until ctx ends.
func (lc *lifecycle) run(ctx context.Context) {
	defer close(lc.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := lifecycleRetryMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-lc.wake:
		case <-timer.C:
		}
		next, err := lc.beat(ctx)
		switch {
		case err == nil:
			pause = lifecycleRetryMin
		case ctx.Err() != nil:
			return
		default:
			slog.Debug("heartbeat failed", "error", err)
			next, pause = pause+rand.N(pause), min(2*pause, lifecycleRetryMax)
		}
		timer.Reset(next)
	}
}

// beat sends one heartbeat and says when the next is due.
func (lc *lifecycle) beat(ctx context.Context) (next time.Duration, err error) {
	b := lc.broker
	role := b.Config().Role
	ctx, end := lc.asking.begin(ctx, lc.requestTime())
	defer end()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = 2
	req.BrokerID, req.BrokerEpoch = b.Config().NodeID, lc.epoch.Load()
	req.CurrentMetadataOffset = b.meta.Image().Index
	lc.checkRoom()
	req.WantFence, req.WantShutdown = !lc.ready.Load() || lc.full.Load(), lc.wantShutdown.Load()
	for _, d := range b.logs.Dirs() {
		// Where nobody else could lead, what is durable stays readable.
		if d.Err != nil && !b.aloneInCluster() {
			req.OfflineLogDirs = append(req.OfflineLogDirs, d.DirectoryID)
		}
	}
	if logs := b.leaderlessLogs(); len(logs) > 0 {
		req.UnknownTags.Set(heartbeatLogsTag, logs)
	}
	sent := time.Now()
	answer, err := lc.channel.ask(ctx, req)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.BrokerHeartbeatResponse)
	switch resp.ErrorCode {
	case 0:
	case kerr.StaleBrokerEpoch.Code, kerr.BrokerIDNotRegistered.Code:
		return 0, lc.registerAgain(ctx, kerr.ErrorForCode(resp.ErrorCode))
	default:
		return 0, fmt.Errorf("the controller answered the heartbeat with %w", kerr.ErrorForCode(resp.ErrorCode))
	}
	lc.note(resp, sent)
	switch {
	case lc.wantShutdown.Load() && !resp.ShouldShutdown:
		return shutdownBeat, nil
	case lc.full.Load():
		return fullBeat, nil
	case lc.ready.Load() && resp.IsFenced:
		return lifecycleRetryMin, nil // not caught up yet
	}
	return time.Duration(role.HeartbeatIntervalMs) * time.Millisecond, nil
}

// registerAgain registers anew after the controller forgot this registration:
// the broker was unregistered, or another took its id.
func (lc *lifecycle) registerAgain(ctx context.Context, cause error) error {
	slog.Warn("the controller does not know this broker's registration any more; registering again", "error", cause)
	epoch, err := lc.tryRegister(ctx)
	if err != nil {
		return err
	}
	lc.epoch.Store(epoch)
	if img := lc.broker.meta.Image(); img.BrokerEpoch(lc.broker.Config().NodeID) == epoch {
		lc.broker.metadataChanged(img, img) // roles depend on the epoch
	}
	lc.wakeUp()
	return nil
}

// note takes over what the controller said.
func (lc *lifecycle) note(resp *kmsg.BrokerHeartbeatResponse, sent time.Time) {
	b := lc.broker
	lc.mu.Lock()
	defer lc.mu.Unlock()
	lc.mu.heard = time.Now()
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		if len(value) != 8 {
			return
		}
		number := int64(binary.BigEndian.Uint64(value))
		switch tag {
		case heartbeatIndexTag:
			lc.mu.atIndex = number
		case heartbeatClockTag:
			lc.checkClockLocked(time.UnixMilli(number), sent)
		}
	})
	if !resp.IsFenced {
		b.extendLease(sent)
		if lc.ready.Load() {
			closeOnce(lc.mu.unfenced)
		}
		if lc.mu.wasFenced {
			slog.Info("broker is unfenced: it may lead partitions again", "epoch", lc.epoch.Load())
		}
		lc.mu.wasFenced = false
	} else if lc.ready.Load() && !lc.wantShutdown.Load() && !lc.mu.wasFenced && isClosed(lc.mu.unfenced) {
		lc.mu.wasFenced = true
		slog.Warn("the controller has fenced this broker: it leads nothing until it is heard again", "epoch", lc.epoch.Load())
	}
	if resp.ShouldShutdown {
		closeOnce(lc.mu.released)
	}
}

// checkClockLocked compares this machine's clock with the controller's. Leases
// and timeouts use the monotonic clock; a wrong wall clock spoils record
// timestamps and time-based retention.
func (lc *lifecycle) checkClockLocked(theirs, sent time.Time) {
	took := time.Since(sent)
	if took > clockTolerance/2 {
		return
	}
	aside := sent.Add(took / 2).Round(0).Sub(theirs)
	if aside.Abs() > clockTolerance && time.Since(lc.mu.clockAside) > clockComplaint {
		lc.mu.clockAside = time.Now()
		slog.Error("this machine's clock is far from the active controller's: timestamps and time-based retention will be wrong; synchronize the clocks (NTP)",
			"ahead_ms", aside.Milliseconds())
	}
}

// A log directory is full below fullBytes of free space, and has room again from
// roomBytes on.
const (
	fullBytes = 1 << 20
	roomBytes = 32 << 20
)

// imageChanged lets a heartbeat follow when another broker begins to stop: the
// controller lets that one go when all brokers are known to know of it. So it
// does when a partition has no leader, which the ends of the logs may decide on.
func (lc *lifecycle) imageChanged(old, next *metadata.Image) {
	begun := slices.ContainsFunc(next.Brokers, func(b metadata.Broker) bool {
		before := old.Broker(b.ID)
		return b.InControlledShutdown && (before == nil || !before.InControlledShutdown)
	})
	if !begun && !asksForLogs(old, next) {
		return
	}
	go func() { // the image is published after this
		if lc.broker.meta.WaitIndex(lc.broker.life, next.Index) == nil {
			lc.wakeUp()
		}
	}()
}

// checkRoom notices full disks. A leader without room takes no more records; if
// all that this broker leads can be led by others, it asks to be fenced until
// there is room, and clients go on there. Where that is not so it stays, because
// what it has can still be read.
func (lc *lifecycle) checkRoom() {
	b, was := lc.broker, lc.full.Load()
	limit := int64(fullBytes)
	if was {
		limit = roomBytes
	}
	tight := ""
	for _, d := range b.logs.Dirs() {
		if free, ok := lc.freeBytes(d.Path); d.Err == nil && ok && free < limit {
			tight = d.Path
		}
	}
	if lc.metadataFull.Load() {
		tight = b.Config().MetadataLogDir
	}
	switch {
	case tight == "" && was:
		lc.full.Store(false)
		slog.Info("there is room in the log directories again: this broker may lead again")
	case tight != "" && !was && !b.aloneInCluster() && b.replaceable():
		lc.full.Store(true)
		slog.Error("log directory is full: others lead this broker's partitions until there is room; make space", "dir", tight)
	}
}

// metadataRoom is called when the disk of the metadata is full, and when it has
// room again.
func (lc *lifecycle) metadataRoom(room bool) {
	lc.metadataFull.Store(!room)
	lc.wakeUp()
}

// freeBytes is what may still be written to the file system of dir, exactly only
// when it is little.
func freeBytes(dir string) (int64, bool) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, false
	}
	free := int64(fs.Bavail) * fs.Bsize
	if unix.Geteuid() != 0 || free >= roomBytes {
		return free, true
	}
	// What is reserved is reserved for root, but not all of it: ext4 keeps some
	// for itself, counts it as free, and gives it to nobody. So it is tried.
	for _, bytes := range []int64{roomBytes, fullBytes} {
		if free < bytes && canTake(dir, bytes) {
			return bytes, true
		}
	}
	return free, true
}

// canTake reports whether a file of so many bytes has room in dir. It has no name
// and is gone at once. Where that cannot be tried (NFS, FUSE) it is false.
func canTake(dir string, bytes int64) bool {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Fallocate(fd, 0, 0, bytes) == nil
}

// replaceable reports whether every partition that this broker leads has another
// active replica in sync.
func (b *Broker) replaceable() bool {
	img, self := b.meta.Image(), b.Config().NodeID
	for topic := range img.Topics() {
		for _, p := range topic.Partitions {
			if p.Leader == self && !slices.ContainsFunc(p.ISR, func(id int32) bool { return id != self && img.Active(id) }) {
				return false
			}
		}
	}
	return true
}

func (lc *lifecycle) wakeUp() {
	select {
	case lc.wake <- struct{}{}:
	default:
	}
}

// serve says that everything is open, and waits until the controller has
// unfenced this broker and its own image shows that.
func (lc *lifecycle) serve(ctx context.Context) error {
	lc.ready.Store(true)
	lc.wakeUp()
	select {
	case <-lc.mu.unfenced:
	case <-ctx.Done():
		return errStopping
	}
	lc.mu.Lock()
	index := lc.mu.atIndex
	lc.mu.Unlock()
	if lc.broker.meta.WaitIndex(ctx, index) != nil {
		return errStopping
	}
	return nil
}

// leave asks the controller to move this broker's leaderships elsewhere and
// waits until it may stop, at most maxControlledStop. It ends at once when
// hurry is closed.
func (lc *lifecycle) leave(hurry <-chan struct{}) {
	if !isClosed(lc.mu.unfenced) {
		return
	}
	begun := time.Now()
	lc.wantShutdown.Store(true)
	lc.wakeUp()
	look := time.NewTicker(shutdownBeat)
	defer look.Stop()
	for {
		select {
		case <-lc.mu.released:
			slog.Info("leaders have moved to other brokers", "ms", time.Since(begun).Milliseconds())
			return
		case <-hurry:
			return
		case <-look.C:
		}
		lc.mu.Lock()
		unheard := min(time.Since(lc.mu.heard), time.Since(begun))
		lc.mu.Unlock()
		switch {
		case time.Since(begun) > maxControlledStop:
			slog.Warn("stopping although this broker still leads partitions: the controller did not let it go in time", "ms", time.Since(begun).Milliseconds())
			return
		case unheard > maxUnheardStop:
			slog.Warn("stopping without moving leaders to other brokers: no active controller answers")
			return
		}
	}
}

// brokerEpoch is this broker's epoch, -1 before it is registered.
func (b *Broker) brokerEpoch() int64 {
	if b.member == nil {
		return -1
	}
	return b.member.epoch.Load()
}

// aloneInCluster reports whether no other broker is registered: nobody could
// take over its partitions.
func (b *Broker) aloneInCluster() bool {
	img := b.meta.Image()
	return len(img.Brokers) == 1 && img.Brokers[0].ID == b.Config().NodeID
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// closeOnce closes ch unless it is; the caller holds the lock that guards it.
func closeOnce(ch chan struct{}) {
	if !isClosed(ch) {
		close(ch)
	}
}
