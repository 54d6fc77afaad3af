//go:build chaos

package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/compat/history"
)

var (
	seedFlag       = flag.Uint64("seed", 0, "decides what happens when; 0 takes one from the clock")
	roundsFlag     = flag.Int("rounds", 0, "failures in all; 0: each nemesis once")
	minutesFlag    = flag.Float64("minutes", 20, "no round begins after so long")
	nemesesFlag    = flag.String("nemeses", "", "names, separated by commas; default all (see -list)")
	clientsFlag    = flag.String("clients", "franz,librdkafka,java", "clients that write and read; franz always does")
	partitionsFlag = flag.Int("partitions", 6, "partitions of the topic")
	overrideFlag   = flag.String("override", "", "key=value settings of the brokers, separated by semicolons")
	listFlag       = flag.Bool("list", false, "list the nemeses and end")
)

const (
	// Limits of the checks.
	resumeLimit = 5 * time.Second  // 99th percentile of the times without acknowledgements, a majority being well
	isrLimit    = 30 * time.Second // from healing to every replica in sync

	isrTimeout  = 90 * time.Second // then a round is given up
	settleTime  = time.Second      // of quiet load before and after each failure
	minProgress = 100              // acknowledgements that each round must see
)

// result is what a round gave.
type result struct {
	nemesis string
	gaps    []int64 // ns, the longest of each partition; nil if a majority was not well
	inSync  time.Duration
	// broken and mended are when the nemesis began and had ended.
	broken, mended time.Time
}

func TestChaos(t *testing.T) {
	if *listFlag {
		for _, n := range nemeses {
			fmt.Printf("%-18s %s\n", n.name, n.what)
		}
		return
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	dir, err := os.MkdirTemp("", "freshet-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the first to be registered is the last to run: disks are unmounted by then
		if t.Failed() {
			fmt.Printf("chaos: evidence is kept in %s (logs; disk images, to be mounted with -o loop,ro)\n", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	overrides := map[string]string{}
	for _, pair := range strings.Split(*overrideFlag, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			overrides[k] = v
		}
	}
	c := startCluster(t, dir, int32(*partitionsFlag), overrides)
	chosen := choose(t, c, overrides["log.flush.interval.messages"] == "1")
	fmt.Printf("chaos: %s, three nodes at %s, seed %d\n", c.nodes[0].subject.name, strings.Join(c.seeds(), " "), seed)
	l := &load{cluster: c, stop: make(chan struct{}), reads: map[string][]history.Read{}}
	l.startFranz(t)
	l.startDrivers(t, dir, strings.Split(*clientsFlag, ","))
	results := runRounds(ctx, t, l, chosen, seed)
	verdict(t, l, results, seed)
}

// choose picks the nemeses asked for that this machine can carry out.
func choose(t *testing.T, c *cluster, synced bool) []nemesis {
	t.Helper()
	var chosen []nemesis
	for _, name := range strings.Split(*nemesesFlag, ",") {
		if name != "" && !slices.ContainsFunc(nemeses, func(n nemesis) bool { return n.name == name }) {
			t.Fatalf("there is no nemesis %q; -list names them", name)
		}
	}
	var passed []string
	for _, n := range nemeses {
		switch {
		case *nemesesFlag != "" && !slices.Contains(strings.Split(*nemesesFlag, ","), n.name):
		case n.needs == "network" && !c.net.namespaces, n.needs == "nft" && !c.net.nft,
			(n.needs == "disk" || n.needs == "synced") && !c.nodes[0].disk.own():
			passed = append(passed, n.name)
		case n.needs == "synced" && !synced: // asks for what is not promised
		default:
			chosen = append(chosen, n)
		}
	}
	if len(passed) > 0 {
		fmt.Println("chaos: passed over, for want of root, nft or mkfs.ext4:", strings.Join(passed, ", "))
	}
	if len(chosen) == 0 {
		t.Fatal("none of the nemeses asked for is possible here")
	}
	return chosen
}

// runRounds runs the nemeses in random order, each as often as the others.
func runRounds(ctx context.Context, t *testing.T, l *load, chosen []nemesis, seed uint64) []result {
	random := rand.New(rand.NewPCG(seed, 1))
	rounds := *roundsFlag
	if rounds == 0 {
		rounds = len(chosen)
	}
	deadline := time.Now().Add(time.Duration(*minutesFlag * float64(time.Minute)))
	var results []result
	var order []int
	for i := 1; i <= rounds && ctx.Err() == nil && time.Now().Before(deadline); i++ {
		if len(order) == 0 {
			order = random.Perm(len(chosen))
		}
		n := chosen[order[0]]
		order = order[1:]
		r := &round{cluster: l.cluster, random: rand.New(rand.NewPCG(seed, uint64(i)+1))}
		res, err := l.runRound(r, &n)
		if err != nil {
			t.Errorf("round %d, %s %s: %v\n%s", i, n.name, r.about, err, l.cluster.tails())
			break
		}
		results = append(results, res)
		acks := "no majority"
		if res.gaps != nil {
			acks = fmt.Sprintf("acks away %.2f s", seconds(slices.Max(res.gaps)))
			if longest := slices.Max(res.gaps); longest > int64(resumeLimit) {
				acks += fmt.Sprintf(" (partition %d)", slices.Index(res.gaps, longest))
			}
		}
		fmt.Printf("round %2d/%d  %s to %s  %-18s %-26s %-16s in sync after %5.2f s  %d acknowledged\n",
			i, rounds, res.broken.UTC().Format("15:04:05.0"), res.mended.UTC().Format("15:04:05.0"), n.name, r.about, acks, res.inSync.Seconds(), l.history.Acked())
	}
	return results
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// runRound lets a nemesis loose under load and waits until all is well again.
func (l *load) runRound(r *round, n *nemesis) (result, error) {
	before := l.history.Acked()
	if !within(30*time.Second, 50*time.Millisecond, func() bool { return l.history.Acked() >= before+minProgress }) {
		return result{}, fmt.Errorf("no progress before it: %d acknowledgements in 30 s", l.history.Acked()-before)
	}
	<-time.After(settleTime)
	res := result{nemesis: n.name, broken: time.Now()}
	from := nowNs()
	if err := n.run(r); err != nil {
		return res, err
	}
	res.mended = time.Now()
	var err error
	if res.inSync, err = l.cluster.awaitWhole(isrTimeout); err != nil {
		return res, fmt.Errorf("not well within %s of healing: %w", isrTimeout, err)
	}
	<-time.After(settleTime)
	if n.minority {
		res.gaps = l.timeline.LongestGaps(l.cluster.partitions, from, nowNs())
	}
	return res, nil
}

// verdict ends the load, checks everything and prints the table.
func verdict(t *testing.T, l *load, results []result, seed uint64) {
	t.Helper()
	ends, err := l.finish()
	if err != nil {
		t.Errorf("%v\n%s", err, l.cluster.tails())
		printResults(t, l.cluster.nodes[0].subject.name, results)
		return
	}
	l.awaitGroups(ends)
	full, err := l.readBack(t, ends)
	if err != nil {
		t.Error(err)
	}
	report := l.history.Check(full, l.reads["tail"], flatten(l.reads))
	for _, v := range report.Violations {
		t.Error(v)
	}
	if extra := report.Broken - int64(len(report.Violations)); extra > 0 {
		t.Errorf("… and %d more", extra)
	}
	for _, p := range append(l.groupsSawAll(full), l.problems...) {
		t.Error(p)
	}
	if l.refused.Load() == 0 {
		t.Error("no write was refused, though some were too large")
	}
	compared := compareReplicas(t, l.cluster, ends)
	for _, n := range l.cluster.nodes {
		if defect := n.defect(); defect != "" {
			t.Error(defect)
		}
	}
	l.negativeControl(t, full)
	stopAll(t, l.cluster)
	printResults(t, l.cluster.nodes[0].subject.name, results)
	outcome := "every promise was kept"
	if t.Failed() {
		outcome = "FAILED"
	}
	fmt.Printf("chaos: %d rounds, %d acknowledged, %d verified, %d unanswered, %d refused, %d batches equal on all replicas, %d violations (seed %d): %s\n",
		len(results), report.Acked, report.Verified, report.Unknown, l.refused.Load(), compared, report.Broken, seed, outcome)
}

func flatten(reads map[string][]history.Read) []history.Read {
	var all []history.Read
	for name, some := range reads {
		if name != "tail" {
			all = append(all, some...)
		}
	}
	return all
}

// negativeControl takes one acknowledged record out of what was read: Check has to miss it.
func (l *load) negativeControl(t *testing.T, full []history.Read) {
	t.Helper()
	for i, r := range full {
		if i >= len(full)/2 && r.ID.Producer == 0 {
			if report := l.history.Check(slices.Delete(slices.Clone(full), i, i+1)); report.Broken == 0 {
				t.Error("the checker did not miss a record that was taken out of the log")
			}
			return
		}
	}
	t.Error("nothing was read back")
}

// compareReplicas compares the files of every partition on all nodes up to the high watermark.
func compareReplicas(t *testing.T, c *cluster, ends map[int32]int64) (batches int) {
	t.Helper()
	for p, end := range ends {
		var first []BatchSum
		for _, n := range c.nodes {
			dir := filepath.Join(n.dataDir(), fmt.Sprintf("%s-%d", topic, p))
			var got []BatchSum
			var err error
			// A follower may have the end a moment later than the leader gives it out.
			within(10*time.Second, 200*time.Millisecond, func() bool {
				got, err = ReadReplica(dir, end)
				return err == nil && lastOffset(got) >= end
			})
			if err != nil {
				t.Errorf("replica of partition %d on %s: %v", p, n, err)
				continue
			}
			if n.index == 0 {
				first = got
				batches += len(got)
				continue
			}
			if problem := CompareReplicas(c.nodes[0].String(), n.String(), first, got, end); problem != "" {
				t.Errorf("partition %d: %s", p, problem)
			}
		}
	}
	return batches
}

// stopAll stops the nodes one after the other; the last ones have no quorum to say good-bye to.
func stopAll(t *testing.T, c *cluster) {
	t.Helper()
	for i, n := range c.nodes {
		if i > 0 {
			n.kill()
			continue
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	}
}

// printResults prints a line for each nemesis and judges the limits.
func printResults(t *testing.T, subject string, results []result) {
	t.Helper()
	limit := t.Errorf
	if subject != subjectFreshet {
		limit = func(format string, args ...any) { // its checks are about the harness
			fmt.Printf("  "+format+"; not counted for "+subject+"\n", args...)
		}
	}
	fmt.Printf("\n  %-18s %6s  %22s  %22s\n", "nemesis", "rounds", "without acks, s", "in sync after, s")
	fmt.Printf("  %-18s %6s  %10s %11s  %10s %11s\n", "", "", "median", "longest", "median", "longest")
	var all []int64
	for _, n := range nemeses {
		var gaps, syncs []int64
		rounds := 0
		for _, r := range results {
			if r.nemesis == n.name {
				rounds++
				gaps = append(gaps, r.gaps...)
				syncs = append(syncs, int64(r.inSync))
			}
		}
		if rounds == 0 {
			continue
		}
		all = append(all, gaps...)
		away := fmt.Sprintf("%10s %11s", "–", "–")
		if len(gaps) > 0 {
			away = fmt.Sprintf("%10.2f %11.2f", seconds(Percentile(gaps, 0.5)), seconds(Percentile(gaps, 1)))
		}
		fmt.Printf("  %-18s %6d  %s  %10.2f %11.2f\n", n.name, rounds, away, seconds(Percentile(syncs, 0.5)), seconds(Percentile(syncs, 1)))
		if longest := time.Duration(Percentile(syncs, 1)); longest > isrLimit {
			limit("%s: replicas were in sync %s after healing, the limit is %s", n.name, longest, isrLimit)
		}
	}
	if p99 := time.Duration(Percentile(all, 0.99)); p99 > resumeLimit {
		limit("the 99th percentile of the times without acknowledgements is %s, the limit is %s", p99, resumeLimit)
	} else if len(all) > 0 {
		fmt.Printf("  99th percentile of the times without acknowledgements: %.2f s, limit %.0f s; in sync: limit %.0f s\n",
			p99.Seconds(), resumeLimit.Seconds(), isrLimit.Seconds())
	}
	fmt.Println()
}
