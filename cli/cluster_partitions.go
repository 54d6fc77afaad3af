package cli

import (
	"fmt"
	"slices"
	"strings"
)

// partitionTrouble is what ails a partition; partitions with the same trouble
// are one finding.
type partitionTrouble struct {
	severity severity
	code     string
	text     string // with %s for the partitions
	do       string // with TOPIC and PARTITION for the first of them
}

// judgePartitions groups the partitions' troubles.
func judgePartitions(v *clusterView) []finding {
	order := []partitionTrouble{}
	members := map[partitionTrouble][]partitionKey{}
	for i := range v.Topics {
		t := &v.Topics[i]
		for n := range t.Partitions {
			p := &t.Partitions[n]
			for _, trouble := range partitionTroubles(v, t, p) {
				if members[trouble] == nil {
					order = append(order, trouble)
				}
				members[trouble] = append(members[trouble], partitionKey{t.Name, p.Partition})
			}
		}
	}
	var found []finding
	for _, trouble := range order {
		keys := members[trouble]
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.String()
		}
		do := strings.NewReplacer("TOPIC", keys[0].topic, "PARTITION", fmt.Sprint(keys[0].partition)).Replace(trouble.do)
		found = append(found, finding{Severity: trouble.severity, Code: trouble.code,
			Text: fmt.Sprintf(trouble.text, partitionsText(names)), Do: do, Partitions: names})
	}
	return found
}

// partitionsText is "Partition a-0", "Partitions a-0, a-1" or "12 partitions
// (a-0, … and 7 more)".
func partitionsText(names []string) string {
	switch {
	case len(names) == 1:
		return "Partition " + names[0]
	case len(names) <= namesShown:
		return "Partitions " + named(names)
	}
	return fmt.Sprintf("%d partitions (%s)", len(names), named(names))
}

func partitionTroubles(v *clusterView, t *topicView, p *partitionDetail) []partitionTrouble {
	if p.Leader < 0 {
		return []partitionTrouble{leaderless(v, p)}
	}
	b := v.broker(p.Leader)
	if b != nil && !b.alive() {
		return []partitionTrouble{{severityCritical, "leader-down",
			fmt.Sprintf("%%s: the leader, broker %d, is down and no other has been elected yet. Reading and writing wait.", p.Leader),
			"ask again in a few seconds; if it stays, see what is said about the controllers"}}
	}
	if b != nil && b.State == brokerSilent {
		return []partitionTrouble{{severityCritical, "leader-silent",
			fmt.Sprintf("%%s: the leader, broker %d, does not answer this client. If it is down, reading and writing wait until another is elected.", p.Leader),
			fmt.Sprintf("see what is said about broker %d and the controllers", p.Leader)}}
	}
	missing := without(v.original(t.Name, p), p.ISR)
	lacking := v.whyOutOfSync(missing)
	switch {
	case len(p.ISR) < t.MinISR && t.MinISR <= len(p.Replicas):
		return []partitionTrouble{{severityCritical, "under-min-isr",
			fmt.Sprintf("%%s: %d of the %d in-sync replicas that min.insync.replicas asks for. Writes with acks=all are refused (NOT_ENOUGH_REPLICAS); reading goes on. %s",
				len(p.ISR), t.MinISR, lacking.text), lacking.do}}
	case len(missing) > 0 && len(p.ISR) == 1:
		return []partitionTrouble{{severityWarning, "one-copy",
			fmt.Sprintf("%%s: only broker %d has all records. If its disk is lost, acknowledged records are lost with it. %s", p.ISR[0], lacking.text), lacking.do}}
	case len(missing) > 0:
		return []partitionTrouble{{severityWarning, "under-replicated",
			fmt.Sprintf("%%s: under-replicated. %s", lacking.text), lacking.do}}
	}
	return nil
}

// cause is why replicas are not in sync.
type cause struct{ text, do string }

// whyOutOfSync tells replicas of brokers that are down from those that lag.
func (v *clusterView) whyOutOfSync(missing []int32) cause {
	var down, fenced, lagging []int32
	for _, id := range missing {
		switch b := v.broker(id); {
		case b != nil && b.runs():
			fenced = append(fenced, id)
		case b == nil || !b.alive():
			down = append(down, id)
		default:
			lagging = append(lagging, id)
		}
	}
	var texts, dos []string
	if len(down) > 0 {
		texts = append(texts, fmt.Sprintf("%s %s %s down.", capitalized(numbered("broker", down)), joinInts(down, ", "), isOrAre(len(down))))
		dos = append(dos, "start "+numbered("broker", down)+" "+joinInts(down, ", "))
	}
	if len(fenced) > 0 {
		texts = append(texts, fmt.Sprintf("%s %s %s fenced.", capitalized(numbered("broker", fenced)), joinInts(fenced, ", "), isOrAre(len(fenced))))
		dos = append(dos, "see what is said about "+numbered("broker", fenced)+" "+joinInts(fenced, ", "))
	}
	if len(lagging) > 0 {
		verb := "lags"
		if len(lagging) > 1 {
			verb = "lag"
		}
		texts = append(texts, fmt.Sprintf("%s %s %s behind or just came back.", capitalized(numbered("broker", lagging)), joinInts(lagging, ", "), verb))
		dos = append(dos, fmt.Sprintf("wait; if it stays, look at the disk, the network and the log of %s %s", numbered("broker", lagging), joinInts(lagging, ", ")))
	}
	return cause{strings.Join(texts, " "), strings.Join(dos, "; ")}
}

// leaderless says why a partition has no leader, what would be lost by giving
// it one, and what to do (KIP-966 for the eligible and last known replicas).
func leaderless(v *clusterView, p *partitionDetail) partitionTrouble {
	trouble := partitionTrouble{severity: severityCritical, code: "no-leader"}
	complete := append(append([]int32(nil), p.ISR...), without(p.ELR, p.ISR)...)
	if ready := v.aliveOf(complete); len(ready) > 0 {
		trouble.text = fmt.Sprintf("%%s: no leader, though broker %s has all records and is up. One is about to be elected. Reading and writing wait.", joinInts(ready, ", "))
		trouble.do = "ask again in a few seconds; if it stays: kafka-leader-election.sh --election-type preferred --topic TOPIC --partition PARTITION"
		return trouble
	}
	rest := v.aliveOf(without(p.Replicas, complete))
	unclean := fmt.Sprintf("kafka-leader-election.sh --election-type unclean --topic TOPIC --partition PARTITION lets broker %s lead with what it has; the rest is lost",
		joinInts(rest, " or "))
	switch {
	case len(complete) > 0:
		word, first := "down", "start "
		if !slices.ContainsFunc(complete, func(id int32) bool { b := v.broker(id); return b == nil || !b.runs() }) {
			word, first = "fenced", "see what is said about "
		}
		trouble.text = fmt.Sprintf("%%s: no leader. Only %s %s had all records, and %s %s. Reading and writing are stopped; nothing is lost if %s comes back.",
			numbered("broker", complete), joinInts(complete, ", "), isOrAre(len(complete)), word, oneOf(complete))
		trouble.do = first + oneOf(complete)
		if len(rest) > 0 {
			trouble.do += ". Only if that is impossible: " + unclean
		}
	case len(p.LastKnownELR) > 0:
		trouble.text = fmt.Sprintf("%%s: no leader. Every replica that had all records (%s) has since restarted after a crash of its machine and may have lost some. Reading and writing are stopped until the longest log is found.",
			joinInts(p.LastKnownELR, ", "))
		trouble.do = "start all brokers of its replicas (" + joinInts(p.Replicas, ", ") + "): the longest log then leads by itself; without some of them it does after freshet.unclean.recovery.timeout.ms"
		if len(rest) > 0 {
			trouble.do += ". Not to wait: " + unclean
		}
	default:
		trouble.text = "%s: no leader, and no replica is known to have all records. Reading and writing are stopped."
		trouble.do = "start all brokers of its replicas (" + joinInts(p.Replicas, ", ") + ")"
		if len(rest) > 0 {
			trouble.do += ", then: " + unclean
		}
	}
	return trouble
}

func oneOf(ids []int32) string {
	if len(ids) == 1 {
		return "broker " + joinInts(ids, "")
	}
	return "one of brokers " + joinInts(ids, ", ")
}

func (v *clusterView) aliveOf(ids []int32) []int32 {
	var alive []int32
	for _, id := range ids {
		if b := v.broker(id); b != nil && b.alive() {
			alive = append(alive, id)
		}
	}
	return alive
}

// partitionCounts are the numbers that status shows.
type partitionCounts struct {
	Topics          int `json:"topics"`
	Partitions      int `json:"partitions"`
	Replicas        int `json:"replicas"`
	NoLeader        int `json:"no_leader"`
	UnderMinISR     int `json:"under_min_isr"`
	UnderReplicated int `json:"under_replicated"`
	AtMinISR        int `json:"at_min_isr"`
	OneCopy         int `json:"one_copy"`
	NotPreferred    int `json:"not_preferred_leader"`
	Moving          int `json:"moving"`
}

func countPartitions(v *clusterView) partitionCounts {
	c := partitionCounts{Topics: len(v.Topics), Moving: len(v.Moves)}
	for i := range v.Topics {
		t := &v.Topics[i]
		for n := range t.Partitions {
			p := &t.Partitions[n]
			c.Partitions++
			c.Replicas += len(p.Replicas)
			if p.Leader < 0 {
				c.NoLeader++
			} else if len(p.Replicas) > 0 && p.Leader != p.Replicas[0] {
				c.NotPreferred++
			}
			original := v.original(t.Name, p)
			behind := len(without(original, p.ISR)) > 0
			if behind {
				c.UnderReplicated++
			}
			if len(p.ISR) < t.MinISR {
				c.UnderMinISR++
			}
			if len(p.ISR) == t.MinISR && behind {
				c.AtMinISR++
			}
			if behind && len(p.ISR) == 1 {
				c.OneCopy++
			}
		}
	}
	return c
}
