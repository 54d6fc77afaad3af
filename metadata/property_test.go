package metadata

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world is a cluster under random failures: the metadata as the controller
// decides it, and a model of what each replica really holds. A log is a number
// of records that it has in common with the leader's.
type world struct {
	t   *rapid.T
	c   *Controller
	img *Image
	// brokers as they really are
	up      map[int32]bool  // the process runs
	damaged map[int32]bool  // lost records since its last registration
	noted   map[int32]int64 // newest epoch that it learned of and has lost nothing since; -1
	starts  map[int32]byte
	logs    map[TopicPartition]*replicaLogs
	losses  int
	// recoveries compare logs, in milliseconds of nowMs.
	recoveries *Recoveries
	nowMs      int64
	// mayLoseRecords: machines lose power, which only eligible leader replicas
	// make safe.
	mayLoseRecords bool
}

// replicaLogs is what a partition's replicas hold and what was acknowledged to
// clients.
type replicaLogs struct {
	held      map[int32]int
	committed int
}

const (
	worldBrokers    = 5
	worldRecoveryMs = 100
)

var worldPartitions = []TopicPartition{{"a", 0}, {"a", 1}, {"b", 0}, {"risky", 0}}

func newWorld(t *rapid.T, withELR bool) *world {
	w := &world{
		t: t, c: testController(), img: NewImage(), up: map[int32]bool{}, damaged: map[int32]bool{}, noted: map[int32]int64{}, starts: map[int32]byte{},
		logs: map[TopicPartition]*replicaLogs{}, mayLoseRecords: withELR, recoveries: NewRecoveries(worldRecoveryMs),
	}
	w.c.Config = anyConfig{}
	w.apply([]Record{&ClusterRecord{ClusterID: "c"}, &FeatureRecord{Name: MetadataVersion, Level: 30}})
	if withELR {
		w.apply([]Record{&FeatureRecord{Name: ELRVersion, Level: 1}})
	}
	for id := range int32(worldBrokers) {
		w.register(id, false)
		w.heartbeat(id, false)
	}
	value := func(s string) *string { return &s }
	_, records := w.c.CreateTopics(w.img, []NewTopic{
		{Name: "a", NumPartitions: 2, ReplicationFactor: 3, Configs: []ConfigValue{{minInsyncReplicas, value("2")}}},
		{Name: "b", NumPartitions: 1, ReplicationFactor: 2},
		{Name: "risky", NumPartitions: 1, ReplicationFactor: 2, Configs: []ConfigValue{{uncleanLeaderElection, value("true")}}},
	}, false)
	w.apply(records)
	return w
}

// apply makes a change and draws its consequences for the logs.
func (w *world) apply(records []Record) {
	old := w.img
	losses := Losses(old, records)
	next, err := Apply(old, records...)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	w.img = next
	checkInvariants(w.t, old, next)
	for _, topic := range next.SortedTopics() {
		was := old.TopicByID(topic.ID)
		for i, p := range topic.Partitions {
			tp := TopicPartition{topic.Name, int32(i)}
			logs := w.logs[tp]
			if logs == nil {
				logs = &replicaLogs{held: map[int32]int{}}
				w.logs[tp] = logs
			}
			lost := slices.ContainsFunc(losses, func(l Loss) bool { return l.Topic == topic.Name && l.Partition == int32(i) })
			before := &Partition{Leader: noLeader}
			if was != nil && i < len(was.Partitions) {
				before = was.Partitions[i]
			}
			w.follow(tp, logs, before, p, lost)
		}
	}
	w.losses += len(losses)
}

// follow takes a partition's change over to its logs.
func (w *world) follow(tp TopicPartition, logs *replicaLogs, was, is *Partition, lost bool) {
	for id := range logs.held {
		if !slices.Contains(is.Replicas, id) {
			delete(logs.held, id)
		}
	}
	for _, id := range is.Replicas {
		if _, ok := logs.held[id]; !ok {
			logs.held[id] = 0
		}
	}
	if is.Leader != noLeader && is.Leader != was.Leader {
		end := logs.held[is.Leader]
		if lost {
			logs.committed = min(logs.committed, end)
		}
		if w.serves(is.Leader) { // one that is down may be elected before the controller knows, but cannot act
			if end < logs.committed {
				w.t.Fatalf("%v: leader %d has %d of %d committed records and no loss was reported\nwas %+v\nis  %+v", tp, is.Leader, end, logs.committed, *was, *is)
			}
			for id, held := range logs.held {
				logs.held[id] = min(held, end) // followers truncate what the leader does not have
			}
		}
	}
	if len(is.ISR) == 0 && len(is.ELR) == 0 && len(is.LastKnownELR) == 0 { // no directory is ever lost here
		w.t.Fatalf("%v: nobody is known to have had everything\nwas %+v\nis  %+v", tp, *was, *is)
	}
	w.commit(tp, logs, is)
	w.checkLogs(tp, logs, is)
}

// commit moves the high watermark: it stands still below min ISR.
func (w *world) commit(tp TopicPartition, logs *replicaLogs, p *Partition) {
	settings := w.c.settings(w.img, w.img.Topic(tp.Topic))
	if p.Leader == noLeader || !w.serves(p.Leader) || len(p.ISR) < min(settings.minISR, len(p.Replicas)) {
		return
	}
	low := logs.held[p.Leader]
	for _, id := range p.ISR {
		low = min(low, logs.held[id])
	}
	logs.committed = max(logs.committed, low)
}

// checkLogs checks that whoever may be elected without a loss holds everything
// committed. Replicas that have lost records and are not registered since are
// not: they cannot serve before the controller knows.
func (w *world) checkLogs(tp TopicPartition, logs *replicaLogs, p *Partition) {
	for _, id := range slices.Concat(p.ISR, p.ELR) {
		if logs.held[id] < logs.committed && !w.damaged[id] {
			w.t.Fatalf("%v: broker %d is electable and has %d of %d committed records: %+v", tp, id, logs.held[id], logs.committed, *p)
		}
	}
}

// serves tells whether the broker's process runs and is the registered one.
func (w *world) serves(id int32) bool { return w.up[id] && !w.damaged[id] && w.img.Active(id) }

func (w *world) register(id int32, pessimist bool) {
	if !w.up[id] {
		w.starts[id]++
	}
	r := Registration{
		ClusterID: "c", BrokerID: id, IncarnationID: UUID{9, byte(id), w.starts[id]}, Rack: fmt.Sprint(id % 2), Dirs: []UUID{stageDir(id, 0)},
		PreviousBrokerEpoch: -1, PredecessorGone: !w.up[id],
	}
	if noted, ok := w.noted[id]; ok && !pessimist {
		r.PreviousBrokerEpoch = noted
	}
	records, err := w.c.RegisterBroker(w.img, r)
	if err != nil {
		return
	}
	if !w.up[id] {
		// From here on the broker is one that the controller knows the truth of.
		w.up[id] = true
		delete(w.damaged, id)
	}
	w.apply(records)
	if len(w.logs) > 0 && rapid.IntRange(0, 3).Draw(w.t, "killed before it learns of its epoch") == 0 {
		w.up[id] = false
		return
	}
	w.noted[id] = w.img.BrokerEpoch(id)
}

func (w *world) heartbeat(id int32, shutdown bool) {
	reply, records, err := w.c.Heartbeat(w.img, HeartbeatRequest{
		BrokerID: id, BrokerEpoch: w.img.BrokerEpoch(id), CurrentMetadataOffset: w.img.Index, WantShutDown: shutdown, LowestActiveOffset: w.img.Index,
	})
	if err != nil {
		return
	}
	w.apply(records)
	if reply.ShouldShutDown {
		w.up[id] = false
	}
}

// report has a broker say where its logs end.
func (w *world) report(id int32) {
	var logs []ReplicaLog
	for _, tp := range worldPartitions {
		topic := w.img.Topic(tp.Topic)
		if p := topic.Partition(tp.Partition); p.Leader == noLeader && slices.Contains(p.Replicas, id) {
			logs = append(logs, ReplicaLog{topic.ID, tp.Partition, p.LeaderEpoch, LogEnd{0, int64(w.logs[tp].held[id])}})
		}
	}
	w.recoveries.Report(w.img, id, w.img.BrokerEpoch(id), logs)
}

// recover elects the longest logs, and checks that they are: of the logs that
// could be had none is longer, and one that could not be had was waited for. Only
// a broker that died since it reported may be elected without being up.
func (w *world) recover() {
	for _, r := range w.recoveries.Due(w.img, w.nowMs) {
		topic := w.img.TopicByID(r.TopicID)
		held := w.logs[TopicPartition{topic.Name, r.Partition}].held
		p := topic.Partition(r.Partition)
		for _, id := range p.Replicas {
			switch reported := !slices.Contains(r.Missing, id); {
			case reported && w.serves(id) && w.serves(r.Leader) && held[id] > held[r.Leader]:
				w.t.Fatalf("%s: broker %d has %d records and broker %d is to lead with %d: %s", topic.Name, id, held[id], r.Leader, held[r.Leader], &r)
			case !reported && w.nowMs < worldRecoveryMs:
				w.t.Fatalf("%s: broker %d was not waited for: %s", topic.Name, id, &r)
			}
		}
		if records := w.c.Recover(w.img, []Recovery{r}); len(records) == 0 {
			w.t.Fatalf("nobody was elected: %s, %+v", &r, *p)
		} else {
			w.apply(records)
		}
	}
}

func (w *world) anyBroker() int32 { return rapid.Int32Range(0, worldBrokers-1).Draw(w.t, "broker") }

func (w *world) anyPartition() (TopicPartition, *Topic, *Partition) {
	tp := rapid.SampledFrom(worldPartitions).Draw(w.t, "partition")
	topic := w.img.Topic(tp.Topic)
	return tp, topic, topic.Partition(tp.Partition)
}

// alter has the leader ask for an ISR, by what it knows or by what it knew.
func (w *world) alter(topic *Topic, tp TopicPartition, p *Partition, isr []int32, epochs map[int32]int64) {
	a := PartitionAlteration{TopicID: topic.ID, Partition: tp.Partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	if rapid.IntRange(0, 9).Draw(w.t, "stale") == 0 {
		a.PartitionEpoch--
	}
	for _, id := range isr {
		epoch, ok := epochs[id]
		if !ok {
			epoch = w.img.BrokerEpoch(id)
		}
		a.NewISR = append(a.NewISR, ISRMember{id, epoch})
	}
	_, records, err := w.c.AlterPartition(w.img, AlterPartitionRequest{p.Leader, w.img.BrokerEpoch(p.Leader), []PartitionAlteration{a}})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	w.apply(records)
}

// machineDies takes a broker down and some of its records with it.
func (w *world) machineDies(id int32) {
	w.up[id], w.damaged[id], w.noted[id] = false, true, -1
	for _, tp := range worldPartitions {
		logs := w.logs[tp]
		if held, ok := logs.held[id]; ok {
			logs.held[id] = rapid.IntRange(0, held).Draw(w.t, "kept")
		}
	}
}

// actions are what may happen.
func (w *world) actions() map[string]func(*rapid.T) {
	actions := w.brokerActions()
	maps.Copy(actions, w.partitionActions())
	actions[""] = func(*rapid.T) { w.checkSnapshot() }
	return actions
}

// partitionActions are what clients, leaders and operators do to partitions.
func (w *world) partitionActions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"produce": func(*rapid.T) {
			tp, _, p := w.anyPartition()
			logs := w.logs[tp]
			if p.Leader == noLeader || !w.serves(p.Leader) {
				return
			}
			logs.held[p.Leader]++
			if rapid.Bool().Draw(w.t, "replicated") {
				for _, id := range p.ISR {
					if w.serves(id) {
						logs.held[id] = logs.held[p.Leader]
					}
				}
			}
			w.commit(tp, logs, p)
			w.checkLogs(tp, logs, p)
		},
		"follower catches up": func(*rapid.T) {
			tp, topic, p := w.anyPartition()
			id := w.anyBroker()
			if p.Leader == noLeader || !w.serves(p.Leader) || !w.up[id] || w.damaged[id] || !slices.Contains(p.Replicas, id) {
				return // one that is fenced may follow, but not be in sync
			}
			logs := w.logs[tp]
			logs.held[id] = logs.held[p.Leader]
			w.commit(tp, logs, p)
			if !slices.Contains(p.ISR, id) {
				w.alter(topic, tp, p, append(slices.Clone(p.ISR), id), nil)
			}
		},
		"a wish is overtaken by a restart": func(*rapid.T) { // KIP-903
			tp, topic, p := w.anyPartition()
			id := w.anyBroker()
			if !w.mayLoseRecords || p.Leader == noLeader || !w.serves(p.Leader) || !w.serves(id) || !slices.Contains(p.Replicas, id) || slices.Contains(p.ISR, id) {
				return
			}
			then := map[int32]int64{id: w.img.BrokerEpoch(id)}
			w.machineDies(id)
			w.register(id, false)
			w.heartbeat(id, false)
			if now := w.img.Topic(tp.Topic).Partition(tp.Partition); now.Leader == p.Leader {
				w.alter(topic, tp, p, append(slices.Clone(p.ISR), id), then)
			}
		},
		"leader drops a follower": func(*rapid.T) {
			tp, topic, p := w.anyPartition()
			id := w.anyBroker()
			if p.Leader != noLeader && w.serves(p.Leader) && id != p.Leader {
				w.alter(topic, tp, p, without(p.ISR, []int32{id}), nil)
			}
		},
		"reassign": func(*rapid.T) {
			tp, _, _ := w.anyPartition()
			wish := ReassignmentWish{TopicPartition: tp}
			if rapid.IntRange(0, 2).Draw(w.t, "cancel") > 0 {
				ids := rapid.Permutation([]int32{0, 1, 2, 3, 4}).Draw(w.t, "replicas")
				wish.Replicas = ids[:rapid.IntRange(1, 3).Draw(w.t, "factor")]
			}
			_, records := w.c.AlterReassignments(w.img, []ReassignmentWish{wish}, true)
			w.apply(records)
		},
		"elections": func(*rapid.T) {
			switch rapid.IntRange(0, 9).Draw(w.t, "kind") {
			case 0:
				tp, _, _ := w.anyPartition()
				_, records, _ := w.c.ElectLeaders(w.img, ElectUnclean, []TopicPartition{tp})
				w.apply(records)
			case 1, 2:
				records, _ := w.c.UncleanElections(w.img, 10)
				w.apply(records)
			default:
				records, _ := w.c.BalanceLeaders(w.img, 10)
				w.apply(records)
			}
		},
		"min.insync.replicas changes": func(*rapid.T) {
			value := fmt.Sprint(rapid.IntRange(1, 3).Draw(w.t, "value"))
			refusals, records := w.c.AlterConfigs(w.img, 1, []ConfigAlteration{{Resource: ResourceTopic, Name: "a", Changes: []ConfigChange{{minInsyncReplicas, OpSet, &value}}}}, false)
			if refusals[0] != nil {
				w.t.Fatalf("%v", refusals[0])
			}
			w.apply(records)
		},
	}
}

// brokerActions are what happens to brokers.
func (w *world) brokerActions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"process dies": func(*rapid.T) { w.up[w.anyBroker()] = false },
		"machine dies": func(*rapid.T) {
			if id := w.anyBroker(); w.mayLoseRecords {
				w.machineDies(id)
			}
		},
		"brokers are fenced": func(*rapid.T) {
			ids := []int32{w.anyBroker()}
			for id := range int32(worldBrokers) {
				if !w.up[id] {
					ids = append(ids, id)
				}
			}
			w.apply(w.c.FenceBroker(w.img, ids...))
		},
		"broker starts": func(*rapid.T) {
			w.register(w.anyBroker(), rapid.IntRange(0, 3).Draw(w.t, "pessimist") == 0)
		},
		"heartbeats": func(*rapid.T) {
			for id := range int32(worldBrokers) {
				if w.up[id] {
					w.heartbeat(id, false)
				}
			}
		},
		"logs are compared": func(*rapid.T) {
			w.nowMs += int64(rapid.IntRange(0, worldRecoveryMs).Draw(w.t, "ms"))
			for id := range int32(worldBrokers) {
				if w.serves(id) {
					w.report(id)
				}
			}
			w.recover()
		},
		"power fails everywhere and comes back": func(*rapid.T) {
			if !w.mayLoseRecords {
				return
			}
			for id := range int32(worldBrokers) {
				w.machineDies(id)
			}
			for id := range int32(worldBrokers) {
				w.register(id, false)
				w.heartbeat(id, false)
			}
		},
		"controlled shutdown": func(*rapid.T) {
			if id := w.anyBroker(); w.up[id] {
				w.heartbeat(id, true)
			}
		},
		"unregister": func(*rapid.T) {
			id := w.anyBroker()
			if w.up[id] || rapid.IntRange(0, 3).Draw(w.t, "rarely") != 0 {
				return
			}
			if records, err := w.c.UnregisterBroker(w.img, id); err == nil {
				w.apply(records)
			}
		},
	}
}

// checkSnapshot checks that the image can be read back.
func (w *world) checkSnapshot() {
	var records []Record
	for _, r := range w.img.Records() {
		text, err := encodeRecord(r)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		decoded, err := decodeRecord(text)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		records = append(records, decoded)
	}
	again, err := Apply(NewImage(), records...)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	a, b := w.img.Records(), again.Records()
	for i := range a {
		x, _ := encodeRecord(a[i])
		y, _ := encodeRecord(b[i])
		if string(x) != string(y) {
			w.t.Fatalf("a snapshot reads back as another image:\n%s\n%s", x, y)
		}
	}
}

// TestNothingCommittedIsLostSilently lets processes and machines die, restart
// and lose records, partitions move and settings change, and checks after every
// decision that whoever may lead holds everything acknowledged, or that the loss
// was reported.
func TestNothingCommittedIsLostSilently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(newWorld(t, true).actions()) })
}

// TestWithoutELR is the same without eligible leader replicas, which is safe as
// long as no machine loses power.
func TestWithoutELR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(newWorld(t, false).actions()) })
}
