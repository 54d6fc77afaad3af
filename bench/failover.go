package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Failover is what one broker's end meant to producers (acks=all, one record at
// a time, a client that asks for the new leader at once). Times are in ms from
// the signal, but for FullISRMs.
type Failover struct {
	// Signal is "kill" for SIGKILL, "stop" for SIGTERM, a controlled shutdown.
	Signal string `json:"signal"`
	Victim int32  `json:"victim"`
	// Controller says that the victim was the active controller too, unknown
	// where the cluster does not tell.
	Controller bool `json:"controller"`
	// ResumedMs is until a partition that the victim led acknowledged by another
	// leader.
	ResumedMs float64 `json:"resumed_ms"`
	// LedGapMs is the longest time between two acknowledgements of partitions
	// that the victim led, FollowedGapMs of those that it followed.
	LedGapMs      float64 `json:"led_gap_ms"`
	FollowedGapMs float64 `json:"followed_gap_ms"`
	// StoppedMs is until the process had ended, RestartMs from its next start
	// until its port was open, FullISRMs from that start until every partition
	// had all its replicas in sync.
	StoppedMs float64 `json:"stopped_ms"`
	RestartMs float64 `json:"restart_ms"`
	FullISRMs float64 `json:"full_isr_ms"`
	// Acked is how many records were acknowledged meanwhile, each behind the one
	// before: none was lost.
	Acked int64 `json:"acked"`
}

// FailoverOptions say how often brokers end.
type FailoverOptions struct {
	// Kills by SIGKILL and then Stops by SIGTERM.
	Kills, Stops int
	Topic        string
	// Done, if set, is called after each.
	Done func()
}

const (
	failoverTimeout = 90 * time.Second
	// probePause lies between two requests of a prober; probeWait is how long it
	// waits for an answer before it asks for the leader again.
	probePause = time.Millisecond
	probeWait  = 2 * time.Second
	// failoverTail is how long the probers go on after all is well again.
	failoverTail     = 300 * time.Millisecond
	preferredTimeout = 15 * time.Second
	partitionsEach   = 2
)

// Failovers ends brokers of the cluster one after the other while producers
// write to every broker's partitions, and starts each again. Every other victim
// is the active controller. The driver's processes are not those of its
// Endpoint any more afterwards.
func (d *Driver) Failovers(ctx context.Context, c *Cluster, o FailoverOptions) ([]Failover, error) {
	if _, err := d.admin.createTopic(ctx, o.Topic, partitionsEach*len(c.nodes)); err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var all []Failover
	for i := range o.Kills + o.Stops {
		f := &failoverRun{driver: d, cluster: c, client: client, topic: o.Topic, signal: syscall.SIGKILL}
		if i >= o.Kills {
			f.signal = syscall.SIGTERM
		}
		one, err := f.run(ctx, i%2 == 0)
		if err != nil {
			return all, fmt.Errorf("failover %d: %w", i+1, err)
		}
		all = append(all, one)
		if o.Done != nil {
			o.Done()
		}
	}
	return all, d.admin.deleteTopic(context.WithoutCancel(ctx), o.Topic)
}

// failoverRun is one broker's end.
type failoverRun struct {
	driver  *Driver
	cluster *Cluster
	client  *kgo.Client
	topic   string
	signal  syscall.Signal
	victim  *clusterNode
	result  Failover
}

func (f *failoverRun) run(ctx context.Context, controllerToo bool) (Failover, error) {
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout+clusterReadyTimeout)
	defer cancel()
	leaders, err := f.balance(ctx)
	if err != nil {
		return f.result, err
	}
	controller := controllerOf(ctx, f.client)
	f.victim = f.choose(leaders, controller, controllerToo)
	f.result = Failover{Signal: "kill", Victim: f.victim.ID, Controller: f.victim.ID == controller}
	if f.signal == syscall.SIGTERM {
		f.result.Signal = "stop"
	}
	if err := f.probe(ctx, leaders); err != nil {
		return f.result, err
	}
	return f.result, f.restart(ctx)
}

// balance has every broker lead partitions again and returns the leaders' ids.
func (f *failoverRun) balance(ctx context.Context) (map[int32]int32, error) {
	var leaders map[int32]int32
	ctx, cancel := context.WithTimeout(ctx, preferredTimeout)
	defer cancel()
	set := make(kadm.TopicsSet)
	for p := range partitionsEach * len(f.cluster.nodes) {
		set.Add(f.topic, int32(p))
	}
	err := await(ctx, 10*clusterPoll, func(ctx context.Context) error {
		// Partitions that are led as they should be are refused one by one, which
		// is no concern here.
		f.driver.admin.kadm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
		meta, err := f.driver.admin.kadm.Metadata(ctx, f.topic)
		if err != nil {
			return err
		}
		leaders = make(map[int32]int32)
		led := make(map[int32]bool)
		for id, p := range meta.Topics[f.topic].Partitions {
			leaders[id] = p.Leader
			led[p.Leader] = true
		}
		for _, n := range f.cluster.nodes {
			if !led[n.ID] {
				return fmt.Errorf("broker %d leads no partition of %s", n.ID, f.topic)
			}
		}
		return nil
	})
	return leaders, err
}

// choose picks the victim: the active controller, or another broker.
func (f *failoverRun) choose(leaders map[int32]int32, controller int32, controllerToo bool) *clusterNode {
	if n := f.cluster.node(controller); n != nil && controllerToo {
		return n
	}
	for p := range int32(len(leaders)) {
		if n := f.cluster.node(leaders[p]); n != nil && n.ID != controller {
			return n
		}
	}
	return f.cluster.nodes[0]
}

// probe writes to a partition of every broker, ends the victim meanwhile, and
// waits until all of them acknowledge again.
func (f *failoverRun) probe(ctx context.Context, leaders map[int32]int32) error {
	a := f.driver.admin
	batch := BuildBatch(100, 512, 1, time.Now().UnixMilli())
	var probers []*prober
	seen := make(map[int32]bool)
	for p := range int32(len(leaders)) {
		if leader := leaders[p]; !seen[leader] {
			seen[leader] = true
			probers = append(probers, &prober{seeds: f.cluster.addrs(), versions: a.versions, topic: f.topic, partition: p,
				template: newProduceTemplate(a.versions, f.topic, p, -1, batch), records: int64(batch.Records), last: -1,
				led: leader == f.victim.ID})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	var stop atomic.Bool
	var ended time.Time
	err := inParallel(len(probers)+1, func(i int) error {
		if i < len(probers) {
			err := probers[i].run(ctx, &stop)
			if err != nil {
				cancel()
			}
			return err
		}
		defer stop.Store(true)
		var err error
		ended, err = f.end(ctx, probers)
		return err
	})
	for _, p := range probers {
		f.result.Acked += p.acked.Load()
		gap := milliseconds(p.longestGap(ended))
		if p.led {
			f.result.LedGapMs = max(f.result.LedGapMs, gap)
		} else {
			f.result.FollowedGapMs = max(f.result.FollowedGapMs, gap)
		}
	}
	return err
}

// end sends the signal once all probers write, and returns when the victim has
// ended and all of them have acknowledgements of other brokers again.
func (f *failoverRun) end(ctx context.Context, probers []*prober) (time.Time, error) {
	err := await(ctx, clusterPoll, func(context.Context) error {
		for _, p := range probers {
			if p.acked.Load() < 20 {
				return fmt.Errorf("partition %d has acknowledged %d records", p.partition, p.acked.Load())
			}
		}
		return nil
	})
	if err != nil {
		return time.Now(), err
	}
	signalled := time.Now()
	if err := f.victim.signal(f.signal); err != nil {
		return signalled, err
	}
	if err := f.victim.awaitExit(ctx); err != nil {
		return signalled, err
	}
	gone := time.Now()
	f.result.StoppedMs = milliseconds(gone.Sub(signalled))
	err = await(ctx, probePause, func(context.Context) error {
		for _, p := range probers {
			at, ok := p.firstAfter(signalled, gone, f.victim.Addr)
			if !ok {
				return fmt.Errorf("partition %d, led by broker %d before its end, does not acknowledge", p.partition, f.victim.ID)
			}
			if p.led {
				f.result.ResumedMs = max(f.result.ResumedMs, milliseconds(at.Sub(signalled)))
			}
		}
		return nil
	})
	if err != nil {
		return signalled, err
	}
	select {
	case <-time.After(failoverTail):
	case <-ctx.Done():
	}
	return signalled, nil
}

// restart starts the victim again and waits for its replicas.
func (f *failoverRun) restart(ctx context.Context) error {
	begun := time.Now()
	if err := f.cluster.restart(ctx, f.victim); err != nil {
		return err
	}
	f.result.RestartMs = milliseconds(time.Since(begun))
	if err := f.driver.admin.awaitReplicas(ctx, f.topic, nil); err != nil {
		return err
	}
	f.result.FullISRMs = milliseconds(time.Since(begun))
	return nil
}

// restart starts a broker that has ended and returns when its port is open.
func (c *Cluster) restart(ctx context.Context, n *clusterNode) error {
	if err := c.exec(n); err != nil {
		return err
	}
	return n.awaitPort(ctx)
}

func (c *Cluster) addrs() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// FailoverFigure is one figure of several failovers, in ms.
type FailoverFigure struct {
	Count             int
	P50, P99, Longest float64
	Values            []float64 // in the order of the failovers
}

// SummarizeFailovers digests, the 99th percentile by nearest rank, a figure of those with a signal, "kill" or "stop".
func SummarizeFailovers(all []Failover, signal string, of func(Failover) float64) FailoverFigure {
	var f FailoverFigure
	for _, one := range all {
		if one.Signal == signal {
			f.Values = append(f.Values, of(one))
		}
	}
	if f.Count = len(f.Values); f.Count == 0 {
		return f
	}
	sorted := slices.Sorted(slices.Values(f.Values))
	rank := func(q float64) float64 { return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)] }
	f.P50, f.P99, f.Longest = newSpread(f.Values).Median, rank(0.99), sorted[len(sorted)-1]
	return f
}

var errNoLeader = errors.New("no broker knows a leader")
