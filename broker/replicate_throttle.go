package broker

import (
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"freshet/metadata"
	"freshet/replication/isr"
)

// throttles hold replication to followers back that are not in sync, where
// topics and brokers ask for it, as a reassignment does (KIP-73). Apache Kafka's
// follower limits what it fetches; here the leader pushes, so the leaders keep
// the follower's limit too, each its share.
type throttles struct {
	active atomic.Bool // some rate is limited
	mu     struct {
		sync.Mutex
		leader    isr.Throttle
		followers map[int32]*isr.Throttle
	}
}

// Names of the settings (Kafka: QuotaConfig, TopicConfig).
const (
	followerThrottledRate     = "follower.replication.throttled.rate"
	leaderThrottledReplicas   = "leader.replication.throttled.replicas"
	followerThrottledReplicas = "follower.replication.throttled.replicas"
)

// throttledReplicas are a topic's replicas to hold back: on this broker as a
// leader, and on each other one as a follower. Nil: none.
type throttledReplicas struct {
	leader    isr.ThrottledReplicas
	followers map[int32]isr.ThrottledReplicas
}

// throttledOf reads a topic's lists. A list that makes no sense has been
// refused when it was set.
func (b *Broker) throttledOf(t *metadata.Topic) *throttledReplicas {
	leaders, followers := t.Configs[leaderThrottledReplicas], t.Configs[followerThrottledReplicas]
	if leaders == "" && followers == "" {
		return nil
	}
	tr := &throttledReplicas{followers: map[int32]isr.ThrottledReplicas{}}
	tr.leader, _ = isr.ParseThrottledReplicas(leaders, b.Config().NodeID)
	for _, p := range t.Partitions {
		for _, id := range p.Replicas {
			if _, known := tr.followers[id]; !known {
				tr.followers[id], _ = isr.ParseThrottledReplicas(followers, id)
			}
		}
	}
	return tr
}

// updateThrottles takes over the rates of an image.
func (b *Broker) updateThrottles(img *metadata.Image) {
	th := &b.net.throttles
	windowMs, now := b.Config().QuotaWindowMs, monotonicMs()
	th.mu.Lock()
	defer th.mu.Unlock()
	rate := b.Config().LeaderThrottledRate
	active := rate < math.MaxInt64
	th.mu.leader.SetRate(rate, windowMs, now)
	for i := range img.Brokers {
		id := img.Brokers[i].ID
		rate := b.followerRate(img, id)
		if rate == math.MaxInt64 && th.mu.followers[id] == nil {
			continue
		}
		if th.mu.followers == nil {
			th.mu.followers = map[int32]*isr.Throttle{}
		}
		if th.mu.followers[id] == nil {
			th.mu.followers[id] = &isr.Throttle{}
		}
		if rate < math.MaxInt64 {
			active = true
			rate /= throttledLeaders(img, id)
		}
		th.mu.followers[id].SetRate(rate, windowMs, now)
	}
	if th.active.Swap(active) != active {
		slog.Info("replication throttle", "on", active)
	}
}

// followerRate is a broker's follower.replication.throttled.rate: its own
// dynamic value, that of all brokers, or what this broker's file says.
func (b *Broker) followerRate(img *metadata.Image, id int32) int64 {
	for _, values := range []map[string]string{img.BrokerConfigs[strconv.Itoa(int(id))], img.BrokerConfigs[""]} {
		if rate, err := strconv.ParseInt(values[followerThrottledRate], 10, 64); err == nil {
			return rate
		}
	}
	return b.Config().FollowerThrottledRate
}

// throttledLeaders is how many brokers lead partitions in which a follower has
// to catch up and is throttled, 1 at least: they share its rate.
func throttledLeaders(img *metadata.Image, follower int32) int64 {
	leaders := map[int32]bool{}
	for t := range img.Topics() {
		list, err := isr.ParseThrottledReplicas(t.Configs[followerThrottledReplicas], follower)
		if err != nil {
			continue
		}
		for i, p := range t.Partitions {
			if list.Has(int32(i)) && slices.Contains(p.Replicas, follower) && !slices.Contains(p.ISR, follower) {
				leaders[p.Leader] = true
			}
		}
	}
	return int64(max(1, len(leaders)))
}

// holdBackMs is for how long a follower is not to be pushed to, 0 if it may be.
func (s *stream) holdBackMs(pp *peerPart) int64 {
	th := &s.loop.srv.throttles
	if !th.active.Load() {
		return 0
	}
	asLeader, asFollower := pp.part.throttled(s.peer)
	if !asLeader && !asFollower || pp.part.InSync(s.peer) {
		return 0
	}
	th.mu.Lock()
	defer th.mu.Unlock()
	wait := int64(0)
	if asLeader {
		wait = th.mu.leader.WaitMs(s.loop.monoMs)
	}
	if f := th.mu.followers[s.peer]; asFollower && f != nil {
		wait = max(wait, f.WaitMs(s.loop.monoMs))
	}
	return wait
}

// countThrottled counts what was pushed.
func (s *stream) countThrottled(pp *peerPart, bytes int64) {
	th := &s.loop.srv.throttles
	if bytes == 0 || !th.active.Load() {
		return
	}
	asLeader, asFollower := pp.part.throttled(s.peer)
	th.mu.Lock()
	defer th.mu.Unlock()
	if asLeader {
		th.mu.leader.Record(bytes, s.loop.monoMs)
	}
	if f := th.mu.followers[s.peer]; asFollower && f != nil {
		f.Record(bytes, s.loop.monoMs)
	}
}

// throttled reports whether the partition's replica here is throttled as a
// leader, and that on a broker as a follower.
func (p *partition) throttled(follower int32) (asLeader, asFollower bool) {
	tr := p.topic.settings.Load().throttled
	if tr == nil {
		return false, false
	}
	list := tr.followers[follower]
	return tr.leader.Has(p.index), list.Has(p.index)
}
