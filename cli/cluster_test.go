package cli

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"freshet/cli/placement"
)

// testView is a healthy cluster of three brokers on three racks, with topics
// orders (two partitions, three replicas, min.insync.replicas 2) and logs (one
// partition, one replica).
func testView() *clusterView {
	broker := func(id int32) brokerView {
		return brokerView{ID: id, Host: "h" + fmt.Sprint(id), Port: 9092, Rack: "r" + fmt.Sprint(id), State: brokerUp, Dirs: []dirView{{
			Path: "/data", UsedBytes: 100, TotalBytes: 1 << 40, FreeBytes: 1 << 39,
			sizes: map[partitionKey]int64{{"orders", 0}: 1 << 20, {"orders", 1}: 3 << 20, {"logs", 0}: 10}}}}
	}
	partition := func(n int32, replicas ...int32) partitionDetail {
		return partitionDetail{Partition: n, Leader: replicas[0], Replicas: replicas, ISR: append([]int32(nil), replicas...), ELR: []int32{}}
	}
	v := &clusterView{ID: "test-cluster", Controller: 1, Brokers: []brokerView{broker(1), broker(2), broker(3)},
		Moves: map[partitionKey]reassignment{},
		Quorum: &quorumView{Leader: 1, Epoch: 7, Voters: []quorumMember{{ID: 1}, {ID: 2, SilentMs: 20}, {ID: 3, SilentMs: 30}},
			Observers: []quorumMember{}},
		Topics: []topicView{
			{topicDetail{Name: "logs", Partitions: []partitionDetail{partition(0, 2)}}, 1, false, noFlush},
			{topicDetail{Name: "orders", Partitions: []partitionDetail{partition(0, 1, 2, 3), partition(1, 2, 3, 1)}}, 2, false, noFlush}}}
	v.count()
	return v
}

// codes lists findings as "severity code".
func codes(found []finding) string {
	var words []string
	for _, f := range found {
		words = append(words, f.Severity.String()+" "+f.Code)
	}
	return strings.Join(words, ", ")
}

func orders(v *clusterView, n int) *partitionDetail { return &v.Topics[1].Partitions[n] }

func TestHealth(t *testing.T) {
	f := func(name, wantCodes, wantText, wantDo string, change func(v *clusterView)) {
		t.Helper()
		v := testView()
		change(v)
		found := judgeHealth(v)
		if got := codes(found); got != wantCodes {
			t.Errorf("%s: findings %q, want %q", name, got, wantCodes)
			return
		}
		if len(found) > 0 && (!strings.Contains(found[0].Text, wantText) || !strings.Contains(found[0].Do, wantDo)) {
			t.Errorf("%s: says %q and %q, want %q and %q", name, found[0].Text, found[0].Do, wantText, wantDo)
		}
	}
	f("nothing wrong", "", "", "", func(*clusterView) {})
	f("no controller", "critical no-controller", "No controller is active", "start controllers", func(v *clusterView) { v.Controller = -1 })
	f("a voter is silent", "warning voter-silent", "Controller 3 of the quorum is silent: if one more fails, no controller can be elected (2 of 3 voters work, 2 are needed).",
		"start controller 3", func(v *clusterView) { v.Quorum.Voters[2].SilentMs = 60_000 })
	f("a voter does not write", "warning voter-behind", "Controller 3 of the quorum answers, but has not written the newest metadata for more than 10 s: as with a full disk, it cannot vote.",
		"make room on the disk of metadata.log.dir", func(v *clusterView) { v.Quorum.Voters[2].Lag, v.Quorum.Voters[2].BehindMs = 3, 60_000 })
	f("one voter", "warning one-voter", "one controller, 1", "add-controller", func(v *clusterView) { v.Quorum.Voters = v.Quorum.Voters[:1] })
	f("even voters", "note even-voters", "no more failures than 1 would", "", func(v *clusterView) { v.Quorum.Voters = v.Quorum.Voters[:2] })
	f("a broker is down", "critical no-leader, warning broker-fenced, warning under-replicated",
		"Partition logs-0: no leader. Only broker 2 had all records, and is down.", "start broker 2", func(v *clusterView) {
			v.Brokers[1].State, v.Brokers[1].Dirs = brokerFenced, nil
			v.Topics[0].Partitions[0].Leader = -1
			for n := range 2 {
				orders(v, n).ISR, orders(v, n).Leader = []int32{1, 3}, 1
			}
		})
	f("below min ISR", "critical under-min-isr, warning broker-gone",
		"1 of the 2 in-sync replicas that min.insync.replicas asks for. Writes with acks=all are refused (NOT_ENOUGH_REPLICAS); reading goes on. Broker 2 is down. Broker 3 lags behind or just came back.",
		"start broker 2; wait; if it stays", func(v *clusterView) {
			v.Brokers[1].State = brokerGone
			v.Topics[0].Partitions = nil
			orders(v, 0).ISR = []int32{1}
			v.Topics[1].Partitions = v.Topics[1].Partitions[:1]
		})
	f("one copy", "warning one-copy", "only broker 1 has all records", "wait", func(v *clusterView) {
		v.Topics[1].MinISR = 1
		orders(v, 0).ISR = []int32{1}
	})
	f("a move adds a replica", "", "", "", func(v *clusterView) {
		v.Topics[0].Partitions[0].Replicas = []int32{2, 3}
		v.Moves[partitionKey{"logs", 0}] = reassignment{adding: []int32{3}, replicas: []int32{2, 3}}
	})
	f("ELR keeps what the ISR lost", "critical no-leader, warning broker-fenced", "Only brokers 2, 3 had all records, and are down",
		"start one of brokers 2, 3. Only if that is impossible: kafka-leader-election.sh --election-type unclean --topic orders --partition 0 lets broker 1 lead", func(v *clusterView) {
			v.Topics[0].Partitions = nil
			v.Topics[1].Partitions = v.Topics[1].Partitions[:1]
			orders(v, 0).ISR, orders(v, 0).ELR, orders(v, 0).Leader = nil, []int32{2, 3}, -1
			v.Brokers[1].State, v.Brokers[1].Dirs = brokerFenced, nil
			v.Brokers = v.Brokers[:2]
		})
	f("an election is due", "critical no-leader", "no leader, though broker 2 has all records and is up", "ask again", func(v *clusterView) {
		v.Topics[0].Partitions[0].Leader = -1
	})
	f("nobody is complete", "critical no-leader", "Every replica that had all records (3) has since restarted", "start all brokers of its replicas (1, 2, 3): the longest log then leads by itself; without some of them it does after freshet.unclean.recovery.timeout.ms. Not to wait: kafka-leader-election.sh",
		func(v *clusterView) {
			p := orders(v, 0)
			p.ISR, p.Leader, p.LastKnownELR = nil, -1, []int32{3}
		})
	f("leader down, not yet noticed", "critical leader-down, warning broker-fenced", "the leader, broker 2, is down", "ask again", func(v *clusterView) {
		v.Brokers[1].State, v.Brokers[1].Dirs = brokerFenced, nil
	})
	f("leader silent", "critical leader-silent, warning broker-silent", "the leader, broker 2, does not answer this client", "see what is said", func(v *clusterView) {
		v.Brokers[1].State, v.Brokers[1].Silence = brokerSilent, "connection refused"
	})
	f("a full disk fences a broker", "critical disk-low, warning broker-fenced, warning under-replicated", "has 0 %", "rebalance", func(v *clusterView) {
		v.Brokers[1].State, v.Brokers[1].Dirs[0].FreeBytes = brokerFenced, 0
		v.Topics[0].Partitions = nil
		orders(v, 0).ISR = []int32{1, 3}
		orders(v, 1).Leader, orders(v, 1).ISR = 3, []int32{3, 1}
	})
	f("a fenced broker runs and has the only copy", "critical no-leader, warning broker-fenced", "Only broker 2 had all records, and is fenced", "see what is said about broker 2",
		func(v *clusterView) {
			v.Brokers[1].State, v.Topics = brokerFenced, v.Topics[:1]
			v.Topics[0].Partitions[0].Leader = -1
		})
	f("unclean elections", "warning unclean-election", "is true for orders", "freshet topic alter-config orders --set unclean.leader.election.enable=false",
		func(v *clusterView) { v.Topics[1].Unclean = true })
	f("impossible min ISR", "critical min-isr-too-high", "every write with acks=all is refused", "--replicas 3", func(v *clusterView) { v.Topics[0].MinISR = 2 })
	f("disk low", "warning disk-low", "The disk of /data on broker 1 has 9 % (", "freshet cluster rebalance", func(v *clusterView) { v.Brokers[0].Dirs[0].FreeBytes = 1 << 40 / 10 })
	f("disk nearly full", "critical disk-low", "has 1 %", "", func(v *clusterView) { v.Brokers[0].Dirs[0].FreeBytes = 1 << 40 / 64 })
	f("disk dead", "warning log-dir-offline", "Log directory /data of broker 1 is offline", "replace the disk", func(v *clusterView) { v.Brokers[0].Dirs[0].Offline = true })
	f("an answer is missing", "warning no-answer", "Broker 9 does not answer", "", func(v *clusterView) { v.note("Broker 9 does not answer") })
}

func TestWorst(t *testing.T) {
	for _, s := range []severity{severityNote, severityWarning, severityCritical} {
		if got := worst([]finding{{Severity: severityNote}, {Severity: s}}); got != s {
			t.Errorf("worst of note and %v is %v", s, got)
		}
	}
	if worst(nil) != severityNote || healthWord(nil) != "healthy" {
		t.Error("no findings are not healthy")
	}
}

// troubledView has a bit of everything.
func troubledView() *clusterView {
	v := testView()
	v.Brokers[2].State = brokerFenced
	v.Brokers[2].Dirs = nil
	v.Brokers[0].Dirs[0].FreeBytes = 1 << 40 / 20
	v.Quorum.Voters[2].SilentMs, v.Quorum.Voters[2].Lag = 42_000, 17
	orders(v, 0).ISR = []int32{1, 2}
	orders(v, 1).ISR = []int32{2}
	v.Topics[0].Partitions[0].Leader = -1
	v.Topics[0].Partitions[0].ISR = []int32{}
	v.Topics[0].Partitions[0].LastKnownELR = []int32{2}
	v.Moves[partitionKey{"orders", 0}] = reassignment{adding: []int32{3}, removing: []int32{2}, replicas: []int32{1, 2, 3}}
	for i := range v.Brokers {
		b := &v.Brokers[i]
		b.Leaders, b.Preferred, b.Replicas, b.OutOfSync = 0, 0, 0, 0
	}
	v.count()
	return v
}

func TestScreens(t *testing.T) {
	var b strings.Builder
	show := func(name, text string) { fmt.Fprintf(&b, "== %s\n%s\n", name, text) }
	for _, c := range []struct {
		name string
		v    *clusterView
	}{{"healthy", testView()}, {"troubled", troubledView()}} {
		show("status, "+c.name, statusText(c.v, judgeHealth(c.v)))
		var verdicts []topicVerdict
		for i := range c.v.Topics {
			verdicts = append(verdicts, judgeTopic(c.v, &c.v.Topics[i]))
		}
		together := judgeTogether(c.v)
		show("doctor, "+c.name, doctorSummary(verdicts, append(together, groupFindings(verdicts)...)))
		show("doctor --topic, "+c.name, doctorDetail(verdicts, together))
	}
	v := testView()
	moves := []placement.Move{{Topic: "orders", Partition: 1, From: []int32{2, 3, 1}, To: []int32{3, 2, 1}},
		{Topic: "logs", From: []int32{2}, To: []int32{3}, CopyBytes: 10}}
	show("plan", planText(v, moves, 2, 1))
	golden(t, "cluster.txt", b.String())
}

func TestDoctorOutcomes(t *testing.T) {
	// Each outcome as "acknowledged / reads / writes".
	f := func(name, failure, want string, change func(v *clusterView, topic *topicView)) {
		t.Helper()
		v := testView()
		topic := &v.Topics[1]
		change(v, topic)
		for _, o := range judgeTopic(v, topic).Outcomes {
			if o.Failure == failure {
				if got := o.acknowledged() + " / " + o.reads() + " / " + o.writes(); got != want {
					t.Errorf("%s, %s: %q, want %q", name, failure, got, want)
				}
				return
			}
		}
		t.Errorf("%s: no outcome for %q", name, failure)
	}
	same := func(*clusterView, *topicView) {}
	apart := func(v *clusterView, _ *topicView) { // the controllers are on nodes of their own
		v.Controller, v.Quorum.Leader = 11, 11
		for i := range v.Quorum.Voters {
			v.Quorum.Voters[i].ID += 10
		}
	}
	shrunk := func(isr ...int32) func(*clusterView, *topicView) {
		return func(_ *clusterView, topic *topicView) {
			for i := range topic.Partitions {
				topic.Partitions[i].ISR, topic.Partitions[i].Leader = isr, isr[0]
			}
		}
	}
	f("three in sync", "one broker stops", "kept / go on / go on", same)
	f("three in sync, on the controllers", "two brokers stop", "kept / stop / stop", same)
	f("three in sync", "two brokers stop", "kept / go on / stop", apart)
	f("three in sync", "2 of 3 controllers stop", "kept / go on / stop", apart)
	f("a controller is silent", "one broker stops", "kept / stop in 1 of 2 / stop", func(v *clusterView, _ *topicView) { v.Quorum.Voters[2].SilentMs = 60_000 })
	f("no controller is active", "one broker stops", "kept / stop in 1 of 2 / stop", func(v *clusterView, _ *topicView) { v.Controller, v.Quorum = -1, nil })
	f("three in sync", "a whole rack stops", "kept / go on / go on", same)
	f("three in sync", "two disks are lost for good", "kept / go on / stop", apart)
	f("three in sync", "one machine loses power", "kept / go on / go on", same)
	f("three in sync", "all machines lose power", "the last seconds may be lost / stop / stop", same)
	f("synced", "all machines lose power", "kept / stop / stop", func(_ *clusterView, t *topicView) { t.FlushMessages = 1 })
	f("one in sync", "one broker stops", "kept / stop / stop", shrunk(1))
	f("one in sync", "one disk is lost for good", "LOST: what the other replicas had not received / stop / stop", shrunk(1))
	f("one in sync", "one machine loses power", "the last seconds may be lost / stop / stop", shrunk(1))
	f("one in sync, synced", "one machine loses power", "kept / stop / stop", func(v *clusterView, t *topicView) {
		shrunk(1)(v, t)
		t.FlushMessages = 1
	})
	f("one in sync, another eligible", "one disk is lost for good", "kept / go on / stop", func(v *clusterView, t *topicView) {
		shrunk(1)(v, t)
		for i := range t.Partitions {
			t.Partitions[i].ELR = []int32{2}
		}
	})
	f("one in sync, the eligible one down", "one disk is lost for good", "kept / stop / stop", func(v *clusterView, t *topicView) {
		shrunk(1)(v, t)
		for i := range t.Partitions {
			t.Partitions[i].ELR = []int32{2}
		}
		v.Brokers[1].State = brokerFenced
	})
	f("unclean", "one broker stops", "LOST: what the other replicas had not received / go on / stop", func(v *clusterView, t *topicView) {
		shrunk(1)(v, t)
		t.Unclean = true
	})
	f("one replica", "one disk is lost for good", "ALL LOST in 1 of 2 partitions / stop in 1 of 2 / stop in 1 of 2", func(_ *clusterView, t *topicView) {
		t.MinISR = 1
		for i := range t.Partitions {
			p := &t.Partitions[i]
			p.Replicas, p.ISR = p.Replicas[:1], p.ISR[:1]
		}
	})
}

func TestDoctorFindings(t *testing.T) {
	f := func(name, want string, change func(v *clusterView, topic *topicView)) {
		t.Helper()
		v := testView()
		topic := &v.Topics[1]
		topic.FlushMessages = 1
		change(v, topic)
		var got []string
		for _, row := range judgeTopic(v, topic).Findings {
			got = append(got, row.Severity.String()+" "+row.Code+": "+row.Fix)
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s: %q, want %q", name, text, want)
		}
	}
	factor := func(n int) func(*clusterView, *topicView) {
		return func(_ *clusterView, topic *topicView) {
			for i := range topic.Partitions {
				p := &topic.Partitions[i]
				p.Replicas, p.ISR = p.Replicas[:n], p.ISR[:n]
			}
		}
	}
	f("safe", "", func(*clusterView, *topicView) {})
	f("not synced", "note not-synced: freshet topic alter-config TOPIC --set flush.messages=1", func(_ *clusterView, t *topicView) { t.FlushMessages = noFlush })
	f("min ISR 1", "warning min-isr-one: freshet topic alter-config TOPIC --set min.insync.replicas=2", func(_ *clusterView, t *topicView) { t.MinISR = 1 })
	f("min ISR 3", "warning min-isr-all: freshet topic alter-config TOPIC --set min.insync.replicas=2", func(_ *clusterView, t *topicView) { t.MinISR = 3 })
	f("two replicas", "warning min-isr-all: freshet cluster rebalance --topic TOPIC --replicas 3", factor(2))
	f("one replica", "critical min-isr-too-high: freshet topic alter-config TOPIC --set min.insync.replicas=1", factor(1))
	f("one replica, min ISR 1", "warning one-replica: freshet cluster rebalance --topic TOPIC --replicas 3", func(v *clusterView, t *topicView) {
		factor(1)(v, t)
		t.MinISR = 1
	})
	f("one broker", "warning one-replica: add brokers (docs/operations/cluster.md), then: freshet cluster rebalance --topic TOPIC --replicas 2", func(v *clusterView, t *topicView) {
		factor(1)(v, t)
		t.MinISR, v.Brokers = 1, v.Brokers[:1]
	})
	f("one rack", "warning one-rack: freshet cluster rebalance --topic TOPIC", func(v *clusterView, t *topicView) {
		for i := range 3 {
			v.Brokers[i].Rack = "a"
		}
		v.Brokers = append(v.Brokers, brokerView{ID: 4, Rack: "b", State: brokerUp})
	})
	f("unclean", "warning unclean-election: freshet topic alter-config TOPIC --set unclean.leader.election.enable=false", func(_ *clusterView, t *topicView) { t.Unclean = true })
	f("no ELR", "note no-elr: kafka-features.sh --bootstrap-server HOST:PORT upgrade --feature eligible.leader.replicas.version=1", func(_ *clusterView, t *topicView) {
		t.Partitions[0].ELR = nil
	})
}

func TestMoveQueue(t *testing.T) {
	move := func(n int32) placement.Move {
		return placement.Move{Topic: "t", Partition: n, From: []int32{1}, To: []int32{2}, CopyBytes: 10}
	}
	key := func(n int32) partitionKey { return partitionKey{"t", n} }
	moving := func(keys ...int32) map[partitionKey]reassignment {
		m := map[partitionKey]reassignment{}
		for _, n := range keys {
			m[key(n)] = reassignment{adding: []int32{2}, removing: []int32{1}, replicas: []int32{1, 2}}
		}
		return m
	}
	q := newMoveQueue([]placement.Move{move(1), move(2), move(3), move(4)}, moving(9), 2, func(partitionKey) int64 { return 5 })
	if q.totalBytes != 45 {
		t.Errorf("total %d bytes", q.totalBytes)
	}
	begin, done := q.look(moving(9))
	if len(begin) != 1 || done {
		t.Fatalf("begins %v beside one under way of at most two", begin)
	}
	q.begun(begin, nil)
	begin, _ = q.look(moving(1)) // 9 has ended
	if len(begin) != 1 || q.ended != 1 || q.endedBytes != 5 {
		t.Fatalf("begins %v, %d ended", begin, q.ended)
	}
	q.begun(begin, map[partitionKey]error{key(2): errors.New("no")})
	if len(q.refused) != 1 || len(q.running) != 1 {
		t.Fatalf("refused %v, running %v", q.refused, q.running)
	}
	begin, _ = q.look(moving()) // 1 has ended
	if len(begin) != 2 {
		t.Fatalf("begins %v", begin)
	}
	q.begun(begin, nil)
	if begin, done = q.look(moving(3)); len(begin) != 0 || done {
		t.Fatal("done with one under way")
	}
	if _, done = q.look(moving()); !done || q.ended != 4 || q.endedBytes != 35 {
		t.Errorf("done %v, %d ended, %d bytes", done, q.ended, q.endedBytes)
	}
}

func TestPlacementInput(t *testing.T) {
	v := troubledView()
	brokers, partitions := placementInput(v)
	if len(brokers) != 2 || brokers[0].DiskBytes != 1<<40 {
		t.Errorf("brokers %+v", brokers)
	}
	for _, p := range partitions {
		if p.Topic == "orders" && p.Partition == 0 && (!reflect.DeepEqual(p.Replicas, []int32{1, 3}) || p.Bytes != 1<<20) {
			t.Errorf("a partition that moves is planned from %v with %d bytes", p.Replicas, p.Bytes)
		}
	}
}

func TestPlanRebalanceArguments(t *testing.T) {
	f := func(topic string, replicas int, want string) {
		t.Helper()
		if _, err := planRebalance(testView(), topic, replicas); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--topic %q --replicas %d: %v, want %q", topic, replicas, err, want)
		}
	}
	f("nosuch", 0, "no topic matches nosuch")
	f("", 2, "--replicas takes a number from 1 and needs --topic")
	f("orders", 4, "cannot have 4 replicas")
	f("(", 0, "invalid regex")
}

func TestParseByteRate(t *testing.T) {
	for text, want := range map[string]int64{"1000000": 1e6, "50MB/s": 50e6, "10MiB/s": 10 << 20, "1.5 GB": 15e8, "2k": 2048} {
		if got, err := parseByteRate(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "MB", "-5", "5 parsecs"} {
		if got, err := parseByteRate(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestDisksAreCountedOnce(t *testing.T) {
	b := brokerView{Dirs: []dirView{{UsedBytes: 5, TotalBytes: 1000_000, FreeBytes: 500_000}, {UsedBytes: 6, TotalBytes: 1000_000, FreeBytes: 500_100},
		{UsedBytes: 7, TotalBytes: 1000_000, FreeBytes: 900_000}, {UsedBytes: 8, TotalBytes: -1}}}
	if used, disk, free := b.bytes(); used != 26 || disk != 2_000_000 || free != 1_400_000 {
		t.Errorf("used %d, disk %d, free %d", used, disk, free)
	}
}
