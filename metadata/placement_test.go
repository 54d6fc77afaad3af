package metadata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// rackImage has brokers in racks, as ids by rack; a negative id is fenced.
func rackImage(t testing.TB, racks map[string][]int32) *Image {
	var records []Record
	for _, rack := range sortedKeys(racks) {
		for _, id := range racks[rack] {
			records = append(records, &BrokerRecord{Broker{ID: max(id, -id), Rack: rack, Fenced: id < 0}})
		}
	}
	return mustApply(t, testImage(t), records)
}

func placed(t testing.TB, img *Image, count, replicationFactor int, random *rand.Rand) [][]int32 {
	t.Helper()
	c := testController()
	c.Rand = random
	partitions, err := c.place(img, count, replicationFactor)
	if err != nil {
		t.Fatal(err)
	}
	var replicas [][]int32
	for _, p := range partitions {
		replicas = append(replicas, p.Replicas)
	}
	return replicas
}

// TestStripes are placements whose order Kafka's StripedReplicaPlacer describes
// in its comment: a rack further on with each partition and each replica.
func TestStripes(t *testing.T) {
	f := func(img *Image, count, replicationFactor int, want string) {
		t.Helper()
		if got := fmt.Sprint(placed(t, img, count, replicationFactor, nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	racks := rackImage(t, map[string][]int32{"a": {10, 11, 12}, "b": {20, 21, 22}, "c": {30, 31, 32}})
	f(racks, 3, 3, "[[10 20 30] [21 31 11] [32 12 22]]")
	f(rackImage(t, map[string][]int32{"": {1, 2, 3}}), 4, 2, "[[1 2] [2 3] [3 1] [1 2]]")
	// Fenced brokers come last in their rack, and never first of all.
	f(rackImage(t, map[string][]int32{"a": {-10, 11}, "b": {-20}}), 2, 3, "[[11 20 10] [11 20 10]]")
	f(rackImage(t, map[string][]int32{"a": {-10}, "b": {20}}), 2, 2, "[[20 10] [20 10]]")
}

func TestPlacementRefusals(t *testing.T) {
	c := testController()
	img := rackImage(t, map[string][]int32{"": {1, -2}})
	stopping := mustApply(t, img, []Record{&BrokerRecord{Broker{ID: 1, InControlledShutdown: true}}})
	cordoned := mustApply(t, img, []Record{&BrokerRecord{Broker{ID: 1, Dirs: []UUID{{1}}, CordonedDirs: []UUID{{1}}}}})
	for _, x := range []struct {
		img  *Image
		rf   int
		want string
	}{
		{img, 3, "38: The target replication factor of 3 cannot be reached because only 2 broker(s) are registered."},
		{img, 0, "38: Invalid replication factor 0: the replication factor must be positive."},
		{stopping, 1, "38: All brokers are currently fenced."},
		{cordoned, 1, "38: All brokers are currently fenced."},
	} {
		if _, err := c.place(x.img, 1, x.rf); outcome(err) != x.want {
			t.Errorf("got %q, want %q", outcome(err), x.want)
		}
	}
}

// TestPlacementIsEven checks for any cluster that replicas of a partition are on
// different brokers, on as many racks as possible, led by live brokers, and that
// leaders and, with racks of one size, replicas are spread evenly.
func TestPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks, size := rapid.IntRange(1, 4).Draw(t, "racks"), rapid.IntRange(1, 4).Draw(t, "brokers in a rack")
		fenced := rapid.IntRange(0, racks*size-1).Draw(t, "fenced")
		even := fenced == 0
		img := NewImage()
		var records []Record
		for id := range int32(racks * size) {
			records = append(records, &BrokerRecord{Broker{ID: id, Rack: fmt.Sprint(id % int32(racks)), Fenced: int(id) < fenced}})
		}
		img, err := Apply(img, records...)
		if err != nil {
			t.Fatal(err)
		}
		replicationFactor := rapid.IntRange(1, min(racks*size, 5)).Draw(t, "replication factor")
		c := testController()
		c.Rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		const rounds = 10
		partitions, refusal := c.place(img, rounds*racks*size, replicationFactor)
		if refusal != nil {
			t.Fatal(refusal)
		}
		leaders, replicas := map[int32]int{}, map[int32]int{}
		for _, p := range partitions {
			onRacks := map[int32]bool{}
			for _, id := range p.Replicas {
				onRacks[id%int32(racks)] = true
				replicas[id]++
			}
			leaders[p.Leader]++
			switch {
			case len(p.Replicas) != replicationFactor || repeats(p.Replicas):
				t.Fatalf("replicas %v", p.Replicas)
			case len(onRacks) != min(racks, replicationFactor):
				t.Fatalf("replicas %v are on %d of %d racks", p.Replicas, len(onRacks), racks)
			case p.Leader != p.Replicas[0] || !img.Active(p.Leader):
				t.Fatalf("leader %d of %v", p.Leader, p.Replicas)
			}
		}
		if even {
			for id, n := range leaders {
				if n != rounds {
					t.Fatalf("broker %d leads %d of %d partitions: %v", id, n, len(partitions), leaders)
				}
			}
		}
	})
}

// TestPlacementIsRandom checks that topics do not all begin on the same broker.
func TestPlacementIsRandom(t *testing.T) {
	img := rackImage(t, map[string][]int32{"a": {1, 2, 3}, "b": {4, 5, 6}})
	var first []int32
	for seed := range uint64(50) {
		if id := placed(t, img, 1, 2, rand.New(rand.NewPCG(seed, 1)))[0][0]; !slices.Contains(first, id) {
			first = append(first, id)
		}
	}
	if len(first) != 6 {
		t.Errorf("only brokers %v came first", first)
	}
}
