package placement

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cluster draws a cluster of up to racks racks, each with as many brokers as
// perRack draws, and topics whose replicas lie on different racks where they can.
func cluster(t *rapid.T, racks int, perRack func() int) ([]Broker, []Partition) {
	var brokers []Broker
	for r := range racks {
		for range perRack() {
			rack := ""
			if racks > 1 {
				rack = fmt.Sprintf("r%d", r)
			}
			brokers = append(brokers, Broker{ID: int32(len(brokers)), Rack: rack})
		}
	}
	var partitions []Partition
	for topic := range rapid.IntRange(1, 4).Draw(t, "topics") {
		factor := rapid.IntRange(1, min(3, len(brokers))).Draw(t, "factor")
		if racks > 1 {
			factor = min(factor, racks)
		}
		for n := range rapid.IntRange(1, 12).Draw(t, "partitions") {
			p := Partition{Topic: fmt.Sprintf("t%d", topic), Partition: int32(n), Bytes: rapid.Int64Range(0, 1000).Draw(t, "bytes")}
			used := map[string]bool{}
			for _, b := range rapid.Permutation(brokers).Draw(t, "order") {
				if len(p.Replicas) < factor && !used[b.Rack] {
					p.Replicas = append(p.Replicas, b.ID)
					used[b.Rack] = racks > 1
				}
			}
			partitions = append(partitions, p)
		}
	}
	return brokers, partitions
}

// after returns the partitions as they are when the moves have been made.
func after(t interface{ Fatalf(string, ...any) }, partitions []Partition, moves []Move) []Partition {
	to := map[string][]int32{}
	for _, m := range moves {
		to[fmt.Sprintf("%s-%d", m.Topic, m.Partition)] = m.To
	}
	var result []Partition
	for _, p := range partitions {
		if replicas, ok := to[p.String()]; ok {
			if len(replicas) != len(p.Replicas) {
				t.Fatalf("%s goes from %v to %v", p.String(), p.Replicas, replicas)
			}
			p.Replicas = replicas
		}
		seen := map[int32]bool{}
		for _, id := range p.Replicas {
			if seen[id] {
				t.Fatalf("%s has two replicas on one broker: %v", p.String(), p.Replicas)
			}
			seen[id] = true
		}
		result = append(result, p)
	}
	return result
}

func racksOf(brokers []Broker, replicas []int32) int {
	racks := map[string]bool{}
	for _, id := range replicas {
		rack := fmt.Sprint(id)
		for _, b := range brokers {
			if b.ID == id && b.Rack != "" {
				rack = b.Rack
			}
		}
		racks[rack] = true
	}
	return len(racks)
}

// spread is the difference between the greatest and the smallest count.
func spread(brokers []Broker, partitions []Partition, counts func(*Partition, int32) int) int {
	low, high := 1<<30, 0
	for _, b := range brokers {
		n := 0
		for i := range partitions {
			n += counts(&partitions[i], b.ID)
		}
		low, high = min(low, n), max(high, n)
	}
	return high - low
}

func holds(p *Partition, id int32) int {
	if contains(p.Replicas, id) {
		return 1
	}
	return 0
}

func checkRacks(t *rapid.T, brokers []Broker, before, now []Partition) {
	for i := range now {
		if was, is := racksOf(brokers, before[i].Replicas), racksOf(brokers, now[i].Replicas); is < was {
			t.Fatalf("%s spanned %d racks and now %d", now[i].String(), was, is)
		}
	}
}

func TestRebalanceIsEvenWithoutRacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		brokers, before := cluster(t, 1, func() int { return rapid.IntRange(1, 7).Draw(t, "brokers") })
		now := after(t, before, Rebalance(brokers, before, nil))
		if n := spread(brokers, now, holds); n > 1 {
			t.Fatalf("replicas differ by %d: %v", n, now)
		}
		for topic := range 4 {
			name := fmt.Sprintf("t%d", topic)
			n := spread(brokers, now, func(p *Partition, id int32) int {
				if p.Topic != name {
					return 0
				}
				return holds(p, id)
			})
			if n > 1 {
				t.Fatalf("replicas of %s differ by %d: %v", name, n, now)
			}
		}
		again := Rebalance(brokers, now, nil)
		for _, m := range again {
			if m.CopyBytes > 0 {
				t.Fatalf("a balanced cluster is moved again: %+v", again)
			}
		}
	})
}

func TestRebalanceKeepsRacksAndLevelsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		each := rapid.IntRange(1, 3).Draw(t, "brokers a rack")
		brokers, before := cluster(t, 3, func() int { return each })
		now := after(t, before, Rebalance(brokers, before, nil))
		checkRacks(t, brokers, before, now)
		for r := range 3 {
			var rack []Broker
			for _, b := range brokers {
				if b.Rack == fmt.Sprintf("r%d", r) {
					rack = append(rack, b)
				}
			}
			if n := spread(rack, now, holds); n > 1 {
				t.Fatalf("replicas within rack r%d differ by %d: %v", r, n, now)
			}
		}
	})
}

// Leaders alone: with every replica on every broker, the preferred leaders can
// always be spread within one, and nothing is copied.
func TestLeadersAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "brokers")
		var brokers []Broker
		var all []int32
		for id := range n {
			brokers = append(brokers, Broker{ID: int32(id)})
			all = append(all, int32(id))
		}
		var before []Partition
		for i := range rapid.IntRange(1, 30).Draw(t, "partitions") {
			before = append(before, Partition{Topic: "t", Partition: int32(i), Bytes: 9,
				Replicas: rapid.Permutation(all).Draw(t, "replicas")})
		}
		moves := Rebalance(brokers, before, nil)
		for _, m := range moves {
			if m.CopyBytes != 0 {
				t.Fatalf("%+v copies", m)
			}
		}
		now := after(t, before, moves)
		leads := func(p *Partition, id int32) int {
			if p.Replicas[0] == id {
				return 1
			}
			return 0
		}
		if n := spread(brokers, now, leads); n > 1 {
			t.Fatalf("leaders differ by %d: %v", n, now)
		}
	})
}

// One topic with equal partitions: no plan could do with fewer copies.
func TestRebalanceCopiesNoMoreThanNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "brokers")
		var brokers []Broker
		for id := range n {
			brokers = append(brokers, Broker{ID: int32(id)})
		}
		factor := rapid.IntRange(1, min(3, n)).Draw(t, "factor")
		count := make([]int, n)
		var before []Partition
		for i := range rapid.IntRange(1, 20).Draw(t, "partitions") {
			p := Partition{Topic: "t", Partition: int32(i), Bytes: 1}
			for _, b := range rapid.Permutation(brokers).Draw(t, "order")[:factor] {
				p.Replicas = append(p.Replicas, b.ID)
				count[b.ID]++
			}
			before = append(before, p)
		}
		total := factor * len(before)
		low, high := total/n, (total+n-1)/n
		over, under := 0, 0
		for _, c := range count {
			over += max(0, c-high)
			under += max(0, low-c)
		}
		var copied int64
		for _, m := range Rebalance(brokers, before, nil) {
			copied += m.CopyBytes
		}
		if copied != int64(max(over, under)) {
			t.Fatalf("%d replicas are copied, %d are needed: %v", copied, max(over, under), before)
		}
	})
}

func TestDecommissionEmptiesTheBroker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := rapid.IntRange(1, 3).Draw(t, "racks")
		brokers, before := cluster(t, racks, func() int { return rapid.IntRange(1, 4).Draw(t, "brokers") })
		leaving := rapid.SampledFrom(brokers).Draw(t, "leaving").ID
		moves, err := Decommission(brokers, before, leaving)
		var refused *NoRoomError
		if errors.As(err, &refused) {
			if refused.Replicas < len(brokers) {
				t.Fatalf("refused though %d brokers can hold %d replicas: %v", len(brokers)-1, refused.Replicas, err)
			}
			return
		}
		now := after(t, before, moves)
		held := 0
		for i := range now {
			held += holds(&now[i], leaving)
		}
		if held > 0 {
			t.Fatalf("broker %d still holds %d replicas: %v", leaving, held, now)
		}
		for _, m := range moves {
			if !contains(m.From, leaving) {
				t.Fatalf("%+v has nothing to do with broker %d", m, leaving)
			}
			if kept := len(m.From) - 1; len(m.To)-1 != kept {
				t.Fatalf("%+v changes the number of replicas", m)
			}
		}
	})
}

func TestDecommissionKeepsRacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		each := rapid.IntRange(2, 3).Draw(t, "brokers a rack")
		brokers, before := cluster(t, 3, func() int { return each })
		leaving := rapid.SampledFrom(brokers).Draw(t, "leaving").ID
		moves, err := Decommission(brokers, before, leaving)
		if err != nil {
			t.Fatal(err)
		}
		checkRacks(t, brokers, before, after(t, before, moves))
	})
}

func TestDecommissionOfABrokerThatIsGone(t *testing.T) {
	moves, err := Decommission([]Broker{{ID: 1}, {ID: 2}, {ID: 4}},
		[]Partition{{Topic: "a", Replicas: []int32{3, 1}, Bytes: 7}, {Topic: "b", Replicas: []int32{1, 2}, Bytes: 7}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(moves); got != "[{a 0 [3 1] [4 1] 7}]" {
		t.Error(got)
	}
}

func TestDecommissionRefuses(t *testing.T) {
	f := func(want string, brokers []Broker, partitions ...Partition) {
		t.Helper()
		_, err := Decommission(brokers, partitions, 2)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("1 other broker(s) would be left for 2 replicas of a-0", []Broker{{ID: 1}, {ID: 2}}, Partition{Topic: "a", Replicas: []int32{1, 2}})
	f("no other broker has room on its disks for a-0 (the largest is 50 bytes",
		[]Broker{{ID: 1, DiskBytes: 100, FreeBytes: 40}, {ID: 2}}, Partition{Topic: "a", Replicas: []int32{2}, Bytes: 50})
}

func TestRebalanceFillsDisksEvenly(t *testing.T) {
	// Counts are even already; two large partitions are together on broker 1.
	brokers := []Broker{{ID: 1}, {ID: 2}}
	before := []Partition{
		{Topic: "big", Partition: 0, Replicas: []int32{1}, Bytes: 1000}, {Topic: "big", Partition: 1, Replicas: []int32{1}, Bytes: 1000},
		{Topic: "big", Partition: 2, Replicas: []int32{2}, Bytes: 10}, {Topic: "big", Partition: 3, Replicas: []int32{2}, Bytes: 10}}
	now := after(t, before, Rebalance(brokers, before, nil))
	bytes := map[int32]int64{}
	for _, p := range now {
		bytes[p.Replicas[0]] += p.Bytes
	}
	if bytes[1] != 1010 || bytes[2] != 1010 {
		t.Errorf("bytes by broker: %v", bytes)
	}
}

func TestRebalanceRepairsRacks(t *testing.T) {
	brokers := []Broker{{ID: 1, Rack: "a"}, {ID: 2, Rack: "a"}, {ID: 3, Rack: "b"}}
	before := []Partition{{Topic: "t", Replicas: []int32{1, 2}}}
	now := after(t, before, Rebalance(brokers, before, nil))
	if racksOf(brokers, now[0].Replicas) != 2 {
		t.Errorf("replicas %v still share a rack", now[0].Replicas)
	}
}

func TestPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := rapid.IntRange(1, 3).Draw(t, "racks")
		each := rapid.IntRange(1, 3).Draw(t, "brokers a rack")
		var brokers []Broker
		for i := range racks * each {
			brokers = append(brokers, Broker{ID: int32(i), Rack: fmt.Sprintf("r%d", i%racks)})
		}
		factor := rapid.IntRange(1, min(3, len(brokers))).Draw(t, "factor")
		partitions := rapid.IntRange(1, 20).Draw(t, "partitions")
		var placed []Partition
		for i, replicas := range Place(brokers, partitions, factor, rapid.IntRange(0, 9).Draw(t, "start")) {
			placed = append(placed, Partition{Topic: "t", Partition: int32(i), Replicas: replicas})
			if len(replicas) != factor || racksOf(brokers, replicas) < min(factor, racks) {
				t.Fatalf("replicas %v of %d on %d racks", replicas, factor, racks)
			}
		}
		after(t, placed, nil)
		if n := spread(brokers, placed, func(p *Partition, id int32) int {
			if p.Replicas[0] == id {
				return 1
			}
			return 0
		}); n > 1 {
			t.Fatalf("leaders differ by %d", n)
		}
	})
}

func TestResize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := rapid.IntRange(1, 3).Draw(t, "racks")
		brokers, before := cluster(t, racks, func() int { return rapid.IntRange(1, 3).Draw(t, "brokers") })
		factor := rapid.IntRange(1, len(brokers)).Draw(t, "factor")
		moves, err := Resize(brokers, before, func(p *Partition) bool { return p.Topic == "t0" }, factor)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range moves {
			if m.Topic != "t0" || len(m.To) != factor {
				t.Fatalf("%+v", m)
			}
			if want := min(factor, racks); len(m.From) <= factor && racksOf(brokers, m.To) < min(want, racksOf(brokers, m.From)+1) {
				t.Fatalf("%+v spans %d racks of %d", m, racksOf(brokers, m.To), racks)
			}
			if len(m.From) > factor && racksOf(brokers, m.To) < min(factor, racksOf(brokers, m.From)) {
				t.Fatalf("%+v leaves racks without need", m)
			}
		}
		for _, p := range before {
			if p.Topic != "t0" || len(p.Replicas) == factor {
				continue
			}
			found := false
			for _, m := range moves {
				found = found || m.Topic == p.Topic && m.Partition == p.Partition
			}
			if !found {
				t.Fatalf("%s is left with %v", p.String(), p.Replicas)
			}
		}
	})
}

func TestResizeRefuses(t *testing.T) {
	_, err := Resize([]Broker{{ID: 1}}, []Partition{{Topic: "a", Replicas: []int32{1}}}, func(*Partition) bool { return true }, 2)
	if err == nil || !strings.Contains(err.Error(), "a-0 cannot have 2 replicas: 1 broker(s) can hold them") {
		t.Error(err)
	}
}

func TestRebalanceLeavesFixedPartitions(t *testing.T) {
	brokers := []Broker{{ID: 1}, {ID: 2}}
	before := []Partition{{Topic: "a", Replicas: []int32{1}}, {Topic: "a", Partition: 1, Replicas: []int32{1}}, {Topic: "b", Replicas: []int32{1}}}
	moves := Rebalance(brokers, before, func(p *Partition) bool { return p.Topic == "b" })
	if fmt.Sprint(moves) != "[{b 0 [1] [2] 0}]" {
		t.Error(moves)
	}
}
