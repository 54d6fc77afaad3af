package cli

import (
	"fmt"
	"sort"
	"strings"
)

// topicVerdict says what failures would do to a topic.
type topicVerdict struct {
	Topic      string     `json:"topic"`
	Partitions int        `json:"partitions"`
	Replicas   int        `json:"replicas"`
	MinISR     int        `json:"min_insync_replicas"`
	Synced     bool       `json:"synced_before_answer"` // flush.messages=1
	Unclean    bool       `json:"unclean_election"`
	Outcomes   []outcome  `json:"if"`
	Findings   []topicRow `json:"findings"`
}

// topicRow is a finding about one topic; equal ones of several are shown as one.
type topicRow struct {
	Severity severity `json:"severity"`
	Code     string   `json:"code"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix,omitempty"` // with TOPIC for the name
}

// loss is what a failure takes of the records acknowledged with acks=all.
type loss int

const (
	lossNone   loss = iota
	lossRecent      // what the operating system had not written yet, usually the last 5 to 35 s
	lossMissed      // what the replicas that are left had not received
	lossAll         // everything in a partition
)

// MarshalText names losses in JSON.
func (l loss) MarshalText() ([]byte, error) {
	return []byte([...]string{"nothing", "recent", "missed", "all"}[l]), nil
}

// outcome is what the worst case of one kind of failure does to a topic, as its
// replicas stand now.
type outcome struct {
	Failure   string  `json:"failure"`
	Brokers   []int32 `json:"worst_case"`  // the brokers whose failure does most; nil when all are alike
	Lost      loss    `json:"lost"`        // of the records acknowledged with acks=all
	LostIn    int     `json:"lost_in"`     // partitions
	Stopped   int     `json:"stopped"`     // partitions that can be neither read nor written meanwhile
	NoAcksAll int     `json:"no_acks_all"` // partitions that can be read, but refuse acks=all
	of        int
	all       bool // the failure is of no brokers in particular
}

// acknowledged, reads and writes are the outcome in words.

func (o *outcome) acknowledged() string {
	where := fmt.Sprintf(" in %d of %d partitions", o.LostIn, o.of)
	if o.LostIn == o.of {
		where = ""
	}
	switch o.Lost {
	case lossRecent:
		return "the last seconds may be lost" + where
	case lossMissed:
		return "LOST" + where + ": what the other replicas had not received"
	case lossAll:
		return "ALL LOST" + where
	}
	return "kept"
}

func (o *outcome) reads() string {
	switch o.Stopped {
	case 0:
		return "go on"
	case o.of:
		return "stop"
	}
	return fmt.Sprintf("stop in %d of %d", o.Stopped, o.of)
}

func (o *outcome) writes() string {
	switch n := o.Stopped + o.NoAcksAll; n {
	case 0:
		return "go on"
	case o.of:
		return "stop"
	default:
		return fmt.Sprintf("stop in %d of %d", n, o.of)
	}
}

// severityOf ranks outcomes of the same kind of failure.
func (o *outcome) rank() [4]int { return [4]int{int(o.Lost), o.LostIn, o.Stopped, o.NoAcksAll} }

func worse(a, b [4]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

// failureKind is what happens to the brokers that fail together.
type failureKind int

const (
	stops        failureKind = iota // the process or machine stops and comes back with its data
	losesDisk                       // its data is gone for good
	losesPower                      // it comes back without what was only in its page cache
	allLosePower                    // every machine at once
)

// judgeTopic says what failures would do to the topic, by the in-sync replicas
// of now and the rules of docs/DURABILITY.md.
func judgeTopic(v *clusterView, t *topicView) topicVerdict {
	verdict := topicVerdict{Topic: t.Name, Partitions: len(t.Partitions), Replicas: t.replicas(), MinISR: t.MinISR,
		Synced: t.FlushMessages == 1, Unclean: t.Unclean}
	var ids []int32
	racks := map[string][]int32{}
	for i := range v.Brokers {
		b := &v.Brokers[i]
		if b.alive() {
			ids = append(ids, b.ID)
			racks[b.Rack] = append(racks[b.Rack], b.ID)
		}
	}
	var singles, pairs, wholeRacks [][]int32
	for i, id := range ids {
		singles = append(singles, []int32{id})
		for _, other := range ids[i+1:] {
			pairs = append(pairs, []int32{id, other})
		}
	}
	for _, rack := range sortedKeys(racks) {
		if rack != "" && len(racks) > 1 {
			wholeRacks = append(wholeRacks, racks[rack])
		}
	}
	add := func(name string, kind failureKind, sets [][]int32) {
		if len(sets) > 0 {
			verdict.Outcomes = append(verdict.Outcomes, worstOutcome(v, t, name, kind, sets))
		}
	}
	add("one broker stops", stops, singles)
	add("two brokers stop", stops, pairs)
	add("a whole rack stops", stops, wholeRacks)
	add("one disk is lost for good", losesDisk, singles)
	add("two disks are lost for good", losesDisk, pairs)
	add("one machine loses power", losesPower, singles)
	add("all machines lose power", allLosePower, [][]int32{ids})
	if n := v.controllersApart(); n > 0 {
		verdict.Outcomes = append(verdict.Outcomes, outcome{Failure: fmt.Sprintf("%d of %d controllers stop", n, len(v.Quorum.Voters)),
			NoAcksAll: len(t.Partitions), of: len(t.Partitions), all: true})
	}
	verdict.Findings = topicFindings(v, t, len(ids))
	return verdict
}

func worstOutcome(v *clusterView, t *topicView, name string, kind failureKind, sets [][]int32) outcome {
	var worst outcome
	same := true
	for i, set := range sets {
		o := outcome{Failure: name, Brokers: set, of: len(t.Partitions)}
		halted := v.haltedWithout(set)
		for n := range t.Partitions {
			o.count(v, t, &t.Partitions[n], kind, set, halted)
		}
		if i == 0 || worse(o.rank(), worst.rank()) {
			same = same && (i == 0 || o.rank() == worst.rank())
			worst = o
		} else if o.rank() != worst.rank() {
			same = false
		}
	}
	worst.all = kind == allLosePower
	if same || worst.all {
		worst.Brokers = nil
	}
	return worst
}

// haltedWithout reports whether the controllers have no majority when these
// nodes are down: then nobody new leads, and soon leaders refuse records.
func (v *clusterView) haltedWithout(failed []int32) bool {
	if v.Controller < 0 || v.Quorum == nil {
		return v.Controller < 0
	}
	working := 0
	for _, m := range v.Quorum.Voters {
		if !containsID(failed, m.ID) && !m.silent(v.Quorum.Leader) {
			working++
		}
	}
	return 2*working <= len(v.Quorum.Voters)
}

// controllersApart is how many controllers must stop for a majority to be gone,
// 0 when a broker is among them: its failure is one of the others.
func (v *clusterView) controllersApart() int {
	if v.Quorum == nil || len(v.Quorum.Voters) == 0 {
		return 0
	}
	for _, m := range v.Quorum.Voters {
		if v.broker(m.ID) != nil {
			return 0
		}
	}
	return (len(v.Quorum.Voters) + 1) / 2
}

// count adds what the failure of the brokers does to one partition; halted says
// that no other leader can be elected then.
func (o *outcome) count(v *clusterView, t *topicView, p *partitionDetail, kind failureKind, failed []int32, halted bool) {
	inSync := v.aliveOf(p.ISR)
	left := without(inSync, failed)
	spare := v.aliveOf(without(p.Replicas, append(append([]int32(nil), failed...), p.ISR...)))
	eligible := v.aliveOf(without(p.ELR, failed))
	switch {
	case p.Leader < 0 || kind == allLosePower || halted && containsID(failed, p.Leader):
		o.Stopped++
	case len(left) == 0 && len(eligible) == 0 && !(t.Unclean && len(spare) > 0):
		o.Stopped++
	case halted, len(left) == 0 && t.MinISR > 1, len(left) > 0 && len(left) < t.MinISR:
		o.NoAcksAll++
	}
	// Replicas on brokers that are down now still have what they had.
	complete := without(append(append([]int32(nil), p.ISR...), p.ELR...), failed)
	partial := without(without(p.Replicas, failed), complete)
	hit := len(without(inSync, failed)) < len(inSync)
	lost := lossNone
	switch {
	case kind == allLosePower && t.FlushMessages != 1:
		lost = lossRecent
	case !hit || kind == allLosePower || len(complete) > 0 && kind != stops:
	case kind == stops && (len(left) > 0 || len(eligible) > 0):
	case kind == stops && t.Unclean && len(spare) > 0:
		lost = lossMissed
	case kind == losesPower && t.FlushMessages != 1:
		lost = lossRecent
	case kind == losesDisk && len(partial) > 0:
		lost = lossMissed
	case kind == losesDisk:
		lost = lossAll
	}
	if lost != lossNone {
		o.LostIn++
		o.Lost = max(o.Lost, lost)
	}
}

// wantedReplicas is how many replicas doctor advises.
const wantedReplicas = 3

// topicFindings says what about the topic's settings could be better.
func topicFindings(v *clusterView, t *topicView, brokers int) []topicRow {
	var rows []topicRow
	add := func(s severity, code, fix, format string, args ...any) {
		rows = append(rows, topicRow{s, code, fmt.Sprintf(format, args...), fix})
	}
	factor := t.replicas()
	grow := fmt.Sprintf("freshet cluster rebalance --topic TOPIC --replicas %d", min(wantedReplicas, max(brokers, factor+1)))
	if brokers <= factor {
		grow = "add brokers (docs/operations/cluster.md), then: " + grow
	}
	set := func(setting string) string { return "freshet topic alter-config TOPIC --set " + setting }
	switch {
	case t.MinISR > factor:
		add(severityCritical, "min-isr-too-high", set(fmt.Sprintf("min.insync.replicas=%d", max(1, factor-1))),
			"min.insync.replicas is %d with %d replica%s: every write with acks=all is refused.", t.MinISR, factor, plural(factor))
	case factor == 1:
		add(severityWarning, "one-replica", grow,
			"One copy of each record: while its broker is down nothing can be read or written, and if its disk is lost everything is lost.")
	case t.MinISR == 1:
		fix := set("min.insync.replicas=2")
		if factor == 2 {
			fix = grow + ", then: " + fix
		}
		add(severityWarning, "min-isr-one", fix,
			"min.insync.replicas is 1: when the other replicas fall behind, acks=all is answered with a single copy, and the loss of that disk, or of its power, loses acknowledged records.")
	case t.MinISR == factor:
		fix := set(fmt.Sprintf("min.insync.replicas=%d", factor-1))
		if factor == 2 {
			fix = grow
		}
		add(severityWarning, "min-isr-all", fix,
			"min.insync.replicas is as great as the number of replicas (%d): any one broker that stops stops writes with acks=all.", factor)
	}
	if t.Unclean {
		add(severityWarning, "unclean-election", set("unclean.leader.election.enable=false"),
			"unclean.leader.election.enable is true: a replica that lacks acknowledged records may become leader, and they are lost. No promise of acks=all holds.")
	}
	rows = append(rows, rackFindings(v, t)...)
	if behind := countBehind(v, t); behind > 0 {
		add(severityWarning, "under-replicated", "freshet cluster health says why and what to do",
			"%d partition%s %s fewer in-sync replicas than replicas now; the table counts only those in sync.", behind, plural(behind), hasOrHave(behind))
	}
	if t.FlushMessages != 1 {
		add(severityNote, "not-synced", set("flush.messages=1"),
			"Answers do not wait for the disk, as in Apache Kafka: if all machines lose power at once, acknowledged records of the last seconds (usually 5 to 35) may be lost. flush.messages=1 waits for an fdatasync on every in-sync replica.")
	}
	if factor > 1 && len(t.Partitions) > 0 && t.Partitions[0].ELR == nil {
		add(severityNote, "no-elr", "kafka-features.sh --bootstrap-server HOST:PORT upgrade --feature eligible.leader.replicas.version=1",
			"Eligible leader replicas (KIP-966) are off: after a power failure a replica that lost records may lead again.")
	}
	return rows
}

func hasOrHave(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

func countBehind(v *clusterView, t *topicView) int {
	n := 0
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if len(without(v.original(t.Name, p), p.ISR)) > 0 {
			n++
		}
	}
	return n
}

// rackFindings reports replicas that share a rack without need.
func rackFindings(v *clusterView, t *topicView) []topicRow {
	rackOf, racks := map[int32]string{}, map[string]bool{}
	for i := range v.Brokers {
		rackOf[v.Brokers[i].ID] = v.Brokers[i].Rack
		if v.Brokers[i].Rack != "" {
			racks[v.Brokers[i].Rack] = true
		}
	}
	if len(racks) < 2 || t.replicas() < 2 {
		return nil
	}
	together := 0
	for i := range t.Partitions {
		used := map[string]bool{}
		for _, id := range t.Partitions[i].Replicas {
			used[rackOf[id]] = true
		}
		if len(used) == 1 {
			together++
		}
	}
	if together == 0 {
		return nil
	}
	return []topicRow{{severityWarning, "one-rack",
		fmt.Sprintf("%d partition%s %s all replicas on one rack: if that rack stops, %s.", together, plural(together), hasOrHave(together), itOrThey(together)),
		"freshet cluster rebalance --topic TOPIC"}}
}

func itOrThey(n int) string {
	if n == 1 {
		return "it stops, too"
	}
	return "they stop, too"
}

// judgeTogether reports what brokers share that failures would share.
func judgeTogether(v *clusterView) []finding {
	found := append(judgeControllers(v), judgeShared(v)...)
	hosts := map[string]bool{}
	racks, live := 0, 0
	for i := range v.Brokers {
		b := &v.Brokers[i]
		if b.Host != "" {
			hosts[b.Host] = true
		}
		if b.alive() {
			live++
		}
		if b.Rack != "" {
			racks++
		}
	}
	if live > 1 && len(hosts) == 1 {
		for host := range hosts {
			found = append(found, finding{Severity: severityNote, Code: "one-host",
				Text: fmt.Sprintf("All brokers have the address %s: if they run on one machine, its power failure or disk loss is that of all.", host)})
		}
	}
	if racks > 0 && racks < len(v.Brokers) {
		found = append(found, finding{Severity: severityWarning, Code: "racks-missing",
			Text: "Some brokers have a rack and some have none: replicas cannot be kept apart by rack.",
			Do:   "set broker.rack in every server.properties and restart the brokers one by one"})
	}
	return found
}

// judgeShared says what it means that brokers are controllers, too.
func judgeShared(v *clusterView) []finding {
	if v.Quorum == nil || len(v.Quorum.Voters) < 2 || v.controllersApart() > 0 {
		return nil
	}
	n := (len(v.Quorum.Voters) + 1) / 2
	ids := make([]int32, len(v.Quorum.Voters))
	for i, m := range v.Quorum.Voters {
		ids[i] = m.ID
	}
	return []finding{{Severity: severityNote, Code: "shared-nodes",
		Text: fmt.Sprintf("Brokers are also controllers (voters %s): when %d of these are down, no partition gets a new leader, and those that have one soon refuse records, whatever the replicas.",
			joinInts(ids, ", "), n)}}
}

// groupFindings joins equal findings of several topics.
func groupFindings(verdicts []topicVerdict) []finding {
	var order []topicRow
	topics := map[topicRow][]string{}
	for _, v := range verdicts {
		for _, row := range v.Findings {
			if topics[row] == nil {
				order = append(order, row)
			}
			topics[row] = append(topics[row], v.Topic)
		}
	}
	var found []finding
	for _, row := range order {
		names := topics[row]
		f := finding{Severity: row.Severity, Code: row.Code, Text: named(names) + ": " + row.Text,
			Do: strings.ReplaceAll(row.Fix, "TOPIC", names[0])}
		if len(names) > 1 && f.Do != "" && f.Do != row.Fix {
			f.Do += "   (the same for the others)"
		}
		found = append(found, f)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Severity > found[j].Severity })
	return found
}
