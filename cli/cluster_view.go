package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterView is a cluster at one moment, as its answers tell it: what status,
// health, doctor and the plans judge. What could not be asked is in Unknown.
type clusterView struct {
	ID         string
	Controller int32 // -1: none is known
	Brokers    []brokerView
	Topics     []topicView
	Quorum     *quorumView // nil: the cluster does not tell
	Moves      map[partitionKey]reassignment
	Unknown    []string // sentences about questions without an answer
}

// brokerState says whether a broker works.
type brokerState string

const (
	brokerUp     brokerState = "up"
	brokerFenced brokerState = "fenced" // registered, but its heartbeats stopped
	brokerSilent brokerState = "silent" // listed as alive, but it does not answer here
	brokerGone   brokerState = "gone"   // replicas name it, the cluster does not know it
)

// brokerView is a broker with what it holds.
type brokerView struct {
	ID        int32       `json:"id"`
	Host      string      `json:"host"`
	Port      int32       `json:"port"`
	Rack      string      `json:"rack"`
	State     brokerState `json:"state"`
	Leaders   int         `json:"leaders"`
	Preferred int         `json:"preferred_leaders"` // partitions it is the first replica of
	Replicas  int         `json:"replicas"`
	OutOfSync int         `json:"out_of_sync"`
	Dirs      []dirView   `json:"log_dirs"`
	Silence   string      `json:"silence,omitempty"` // why a silent broker did not answer
}

// alive reports whether the broker can hold a leader.
func (b *brokerView) alive() bool { return b.State == brokerUp || b.State == brokerSilent }

// bytes are the sizes of its replicas, and of its disks and what is free there;
// -1 where it does not tell. Directories of one file system count once: they are
// told from others by equal size and, within a thousandth, equal free space.
func (b *brokerView) bytes() (used, disk, free int64) {
	disk, free = -1, -1
	var seen []dirView
	for _, d := range b.Dirs {
		used += d.UsedBytes
		if d.TotalBytes <= 0 || d.sharesDisk(seen) {
			continue
		}
		seen = append(seen, d)
		disk, free = max(0, disk)+d.TotalBytes, max(0, free)+max(0, d.FreeBytes)
	}
	return used, disk, free
}

func (d *dirView) sharesDisk(others []dirView) bool {
	for _, o := range others {
		if off := o.FreeBytes - d.FreeBytes; o.TotalBytes == d.TotalBytes && max(off, -off) <= d.TotalBytes/1000 {
			return true
		}
	}
	return false
}

// dirView is a log directory. TotalBytes and FreeBytes are those of its file
// system, -1 when the broker does not tell (before Kafka 3.3).
type dirView struct {
	Path       string                  `json:"path"`
	Offline    bool                    `json:"offline"`
	UsedBytes  int64                   `json:"used_bytes"`
	TotalBytes int64                   `json:"total_bytes"`
	FreeBytes  int64                   `json:"free_bytes"`
	sizes      map[partitionKey]int64  // of the replicas in it
	future     map[partitionKey]string // replicas that move into it
}

// topicView is a topic with the settings that decide about safety.
type topicView struct {
	topicDetail
	MinISR        int
	Unclean       bool  // unclean.leader.election.enable
	FlushMessages int64 // flush.messages
}

// quorumView is the quorum of controllers; times are milliseconds since the
// epoch by the leader's clock.
type quorumView struct {
	Leader    int32          `json:"leader"`
	Epoch     int32          `json:"epoch"`
	Voters    []quorumMember `json:"voters"`
	Observers []quorumMember `json:"observers"`
}

// quorumMember is a member and how far behind it is.
type quorumMember struct {
	ID       int32 `json:"id"`
	Lag      int64 `json:"lag"`       // records
	SilentMs int64 `json:"silent_ms"` // since its last fetch; -1 unknown
	BehindMs int64 `json:"behind_ms"` // since it last had everything; -1 unknown
}

// silent reports whether a member of a quorum with this leader is not heard of.
func (m *quorumMember) silent(leader int32) bool {
	return m.ID != leader && (m.SilentMs > voterSilentMs || m.SilentMs < 0)
}

// broker returns the broker called id, or nil.
func (v *clusterView) broker(id int32) *brokerView {
	for i := range v.Brokers {
		if v.Brokers[i].ID == id {
			return &v.Brokers[i]
		}
	}
	return nil
}

// size is the greatest size of a partition's replicas.
func (v *clusterView) size(key partitionKey) int64 {
	var size int64
	for _, b := range v.Brokers {
		for _, d := range b.Dirs {
			size = max(size, d.sizes[key])
		}
	}
	return size
}

// target returns the replicas that a partition is to have when its move, if
// there is one, has ended.
func (v *clusterView) target(topic string, p *partitionDetail) []int32 {
	move, ok := v.Moves[partitionKey{topic, p.Partition}]
	if !ok {
		return p.Replicas
	}
	return without(p.Replicas, move.removing)
}

// original returns the replicas that are not still being added by a move.
func (v *clusterView) original(topic string, p *partitionDetail) []int32 {
	return without(p.Replicas, v.Moves[partitionKey{topic, p.Partition}].adding)
}

func without(list, out []int32) []int32 {
	var kept []int32
	for _, id := range list {
		if !containsID(out, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

func containsID(list []int32, id int32) bool {
	for _, x := range list {
		if x == id {
			return true
		}
	}
	return false
}

// answerTimeout is how long one question may take: a screen about a cluster in
// trouble must come up although parts of it do not answer.
const answerTimeout = 5 * time.Second

// viewCluster asks for everything. Only a cluster that does not list its
// brokers and topics is an error; of the rest, what is missing is noted.
func viewCluster(ctx context.Context, cl *kgo.Client) (*clusterView, error) {
	a := brokerAdmin(cl)
	v := &clusterView{Moves: map[partitionKey]reassignment{}}
	if err := v.askBrokers(ctx, a); err != nil {
		return nil, err
	}
	if err := v.askTopics(ctx, cl); err != nil {
		return nil, err
	}
	v.addGoneBrokers()
	// The brokers themselves before what needs a controller: without one these
	// questions wait, and on its connection a broker answers one after the other.
	v.askLogDirs(ctx, cl)
	if v.askQuorum(ctx, a) {
		v.askMoves(ctx, a)
	}
	v.count()
	return v, nil
}

// note keeps a sentence about a question without an answer.
func (v *clusterView) note(format string, args ...any) {
	v.Unknown = append(v.Unknown, fmt.Sprintf(format, args...))
}

func (v *clusterView) askBrokers(ctx context.Context, a *admin) error {
	nodes, err := a.nodes(ctx, true)
	if err != nil {
		return fmt.Errorf("the cluster does not list its brokers: %s", message(err))
	}
	v.ID, v.Controller = nodes.ClusterID, nodes.ControllerID
	for _, n := range nodes.Brokers {
		b := brokerView{ID: n.NodeID, Host: n.Host, Port: n.Port, State: brokerUp}
		if n.Rack != nil {
			b.Rack = *n.Rack
		}
		if n.IsFenced {
			b.State = brokerFenced
		}
		v.Brokers = append(v.Brokers, b)
	}
	return nil
}

func (v *clusterView) askTopics(ctx context.Context, cl *kgo.Client) error {
	c, err := fetchCluster(ctx, cl)
	if err != nil {
		return fmt.Errorf("the cluster does not list its topics: %s", message(err))
	}
	names := make([]string, len(c.topics))
	for i, t := range c.topics {
		names[i] = t.Name
	}
	topics, err := describeTopics(ctx, cl, names, 0)
	if err != nil {
		topics = c.topics
	}
	settings, err := topicSettings(ctx, cl, names, "min.insync.replicas", "unclean.leader.election.enable", "flush.messages")
	if err != nil {
		v.note("The settings of topics could not be read (%s): min.insync.replicas is taken as 1.", message(err))
	}
	for _, t := range topics {
		tv := topicView{topicDetail: t, MinISR: 1, FlushMessages: noFlush}
		for name, value := range settings[t.Name] {
			tv.set(name, value)
		}
		v.Topics = append(v.Topics, tv)
	}
	return nil
}

// noFlush is flush.messages where no number of records forces a sync.
const noFlush = 1<<63 - 1

func (t *topicView) set(name, value string) {
	switch name {
	case "min.insync.replicas":
		if n, err := strconv.Atoi(value); err == nil {
			t.MinISR = n
		}
	case "unclean.leader.election.enable":
		t.Unclean = value == "true"
	case "flush.messages":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			t.FlushMessages = n
		}
	}
}

// settingsPerRequest bounds one DescribeConfigs request.
const settingsPerRequest = 500

// topicSettings reads the settings called keys of the topics called names.
func topicSettings(ctx context.Context, cl kmsg.Requestor, names []string, keys ...string) (map[string]map[string]string, error) {
	settings := map[string]map[string]string{}
	for len(names) > 0 {
		n := min(len(names), settingsPerRequest)
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range names[:n] {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = resourceTopic, name
			r.ConfigNames = keys
			req.Resources = append(req.Resources, r)
		}
		names = names[n:]
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return settings, err
		}
		for _, r := range resp.Resources {
			values := map[string]string{}
			for _, c := range r.Configs {
				if c.Value != nil {
					values[c.Name] = *c.Value
				}
			}
			settings[r.ResourceName] = values
		}
	}
	return settings, nil
}

// askQuorum reports whether the next question to the controllers makes sense.
func (v *clusterView) askQuorum(ctx context.Context, a *admin) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := a.quorum(ctx)
	switch {
	case isUnsupported(err):
		return true
	case err != nil:
		// The brokers' own word about the controller is not one to trust: in
		// KRaft they name any live broker, for clients that need a name.
		if !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			v.Controller = -1
		}
		v.note("The quorum of controllers does not answer: %s.", answerText(err))
		return v.Controller >= 0
	}
	p := &resp.Topics[0].Partitions[0]
	q := &quorumView{Leader: p.LeaderID, Epoch: p.LeaderEpoch}
	var end, now int64
	for _, m := range p.CurrentVoters {
		if m.ReplicaID == p.LeaderID {
			end, now = m.LogEndOffset, max(m.LastFetchTimestamp, m.LastCaughtUpTimestamp)
		}
	}
	member := func(m *kmsg.DescribeQuorumResponseTopicPartitionReplicaState) quorumMember {
		r := quorumMember{ID: m.ReplicaID, Lag: max(0, end-m.LogEndOffset), SilentMs: -1, BehindMs: -1}
		if now > 0 && m.LastCaughtUpTimestamp >= 0 {
			r.BehindMs = max(0, now-m.LastCaughtUpTimestamp)
		}
		if now > 0 && m.LastFetchTimestamp >= 0 {
			r.SilentMs = max(0, now-m.LastFetchTimestamp)
		}
		return r
	}
	for i := range p.CurrentVoters {
		q.Voters = append(q.Voters, member(&p.CurrentVoters[i]))
	}
	for i := range p.Observers {
		q.Observers = append(q.Observers, member(&p.Observers[i]))
	}
	sort.Slice(q.Voters, func(i, j int) bool { return q.Voters[i].ID < q.Voters[j].ID })
	v.Quorum = q
	v.Controller = q.Leader
	return true
}

// answerText explains a question without an answer.
func answerText(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", answerTimeout)
	}
	return message(err)
}

func (v *clusterView) askMoves(ctx context.Context, a *admin) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	moves, err := a.reassignments(ctx, nil)
	switch {
	case isUnsupported(err):
	case err != nil:
		v.note("The moves under way could not be listed: %s.", answerText(err))
	default:
		v.Moves = moves
	}
}

// addGoneBrokers adds brokers that only the replicas' lists know.
func (v *clusterView) addGoneBrokers() {
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				if v.broker(id) == nil {
					v.Brokers = append(v.Brokers, brokerView{ID: id, State: brokerGone})
				}
			}
		}
	}
	sort.Slice(v.Brokers, func(i, j int) bool { return v.Brokers[i].ID < v.Brokers[j].ID })
}

// runs reports whether a fenced broker answered all the same: it is up, but the
// controllers let it lead nothing.
func (b *brokerView) runs() bool { return b.State == brokerFenced && len(b.Dirs) > 0 }

// askLogDirs asks all brokers at once. One that is fenced may run, too: with a
// full disk, say, or cut off from the controllers.
func (v *clusterView) askLogDirs(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	failures := make([]error, len(v.Brokers))
	var asked sync.WaitGroup
	for i := range v.Brokers {
		switch b := &v.Brokers[i]; b.State {
		case brokerUp:
			asked.Go(func() { b.Dirs, failures[i] = askDirs(ctx, cl.Broker(int(b.ID))) })
		case brokerFenced:
			asked.Go(func() { b.Dirs = askFenced(ctx, cl, b) })
		}
	}
	asked.Wait()
	for i, err := range failures {
		if err != nil {
			v.Brokers[i].State = brokerSilent
			v.Brokers[i].Silence = answerText(err)
		}
	}
}

// askFenced asks a broker that clients are not told of, at the address it
// registered; nil when nobody answers there.
func askFenced(ctx context.Context, cl *kgo.Client, b *brokerView) []dirView {
	direct, err := kgo.NewClient(slices.Concat(cl.Opts(), []kgo.Opt{kgo.SeedBrokers(hostPort(b.Host, b.Port))})...)
	if err != nil {
		return nil
	}
	defer direct.Close()
	dirs, err := askDirs(ctx, direct.SeedBrokers()[0])
	if err != nil {
		return nil
	}
	return dirs
}

// askDirs asks once: a refused connection is an answer, too.
func askDirs(ctx context.Context, broker *kgo.Broker) ([]dirView, error) {
	answer, err := broker.Request(ctx, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.DescribeLogDirsResponse)
	if !ok || resp.ErrorCode != 0 {
		return nil, newBrokerError(cmp.Or(resp.ErrorCode, kerr.UnknownServerError.Code), nil)
	}
	var dirs []dirView
	for _, d := range resp.Dirs {
		dir := dirView{Path: d.Dir, Offline: d.ErrorCode != 0, TotalBytes: d.TotalBytes, FreeBytes: d.UsableBytes,
			sizes: map[partitionKey]int64{}, future: map[partitionKey]string{}}
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				key := partitionKey{t.Topic, p.Partition}
				dir.UsedBytes += p.Size
				if p.IsFuture {
					dir.future[key] = d.Dir
				} else {
					dir.sizes[key] = p.Size
				}
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// count fills in what brokers lead and hold.
func (v *clusterView) count() {
	for _, t := range v.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if b := v.broker(p.Leader); b != nil {
				b.Leaders++
			}
			for n, id := range p.Replicas {
				b := v.broker(id)
				b.Replicas++
				if n == 0 {
					b.Preferred++
				}
				if !containsID(p.ISR, id) {
					b.OutOfSync++
				}
			}
		}
	}
}
