package bench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/bench/kafkadist"
)

// Names of the checks of clusters, in the order in which they run behind
// CheckCreate and CheckRSS.
const (
	CheckControllerFailover = "controller-failover"
	CheckBrokerRestart      = "broker-restart"
)

// The limits of a cluster, and what the checks go by.
const (
	maxClusterCreateSeconds       = 10
	maxControllerFailoverMs       = 2_000
	maxBrokerRestartSeconds       = 10
	controllerKills               = 3
	scaleRecoveryTimeout          = 3 * time.Minute
	scaleClusterPoll              = 100 * time.Millisecond
	scaleMetadataWait             = 500 * time.Millisecond
	clusterWide                   = "scale-wide"
	maxScaleCluster               = 9
	scaleRetentionMs        int64 = 604_800_000
)

// ScaleClusterChecks are the names of the checks of a cluster.
func ScaleClusterChecks() []string {
	return []string{CheckCreate, CheckRSS, CheckControllerFailover, CheckBrokerRestart}
}

// startCluster starts the cluster that the checks are of.
func (s *scaleRun) startCluster(ctx context.Context, cancel context.CancelCauseFunc) error {
	o := ClusterOptions{Name: "broker", Brokers: s.opts.Cluster, Executable: s.opts.Executable, Settings: s.opts.Overrides,
		TempDir: s.tempDir, LogDir: s.report.OutDir}
	if s.opts.Kafka {
		var err error
		if o.Kafka, err = kafkadist.Find(ctx, s.opts.KafkaHome, kafkadist.CacheDir()); err != nil {
			return err
		}
		o.Name, o.Heap = "kafka", s.opts.HeapOpts
		if len(o.Heap) == 0 {
			o.Heap = kafkadist.DefaultHeap
		}
		s.report.Title = fmt.Sprintf("%d × %s", s.opts.Cluster, o.Kafka.Title(o.Heap))
	}
	specs, err := o.Specs()
	if err != nil {
		return err
	}
	cluster, err := StartCluster(ctx, o.Name, specs)
	if err != nil {
		return err
	}
	e := cluster.Endpoint()
	s.target = &target{name: TargetBroker, addr: e.Addr, pids: e.PIDs, dataDirs: e.DataDirs, adminURLs: e.AdminURLs, cluster: cluster}
	go func() {
		select {
		case err := <-cluster.Died():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if s.admin, err = newAdmin(ctx, s.target, int16(s.opts.Cluster)); err != nil {
		return err
	}
	s.report.Cluster = s.opts.Cluster
	s.report.Broker = BrokerInfo{Address: s.target.addr, Command: cluster.Commands()[0], Ack: s.admin.ackMeaning(-1)}
	if memory, err := s.target.memory(); err == nil {
		s.report.Broker.IdleRSSBytes = memory.RSS
	}
	return s.profiles.attach(s.target)
}

// checkCluster makes the wide topic with a replica on every broker, and ends
// brokers.
func (s *scaleRun) checkCluster(ctx context.Context) error {
	if err := s.checkClusterCreate(ctx); err != nil {
		return err
	}
	client, err := s.target.cluster.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if s.opts.selected(CheckControllerFailover) {
		if err := s.checkControllerFailover(ctx, client); err != nil {
			return fmt.Errorf("controller failover: %w", err)
		}
	}
	if s.opts.selected(CheckBrokerRestart) {
		if err := s.checkBrokerRestart(ctx, client); err != nil {
			return fmt.Errorf("broker restart: %w", err)
		}
	}
	return nil
}

func (s *scaleRun) checkClusterCreate(ctx context.Context) error {
	before, err := s.target.cpu()
	if err != nil {
		return err
	}
	start := time.Now()
	answered, err := s.createTimed(ctx, clusterWide, s.opts.Partitions)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := s.target.cpu()
	if err != nil {
		return err
	}
	partitions := Thousands(float64(s.opts.Partitions))
	s.add(ScaleCheck{Name: CheckCreate, Title: fmt.Sprintf("create %s partitions on %d brokers", partitions, s.opts.Cluster),
		Value: took.Seconds(), Limit: maxClusterCreateSeconds, Unit: "s",
		Detail: fmt.Sprintf("one CreateTopics request, %d replicas, until every leader answers; its own answer after %.2f s; %.2f s of the brokers' CPU",
			s.opts.Cluster, answered.Seconds(), after.Sub(before).Total.Seconds())})
	if err := s.awaitFullISR(ctx); err != nil {
		return err
	}
	var largest, all int64
	for _, pid := range s.target.pids {
		memory, err := processMemory(pid)
		if err != nil {
			return err
		}
		largest, all = max(largest, memory.RSS), all+memory.RSS
	}
	s.add(ScaleCheck{Name: CheckRSS, Title: fmt.Sprintf("RSS of a broker with %s partitions", partitions),
		Value: float64(largest) / bytesPerMB, Limit: maxScaleRSSBytes / bytesPerMB, Unit: "MB",
		Detail: fmt.Sprintf("the largest of %d; %s together, %s before; page cache not counted", s.opts.Cluster, mib(float64(all)),
			mib(float64(s.report.Broker.IdleRSSBytes)))})
	return nil
}

// awaitFullISR returns when every partition of the wide topic has all its
// replicas in sync.
func (s *scaleRun) awaitFullISR(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scaleRecoveryTimeout)
	defer cancel()
	return await(ctx, scaleClusterPoll, func(ctx context.Context) error { return s.admin.replicated(ctx, clusterWide, nil) })
}

// checkControllerFailover kills the active controller, which is a broker too,
// until a change of metadata is taken again.
func (s *scaleRun) checkControllerFailover(ctx context.Context, client *kgo.Client) error {
	cluster := s.target.cluster
	var changes, led, whole []float64
	for range controllerKills {
		id := controllerOf(ctx, client)
		victim := cluster.node(id)
		if victim == nil {
			return errors.New("no broker says which one the active controller is (DescribeQuorum)")
		}
		start := time.Now()
		if err := victim.signal(syscall.SIGKILL); err != nil {
			return err
		}
		once, cancel := context.WithTimeout(ctx, scaleRecoveryTimeout)
		err := await(once, probePause, func(ctx context.Context) error { return s.alterOnAny(ctx, victim) })
		if err == nil {
			changes = append(changes, milliseconds(time.Since(start)))
			err = await(once, scaleClusterPoll, func(ctx context.Context) error { return s.ledByOthers(ctx, id) })
			led = append(led, milliseconds(time.Since(start)))
		}
		if err == nil {
			err = victim.awaitExit(once)
		}
		cancel()
		if err != nil {
			return err
		}
		start = time.Now()
		if err := cluster.restart(ctx, victim); err != nil {
			return err
		}
		if err := s.awaitFullISR(ctx); err != nil {
			return err
		}
		whole = append(whole, time.Since(start).Seconds())
	}
	change := newSpread(changes)
	s.add(ScaleCheck{Name: CheckControllerFailover, Title: "kill -9 of the active controller, until a change is taken again",
		Value: change.Max, Limit: maxControllerFailoverMs, Unit: "ms",
		Detail: fmt.Sprintf("longest of %d, median %.0f ms; every partition led by another broker after %.0f ms at most; full ISR %.1f s after the restart at most",
			len(changes), change.Median, newSpread(led).Max, newSpread(whole).Max)})
	return nil
}

// alterOnAny changes a topic's setting through any broker but the victim, the
// first that takes it.
func (s *scaleRun) alterOnAny(ctx context.Context, victim *clusterNode) error {
	last := errNoLeader
	for _, n := range s.target.cluster.nodes {
		if n == victim {
			continue
		}
		if last = alterRetention(ctx, n.Addr, clusterWide); last == nil {
			return nil
		}
	}
	return last
}

// alterRetention sets a topic's retention to its default through one broker.
func alterRetention(ctx context.Context, addr, topic string) error {
	conn, err := dialRaw(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.close()
	conn.limitWaitsTo(scaleMetadataWait)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op, c.Value = "retention.ms", kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(fmt.Sprint(scaleRetentionMs))
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Version = req.Version
	if err := conn.exchange(req, resp); err != nil {
		return err
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// ledByOthers says whether a partition is without a leader, or led by a broker
// that is gone.
func (s *scaleRun) ledByOthers(ctx context.Context, gone int32) error {
	meta, err := s.admin.kadm.Metadata(ctx, clusterWide)
	if err != nil {
		return err
	}
	for id, p := range meta.Topics[clusterWide].Partitions {
		if p.Leader < 0 || p.Leader == gone {
			return fmt.Errorf("partition %d has leader %d", id, p.Leader)
		}
	}
	return nil
}

// checkBrokerRestart stops a broker that is not the controller cleanly and
// starts it again.
func (s *scaleRun) checkBrokerRestart(ctx context.Context, client *kgo.Client) error {
	cluster := s.target.cluster
	victim := cluster.nodes[0]
	if controllerOf(ctx, client) == victim.ID {
		victim = cluster.nodes[1]
	}
	ctx, cancel := context.WithTimeout(ctx, scaleRecoveryTimeout)
	defer cancel()
	start := time.Now()
	if err := victim.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := victim.awaitExit(ctx); err != nil {
		return err
	}
	stopped := time.Since(start)
	if err := cluster.restart(ctx, victim); err != nil {
		return err
	}
	port := time.Since(start)
	admin := kadm.NewClient(client)
	err := await(ctx, clusterPoll, func(ctx context.Context) error {
		listed, err := admin.ListBrokers(ctx)
		if err != nil {
			return err
		}
		for _, b := range listed {
			if b.NodeID == victim.ID {
				return nil
			}
		}
		return fmt.Errorf("broker %d is not registered", victim.ID)
	})
	if err != nil {
		return err
	}
	registered := time.Since(start)
	if err := s.awaitFullISR(ctx); err != nil {
		return err
	}
	s.add(ScaleCheck{Name: CheckBrokerRestart, Title: fmt.Sprintf("restart of a broker with %s partitions", Thousands(float64(s.opts.Partitions))),
		Value: registered.Seconds(), Limit: maxBrokerRestartSeconds, Unit: "s",
		Detail: fmt.Sprintf("from SIGTERM: stopped after %.2f s, port open after %.2f s, registered again after %.2f s, in every ISR after %.2f s",
			stopped.Seconds(), port.Seconds(), registered.Seconds(), time.Since(start).Seconds())})
	return nil
}
