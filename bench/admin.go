package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin makes and removes the topics of a run.
type admin struct {
	client   *kgo.Client
	kadm     *kadm.Client
	versions requestVersions
	// versionsErr says why the saturate mode cannot drive this broker.
	versionsErr error
	// brokerMake is the make of a broker that tells it, "" otherwise;
	// brokerVersion is the Kafka release that the others' versions look like.
	brokerMake    string
	brokerVersion string
	replication   int16
	flushMessages string // the broker's log.flush.interval.messages, "" unknown
	dataDirs      []string
	// topicConfigs are settings of every topic that is made.
	topicConfigs map[string]string
}

const adminTimeout = 20 * time.Second

// newAdmin connects and learns the broker's versions.
func newAdmin(ctx context.Context, t *target, replication int16) (*admin, error) {
	client, err := newClient(t.addr, kgo.RetryTimeout(adminTimeout))
	if err != nil {
		return nil, fmt.Errorf("cannot make an admin client: %w", err)
	}
	a := &admin{client: client, kadm: kadm.NewClient(client), replication: replication, dataDirs: t.dataDirs}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	offered, err := a.kadm.ApiVersions(ctx)
	if err != nil {
		a.close()
		return nil, fmt.Errorf("cannot ask %s for its API versions: %w", t.addr, err)
	}
	var maxProduce, maxFetch int16 = newestProduceVersion, newestFetchVersion
	for _, broker := range offered {
		if broker.Err != nil {
			a.close()
			return nil, fmt.Errorf("cannot ask broker %d for its API versions: %w", broker.NodeID, broker.Err)
		}
		produce, _ := broker.KeyMaxVersion(keyProduce)
		fetch, _ := broker.KeyMaxVersion(keyFetch)
		maxProduce, maxFetch = min(maxProduce, produce), min(maxFetch, fetch)
		a.brokerVersion = broker.VersionGuess()
	}
	a.versions, a.versionsErr = chooseVersions(maxProduce, maxFetch)
	if t.name == TargetBroker || t.name == TargetKafka {
		a.readBrokerSettings(ctx)
	}
	return a, nil
}

func (a *admin) close() { a.client.Close() }

// copies is what a run adds to all logs together when it writes bytes once.
func (a *admin) copies(bytes int64) int64 { return bytes * int64(max(a.replication, 1)) }

// ownPrefix begins the keys that only a Freshet broker has.
const ownPrefix = "freshet."

// readBrokerSettings learns whether an ack means fsync, and whether the broker
// is a Freshet, whose API versions are those of no one release; a broker that
// does not tell leaves it unknown.
func (a *admin) readBrokerSettings(ctx context.Context) {
	brokers, err := a.kadm.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return
	}
	configs, err := a.kadm.DescribeBrokerConfigs(ctx, brokers[0].NodeID)
	if err != nil {
		return
	}
	for _, resource := range configs {
		for _, config := range resource.Configs {
			if config.Key == "log.flush.interval.messages" && config.Value != nil {
				a.flushMessages = *config.Value
			}
			if strings.HasPrefix(config.Key, ownPrefix) {
				a.brokerMake, a.brokerVersion = "Freshet", ""
			}
		}
	}
}

// ackMeaning says in words what an acknowledgement of this broker promises.
func (a *admin) ackMeaning(acks int16) string {
	if acks == 0 {
		return "acks=0: sent, nothing promised"
	}
	medium, replicas := "page cache", "leader"
	if acks == -1 {
		replicas = "every in-sync replica"
	}
	unknown := ""
	if n, err := strconv.ParseInt(a.flushMessages, 10, 64); err != nil {
		unknown = " (fsync setting unknown)"
	} else if n == 1 {
		medium = "disk"
	}
	where := "on the " + medium + " of the " + replicas
	if medium == "page cache" {
		where = "in the page cache of the " + replicas
	}
	where = strings.Replace(where, "the every", "every", 1) + unknown
	return "acks=" + acksName(acks) + ": " + where
}

func acksName(acks int16) string {
	if acks == -1 {
		return "all"
	}
	return strconv.Itoa(int(acks))
}

// createTopic makes a fresh topic and returns each partition's leader address.
func (a *admin) createTopic(ctx context.Context, topic string, partitions int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	// No delay between deleting the topic and freeing its memory.
	const deleteDelay = "file.delete.delay.ms"
	configs := map[string]*string{deleteDelay: kmsg.StringPtr("0")}
	for key, value := range a.topicConfigs {
		configs[key] = kmsg.StringPtr(value)
	}
	_, err := a.kadm.CreateTopic(ctx, int32(partitions), a.replication, configs, topic)
	if errors.Is(err, kerr.InvalidConfig) {
		delete(configs, deleteDelay)
		_, err = a.kadm.CreateTopic(ctx, int32(partitions), a.replication, configs, topic)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot create topic %s: %w", topic, err)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		leaders, err := a.leaders(ctx, topic, partitions)
		if err == nil {
			err = a.leadersReady(ctx, topic, partitions)
		}
		if err == nil && a.replication > 1 {
			err = a.replicated(ctx, topic, nil)
		}
		if err == nil {
			return leaders, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("topic %s has no leaders after %s: %w", topic, adminTimeout, err)
		}
	}
}

func (a *admin) leaders(ctx context.Context, topic string, partitions int) ([]string, error) {
	meta, err := a.kadm.Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	detail := meta.Topics[topic]
	if detail.Err != nil {
		return nil, detail.Err
	}
	addrs := make(map[int32]string)
	for _, b := range meta.Brokers {
		addrs[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	leaders := make([]string, partitions)
	for i := range leaders {
		p, ok := detail.Partitions[int32(i)]
		if !ok {
			return nil, fmt.Errorf("partition %d is not there yet", i)
		}
		if p.Err != nil {
			return nil, p.Err
		}
		if leaders[i], ok = addrs[p.Leader]; !ok {
			return nil, fmt.Errorf("partition %d has no leader yet", i)
		}
	}
	return leaders, nil
}

// leadersReady asks each partition's leader for its end offset: a broker can
// name a leader that does not know of its office yet.
func (a *admin) leadersReady(ctx context.Context, topic string, partitions int) error {
	ends, err := a.kadm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err == nil && len(ends[topic]) != partitions {
		err = fmt.Errorf("%d of %d partitions answer", len(ends[topic]), partitions)
	}
	return err
}

// deleteTopic removes the topic and, where the data directory is known, waits
// until its files are gone, so that the next run finds their memory free.
func (a *admin) deleteTopic(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	resp, err := a.kadm.DeleteTopics(ctx, topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot delete topic %s: %w", topic, err)
	}
	if len(a.dataDirs) == 0 {
		return nil
	}
	const filesGoneTimeout = 3 * time.Second
	deadline := time.NewTimer(filesGoneTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		left := 0
		for _, dir := range a.dataDirs {
			names, err := filepath.Glob(filepath.Join(dir, topic+"-*"))
			if err != nil {
				return err
			}
			left += len(names)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return nil // the file of the run's size evens the memory out
		}
	}
}

// connPlan is one raw connection: where to and for which partitions.
type connPlan struct {
	addr       string
	partitions []int32
}

// planConnections shares the connections out among the leaders, one at least
// for each, and deals a leader's partitions to its connections in turn. No
// connection is without a partition.
func planConnections(leaders []string, connections int) []connPlan {
	var addrs []string // in order of appearance
	led := make(map[string][]int32)
	for p, addr := range leaders {
		if led[addr] == nil {
			addrs = append(addrs, addr)
		}
		led[addr] = append(led[addr], int32(p))
	}
	var plans []connPlan
	for i, addr := range addrs {
		// The first connections % leaders of them get one more.
		share := connections / len(addrs)
		if i < connections%len(addrs) {
			share++
		}
		share = min(max(share, 1), len(led[addr]))
		first := len(plans)
		for range share {
			plans = append(plans, connPlan{addr: addr})
		}
		for j, p := range led[addr] {
			plan := &plans[first+j%share]
			plan.partitions = append(plan.partitions, p)
		}
	}
	return plans
}
