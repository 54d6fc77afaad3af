package metadata

import (
	"fmt"
	"strings"
)

type stageCommand = func(s *stage, args []string, named map[string]string) string

// stageCommands are the commands of scenarios.
var stageCommands map[string]stageCommand

func init() { // brokers runs others
	stageCommands = map[string]stageCommand{
		"brokers":           (*stage).doBrokers,
		"register":          (*stage).doRegister,
		"heartbeat":         (*stage).doHeartbeat,
		"after":             (*stage).doAfter,
		"log":               (*stage).doLog,
		"disconnected":      (*stage).doDisconnected,
		"failover":          (*stage).doFailover,
		"fence":             (*stage).doFence,
		"unregister":        (*stage).doUnregister,
		"topic":             (*stage).doTopic,
		"config":            (*stage).doConfig,
		"isr":               (*stage).doIsr,
		"elect":             (*stage).doElect,
		"balance":           (*stage).doBalance,
		"unclean-elections": (*stage).doUncleanElections,
		"reassign":          (*stage).doReassign,
		"reassignments":     (*stage).doReassignments,
		"feature":           (*stage).doFeature,
		"assign-dir":        (*stage).doAssignDir,
		"reload":            (*stage).doReload,
		"show":              (*stage).doShow,
	}
}

// doBrokers plays: brokers ID…: each registers and is unfenced. rack=NAME dirs=N
func (s *stage) doBrokers(args []string, named map[string]string) string {
	for _, arg := range args {
		s.run("register " + arg + " rack=" + named["rack"] + " dirs=" + named["dirs"])
		s.run("heartbeat " + arg)
	}
	return fmt.Sprintf("%d brokers\n", len(s.img.Brokers))
}

// doRegister plays: register ID: the broker starts anew. clean: it stopped in order before.
// knows=N: it last knew of epoch N and has lost nothing since. synced=N: nothing
// that it had synced. gone: the controller saw its last process end. connected=this: it is the
// process that the controller is connected to; connected=last: that is still the last one.
// again: the same process registers once more. rack=NAME dirs=N
func (s *stage) doRegister(args []string, named map[string]string) string {
	id := s.number(args[0])
	if !has(args, "again") {
		s.incarnations[id]++
	}
	r := Registration{
		ClusterID: "c", BrokerID: id, IncarnationID: UUID{2, byte(id), s.incarnations[id]}, Rack: named["rack"],
		PreviousBrokerEpoch: -1, PredecessorGone: has(args, "gone"),
	}
	switch named["connected"] {
	case "this":
		r.Connected = Incarnation(r.IncarnationID)
	case "last":
		r.Connected = Incarnation(UUID{2, byte(id), s.incarnations[id] - 1})
	}
	if named["cluster"] != "" {
		r.ClusterID = named["cluster"]
	}
	if has(args, "clean") {
		r.PreviousBrokerEpoch = s.img.BrokerEpoch(id)
	}
	if named["synced"] != "" {
		r.SyncedBrokerEpoch = int64(s.number(named["synced"]))
	}
	if named["knows"] != "" {
		r.PreviousBrokerEpoch = int64(s.number(named["knows"]))
	}
	dirs := int32(1)
	if named["dirs"] != "" {
		dirs = s.number(named["dirs"])
	}
	for n := range dirs {
		r.Dirs = append(r.Dirs, stageDir(id, byte(n)))
	}
	return s.apply(s.c.RegisterBroker(s.img, r))
}

// doHeartbeat plays: heartbeat ID: the broker knows everything. offset=N: it knows the image
// with that index. shutdown: it wants to stop. fence. epoch=N
func (s *stage) doHeartbeat(args []string, named map[string]string) string {
	id := s.number(args[0])
	r := HeartbeatRequest{
		BrokerID: id, BrokerEpoch: s.img.BrokerEpoch(id), CurrentMetadataOffset: s.img.Index,
		WantShutDown: has(args, "shutdown"), WantFence: has(args, "fence"),
	}
	if named["offset"] != "" {
		r.CurrentMetadataOffset = int64(s.number(named["offset"]))
	}
	if named["epoch"] != "" {
		r.BrokerEpoch = int64(s.number(named["epoch"]))
	}
	for _, n := range s.ids(named["offline"]) {
		r.OfflineLogDirs = append(r.OfflineLogDirs, stageDir(id, byte(n)))
	}
	s.live.Heartbeat(id, r.BrokerEpoch, r.CurrentMetadataOffset, s.now)
	r.LowestActiveOffset = s.live.LowestActiveOffset(s.img)
	reply, records, refusal := s.c.Heartbeat(s.img, r)
	text := s.apply(records, refusal)
	if refusal == nil && r.WantShutDown {
		text += fmt.Sprintf("may stop: %t\n", reply.ShouldShutDown)
	}
	return text
}

// doAfter plays: after MS: the clock goes on, brokers that time out are fenced,
// and recoveries that have waited long enough end. Brokers that are up send
// heartbeats meanwhile with: alive=ID,…
func (s *stage) doAfter(args []string, named map[string]string) string {
	s.now += int64(s.number(args[0]))
	for _, id := range s.ids(named["alive"]) {
		s.live.Heartbeat(id, s.img.BrokerEpoch(id), s.img.Index, s.now)
	}
	text := s.apply(s.c.FenceBroker(s.img, s.live.Tick(s.img, s.now)...), nil)
	if recovered := s.recover(); recovered != "" {
		return strings.TrimPrefix(text, "no change\n") + recovered
	}
	return text
}

// doLog plays: log ID TOPIC-0=EPOCH:OFFSET…: the broker reports where its logs
// end. leader-epoch=N: of the partition as it knows it. epoch=N: its own.
func (s *stage) doLog(args []string, named map[string]string) string {
	id := s.number(args[0])
	var logs []ReplicaLog
	epoch := s.img.BrokerEpoch(id)
	if named["epoch"] != "" {
		epoch = int64(s.number(named["epoch"]))
	}
	for _, key := range sortedKeys(named) {
		last, end, found := strings.Cut(named[key], ":")
		if !found {
			continue
		}
		topic, p := s.partition(key)
		l := ReplicaLog{TopicID: topic.ID, Partition: s.tp(key).Partition, LeaderEpoch: p.LeaderEpoch, LogEnd: LogEnd{s.number(last), int64(s.number(end))}}
		if named["leader-epoch"] != "" {
			l.LeaderEpoch = s.number(named["leader-epoch"])
		}
		logs = append(logs, l)
	}
	s.recoveries.Report(s.img, id, epoch, logs)
	if text := s.recover(); text != "" {
		return text
	}
	return "no change\n"
}

// recover elects whom the reports of logs decide on.
func (s *stage) recover() string {
	due := s.recoveries.Due(s.img, s.now)
	if len(due) == 0 {
		return ""
	}
	text := ""
	for i := range due {
		text += due[i].String() + "\n"
	}
	return text + s.apply(s.c.Recover(s.img, due), nil)
}

// doDisconnected plays: disconnected ID: the broker's last connection breaks.
func (s *stage) doDisconnected(args []string, _ map[string]string) string {
	s.live.Tick(s.img, s.now)
	s.live.Disconnected(s.number(args[0]), s.now)
	return ""
}

// doFailover plays: failover: another controller takes over. down=ID,…: it has no connection
// to these. silent=ID for=MS: the controller before was this broker's process, and was not
// heard of for so long. quick=ID: this one found the new controller before that knew that it
// is one.
func (s *stage) doFailover(_ []string, named map[string]string) string {
	s.live = NewLiveness(9000, 200)
	s.recoveries.Clear()
	for _, id := range s.ids(named["quick"]) {
		s.live.Heartbeat(id, s.img.BrokerEpoch(id), -1, s.now)
	}
	s.live.Activate(s.img, s.now, s.ids(named["down"]))
	if named["silent"] != "" {
		s.live.Silent(s.number(named["silent"]), s.now-int64(s.number(named["for"])), s.now)
	}
	return ""
}

// doFence plays fence.
func (s *stage) doFence(args []string, _ map[string]string) string {
	return s.apply(s.c.FenceBroker(s.img, s.ids(strings.Join(args, ","))...), nil)
}

// doUnregister plays unregister.
func (s *stage) doUnregister(args []string, _ map[string]string) string {
	return s.apply(s.c.UnregisterBroker(s.img, s.number(args[0])))
}

// doTopic plays: topic NAME 1,2,3 2,3,1: replicas of each partition. Other words are
// configuration.
func (s *stage) doTopic(args []string, named map[string]string) string {
	topic := NewTopic{Name: args[0], NumPartitions: -1, ReplicationFactor: -1}
	for i, replicas := range args[1:] {
		topic.Assignments = append(topic.Assignments, Assignment{int32(i), s.ids(replicas)})
	}
	for _, key := range sortedKeys(named) {
		value := named[key]
		topic.Configs = append(topic.Configs, ConfigValue{key, &value})
	}
	results, records := s.c.CreateTopics(s.img, []NewTopic{topic}, false)
	return s.apply(records, results[0].Err)
}

// doConfig plays: config NAME KEY=VALUE; without a name for all brokers.
func (s *stage) doConfig(args []string, named map[string]string) string {
	a := ConfigAlteration{Resource: ResourceBroker}
	if len(args) > 0 {
		a.Resource, a.Name = ResourceTopic, args[0]
	}
	for _, key := range sortedKeys(named) {
		value := named[key]
		change := ConfigChange{Key: key, Op: OpSet, Value: &value}
		if value == "" {
			change.Op, change.Value = OpDelete, nil
		}
		a.Changes = append(a.Changes, change)
	}
	refusals, records := s.c.AlterConfigs(s.img, 1, []ConfigAlteration{a}, false)
	return s.apply(records, refusals[0])
}

// doIsr plays: isr TOPIC-0 1,2: the leader asks for this ISR. by=ID: this broker asks.
// leader-epoch=N, partition-epoch=N: it has seen these. member-epoch=N: of the
// last member. recovering: it is not ready.
func (s *stage) doIsr(args []string, named map[string]string) string {
	topic, p := s.partition(args[0])
	a := PartitionAlteration{
		TopicID: topic.ID, Partition: s.tp(args[0]).Partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Recovering: has(args, "recovering"),
	}
	for _, id := range s.ids(args[1]) {
		a.NewISR = append(a.NewISR, ISRMember{id, s.img.BrokerEpoch(id)})
	}
	by := p.Leader
	for key, value := range named {
		n := s.number(value)
		switch key {
		case "by":
			by = n
		case "leader-epoch":
			a.LeaderEpoch = n
		case "partition-epoch":
			a.PartitionEpoch = n
		case "member-epoch":
			a.NewISR[len(a.NewISR)-1].Epoch = int64(n)
		}
	}
	results, records, refusal := s.c.AlterPartition(s.img, AlterPartitionRequest{by, s.img.BrokerEpoch(by), []PartitionAlteration{a}})
	if refusal != nil {
		return s.apply(nil, refusal)
	}
	text := ""
	if results[0].Code != 0 {
		text = fmt.Sprintf("answer %d: %s\n", results[0].Code, results[0].Reason)
	}
	if len(records) > 0 || text == "" {
		text += s.apply(records, nil)
	}
	return text
}

// doElect plays: elect preferred|unclean TOPIC-0…; all without partitions.
func (s *stage) doElect(args []string, _ map[string]string) string {
	kind := map[string]ElectionType{"preferred": ElectPreferred, "unclean": ElectUnclean}[args[0]]
	var partitions []TopicPartition
	for _, arg := range args[1:] {
		partitions = append(partitions, s.tp(arg))
	}
	results, records, refusal := s.c.ElectLeaders(s.img, kind, partitions)
	text := ""
	for _, r := range results {
		if r.Err != nil {
			text += fmt.Sprintf("%s-%d: %s\n", r.Topic, r.Partition, outcome(r.Err))
		}
	}
	return text + s.apply(records, refusal)
}

// doBalance plays: balance N: automatic preferred elections, at most N.
func (s *stage) doBalance(args []string, _ map[string]string) string {
	records, more := s.c.BalanceLeaders(s.img, int(s.number(args[0])))
	return s.apply(records, nil) + fmt.Sprintf("more: %t\n", more)
}

// doUncleanElections plays unclean-elections.
func (s *stage) doUncleanElections(_ []string, _ map[string]string) string {
	records, _ := s.c.UncleanElections(s.img, 1000)
	return s.apply(records, nil)
}

// doReassign plays: reassign TOPIC-0 4,5,6 | cancel. other-factor allows another number.
func (s *stage) doReassign(args []string, _ map[string]string) string {
	wish := ReassignmentWish{TopicPartition: s.tp(args[0])}
	if args[1] != "cancel" {
		wish.Replicas = s.ids(args[1])
	}
	results, records := s.c.AlterReassignments(s.img, []ReassignmentWish{wish}, has(args, "other-factor"))
	return s.apply(records, results[0].Err)
}

// doReassignments plays reassignments.
func (s *stage) doReassignments(_ []string, _ map[string]string) string {
	text := ""
	for _, r := range s.img.Reassignments(nil) {
		text += fmt.Sprintf("%s-%d: replicas %v adding %v removing %v\n", r.Topic, r.Partition, r.Replicas, r.Adding, r.Removing)
	}
	if text == "" {
		return "none\n"
	}
	return text
}

// doFeature plays: feature NAME=LEVEL upgrade|downgrade|unsafe.
func (s *stage) doFeature(args []string, named map[string]string) string {
	kind := map[string]UpgradeType{"upgrade": UpgradeOnly, "downgrade": SafeDowngrade, "unsafe": UnsafeDowngrade}[args[0]]
	var updates []FeatureUpdate
	for _, name := range sortedKeys(named) {
		updates = append(updates, FeatureUpdate{name, int16(s.number(named[name])), kind})
	}
	return s.apply(s.c.UpdateFeatures(s.img, updates, false))
}

// doAssignDir plays: assign-dir ID TOPIC-0 N: the broker says that its replica is in directory N.
func (s *stage) doAssignDir(args []string, _ map[string]string) string {
	id, tp := s.number(args[0]), s.tp(args[1])
	topic, _ := s.partition(args[1])
	dirs := map[UUID]map[int32]UUID{topic.ID: {tp.Partition: stageDir(id, byte(s.number(args[2])))}}
	return s.apply(s.c.AssignDirs(s.img, id, dirs), nil)
}

// doReload plays: reload: everything is written to a snapshot and read back.
func (s *stage) doReload(_ []string, _ map[string]string) string {
	index := s.img.Index
	var records []Record
	for _, r := range s.img.Records() {
		text, err := encodeRecord(r)
		if err != nil {
			s.t.Fatal(err)
		}
		decoded, err := decodeRecord(text)
		if err != nil {
			s.t.Fatal(err)
		}
		records = append(records, decoded)
	}
	s.img = mustApply(s.t, NewImage(), records)
	s.img.Index = index
	return ""
}

// doShow plays show.
func (s *stage) doShow(_ []string, _ map[string]string) string {
	text := ""
	for i := range s.img.Brokers {
		text += describeBroker(&s.img.Brokers[i])
	}
	for _, topic := range s.img.SortedTopics() {
		for i, p := range topic.Partitions {
			text += fmt.Sprintf("%s-%d: %s\n", topic.Name, i, describePartition(p))
		}
	}
	return text
}
